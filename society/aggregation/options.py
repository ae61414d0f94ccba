"""How many answers there are to be wrong with: K_eff of open questions, and the mass of "none of these" (3.3)."""

from __future__ import annotations

import numpy as np

from society.aggregation.table import Floats, Integers, Table, by_question

UNSEEN = 1.0
"""The least number of unseen answers that an open question keeps: K_eff is an average over questions, so one with as
many answers as that, or more, may still have another."""


def effective_options(table: Table, *, smoothing: float = 1.0) -> float:
    """K_eff = 1 + 1/s, s = P(two wrong answers to one question are the same wrong answer).

    s is counted over pairs of members who were both wrong, (same + a) / (pairs + 2a) with a = `smoothing`; without any
    pair and with a = 1 that is K_eff 3. Only pairs of different lineages count when there are several: clones repeat
    one mistake, which says nothing of how many there are to make. Infinite with a = 0 when no pair ever agreed.
    """
    same, pairs = _pairs(table, np.zeros(len(table.members), dtype=np.int64))
    if len(table.lineages) > 1:
        inside, of_them = _pairs(table, table.lineage + 1)
        same, pairs = same - inside, pairs - of_them
    share = (same + smoothing) / (pairs + 2 * smoothing) if pairs + smoothing > 0 else 0.0
    return 1 + 1 / share if share > 0 else float("inf")


def none_mass(table: Table, k_eff: float) -> Floats:
    """(Q,) ln of how many answers nobody gave: ln(K - |C|), minus infinity where a closed question has none left.

    For open questions K is K_eff and the count is at least UNSEEN.
    """
    unseen = np.where(
        np.isnan(table.options), np.maximum(k_eff - table.answers, UNSEEN), np.maximum(table.options - table.answers, 0)
    )
    with np.errstate(divide="ignore"):
        mass: Floats = np.log(unseen)
    return mass


def wrong_choices(table: Table, k_eff: float) -> Floats:
    """(Q,) ln(K - 1): the log of how many ways to be wrong a question has."""
    count: Floats = np.log(np.where(np.isnan(table.options), k_eff, table.options) - 1)
    return count


def _pairs(table: Table, group: Integers) -> tuple[float, float]:
    """Pairs of wrong members of one group: how many with the same answer, how many at all. The groups partition M."""
    same = pairs = 0.0
    wrong = table.votes * ~table.right[:, None]
    for number in np.unique(group):
        count = wrong[:, group == number].sum(axis=1)
        total = by_question(table, count)
        same += float((count * (count - 1)).sum() / 2)
        pairs += float((total * (total - 1)).sum() / 2)
    return same, pairs
