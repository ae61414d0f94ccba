"""When the rest need not be asked: the lead is larger than what they can add together (3.9).

Door: `needed`, asked after each answer of the blind round; members are best asked in the order of `by_weight`. Weights
must stand before the votes come: `Selected.weights` has them, or says that there are none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot


def needed(votes: Mapping[str, str | None], outstanding: Iterable[str], weights: Mapping[str, float]) -> bool:
    """Whether the members `outstanding` can still change which answer leads.

    They cannot once lead = s_1 - s_2 > sum of their |w|, where s_2 is at least 0: they may agree on an answer that
    nobody gave yet. Less than 1e-9 more is no lead, as in `ballot.ranked`. `weights`: a number a member
    (`Selected.weights`). Raises InvalidInput for a member without one: whoever is not weighed could change anything.
    """
    outstanding = tuple(outstanding)
    for member in (*votes, *outstanding):
        if member not in weights:
            raise InvalidInput(f"{member} has no weight", param="weights")
    scores = [math.fsum(weights[member] for member in members) for members in Ballot(votes).supporters().values()]
    first, second, *_ = [*sorted(scores, reverse=True), 0.0, 0.0]
    left = [abs(weights[member]) for member in outstanding]
    return bool(left) and first - max(second, 0.0) <= math.fsum(left) + 1e-9


def by_weight(members: Iterable[str], weights: Mapping[str, float]) -> tuple[str, ...]:
    """The members in the order to ask them: those that can settle the question first; ties by id."""
    return tuple(sorted(members, key=lambda member: (-abs(weights.get(member, 0.0)), member)))
