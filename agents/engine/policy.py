"""The engine as a library: sample and score tokens under adapter slots, with gradients where training wants them.

Door: `EnginePolicy`, the `PolicyBackend` of training. Every method takes one slot for all rows, or a slot for each, so
that many adapters are sampled, scored and trained in one pass. It holds no optimiser and no reward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.backend import SampledTokens
from agents.engine.base import Base
from agents.engine.decoder import Sequences
from agents.engine.generation import Batch, Prompt, generate
from agents.engine.lora import AdapterStack
from agents.messages import Message, SamplingParams
from personal_data.errors import InvalidInput

Pair = tuple[Sequence[int], Sequence[int]]
"""Token ids of a prompt and of a completion of it."""
Slots = int | Sequence[int]
"""One slot for all rows, or one for each."""

_SCORE_TOKENS = 8192
_SCORE_LOGITS = 1 << 26
"""Padded tokens, and logits, of one scoring forward."""
_ROWS = 64


@dataclass(frozen=True, slots=True)
class TokenSummary:
    """What the model thought of one completion; each [T], float32, but for `hidden`.

    `logprobs` = `chosen` - `logsumexp`, at temperature 1; `mean` is the mean logit over the vocabulary, `entropy` is
    the next token's, in nats; `hidden` [T, hidden size] is what the output head read. `vocabulary` is the
    number of logits a token.
    """

    vocabulary: int
    logprobs: Tensor
    chosen: Tensor
    logsumexp: Tensor
    mean: Tensor
    entropy: Tensor
    hidden: Tensor


class EnginePolicy:
    """A base model with its stack of adapters, as a policy."""

    def __init__(self, base: Base, stack: AdapterStack) -> None:
        self.base = base
        self.stack = stack
        self._batch = Batch(base, stack)
        self._decoder = self._batch.decoder

    def sample(
        self, prompts: Sequence[Sequence[Message]], n: int, params: SamplingParams, *, slot: Slots
    ) -> list[list[SampledTokens]]:
        """Sample `n` completions a prompt; result is [len(prompts)][n]. `params.seed` fixes every one of them.

        Log-probabilities are the model's own at temperature 1, as `score` gives them; the end token is included.

        Raises:
            InvalidInput: a prompt leaves no room for an answer.
            BackendError: logits are not finite.
        """
        slots = _each(slot, len(prompts))
        encoded = [self._prompt(messages, n, params, slots[place], place) for place, messages in enumerate(prompts)]
        try:
            generate(self._batch, encoded, max_rows=_ROWS)
        finally:
            self._batch.clear()
        return [[_sampled(prompt, index) for index in range(n)] for prompt in encoded]

    def _prompt(self, messages: Sequence[Message], n: int, params: SamplingParams, slot: int, place: int) -> Prompt:
        ids = tuple(self.base.encode(messages))
        if len(ids) >= self.base.max_positions:
            raise InvalidInput(f"prompt {place} has {len(ids)} tokens of at most {self.base.max_positions - 1}")
        return Prompt(self.base, ids, params, slot=slot, n=n, place=(place,), live=False)

    def score(self, pairs: Sequence[Pair], *, slot: Slots) -> list[list[float]]:
        """Log-probability (natural log, temperature 1) of every completion token of each (prompt, completion) pair."""
        scores: list[list[float]] = [[] for _ in pairs]
        slots = _each(slot, len(pairs))
        with torch.no_grad():
            for rows in self._by_length(pairs):
                logp, mask = self.logprobs([pairs[row] for row in rows], slot=[slots[row] for row in rows])
                for row, values, kept in zip(rows, logp, mask, strict=True):
                    scores[row] = values[kept].tolist()
        return scores

    @torch.no_grad()
    def summaries(self, pairs: Sequence[Pair], *, slot: Slots) -> list[TokenSummary]:
        """The logits of every completion token in brief, for rewards that look into the model."""
        found: dict[int, TokenSummary] = {}
        width = int(self.base.model.get_output_embeddings().weight.shape[0])
        slots = _each(slot, len(pairs))
        for rows in self._by_length(pairs):
            batch = [pairs[row] for row in rows]
            columns = self._briefly(batch, [slots[row] for row in rows])
            lengths = [len(completion) for _, completion in batch]
            for row, *parts in zip(rows, *(torch.split(column, lengths) for column in columns), strict=True):
                found[row] = TokenSummary(width, *parts)
        return [found[row] for row in range(len(pairs))]

    def _briefly(self, pairs: Sequence[Pair], slots: Sequence[int]) -> tuple[Tensor, ...]:
        """The columns of `TokenSummary` for all completion tokens in order, one forward."""
        logits, hidden, targets, _ = self._read(pairs, slots)
        return in_brief(logits, hidden, targets, torch.arange(len(targets), device=targets.device))

    def logprobs(self, pairs: Sequence[Pair], *, slot: Slots) -> tuple[Tensor, Tensor]:
        """Log-probabilities of completion tokens, with autograd, in one forward.

        Args:
            pairs: prompt and completion token ids; a prompt has at least one token.
            slot: the adapters whose parameters receive the gradient; 0 is the frozen base.

        Returns:
            logp [rows, T] in float32, 0 where there is no token, and mask BoolTensor [rows, T], for the longest
            completion T. Prompt positions never reach the output head.

        Raises:
            InvalidInput: a pair is longer than the model's positions, or a prompt is empty.
        """
        logits, _, targets, mask = self._read(pairs, _each(slot, len(pairs)))
        chosen = torch.log_softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0]
        return torch.zeros(mask.shape, device=mask.device, dtype=chosen.dtype).masked_scatter(mask, chosen), mask

    def _read(self, pairs: Sequence[Pair], slots: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits [tokens, vocabulary], hidden states and targets of all completion tokens in order, and their mask."""
        self._check(pairs)
        width = max(len(prompt) + len(completion) for prompt, completion in pairs)
        ids = torch.zeros(len(pairs), width, dtype=torch.long)
        keep = torch.zeros(len(pairs), width, dtype=torch.bool)
        mask = torch.zeros(len(pairs), max(len(completion) for _, completion in pairs), dtype=torch.bool)
        for row, (prompt, completion) in enumerate(pairs):
            end = len(prompt) + len(completion)
            ids[row, :end] = torch.tensor([*prompt, *completion])
            keep[row, len(prompt) - 1 : end - 1] = True
            mask[row, : len(completion)] = True
        device = self.base.device
        ids, keep = ids.to(device), keep.to(device)
        logits, hidden = self._decoder.read(Sequences(ids, keep), self.stack.plan(slots))
        return precise(logits), hidden, ids[:, 1:][keep[:, :-1]], mask.to(device)

    def _check(self, pairs: Sequence[Pair]) -> None:
        for row, (prompt, completion) in enumerate(pairs):
            if not prompt or len(prompt) + len(completion) > self.base.max_positions:
                raise InvalidInput(
                    f"pair {row} has {len(prompt)} + {len(completion)} tokens; "
                    f"a prompt needs one and both together have at most {self.base.max_positions}"
                )

    def _by_length(self, pairs: Sequence[Pair]) -> Iterator[list[int]]:
        """Row numbers in groups of like length, each within the budget of padded tokens and of logits."""
        most = _SCORE_LOGITS // int(self.base.model.config.get_text_config().vocab_size)
        lengths = [len(prompt) + len(completion) for prompt, completion in pairs]
        group: list[int] = []
        scored = 0
        for row in sorted(range(len(pairs)), key=lambda row: lengths[row]):
            scored += len(pairs[row][1])
            if group and (lengths[row] * (len(group) + 1) > _SCORE_TOKENS or scored > most):
                yield group
                group, scored = [], len(pairs[row][1])
            group.append(row)
        if group:
            yield group


def in_brief(logits: Tensor, hidden: Tensor, targets: Tensor, places: Tensor) -> tuple[Tensor, ...]:
    """The columns of `TokenSummary` [tokens].

    Args:
        logits, hidden: [places, vocabulary] and [places, hidden size]; several tokens may share a place.
        targets, places: [tokens], the token and the row of `logits` that predicts it.
    """
    whole = logits.logsumexp(dim=-1)
    entropy = whole - ((logits - whole[:, None]).exp() * logits).sum(dim=-1)
    chosen, summed = logits[places, targets], whole[places]
    return chosen - summed, chosen, summed, logits.mean(dim=-1)[places], entropy[places], hidden[places]


def precise(logits: Tensor) -> Tensor:
    """Logits in at least float32."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _each(slot: Slots, rows: int) -> Sequence[int]:
    slots = [slot] * rows if isinstance(slot, int) else list(slot)
    if len(slots) != rows:
        raise ValueError(f"{len(slots)} slots for {rows} rows")
    return slots


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
