"""K_eff and the mass of none of these (3.3)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from society.aggregation.ballot import Ballot, Resolved
from society.aggregation.options import effective_options, none_mass
from society.aggregation.table import one, tabulate
from tests.society.aggregation.committees import gsm8k, independent


def test_the_share_of_same_mistakes_gives_the_number_of_mistakes() -> None:
    history = [
        Resolved(Ballot({"a": "1", "b": "1", "c": "2"}), "9"),  # 3 wrong pairs, 1 the same
        Resolved(Ballot({"a": "9", "b": "1", "c": "2"}), "9"),  # 1 wrong pair
    ]
    table = tabulate(history, {})
    assert effective_options(table, smoothing=0) == pytest.approx(1 + 4)
    assert effective_options(table) == pytest.approx(1 + 6 / 2)  # Laplace: (1 + 1) / (4 + 2)
    assert effective_options(tabulate([], {})) == pytest.approx(3)
    assert effective_options(tabulate([], {}), smoothing=0) == math.inf


def test_clones_of_one_lineage_do_not_look_like_a_small_world() -> None:
    history = independent([0.5, 0.5, 0.5], 2000, seed=1, ways=8)
    crowd = [
        Resolved(
            Ballot({**case.ballot.votes, **{f"clone-{n}": case.ballot.votes["member-0"] for n in range(7)}}), case.right
        )
        for case in history
    ]
    lineages = {"member-0": "base"} | {f"clone-{n}": "base" for n in range(7)}
    assert effective_options(tabulate(history, {})) == pytest.approx(9, rel=0.15)
    assert effective_options(tabulate(crowd, lineages)) == pytest.approx(9, rel=0.2)


def test_mass_of_none_of_these() -> None:
    votes = {"a": "1", "b": "2", "c": "2"}
    assert none_mass(one(Ballot(votes), {}), 10.4)[0] == pytest.approx(math.log(8.4))
    assert none_mass(one(Ballot(votes), {}), 2.2)[0] == 0  # one unseen answer is always possible
    assert none_mass(one(Ballot(votes, options=4), {}), 10.4)[0] == pytest.approx(math.log(2))
    assert none_mass(one(Ballot(votes, options=2), {}), 10.4)[0] == -np.inf


def test_four_released_models() -> None:
    table = tabulate(gsm8k(), {})
    assert effective_options(table, smoothing=0) - 1 == pytest.approx(9.4113, abs=5e-5)
    pairs = [
        (case.ballot.votes["6b_verification"], case.ballot.votes["175b_verification"], case.right) for case in gsm8k()
    ]
    wrong = [(one, other) for one, other, right in pairs if right not in (one, other)]
    assert (sum(one == other for one, other in wrong), len(wrong)) == (103, 498)
    assert sum(None not in pair for pair in wrong) == 497  # one of the 498 gave no answer at all
