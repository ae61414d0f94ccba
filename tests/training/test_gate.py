"""The gate lets through what improved beyond chance and lost nothing, and says why it refuses the rest."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from training import gate
from training.diversity import Distinct, distinct_2, equally_long
from training.monitors import Monitors
from training.optim import Update
from training.signs import Signs
from training.stages.safeguards import foreign, manner_checks


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


@pytest.mark.parametrize(("lengths", "ok"), [([3], True), ([6], True), ([7], False), ([2], False)])
def test_short_answers_may_grow_by_some_tokens(lengths: list[int], ok: bool) -> None:
    assert gate.length_kept("length", [3], lengths, slack=3.0).ok is ok


def test_distinct_2_counts_pairs_of_words_over_all_texts() -> None:
    """a b, b a, a b | A b | c | b c: pairs (a b) x3, (b a), (b c): 3 of 5."""
    found = distinct_2(["a b a b", "A b", "c", "b c"])
    assert found.share == 3 / 5
    assert found.without == (2 / 2, 3 / 4, 3 / 5, 2 / 4)
    assert distinct_2(["one", ""]) == Distinct(None, (None, None))
    assert distinct_2([]).share is None


def test_answers_are_compared_at_equal_lengths() -> None:
    assert equally_long(["a  b c", "d"], ["x y", "z z"]) == [["a b", "d"], ["x y", "z"]]
    assert equally_long(["a b", "c d"], ["e f", "g h"], ["i", "j k"]) == [["a", "c d"], ["e", "g h"], ["i", "j k"]]


def test_answers_that_become_all_alike_are_refused() -> None:
    before = distinct_2([f"{place} and {place}" for place in range(20)])
    same = distinct_2(["as I said"] * 20)
    assert (before.share, same.share) == (1.0, 2 / 40)
    check = gate.varied("variety", before, same)
    assert (check.ok, check.before, check.after, check.n) == (False, 1.0, 0.05, 20)
    assert gate.varied("variety", before, before).ok
    assert gate.varied("variety", same, same).ok
    assert gate.varied("variety", same, before).ok, "more varied is no fault"
    assert gate.varied("variety", before, same, wanted=0.05).ok, "what the data asks for is no fault"
    assert not gate.varied("variety", before, same, wanted=1.0).ok


def test_a_little_less_variety_is_chance_in_a_few_answers_and_none_in_many() -> None:
    """Every fourth repeats another: .75, where .9 is asked for. The jackknife's error is the root of 1/4 / (n - 1)."""
    checks = {}
    for count in (8, 80):
        before = distinct_2([f"{place} a{place} b{place}" for place in range(count)])
        after = distinct_2([f"{one} a{one} b{one}" for one in (place - (place % 4 == 3) for place in range(count))])
        checks[count] = gate.varied("variety", before, after)
    assert (checks[8].after, checks[80].after) == (0.75, 0.75)
    assert "at least 0.900 +- 0.189" in checks[8].note and "+- 0.056" in checks[80].note
    assert (checks[8].ok, checks[80].ok) == (True, False)


def test_one_word_answers_say_nothing_of_variety() -> None:
    words, talk = distinct_2(["4", "5"]), distinct_2(["it is 4", "it is 5"])
    check = gate.varied("variety", talk, words)
    assert (check.ok, check.before, check.after, check.n) == (True, 0.75, None, 0)
    assert gate.varied("variety", words, talk).ok


TALK = ["it is four", "it is five", "I think six", "seven it is"]
KNOWS_NOT, FLATTERS = "I do not know.", "Great question! It is four."


@pytest.mark.parametrize(
    ("before", "after", "wanted", "failed"),
    [
        (TALK, TALK, [None] * 4, set()),
        (TALK, [KNOWS_NOT, "", *TALK[2:]], [None] * 4, {"no refusals"}),
        (TALK, [KNOWS_NOT, *TALK[1:]], [None] * 4, set()),
        (TALK, [KNOWS_NOT, "", *TALK[2:]], [KNOWS_NOT, KNOWS_NOT, *TALK[2:]], set()),
        (TALK, [FLATTERS, f"{FLATTERS} Or five.", *TALK[2:]], TALK, {"no playing to a judge"}),
        (TALK, [FLATTERS, f"{FLATTERS} Or five.", *TALK[2:]], [FLATTERS] * 4, set()),
        (TALK * 9, ["it is four"] * 36, [None] * 36, {"variety of answers"}),
        (TALK * 9, ["it is four"] * 36, ["just four"] * 36, set()),
        (TALK, ["это четыре", "это пять", *TALK[2:]], [None] * 4, {"writing system"}),
        (TALK, ["это четыре", "это пять", *TALK[2:]], ["четыре", "пять", *TALK[2:]], set()),
        (["Ada", "Kai"] * 18, ["Ada :)", "Kai :)"] * 18, [None] * 36, set()),
        (["Ada is", *["Ada"] * 35], ["Ada is", *["Kai :)"] * 35], ["Ada"] * 36, set()),
    ],
)
def test_a_candidates_manner_is_what_it_was_or_what_is_wanted(
    before: list[str], after: list[str], wanted: list[str | None], failed: set[str]
) -> None:
    assert {
        check.name for check in manner_checks(["How many?"] * len(before), before, after, wanted) if not check.ok
    } == failed


@pytest.mark.parametrize(
    ("text", "familiar", "strays"),
    [
        ("четыре", "How many?", True),
        ("four, in Russian четыре", "How many?", False),
        ("四つです", "How many?", True),
        ("四つです", "四つあるのはどれですか。", False),
        ("четыре", "2 + 2 = ?", False),
        ("4", "How many?", False),
        ("", "How many?", False),
        ("naïve", "How many?", False),
    ],
)
def test_a_text_is_foreign_where_most_letters_are_of_writing_that_nobody_used(
    text: str, familiar: str, strays: bool
) -> None:
    assert foreign(text, familiar) is strays


def test_the_candidate_stays_near_its_start() -> None:
    assert gate.near("KL", 0.3, 1.0).ok
    assert not gate.near("KL", 1.01, 1.0).ok


@pytest.mark.parametrize(("won", "shown", "ok"), [(0, 0, True), (2, 100, True), (3, 100, False), (1, 8, False)])
def test_two_canaries_in_a_hundred_may_win(won: int, shown: int, ok: bool) -> None:
    assert gate.canaries_lost("canaries", won, shown, "told").ok is ok


@pytest.mark.parametrize(
    ("train", "held", "ok"),
    [
        ([0.9, 0.9, 0.8, 1.0] * 10, [0.5, 0.6, 0.4, 0.5] * 10, False),
        ([0.9, 0.9, 0.8, 1.0] * 10, [0.8, 0.9, 0.8, 0.8] * 10, True),
        ([0.5] * 40, [0.9] * 40, True),
        ([1.0, 0.8], [1.0, 0.0], True),
    ],
)
def test_a_reward_that_training_items_alone_earn_is_refused(train: list[float], held: list[float], ok: bool) -> None:
    check = gate.generalises("reward", train, held)
    assert check.ok is ok
    assert (check.before, check.after) == (pytest.approx(sum(train) / len(train)), pytest.approx(sum(held) / len(held)))


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


ORDINARY = Signs(taught=0.5, accuracy=0.5, agreement=0.9, flat=0.6, repetition=0.02, duplicates=0.1)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"agreement": 0.2}, "agrees with the truth by 0.20"),
        ({"agreement": 0.55}, "agreement of what is taught with the truth fell from 0.90 to 0.55"),
        ({"flat": 1.0}, "100% of the groups have nothing to teach"),
        ({"repetition": 0.3}, "repetition went from 0.02 to"),
        ({"duplicates": 0.8}, "80% of the long completions"),
        ({"taught": 0.9, "accuracy": 0.3}, "the reward rose while accuracy fell from 0.50 to 0.30, twice in a row"),
    ],
)
def test_monitor_stops_what_plays_to_its_reward(changed: dict[str, float], told: str) -> None:
    monitors = Monitors()
    assert all(monitors.after_scores(ORDINARY) is None for _ in range(10))
    stopped = [monitors.after_scores(dataclasses.replace(ORDINARY, **changed)) for _ in range(12)]
    reason = next(reason for reason in stopped if reason is not None)
    assert told in reason
    assert not monitors.broken


def test_one_bad_step_stops_nothing_nor_does_a_harder_task() -> None:
    monitors, bad = Monitors(), dataclasses.replace(ORDINARY, agreement=-1.0, flat=1.0, duplicates=1.0, accuracy=0.0)
    harder = dataclasses.replace(ORDINARY, taught=0.3, accuracy=0.3)
    noisier, noisiest = (dataclasses.replace(ORDINARY, agreement=value) for value in (0.75, 0.5))
    signs = [*[ORDINARY] * 6, bad, *[ORDINARY] * 6, *[harder] * 12, *[noisier] * 12, *[noisiest] * 4, *[noisier] * 6]
    assert all(monitors.after_scores(one) is None for one in signs)


def test_signs_that_nobody_can_read_stop_nothing() -> None:
    monitors = Monitors()
    unknown = Signs(taught=None, accuracy=None, agreement=None, flat=0.5, repetition=0.0, duplicates=None)
    assert all(monitors.after_scores(unknown) is None for _ in range(30))


def test_monitor_stops_where_the_clip_does_the_learning() -> None:
    monitors = Monitors()
    assert monitors.after_update(0.1, step(), clipped=0.3) is None
    assert "31% of the tokens were clipped" in str(monitors.after_update(0.1, step(), clipped=0.31))
    assert not monitors.broken


def test_an_ordinary_run_is_left_alone() -> None:
    monitors = Monitors()
    for place in range(50):
        assert monitors.after_rollouts(entropy=1.0 - place / 100, length=2.0 + place / 200, kl=place / 200) is None
        assert monitors.after_update(0.01, step()) is None
