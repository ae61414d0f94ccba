"""What a reward is: `score(rollouts) -> Rewards`, and a declaration of what it needs.

A value that does not apply is None and is never read as 0. A reward that raises, returns the wrong number of values or
a value that is not finite is our own fault: `score` stops the run and names it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from personal_data.errors import FolkmootError
from training.rollouts import Rollout

Need = Literal["ground_truth", "judge", "ref_logprobs", "logit_summary", "reference_text", "hidden_states", "trainable"]
PREPARED: frozenset[Need] = frozenset({"ground_truth", "judge"})
"""What the trainer prepares so far; the registry refuses a reward that needs more."""


class RewardFailed(FolkmootError):
    """A reward broke its contract; the message names it."""


@dataclass(frozen=True, slots=True)
class Rewards:
    """One value a rollout (None: not applicable), or one a token, which no trainer takes yet, and what to record."""

    values: Sequence[float | None] | None
    token_values: Sequence[Sequence[float] | None] | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


class Reward(Protocol):
    """A source of reward. `needs` tells the trainer what to prepare, so that each forward pass runs once."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> frozenset[Need]: ...

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        """Score whole groups at once: rollouts of one group answer the same task."""
        ...


def score(reward: Reward, rollouts: Sequence[Rollout]) -> tuple[Sequence[float | None], Mapping[str, Any]]:
    """Call a reward and hold it to its contract; its values and what it wants recorded.

    Raises:
        RewardFailed: it raised, or returned the wrong number of values, one that is not finite, or values a token.
        FolkmootError: what it raised on purpose, as it is: a policy that broke is no fault of the reward.
    """
    try:
        rewards = reward.score(rollouts)
    except FolkmootError:
        raise
    except Exception as error:  # a reward may be anybody's code: whatever it raises stops the run under its name
        raise RewardFailed(f"reward {reward.name!r} raised {type(error).__name__}: {error}") from error
    if rewards.values is None or rewards.token_values is not None:
        raise RewardFailed(f"reward {reward.name!r} gives values a token, which no trainer takes yet, not a rollout")
    if len(rewards.values) != len(rollouts):
        raise RewardFailed(f"reward {reward.name!r} returned {len(rewards.values)} values for {len(rollouts)} rollouts")
    for value in rewards.values:
        if value is not None and not math.isfinite(value):
            raise RewardFailed(f"reward {reward.name!r} returned {value}; a value that is missing must be None")
    return rewards.values, rewards.info
