"""What a reward is: `score(batch) -> Rewards`, and a declaration of what it needs.

A `Batch` is the rollouts of whole groups, with what `prepare.py` has read from the model for those rewards that declare
a need of it: every forward pass runs once, whoever asks. A reward that needs nothing may take any sequence of rollouts.

A value that does not apply is None and is never read as 0. A reward that raises, returns the wrong number of values or
a value that is not finite is our own fault: `score` stops the run and names it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, overload, runtime_checkable

from torch import Tensor

from agents.engine.policy import TokenSummary
from personal_data.errors import FolkmootError
from training.rollouts import Rollout

Need = Literal[
    "ground_truth",
    "judge",
    "text_judge",
    "ref_logprobs",
    "base_logprobs",
    "logit_summary",
    "base_logit_summary",
    "hidden_states",
    "reference_text",
    "trainable",
    "preferences",
]
"""What a reward may ask for.

`ground_truth`: the task's item. `judge`: the frozen and blind judge; `text_judge`: a frozen model that writes verdicts.
`ref_logprobs`: the completion under the adapter that the stage started from; `base_logprobs`: under the bare base.
`logit_summary`: the logits of the policy that sampled, in brief; `base_logit_summary`: those of the bare base.
`hidden_states`: what the bare base's output head read at the last token. `reference_text`: an accepted answer and its
log-probabilities with and without the rollout's reasoning. `trainable`: an adapter slot and an optimiser of its own.
`preferences`: a head fitted to what the owner preferred.
"""

PREPARED: frozenset[Need] = frozenset(
    {"ground_truth", "judge", "ref_logprobs", "base_logprobs", "logit_summary", "base_logit_summary", "hidden_states"}
)
"""What the trainer prepares so far; the registry refuses a reward that needs more."""


class RewardFailed(FolkmootError):
    """A reward broke its contract; the message names it."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference answer as a frozen model reads it for one rollout; log-probabilities [n] of its n tokens.

    `after_reasoning` is given the prompt and the rollout's reasoning, None where the rollout shows no reasoning or its
    form is wrong; `without` is given the prompt alone. `reasoning_tokens` is the length of that reasoning. `hidden`
    [hidden size] is what the output head read at the reference's last token under the bare base.
    """

    text: str
    after_reasoning: Tensor | None
    without: Tensor
    reasoning_tokens: int
    hidden: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Batch(Sequence[Rollout]):
    """Whole groups of rollouts, and a column for each need that was prepared; None where nobody asked.

    `ref_logprobs` and `base_logprobs` are [rollouts][T], `summaries` (the policy's) and `base_summaries` one a rollout,
    `references` one a rollout, None where its task has no reference answer.
    """

    rollouts: Sequence[Rollout]
    ref_logprobs: Sequence[Sequence[float]] | None = None
    base_logprobs: Sequence[Sequence[float]] | None = None
    summaries: Sequence[TokenSummary] | None = None
    base_summaries: Sequence[TokenSummary] | None = None
    references: Sequence[Reference | None] | None = None

    @overload
    def __getitem__(self, index: int) -> Rollout: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Rollout]: ...

    def __getitem__(self, index: int | slice) -> Rollout | Sequence[Rollout]:
        return self.rollouts[index]

    def __len__(self) -> int:
        return len(self.rollouts)


@dataclass(frozen=True, slots=True)
class Rewards:
    """One value a rollout, or one for every token of it (None: not applicable), and what to record."""

    values: Sequence[float | None] | None
    token_values: Sequence[Sequence[float] | None] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


class Reward(Protocol):
    """A source of reward. `needs` tells the trainer what to prepare, so that each forward pass runs once."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> frozenset[Need]: ...

    def score(self, batch: Batch, /) -> Rewards:
        """Score whole groups at once: rollouts of one group answer the same task."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """A reward that learns while the policy does; the trainer calls `learn` once a step, after all rewards scored."""

    def learn(self, batch: Batch, /) -> Mapping[str, float]:
        """Update from the batch that was just scored; what to record."""
        ...


def groups(rollouts: Sequence[Rollout]) -> list[list[int]]:
    """The places of each group's rollouts, groups in the order of their first rollout."""
    found: dict[int, list[int]] = {}
    for place, rollout in enumerate(rollouts):
        found.setdefault(rollout.group, []).append(place)
    return list(found.values())


def score(reward: Reward, batch: Batch) -> Rewards:
    """Call a reward and hold it to its contract: a value for every rollout, or values for every token of each.

    Raises:
        RewardFailed: it raised, or returned the wrong number of values, both kinds of them, or one that is not finite.
        FolkmootError: what it raised on purpose, as it is: a policy that broke is no fault of the reward.
    """
    try:
        rewards = reward.score(batch)
    except FolkmootError:
        raise
    except Exception as error:  # a reward may be anybody's code: whatever it raises stops the run under its name
        raise RewardFailed(f"reward {reward.name!r} raised {type(error).__name__}: {error}") from error
    if (rewards.values is None) == (rewards.token_values is None):
        raise RewardFailed(f"reward {reward.name!r} must return values a rollout or values a token, one of the two")
    rows = [(value,) for value in rewards.values or ()] if rewards.token_values is None else rewards.token_values
    if len(rows) != len(batch):
        raise RewardFailed(f"reward {reward.name!r} returned {len(rows)} values for {len(batch)} rollouts")
    for row in rows:
        for value in row or ():
            if value is not None and not math.isfinite(value):
                raise RewardFailed(f"reward {reward.name!r} returned {value}; a value that is missing must be None")
    _check_lengths(reward.name, rewards.token_values or (), batch)
    return rewards


def _check_lengths(name: str, rows: Sequence[Sequence[float] | None], batch: Batch) -> None:
    for row, rollout in zip(rows, batch.rollouts, strict=False):
        if row is not None and len(row) != (tokens := len(rollout.sampled.token_ids)):
            raise RewardFailed(f"reward {name!r} returned {len(row)} values for {tokens} tokens")


def needed(column: Sequence[Any] | None, need: Need, reward: str) -> Sequence[Any]:
    """A prepared column; the caller declared the need of it.

    Raises:
        RewardFailed: nobody prepared it.
    """
    if column is None:
        raise RewardFailed(f"reward {reward!r} needs {need}, which was not prepared")
    return column
