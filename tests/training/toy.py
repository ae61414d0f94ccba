"""A softmax policy without any language model, a `TrainablePolicy`: each prompt is answered by one of a few tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from agents.backend import SampledTokens
from agents.messages import Message, SamplingParams

SLOTS = 4
WORDS = ("red", "green", "blue", "answer: red red red red")


class ToyPolicy:
    """Stacked logits [slots, prompts, words] in float64; the message's text is the prompt's number."""

    def __init__(self, prompts: int = 1, words: Sequence[str] = WORDS) -> None:
        self.words = tuple(words)
        self.logits = torch.zeros(SLOTS, prompts, len(words), dtype=torch.float64, requires_grad=True)

    def distribution(self, slot: int, prompt: int = 0) -> Tensor:
        return torch.softmax(self.logits[slot, prompt], dim=0)

    def sample(
        self, prompts: Sequence[Sequence[Message]], n: int, params: SamplingParams, *, slot: int
    ) -> list[list[SampledTokens]]:
        rng = random.Random(params.seed)
        return [[self._one(int(messages[-1].content), rng, params, slot) for _ in range(n)] for messages in prompts]

    def _one(self, prompt: int, rng: random.Random, params: SamplingParams, slot: int) -> SampledTokens:
        odds = self.distribution(slot, prompt).detach()
        word = int(odds.argmax()) if not params.temperature else rng.choices(range(len(odds)), odds.tolist())[0]
        return SampledTokens((prompt,), (word,), (float(odds[word].log()),), self.words[word], "stop")

    def score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, slot: int) -> list[list[float]]:
        return [row.tolist() for row in self.logprobs(pairs, slot=slot)[0].detach()]

    def logprobs(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, slot: int) -> tuple[Tensor, Tensor]:
        rows = [prompt[0] for prompt, _ in pairs]
        words = torch.tensor([list(completion) for _, completion in pairs])
        logp = torch.log_softmax(self.logits[slot], dim=1)[rows].gather(1, words)
        return logp, torch.ones_like(words, dtype=torch.bool)
