"""Generation: a running batch whose completions join and leave between decode steps, each with its own adapter slot.

Doors: `Batch` (join, step, leave) for the server, `generate` for training. A prompt is prefilled once for all of its
samples. It knows neither HTTP nor queues.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.engine.base import Base
from agents.engine.cache import SlotCache
from agents.engine.lora import AdapterStack
from agents.engine.sampling import Choice, Draw, choose, stream
from agents.engine.text import TextStream
from agents.messages import FinishReason, SamplingParams
from personal_data.errors import BackendError

PREFILL_TOKENS = 4096
"""Padded tokens prefilled in one forward, unless one prompt alone is longer."""


class Sample:
    """One completion while it grows. `token_ids` and `logprobs` include the end token, the text does not."""

    def __init__(self, base: Base, prompt: Prompt, index: int) -> None:
        params = prompt.params
        self.index = index
        self.draw = Draw(params, stream(params.seed, *prompt.place, index))
        self.token_ids: list[int] = []
        self.logprobs: list[float] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None
        self.failed = False
        self._text = TextStream(base.decode, params.stop)
        self._ends = base.eos_ids | prompt.stop_ids
        self._limit = min(params.max_tokens, base.max_positions - len(prompt.ids))

    @property
    def done(self) -> bool:
        return self.failed or self.finish_reason is not None

    def push(self, choice: Choice | None) -> str:
        """Take the next token; return the text that became certain. None means that its logits were not finite."""
        if choice is None:
            self.failed = True
            return ""
        self.token_ids.append(choice.token)
        self.logprobs.append(choice.logprob)
        fresh = "" if choice.token in self._ends else self._text.push(choice.token)
        if choice.token in self._ends or self._text.stopped:
            self.finish_reason = "stop"
        elif len(self.token_ids) >= self._limit:
            self.finish_reason = "length"
        if self.done:
            fresh += self._text.finish()
        self.text += fresh
        return fresh


@dataclass(eq=False)
class Prompt:
    """A tokenised prompt with its samples: same adapter slot, same parameters, random streams of their own.

    `place` tells prompts of one request apart, so that one seed fixes all of them.
    """

    base: Base
    ids: tuple[int, ...]
    params: SamplingParams
    slot: int = 0
    n: int = 1
    place: tuple[int, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    samples: list[Sample] = field(init=False)

    def __post_init__(self) -> None:
        self.samples = [Sample(self.base, self, index) for index in range(self.n)]


@dataclass(frozen=True, slots=True)
class Step:
    """What one sample got in one step: the token, the text that became certain, and whether that was the end.

    The sample goes on growing in the engine's thread; a step never changes.
    """

    prompt: Prompt
    sample: Sample
    choice: Choice | None
    text: str
    finish_reason: FinishReason | None


class Batch:
    """The rows that decode together."""

    def __init__(self, base: Base, stack: AdapterStack) -> None:
        self.base = base
        self.stack = stack
        self._layers = int(base.model.config.get_text_config().num_hidden_layers)
        self._cache = SlotCache(self._layers)
        self._rows: list[tuple[Prompt, Sample]] = []
        self._plan = stack.plan_rows(torch.zeros(1, dtype=torch.long))

    @property
    def rows(self) -> int:
        """Samples that are decoding now."""
        return len(self._rows)

    @torch.inference_mode()
    def join(self, prompts: Sequence[Prompt]) -> list[Step]:
        """Prefill prompts, draw the first token of each of their samples, and let those that go on join the rows."""
        cache = SlotCache.for_prompts(self._layers, [len(prompt.ids) for prompt in prompts])
        width = cache.window.capacity[1]
        ids = torch.tensor([[0] * (width - len(prompt.ids)) + list(prompt.ids) for prompt in prompts])
        slots = torch.tensor([prompt.slot for prompt in prompts])
        with self.stack.rows(slots):
            logits = self._forward(cache, ids)
        picks = [row for row, prompt in enumerate(prompts) for _ in prompt.samples]
        owners = [(prompt, sample) for prompt in prompts for sample in prompt.samples]
        steps = self._draw(logits[picks], owners)
        staying = [(pick, owner) for pick, owner in zip(picks, owners, strict=True) if not owner[1].done]
        if staying:
            self._cache.append(cache, [pick for pick, _ in staying])
            self._rows += [owner for _, owner in staying]
            self._replan()
        return steps

    @torch.inference_mode()
    def step(self) -> list[Step]:
        """Draw one more token for every row; rows that are done leave."""
        ids = torch.tensor([[sample.token_ids[-1]] for _, sample in self._rows])
        self._cache.make_room()
        with self.stack.planned(self._plan):
            logits = self._forward(self._cache, ids)
        steps = self._draw(logits, self._rows)
        self._keep(lambda _, sample: not sample.done)
        return steps

    @torch.inference_mode()
    def leave(self, prompt: Prompt) -> None:
        """Remove every row of a prompt, finished or not."""
        self._keep(lambda owner, _: owner is not prompt)

    def clear(self) -> None:
        """Remove every row, whatever state a failed forward left behind."""
        self._rows = []
        self._cache = SlotCache(self._layers)

    def _keep(self, wanted: Callable[[Prompt, Sample], bool]) -> None:
        """Drop the other rows; the last row takes a dropped one's place, as in the cache."""
        before = len(self._rows)
        for row in reversed(range(before)):
            if not wanted(*self._rows[row]):
                self._cache.drop(row)
                self._rows[row] = self._rows[-1]
                self._rows.pop()
        if self._rows and len(self._rows) < before:
            self._replan()

    def _replan(self) -> None:
        self._plan = self.stack.plan_rows(torch.tensor([prompt.slot for prompt, _ in self._rows]))

    @staticmethod
    def _draw(logits: Tensor, owners: Sequence[tuple[Prompt, Sample]]) -> list[Step]:
        choices = choose(logits, [sample.draw for _, sample in owners])
        texts = [sample.push(choice) for (_, sample), choice in zip(owners, choices, strict=True)]
        return [
            Step(prompt, sample, choice, text, sample.finish_reason)
            for (prompt, sample), choice, text in zip(owners, choices, texts, strict=True)
        ]

    def _forward(self, cache: SlotCache, ids: Tensor) -> Tensor:
        """Logits [rows, vocabulary] of the last column of ids [rows, tokens]."""
        device = self.base.device
        tokens = ids.shape[1]
        first = torch.tensor(cache.lengths, device=device)
        positions = (first[:, None] + torch.arange(tokens, device=device)).clamp_(min=0)
        output = self.base.model(
            input_ids=ids.to(device),
            attention_mask=cache.mask(tokens, device),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache.advance(tokens)
        logits: Tensor = output.logits[:, -1]
        return logits


def fits(group: Sequence[Prompt], prompt: Prompt, free: int) -> bool:
    """Whether a prompt may join a group to prefill together: its samples find rows and the padding stays bounded."""
    widest = max([len(prompt.ids), *(len(other.ids) for other in group)])
    return prompt.n <= free and (not group or widest * (len(group) + 1) <= PREFILL_TOKENS)


def generate(batch: Batch, prompts: Sequence[Prompt], *, max_rows: int = 64) -> None:
    """Fill in the samples of all prompts, `max_rows` of them at a time, or as many as one prompt has.

    Raises:
        BackendError: a model or an adapter gives logits that are not finite.
    """
    waiting = deque(prompts)
    max_rows = max([max_rows, *(prompt.n for prompt in prompts)])
    while waiting or batch.rows:
        group: list[Prompt] = []
        free = max_rows - batch.rows
        while waiting and fits(group, waiting[0], free):
            group.append(waiting.popleft())
            free -= group[-1].n
        if group:
            batch.join(group)
        if batch.rows:
            batch.step()
    if any(sample.failed for prompt in prompts for sample in prompt.samples):
        raise BackendError("the model gives values that are not finite; its adapter has diverged")
