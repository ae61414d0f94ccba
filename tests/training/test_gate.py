"""The gate lets through what improved beyond chance and lost nothing, and says why it refuses the rest."""

from __future__ import annotations

import pytest
import torch

from training import gate
from training.monitors import Monitors
from training.optim import Update


@pytest.mark.parametrize(
    ("wins", "losses", "chance"), [(7, 1, 0.035156), (14, 4, 0.015442), (5, 0, 0.03125), (0, 0, 1)]
)
def test_sign_test(wins: int, losses: int, chance: float) -> None:
    assert gate.sign_test(wins, losses) == pytest.approx(chance, abs=1e-6)


def marks(right: int, of: int = 100) -> list[bool]:
    return [place < right for place in range(of)]


def test_improved_needs_more_than_luck() -> None:
    assert gate.improved("sums", marks(40), marks(60)).ok
    assert not gate.improved("sums", marks(40), marks(43)).ok
    assert not gate.improved("sums", marks(60), marks(40)).ok


@pytest.mark.parametrize(("before", "after", "of", "ok"), [(90, 85, 100, True), (90, 84, 100, False), (9, 8, 10, True)])
def test_kept_tolerates_a_little(before: int, after: int, of: int, ok: bool) -> None:
    assert gate.kept("recall", marks(before, of), marks(after, of)).ok is ok


def test_preference_margins_must_grow_on_pairs_never_seen() -> None:
    before = [-1.0] * 10
    grown = gate.preferred_more("style", before, [1.0] * 9 + [-2.0])
    assert grown.ok
    assert (grown.before, grown.after, grown.n) == (0.0, 0.9, 10)
    assert not gate.preferred_more("style", before, [1.0] * 6 + [-2.0] * 4).ok
    assert not gate.preferred_more("style", [1.0] * 10, [-0.1] + [2.0] * 9).ok


@pytest.mark.parametrize(
    ("lengths", "wanted", "ok"), [([10], 1, True), ([13], 1, False), ([7], 1, False), ([30], 3, True)]
)
def test_length_stays_unless_the_data_asks_for_another(lengths: list[int], wanted: float, ok: bool) -> None:
    assert gate.length_kept("length", [10], lengths, wanted=wanted).ok is ok


def test_chosen_answers_may_not_become_unlikely() -> None:
    assert gate.not_less_likely("chosen", [1.0], [1.01]).ok
    assert not gate.not_less_likely("chosen", [1.0], [1.03]).ok


def test_a_candidate_that_improves_but_forgets_is_refused_with_the_reason() -> None:
    better, forgets = gate.improved("sums", marks(40), marks(90)), gate.kept("recall", marks(90), marks(50))
    verdict = gate.decide(better, [forgets])
    assert not verdict.passed
    assert verdict.reasons == ("recall: 0.900 -> 0.500 (n=100, 0 gained, 40 lost, tolerance 0.05)",)
    passed = gate.decide(better, [gate.kept("recall", marks(90), marks(90))])
    assert passed.passed
    assert "0.400 -> 0.900 (n=100, 50 gained, 0 lost, p=0.000)" in passed.reasons[0]
    assert [check["name"] for check in passed.record()["checks"]] == ["sums", "recall"]


def step(norm: float = 1.0, applied: bool = True) -> Update:
    return Update(torch.tensor([norm]), torch.tensor([applied]))


def test_monitor_breaks_after_three_steps_that_are_not_finite() -> None:
    monitors = Monitors()
    assert [monitors.after_update(1.0, step(float("nan"), False)) for _ in range(2)] == [None, None]
    assert not monitors.broken
    assert monitors.after_update(float("nan"), step()) == "loss or gradient was not finite 3 times"
    assert monitors.broken


def test_monitor_breaks_on_an_exploding_gradient() -> None:
    monitors = Monitors()
    assert all(monitors.after_update(0.1, step()) is None for _ in range(12))
    assert [monitors.after_update(0.1, step(150.0)) for _ in range(2)] == [None, None]  # clipped, and no harm
    assert "100 times its median" in str(monitors.after_update(0.1, step(150.0)))
    assert monitors.broken


def test_monitor_lets_answers_of_three_tokens_grow_by_three() -> None:
    monitors = Monitors()
    for length in (3.0, 3.0, 3.0, 5.9, 5.9, 5.9, 5.9):
        assert monitors.after_rollouts(entropy=1.0, length=length, kl=0.1) is None
    stopped = [monitors.after_rollouts(entropy=1.0, length=7.0, kl=0.1) for _ in range(3)]
    assert "mean length went from 3.0 to 7.0" in str(stopped[-1])


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({"length": 10.0}, "mean length went from 2.0 to 10.0"),
        ({"length": 0.5}, "mean length went from 2.0 to 0.5"),
        ({"entropy": 0.01}, "entropy collapsed from 1.000 to 0.010"),
        ({"kl": 3.0}, "KL to the start is 3.00"),
        ({"kl": float("nan")}, "not finite"),
    ],
)
def test_monitor_stops_a_collapse(numbers: dict[str, float], told: str) -> None:
    monitors, usual = Monitors(), {"entropy": 1.0, "length": 2.0, "kl": 0.1}
    for _ in range(3):
        assert monitors.after_rollouts(**usual) is None
    stopped = [monitors.after_rollouts(**(usual | numbers)) for _ in range(3)]
    assert told in next(reason for reason in stopped if reason is not None)
    assert monitors.broken is (told == "not finite")


def test_an_ordinary_run_is_left_alone() -> None:
    monitors = Monitors()
    for place in range(50):
        assert monitors.after_rollouts(entropy=1.0 - place / 100, length=2.0 + place / 200, kl=place / 200) is None
        assert monitors.after_update(0.01, step()) is None
