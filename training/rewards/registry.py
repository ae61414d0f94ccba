"""Every reward by name. A new one is one file and one line of `REWARDS`.

A reward that needs what this run does not have is refused by name before anything is sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from personal_data.errors import InvalidInput
from training.judge import BlindJudge
from training.rewards.base import PREPARED, Need, Reward
from training.rewards.blind import Blind
from training.rewards.endogenous import Endogenous
from training.rewards.generative import Generative
from training.rewards.group_judge import GroupJudge
from training.rewards.human_feedback import HumanFeedback
from training.rewards.implicit import Implicit
from training.rewards.judging import TextJudge
from training.rewards.majority import MajorityVote
from training.rewards.nover import Nover
from training.rewards.polar import Polar
from training.rewards.prime import Prime, ProcessModel
from training.rewards.ridge import RidgeHead
from training.rewards.rlpr import Rlpr
from training.rewards.rubric import RubricCritique
from training.rewards.self_certainty import SelfCertainty
from training.rewards.self_rewarding import SelfRewarding
from training.rewards.shaping import Shaping
from training.rewards.truth import Truth
from training.tasks.environments import Checker

_Source = TypeVar("_Source")


@dataclass(frozen=True, slots=True)
class Sources:
    """What a reward may be built from; None: this run has none.

    `text_judge` writes verdicts, by the owner's own `rubric` where that is asked for.
    `preferences` is fitted to the owner's choices, `relative` a head fitted to choices beside a reference,
    `process` an adapter slot and an optimiser for a reward model that learns along. `prepared` is what the trainer
    reads from the model.
    """

    environment: Checker
    judge: BlindJudge
    text_judge: TextJudge | None = None
    rubric: tuple[str, ...] = ()
    preferences: HumanFeedback | None = None
    relative: RidgeHead | None = None
    process: ProcessModel | None = None
    prepared: frozenset[Need] = PREPARED


class _Missing(Exception):
    """A reward's source is None."""


Makers = Mapping[str, Callable[[Sources], Reward]]
"""How each reward is made, by name."""


def build(name: str, sources: Sources, makers: Makers | None = None) -> Reward:
    """The reward called `name`, of `REWARDS` where no others are given.

    Raises:
        InvalidInput: there is none of that name (the message lists those there are), or it needs what nobody prepares
            in this run.
    """
    makers = REWARDS if makers is None else makers
    if name not in makers:
        raise InvalidInput(f"unknown reward {name!r}; known: {', '.join(sorted(makers))}", param="reward")
    told = f"the trainer prepares {', '.join(sorted(sources.prepared))}"
    try:
        reward = makers[name](sources)
    except _Missing as missing:
        raise InvalidInput(f"reward {name!r} needs {missing}; {told}", param="reward") from missing
    if unmet := reward.needs - sources.prepared - _GIVEN:
        raise InvalidInput(f"reward {name!r} needs {', '.join(sorted(unmet))}; {told}", param="reward")
    return reward


_GIVEN: frozenset[Need] = frozenset({"preferences", "text_judge", "trainable"})
"""Needs that a source fills and no forward pass: a reward that lacks it is never built."""


def _given(source: _Source | None, need: Need) -> _Source:
    if source is None:
        raise _Missing(need)
    return source


LEARNING = frozenset({"prime"})
"""Those that need an adapter slot of their own."""

REWARDS: Makers = {
    "truth": lambda sources: Truth(sources.environment),
    "blind": lambda sources: Blind(sources.judge),
    "shaping": lambda _sources: Shaping(),
    "majority": lambda _sources: MajorityVote(),
    "self_certainty": lambda _sources: SelfCertainty(),
    "implicit": lambda _sources: Implicit(),
    "endogenous": lambda _sources: Endogenous(),
    "rlpr": lambda _sources: Rlpr(),
    "nover": lambda _sources: Nover(),
    "group_judge": lambda sources: GroupJudge(_given(sources.text_judge, "text_judge"), criteria=sources.rubric),
    "rubric": lambda sources: RubricCritique(_given(sources.text_judge, "text_judge"), owner=sources.rubric),
    "self_rewarding": lambda sources: SelfRewarding(_given(sources.text_judge, "text_judge")),
    "generative": lambda sources: Generative(_given(sources.text_judge, "text_judge")),
    "prime": lambda sources: Prime(_given(sources.process, "trainable"), Truth(sources.environment)),
    "human_feedback": lambda sources: _given(sources.preferences, "preferences"),
    "polar": lambda sources: Polar(_given(sources.relative, "preferences")),
}
