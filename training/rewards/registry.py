"""Every reward by name. A new one is one file and one line of `REWARDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from personal_data.errors import InvalidInput
from training.judge import BlindJudge
from training.rewards.base import PREPARED, Reward
from training.rewards.blind import Blind
from training.rewards.shaping import Shaping
from training.rewards.truth import Truth
from training.tasks.environments import Environment


@dataclass(frozen=True, slots=True)
class Sources:
    """What a reward may be built from."""

    environment: Environment
    judge: BlindJudge


def build(name: str, sources: Sources) -> Reward:
    """The reward called `name`.

    Raises:
        InvalidInput: there is none of that name (the message lists those there are), or it needs what no trainer
            prepares yet.
    """
    if name not in REWARDS:
        raise InvalidInput(f"unknown reward {name!r}; known: {', '.join(sorted(REWARDS))}", param="reward")
    reward = REWARDS[name](sources)
    if unmet := reward.needs - PREPARED:
        told = f"reward {name!r} needs {', '.join(sorted(unmet))}; the trainer prepares {', '.join(sorted(PREPARED))}"
        raise InvalidInput(told, param="reward")
    return reward


REWARDS: Mapping[str, Callable[[Sources], Reward]] = {
    "truth": lambda sources: Truth(sources.environment),
    "blind": lambda sources: Blind(sources.judge),
    "shaping": lambda _sources: Shaping(),
}
