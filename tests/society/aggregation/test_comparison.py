"""Every rule on the same questions: the golden numbers of 3.10 and 5.1, and what can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot, Resolved
from society.aggregation.comparison import Compared, compare
from society.aggregation.scores import Score
from tests.society.aggregation.committees import gsm8k, independent

FOLDS = 5


def by_rule(
    history: Sequence[Resolved], *, folds: int = FOLDS, lineages: Mapping[str, str] | None = None
) -> dict[str, Compared]:
    found = compare(history, fold=[place % folds for place in range(len(history))], lineages=lineages)
    return {one.rule: one for one in found}


def scores(found: Mapping[str, Compared]) -> dict[str, Score]:
    return {name: one.score for name, one in found.items() if one.score is not None}


def test_four_released_models() -> None:
    history = gsm8k()
    order = np.random.default_rng(0).permutation(len(history))
    found = by_rule([history[place] for place in order])
    measured = scores(found)
    right = {name: (one.accuracy.value or 0.0) * one.accuracy.of for name, one in measured.items()}
    assert {one.accuracy.of for one in measured.values()} == {1319}
    assert right["plurality, ties by lot"] == pytest.approx(7627 / 12)
    assert right["plurality, lineages capped"] == pytest.approx(743), "all ties to the best model"
    assert right["oracle"] == pytest.approx(887)
    assert right["best member by its record"] == pytest.approx(742, abs=1), "another one answers where it does not"
    golden = {"log-odds": 0.5633, "conditional logit": 0.5686, "selector": 0.5641}
    assert {name: right[name] / 1319 for name in golden} == pytest.approx(golden, abs=0.004)
    assert measured["conditional logit"].ece is not None and measured["conditional logit"].ece <= 0.05
    assert measured["plurality, ties by lot"].ece is not None and measured["plurality, ties by lot"].ece > 0.1
    lacking = {name: one.lacks for name, one in found.items() if one.score is None}
    assert set(lacking) == {
        "ReConcile", "Dawid-Skene, full", "log pool", "product of odds", "extremised mean", "surprisingly popular",
        "Borda", "Schulze",
    }  # fmt: skip
    assert lacking["ReConcile"] == "a confidence with every answer (1,319 questions are without)"


def test_agreement_alone_comes_near_to_outcomes_on_released_models() -> None:
    """One-coin Dawid-Skene is about log-odds (3.6), once it knows how many answers there are to be wrong with."""
    measured = scores(by_rule(gsm8k()))
    coin, odds = (measured[name].accuracy.value or 0.0 for name in ("Dawid-Skene, one coin", "log-odds"))
    assert coin == pytest.approx(odds, abs=0.01)


def test_declared_clones_are_capped_and_undeclared_ones_found_out() -> None:
    history = gsm8k(clones=7)
    declared = {member: member.partition(" clone ")[0] for member in history[0].ballot.votes}
    measured = scores(by_rule(history, lineages=declared))
    value = {name: one.accuracy.value or 0.0 for name, one in measured.items()}
    assert value["plurality, ties by lot"] < value["plurality, lineages capped"] < value["conditional logit"]
    assert value["conditional logit"] >= 0.5625 - 0.01


def test_no_rule_has_seen_the_outcome_of_what_it_is_scored_on() -> None:
    """Of two members each is right in the fold that the other one is judged by, so any record misleads."""
    history = [Resolved(Ballot({"a": f"{n} a", "b": f"{n} b"}), f"{n} a" if n % 2 else f"{n} b") for n in range(160)]
    measured = scores(by_rule(history, folds=2))
    misled = ["log-odds", "conditional logit", "selector", "best member by its record", "plurality, lineages capped"]
    assert {name: measured[name].accuracy.value for name in misled} == dict.fromkeys(misled, 0.0)
    assert measured["oracle"].accuracy.value == 1.0
    assert measured["plurality, ties by lot"].accuracy.value == 0.5


def confident(votes: Mapping[str, str], stated: Mapping[str, float], right: str, **more: int) -> Resolved:
    return Resolved(Ballot(votes, stated, **more), right)


def test_stated_confidences_let_rules_be_tried_that_need_them() -> None:
    """ReConcile's own example (3.4): one sure voice of 1 outweighs .85 and .7; and three that say .7 (3.9)."""
    sure = confident({"a": "yes", "b": "no", "c": "no"}, {"a": 1.0, "b": 0.85, "c": 0.7}, "yes", options=2)
    alike = confident({"a": "yes", "b": "yes", "c": "yes"}, dict.fromkeys("abc", 0.7), "yes", options=2)
    measured = scores(by_rule([sure, alike], folds=2))
    value = {name: one.accuracy.value for name, one in measured.items()}
    assert (value["ReConcile"], value["plurality, ties by lot"]) == (1.0, 0.5)
    assert measured["ReConcile"].brier == pytest.approx(((1 / 1.8 - 1) ** 2 + 0) / 2)
    # For yes: .99 (a certainty is held there), .15 and .3 on the first question; on the second the pools of .7.
    odds = [99.0, 0.15 / 0.85, 0.3 / 0.7]
    product = float(np.prod(odds))
    claimed = {
        "log pool": (product ** (1 / 3), 0.7),
        "product of odds": (product, 0.927027),
        "extremised mean": (product ** (2.5 / 3), 0.892664),
    }
    for name, (first, second) in claimed.items():
        expected = ((first / (1 + first) - 1) ** 2 + (second - 1) ** 2) / 2
        assert (value[name], measured[name].brier) == (1.0, pytest.approx(expected, abs=1e-6))


def test_one_vote_without_a_confidence_keeps_them_out() -> None:
    whole = confident({"a": "yes", "b": "no"}, {"a": 0.9, "b": 0.6}, "yes")
    abstains = replace(whole, ballot=Ballot({"a": "yes", "b": None}, {"a": 0.9}))
    mute = replace(whole, ballot=Ballot({"a": "yes", "b": "no"}, {"a": 0.9}))
    assert by_rule([whole, abstains], folds=2)["ReConcile"].score is not None
    for name in ("ReConcile", "log pool", "product of odds", "extremised mean"):
        found = by_rule([whole, abstains, mute], folds=2)[name]
        assert (found.score, found.lacks) == (None, "a confidence with every answer (1 questions are without)")


def test_questions_with_the_same_few_options_have_a_confusion_matrix() -> None:
    """Two say yes whatever is asked: a matrix a member finds it out without any outcome, a coin or a vote does not."""
    draw = np.random.default_rng(0)
    history = [Resolved(Ballot({"a": None}), "yes")]
    for number in range(299):
        right, wrong = ("yes", "no") if number % 2 else ("no", "yes")
        votes = {member: right if draw.random() < 0.85 else wrong for member in "abc"}
        history.append(Resolved(Ballot(votes | {"d": "yes", "e": "yes"}), right))
    measured = scores(by_rule(history))
    value = {name: one.accuracy.value or 0.0 for name, one in measured.items()}
    assert value["Dawid-Skene, full"] >= 0.9 > 0.8 > value["plurality, ties by lot"]
    assert value["Dawid-Skene, one coin"] < 0.5 + 0.01, "yes to everything"
    assert measured["Dawid-Skene, full"].forecasts == 299, "silence claims nothing"


def test_answers_that_differ_from_question_to_question_have_none() -> None:
    found = by_rule(independent([0.7, 0.6, 0.6], 120, seed=0))
    assert found["Dawid-Skene, full"].lacks == "the same few options in every question"
    assert found["Dawid-Skene, one coin"].score is not None


def test_nobody_answered() -> None:
    history = [Resolved(Ballot({"a": None, "b": None}), None) for _ in range(4)]
    for name, one in scores(by_rule(history, folds=2)).items():
        assert (one.accuracy.value, one.brier, one.forecasts) == (0.0, None, 0), name


@pytest.mark.parametrize("fold", [[0, 0, 0], [0, 1]])
def test_folds_must_fit(fold: list[int]) -> None:
    with pytest.raises(InvalidInput, match="fold"):
        compare(independent([0.7, 0.6], 3, seed=0), fold=fold)
