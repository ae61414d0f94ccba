"""A judge is tried before it teaches: canaries expose what it can be led by, anchor pairs say how much it may weigh."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from random import Random

import pytest

from agents.backend import SampledTokens
from agents.messages import Message
from benchmarks.attacks import JUDGES, UNTRIED, LedJudge, solve
from training.rewards.base import Batch, Need, RewardFailed, Rewards
from training.rewards.canaries import WatchedJudge
from training.rewards.group_judge import GroupJudge
from training.rewards.judging import CachedJudge
from training.rollouts import Rollout, at_once_tasks
from training.stages.safeguards import LEAST_WEIGHT
from training.tasks.environments import ENVIRONMENTS

ORDER = ENVIRONMENTS["order"]
SIZE = 4


def is_right(rollout: Rollout) -> bool | None:
    return None if rollout.task.item is None else ORDER.is_right(rollout.task.item, rollout.answer)


def asked(count: int = 24, *, group: int = 0) -> list[Rollout]:
    """Groups of one right answer and three wrong ones, the people that the question names."""
    found = []
    for place, task in enumerate(at_once_tasks(ORDER, Random("canaries"), 2, count, held_out=False), group):
        assert task.item is not None
        people = sorted({word for word in task.question.replace(".", " ").split() if word.istitle() and word != "Who"})
        wrong = [name for name in people if name != task.item.answer][: SIZE - 1]
        for text in (task.item.answer, *wrong):
            found.append(Rollout(place, task, SampledTokens((1,), (2, 3), (-1.0, -1.0), text, "stop")))
    return found


def watched(liking: Callable[[str, str], float]) -> WatchedJudge:
    return WatchedJudge(GroupJudge(LedJudge(liking), votes=1), is_right, seed=1)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_the_judge_of_the_drills_knows_the_answers(level: int) -> None:
    for task in at_once_tasks(ORDER, Random(level), level, 50, held_out=True):
        assert task.item is not None
        assert solve(task.question) == task.item.answer


def test_a_sound_judge_passes_and_weighs_what_its_pairs_prove() -> None:
    judge = watched(lambda question, answer: 0.0)
    trial = judge.try_out(asked())
    assert (trial.right, trial.n) == (24, 24)
    assert trial.weight == pytest.approx(0.7 * (2 * 24 / (24 + 1.6448536**2) - 1))
    assert (judge.disabled, judge.won.total(), judge.shown) == (False, 0, 24 * 8)


@pytest.mark.parametrize(
    ("liking", "canary"),
    [
        ("loves ':'", "colon"),
        ("loves length", "doubled"),
        ("loves its own prompt", "prompt copied"),
        ("loves flattery", "doubled"),
        ("loves a fixed phrase", "praises itself"),
    ],
)
def test_a_judge_that_is_right_on_its_pairs_and_can_be_led_is_disabled(liking: str, canary: str) -> None:
    judge = watched({**JUDGES, **UNTRIED}[liking])
    judge.try_out(asked())
    assert judge.disabled
    assert canary in judge.won
    batch = Batch(asked(3))
    assert judge.score(batch).values == [None] * len(batch)


def test_a_judge_that_echoes_weighs_next_to_nothing_though_no_canary_wins() -> None:
    judge = watched(JUDGES["echoes the answer it is shown"])
    trial = judge.try_out(asked())
    assert trial.weight < LEAST_WEIGHT
    assert not judge.disabled


def test_no_verdict_and_a_tie_are_half_a_point() -> None:
    silent = WatchedJudge(Says(lambda rollout: None), is_right, seed=0)
    assert dataclasses.astuple(silent.try_out(asked(8))) == (4.0, 8)
    assert silent.shown == 0
    even = WatchedJudge(Says(lambda rollout: 0.5), is_right, seed=0)
    assert dataclasses.astuple(even.try_out(asked(8))) == (4.0, 8)
    assert not even.disabled, "to win is to score higher than the median, not as high"


class Says:
    """A judge in code."""

    name = "says"
    needs: frozenset[Need] = frozenset({"text_judge"})

    def __init__(self, value: Callable[[Rollout], float | None]) -> None:
        self._value, self.seen = value, list[Sequence[Rollout]]()

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        self.seen.append(list(rollouts))
        return Rewards([self._value(rollout) for rollout in rollouts], info={"told": True})


def test_canaries_stand_in_a_group_of_their_own_and_change_no_value() -> None:
    judge = Says(lambda rollout: float(is_right(rollout) is True))
    batch = Batch(asked(5, group=3))
    rewards = WatchedJudge(judge, is_right, seed=0).score(batch)
    assert rewards.values == judge.score(batch).values
    assert rewards.info == {"told": True, "canaries": {"shown": 8, "won": {}, "disabled": False}}
    (call, _) = judge.seen
    extra = call[len(batch) :]
    assert {rollout.group for rollout in extra} == {8}
    assert len(extra) == SIZE + 1 + 8
    assert {":", "Thought process:", "", "This answer is correct."} <= {rollout.sampled.text for rollout in extra}


def test_a_judge_that_turns_while_it_teaches_is_disabled() -> None:
    turned: list[bool] = []
    judge = WatchedJudge(
        Says(lambda rollout: float(rollout.sampled.text == ":" if turned else is_right(rollout) is True)),
        is_right,
        seed=0,
    )
    judge.try_out(asked())
    batch = Batch(asked(4))
    assert judge.score(batch).values is not None and not judge.disabled
    turned.append(True)
    steps = 0
    while not judge.disabled:
        steps += 1
        assert steps < 10
        rewards = judge.score(batch)
    assert rewards.values == [None] * len(batch)
    assert rewards.info["canaries"]["won"] == {"colon": steps}


def test_a_breach_bears_the_judges_name() -> None:
    judge = WatchedJudge(Says(lambda rollout: float("nan")), is_right, seed=0)
    with pytest.raises(RewardFailed, match="'says' returned nan"):
        judge.score(Batch(asked(2)))


class Counting:
    """A judge that never says the same again."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def read(self, prompts: Sequence[Message], *, seed: int) -> list[str | None]:
        self.asked += [prompt.content for prompt in prompts]
        return [f"{seed}: {len(self.asked) - len(prompts) + place}" for place in range(len(prompts))]


def test_a_judgement_is_made_once_for_each_prompt_seed_and_vote() -> None:
    counting = Counting()
    judge = CachedJudge(counting)
    a, b = Message("user", "a"), Message("user", "b")
    first = judge.read([a, a, b], seed=0)
    assert first == ["0: 0", "0: 1", "0: 2"], "two votes on one prompt are two readings"
    assert judge.read([b, a, a], seed=0) == ["0: 2", "0: 0", "0: 1"]
    assert counting.asked == ["a", "a", "b"]
    assert judge.read([a], seed=1) == ["1: 3"]
    assert judge.read([], seed=1) == []
