"""Reads from the model, once a step, what the rewards of a run need: log-probabilities, logits in brief, hidden states.

One forward under the bare base serves its log-probabilities, its logits and its hidden states; one under the reference
serves every reward and the KL. It judges nothing and trains nothing. Door: `prepare`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from agents.backend import PolicyBackend, SampledTokens
from agents.engine.policy import TokenSummary
from personal_data.errors import InvalidInput
from training.rewards.base import Batch, Need, Reference
from training.rollouts import Rollout, TokenPair

BARE = 0
"""The slot of the base without any adapter."""
_LOOKS_INSIDE: frozenset[Need] = frozenset({"base_logit_summary", "hidden_states"})
_MARKER = re.compile(r"answer:", re.IGNORECASE)


@runtime_checkable
class Summarising(Protocol):
    """A policy that can say what its logits were; every engine policy can."""

    def summaries(self, pairs: Sequence[TokenPair], *, slot: int) -> list[TokenSummary]:
        """The logits of every completion token in brief."""
        ...


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: the policy's own slot, the frozen slot that is its reference, and how a text becomes token ids.

    `encode` gives a continuation's ids without special tokens; None means that
    reference answers cannot be prepared.
    """

    policy: PolicyBackend
    slot: int
    reference: int
    encode: Callable[[str], Sequence[int]] | None = None
    end: int | None = None
    """The id that ends an answer."""
    longest: int | None = None
    """How many tokens prompt and answer may have; a reference that does not fit is none."""


def prepare(reader: Reader, rollouts: Sequence[Rollout], needs: frozenset[Need]) -> Batch:
    """The rollouts with a column for each of `needs`; what nobody needs is not read.

    Raises:
        InvalidInput: the policy shows no logits, or has no tokenizer here, and a need asks for it.
    """
    pairs = [rollout.pair for rollout in rollouts]
    anchors = reader.policy.score(pairs, slot=reader.reference) if "ref_logprobs" in needs else None
    inside = _summaries(reader, pairs, BARE) if needs & _LOOKS_INSIDE else None
    bare = None
    if "base_logprobs" in needs:
        bare = [one.logprobs.tolist() for one in inside] if inside else reader.policy.score(pairs, slot=BARE)
    return Batch(
        rollouts=rollouts,
        ref_logprobs=anchors,
        base_logprobs=bare,
        summaries=_summaries(reader, pairs, reader.slot) if "logit_summary" in needs else None,
        base_summaries=inside,
        references=_references(reader, rollouts, needs) if "reference_text" in needs else None,
    )


def _summaries(reader: Reader, pairs: Sequence[TokenPair], slot: int) -> list[TokenSummary]:
    if not isinstance(reader.policy, Summarising):
        raise InvalidInput("a reward looks into the logits, which this policy does not show", param="reward")
    return reader.policy.summaries(pairs, slot=slot)


def reasoning_of(sampled: SampledTokens) -> str | None:
    """The completion up to and with its one `answer:`; None when it was cut off, or has no work, no answer or two."""
    parts = _MARKER.split(sampled.text)
    if sampled.finish_reason == "length" or len(parts) != 2 or not all(part.strip() for part in parts):
        return None
    return sampled.text[: len(sampled.text) - len(parts[1])]


def _references(reader: Reader, rollouts: Sequence[Rollout], needs: frozenset[Need]) -> list[Reference | None]:
    """Every reference answer teacher-forced once after each reasoning, and once a task without one."""
    if reader.encode is None:
        raise InvalidInput("a reward reads reference answers, which needs a tokenizer here", param="reward")
    hidden: dict[TokenPair, Tensor] = {}
    texts = [rollout.task.reference for rollout in rollouts]
    asked = [_bare_pair(reader, rollout, text) for rollout, text in zip(rollouts, texts, strict=True)]
    thought = [_thought_pair(reader, rollout, text) for rollout, text in zip(rollouts, texts, strict=True)]
    unique = list(dict.fromkeys(pair for pair in asked if pair is not None))
    reasoned = [pair for pair in thought if pair is not None]
    scored = iter(_score(reader, [*unique, *reasoned]))
    bare = {pair: next(scored) for pair in unique}
    if "hidden_states" in needs:
        read = _summaries(reader, unique, BARE)
        hidden = {pair: one.hidden[-1] for pair, one in zip(unique, read, strict=True)}
    found: list[Reference | None] = []
    for text, pair, longer in zip(texts, asked, thought, strict=True):
        after = None if longer is None else next(scored)
        if text is None or pair is None:
            found.append(None)
            continue
        extra = 0 if longer is None else len(longer[0]) - len(pair[0])
        found.append(Reference(text, after, bare[pair], extra, hidden.get(pair)))
    return found


def _bare_pair(reader: Reader, rollout: Rollout, text: str | None) -> TokenPair | None:
    """The reference as the whole answer; hashable."""
    if text is None or reader.encode is None:
        return None
    return _fitting(reader, rollout.sampled.prompt_ids, reader.encode(text))


def _thought_pair(reader: Reader, rollout: Rollout, text: str | None) -> TokenPair | None:
    """The reference behind the rollout's own reasoning and `answer:`."""
    reasoning = reasoning_of(rollout.sampled)
    if text is None or reasoning is None or reader.encode is None:
        return None
    before = (*rollout.sampled.prompt_ids, *reader.encode(reasoning))
    return _fitting(reader, before, reader.encode(f" {text}"))


def _fitting(reader: Reader, before: Sequence[int], ids: Sequence[int]) -> TokenPair | None:
    """The pair with its end token; None where the model cannot read so much."""
    ended = (*ids,) if reader.end is None else (*ids, reader.end)
    too_long = reader.longest is not None and len(before) + len(ended) > reader.longest
    return None if too_long else (tuple(before), ended)


def _score(reader: Reader, pairs: Sequence[TokenPair]) -> list[Tensor]:
    if not pairs:
        return []
    scores = reader.policy.score(pairs, slot=reader.reference)
    return [torch.tensor(tokens, dtype=torch.float64) for tokens in scores]
