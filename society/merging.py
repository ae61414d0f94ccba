"""Which free texts of a debate are one: those that members, asked in both orders, have said to be the same.

Doors: `checks_of` (from rows), `merged`. Pure: how a debate stands and how it is reported come from the same records.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from personal_data.records import Review
from society.aggregation.ballot import lot


@dataclass(frozen=True, slots=True)
class Check:
    """One member's word on two answer keys, in the order in which it was shown them."""

    first: str
    second: str
    verdict: str
    likeness: float


def checks_of(reviews: Iterable[Review], keys: Mapping[str, str]) -> list[Check]:
    """The checks that were carried out; `keys`: hypothesis id → answer key."""
    return [
        Check(keys[row.hypothesis_id], row.answer, row.verdict, float((row.flags or {}).get("likeness", 0.0)))
        for row in reviews
        if row.answer is not None and row.hypothesis_id in keys and row.verdict != "absent"
    ]


def merged(votes: Iterable[str | None], checks: Iterable[Check], *, seed: int) -> dict[str, str]:
    """Answer key → the key that it was merged into, of those that were.

    Two are one when somebody said so in each order and nobody denied it. The nearest are merged first; texts that
    somebody has told apart never come together by way of a third one. A group goes by the text that most hold, of
    equal ones by lot.
    """
    said: dict[tuple[str, str], dict[tuple[str, str], set[str]]] = defaultdict(lambda: defaultdict(set))
    near: dict[tuple[str, str], float] = {}
    for check in checks:
        pair = _pair(check.first, check.second)
        said[pair][check.first, check.second].add(check.verdict)
        near[pair] = check.likeness
    denied = {pair for pair, orders in said.items() if any("refuted" in verdicts for verdicts in orders.values())}
    confirmed = [
        pair
        for pair, orders in said.items()
        if pair not in denied and sum("verified" in verdicts for verdicts in orders.values()) == 2
    ]
    groups: dict[str, frozenset[str]] = {}
    for first, second in sorted(confirmed, key=lambda pair: (-near[pair], pair)):
        one, other = groups.get(first, frozenset({first})), groups.get(second, frozenset({second}))
        if not any(_pair(a, b) in denied for a in one for b in other):
            groups |= dict.fromkeys(one | other, one | other)
    held = Counter(votes)
    into = {group: min(group, key=lambda key: (-held[key], lot(seed, key))) for group in set(groups.values())}
    return {key: into[group] for key, group in sorted(groups.items()) if into[group] != key}


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)
