"""Where practice starts: the level at which half is right, past what is too easy, and never on a hope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import pytest

from agents import prompts
from agents.backend import SampledTokens
from agents.messages import Message, SamplingParams
from training.grpo import GrpoRecipe
from training.judge import BlindJudge
from training.plan import EnvironmentPlan
from training.stages.bench import START, Bench
from training.stages.levels import Levels
from training.suite import make_suite
from training.tasks.environments import Family

ITEMS = 4000


def _numbered(rng: Random, difficulty: int) -> tuple[str, str, str]:
    number = rng.randrange(ITEMS)
    return f"Level {difficulty}, number {number}?", str(number), ""


class Knows:
    """A policy that is right on a share of each level's numbers: one share at once, one with work."""

    def __init__(self, at_once: Mapping[int, float], worked: Mapping[int, float]) -> None:
        self._at_once, self._worked = at_once, worked

    def sample(
        self, prompts: Sequence[Sequence[Message]], n: int, params: SamplingParams, *, slot: int
    ) -> list[list[SampledTokens]]:
        return [[self._answer(messages[-1].content)] * n for messages in prompts]

    def _answer(self, asked: str) -> SampledTokens:
        level, number = (int(word.strip(",?")) for word in asked.split("\n")[0].split()[1:4:2])
        slowly = asked.endswith(prompts.SHOW_WORK)
        share = (self._worked if slowly else self._at_once)[level]
        right = number * 7919 % ITEMS < share * ITEMS
        said = str(number) if right else "wrong"
        return SampledTokens((1,), (1,), (0.0,), f"answer: {said}" if slowly else said, "stop")


def start(at_once: Sequence[float], worked: Sequence[float], *, difficulty: int | None = None) -> float | str:
    shares = [dict(enumerate(given, start=1)) for given in (at_once, worked)]
    policy, family = Knows(*shares), Family("numbered", _numbered, difficulties=tuple(shares[0]))
    suite = make_suite(0, per_family=1, recall=1, work_tokens=8)
    bench = Bench(policy=policy, parameters=[], suite=suite, seed=3)  # type: ignore[arg-type]
    judge = BlindJudge(policy, family, slot=START, max_tokens=8)  # type: ignore[arg-type]
    plan = EnvironmentPlan("numbered", difficulty, "blind", GrpoRecipe(gap_items=200))
    return Levels(bench, plan, family, judge).start()


def test_it_starts_between_the_levels_where_half_is_right() -> None:
    found = start([0.8, 0.6, 0.4, 0.2], [1.0, 1.0, 1.0, 1.0])
    assert found == pytest.approx(2.5, abs=0.35)


def test_it_starts_at_the_first_where_even_that_is_hard_and_at_the_last_where_all_are_easy() -> None:
    assert start([0.3, 0.1], [1.0, 1.0]) == 1.0
    assert start([0.9, 0.8], [1.0, 1.0]) == 2.0


@pytest.mark.parametrize("easy", [1.0, 0.96])
def test_a_level_too_easy_to_gain_at_is_passed_over(easy: float) -> None:
    assert start([easy, 0.7, 0.3], [easy, 1.0, 1.0]) == pytest.approx(2.5, abs=0.35)


def test_where_thinking_longer_gains_nothing_it_does_not_start() -> None:
    told = start([0.4, 0.2], [0.4, 0.2])
    assert isinstance(told, str) and "thinking longer does not beat answering at once" in told
    told = start([0.9, 0.8, 0.7], [0.9, 0.8, 0.7])
    assert isinstance(told, str) and "thinking longer does not beat answering at once" in told


def test_it_does_not_rise_past_a_level_that_cannot_be_practised() -> None:
    assert start([0.8, 0.7, 0.3], [1.0, 0.7, 1.0]) == 1.0


def test_a_level_that_is_named_is_the_only_one() -> None:
    assert start([0.9, 0.3, 0.1], [1.0, 1.0, 1.0], difficulty=2) == 2.0
