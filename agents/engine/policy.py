"""The engine as a library: sample and score tokens under one adapter slot, with gradients where training wants them.

Door: `EnginePolicy`, the `PolicyBackend` of training. It holds no optimiser and no reward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from agents.backend import SampledTokens
from agents.engine.base import Base
from agents.engine.generation import Batch, Prompt, generate
from agents.engine.lora import AdapterStack
from agents.messages import Message, SamplingParams
from personal_data.errors import InvalidInput

Pair = tuple[Sequence[int], Sequence[int]]
"""Token ids of a prompt and of a completion of it."""

_SCORE_TOKENS = 8192
_ROWS = 64


class EnginePolicy:
    """A base model with its stack of adapters, as a policy."""

    def __init__(self, base: Base, stack: AdapterStack) -> None:
        self.base = base
        self.stack = stack
        self._batch = Batch(base, stack)

    def sample(
        self, prompts: Sequence[Sequence[Message]], n: int, params: SamplingParams, *, slot: int
    ) -> list[list[SampledTokens]]:
        """Sample `n` completions a prompt; result is [len(prompts)][n]. `params.seed` fixes every one of them.

        Log-probabilities are the model's own at temperature 1, as `score` gives them; the end token is included.

        Raises:
            InvalidInput: a prompt leaves no room for an answer.
            BackendError: logits are not finite.
        """
        if not prompts:
            return []
        encoded = [self._prompt(messages, n, params, slot, place) for place, messages in enumerate(prompts)]
        try:
            generate(self._batch, encoded, max_rows=_ROWS)
        finally:
            self._batch.clear()
        return [[_sampled(prompt, index) for index in range(n)] for prompt in encoded]

    def _prompt(self, messages: Sequence[Message], n: int, params: SamplingParams, slot: int, place: int) -> Prompt:
        ids = tuple(self.base.encode(messages))
        if len(ids) >= self.base.max_positions:
            raise InvalidInput(f"prompt {place} has {len(ids)} tokens of at most {self.base.max_positions - 1}")
        return Prompt(self.base, ids, params, slot=slot, n=n, place=(place,))

    def score(self, pairs: Sequence[Pair], *, slot: int) -> list[list[float]]:
        """Log-probability (natural log, temperature 1) of every completion token of each (prompt, completion) pair."""
        scores: list[list[float]] = [[] for _ in pairs]
        with torch.no_grad():
            for rows in _by_length(pairs):
                logp, mask = self.logprobs([pairs[row] for row in rows], slot=slot)
                for row, values, kept in zip(rows, logp, mask, strict=True):
                    scores[row] = values[kept].tolist()
        return scores

    def logprobs(self, pairs: Sequence[Pair], *, slot: int) -> tuple[Tensor, Tensor]:
        """Log-probabilities of completion tokens, with autograd, in one forward.

        Args:
            pairs: prompt and completion token ids; a prompt has at least one token.
            slot: the adapter whose parameters receive the gradient; 0 is the frozen base.

        Returns:
            logp [rows, T] in float32, 0 where there is no token, and mask BoolTensor [rows, T], for the longest
            completion T. Prompt positions never reach the output head.

        Raises:
            InvalidInput: a pair is longer than the model's positions, or a prompt is empty.
        """
        self._check(pairs)
        device = self.base.device
        width = max(len(prompt) + len(completion) for prompt, completion in pairs)
        ids = torch.zeros(len(pairs), width, dtype=torch.long)
        keep = torch.zeros(len(pairs), width, dtype=torch.bool)
        mask = torch.zeros(len(pairs), max(len(completion) for _, completion in pairs), dtype=torch.bool)
        for row, (prompt, completion) in enumerate(pairs):
            end = len(prompt) + len(completion)
            ids[row, :end] = torch.tensor([*prompt, *completion])
            keep[row, len(prompt) - 1 : end - 1] = True
            mask[row, : len(completion)] = True
        ids, keep, mask = ids.to(device), keep.to(device), mask.to(device)
        targets = ids[:, 1:][keep[:, :-1]]
        with self.stack.rows(torch.full((len(pairs),), slot)):
            # right padding under a causal mask: what follows a row's end cannot reach it
            logits = self.base.model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits.float()
        chosen = torch.log_softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0]
        return torch.zeros(mask.shape, device=device).masked_scatter(mask, chosen), mask

    def _check(self, pairs: Sequence[Pair]) -> None:
        for row, (prompt, completion) in enumerate(pairs):
            if not prompt or len(prompt) + len(completion) > self.base.max_positions:
                raise InvalidInput(
                    f"pair {row} has {len(prompt)} + {len(completion)} tokens; "
                    f"a prompt needs one and both together have at most {self.base.max_positions}"
                )


def _by_length(pairs: Sequence[Pair]) -> Iterator[list[int]]:
    """Row numbers in groups of like length, each within the budget of padded tokens."""
    lengths = [len(prompt) + len(completion) for prompt, completion in pairs]
    group: list[int] = []
    for row in sorted(range(len(pairs)), key=lambda row: lengths[row]):
        if group and lengths[row] * (len(group) + 1) > _SCORE_TOKENS:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _sampled(prompt: Prompt, index: int) -> SampledTokens:
    sample = prompt.samples[index]
    assert sample.finish_reason is not None
    return SampledTokens(
        prompt_ids=prompt.ids,
        token_ids=tuple(sample.token_ids),
        logprobs=tuple(sample.logprobs),
        text=sample.text,
        finish_reason=sample.finish_reason,
    )
