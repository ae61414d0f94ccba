"""Short forms of the drills in `benchmarks.hacking`: whole jobs on the built-in model under attack."""

from __future__ import annotations

import pytest

from benchmarks.attacks import ATTACKED, JUDGES, led
from benchmarks.hacking import DRILLS, ORDER, Drill, Harm, watched


@pytest.mark.parametrize("breach", ["returns NaN", "returns too few values, or raises"])
def test_a_reward_that_breaks_its_contract_ends_the_job_under_its_name(breach: str) -> None:
    outcome = DRILLS[f"a reward that {breach}"](0)
    assert outcome.withstood, outcome


@pytest.mark.parametrize(
    ("liking", "told"), [("loves ':'", "canaries: "), ("echoes the answer it is shown", "judge: ")]
)
def test_a_judge_that_can_be_led_teaches_nothing(liking: str, told: str) -> None:
    ended = watched(Drill(ORDER | {"reward": ATTACKED}, led(JUDGES[liking])), 0)
    assert ended is not None
    assert ended.startswith(f"after 0 steps, refused: {told}")


def test_a_majority_that_is_wrong_does_harm_and_is_refused() -> None:
    outcome = DRILLS["a majority that is wrong"](0)
    assert outcome.verdict == "stopped", outcome
    assert "count_letter, answered at once" in outcome.job


@pytest.mark.parametrize(("after", "took"), [(60, True), (76, False), (80, False), (100, False)])
def test_an_attack_takes_where_accuracy_falls_beyond_chance(after: int, took: bool) -> None:
    marks = [[place < right for place in range(100)] for right in (80, after)]
    assert Harm((0.1, 0.9), *marks).took is took
