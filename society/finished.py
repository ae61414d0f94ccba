"""Finished debates as what can be counted: keys of answers, who held them, what came out; never a text.

Door: `finished`. What is measured of a society (`health.py`), and what its debates teach a member, is counted from this
and from nothing else. An answer that was erased is missing here, and so is the outcome where the verdict was erased:
neither is right or wrong any more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from personal_data.records import Debate, Position, ResolvedQuestion, Verdict
from society.rounds import AGAIN, BLIND
from society.standing import UNFOUNDED


@dataclass(frozen=True, slots=True)
class Again:
    """What a member held when it had solved the question again, and why (`Position.reason`)."""

    key: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Finished:
    """One debate. Members are agent ids; answers are keys, None for a member that abstained; who was absent, or whose
    answer was erased, is in none of the mappings."""

    id: str
    kind: str
    seed: int
    blind: Mapping[str, str | None]
    again: Mapping[str, Again]
    """Of those that were asked again and gave an answer."""
    lineages: Mapping[str, str]
    confidences: Mapping[str, float]
    """Of blind answers, where a member thought several times."""
    chosen: str | None
    """The society's answer; None: it gave none."""
    confidence: float | None
    none: float | None
    """What the society gave for the chance that every answer is wrong."""
    degraded: bool
    trusted_share: float | None
    """How much of the panel's trust was heard."""
    calls: int | None
    right: str | None
    """The right answer, empty where it is none that can be compared; None: the outcome is not known."""

    def modes(self) -> list[str]:
        """The answers that most gave in the blind round; none where nobody answered."""
        held = Counter(key for key in self.blind.values() if key is not None)
        return [key for key, number in held.items() if number == max(held.values())]

    def held(self, member: str) -> str | None:
        """What a member holds in the end: a change without a reason that it could have seen counts as none."""
        again = self.again.get(member)
        return self.blind.get(member) if again is None or again.reason == UNFOUNDED else again.key


def finished(session: Session, condition: ColumnElement[bool], *, most: int) -> list[Finished]:
    """The newest `most` debates with a verdict that meet a condition on `Debate`, or on the `ResolvedQuestion` that it
    became where its outcome is known; oldest first."""
    outcome = and_(ResolvedQuestion.society_id == Debate.society_id, ResolvedQuestion.source == Debate.id)
    query = (
        select(Debate.id, Debate.kind, Debate.seed, Verdict, ResolvedQuestion.id, ResolvedQuestion.right)
        .join(Verdict, Verdict.debate_id == Debate.id)
        .outerjoin(ResolvedQuestion, outcome)
        .where(Debate.state == "done", condition)
        .order_by(Debate.created_at.desc(), Debate.id.desc())
        .limit(most)
    )
    rows = session.execute(query).all()
    said = _said(session, [debate_id for debate_id, *_ in rows])
    return [_finished(row, said[row[0]]) for row in reversed(rows)]


_COLUMNS = (
    Position.id,
    Position.debate_id,
    Position.round,
    Position.agent_id,
    Position.status,
    Position.answer_key,
    Position.reason,
    Position.confidence,
    Position.lineage,
)


def _said(session: Session, debate_ids: Sequence[str]) -> Mapping[str, list[Any]]:
    said: dict[str, list[Any]] = defaultdict(list)
    query = select(*_COLUMNS).where(Position.debate_id.in_(debate_ids), Position.round.in_((BLIND, AGAIN)))
    for row in session.execute(query.order_by(Position.agent_id)):
        said[row.debate_id].append(row)
    return said


def _finished(row: Any, said: Sequence[Any]) -> Finished:
    debate_id, kind, seed, verdict, resolved, right = row
    erased = {_erased_key(one.id) for one in said}
    told = [one for one in said if one.status != "absent" and one.answer_key not in erased]
    blind = [one for one in told if one.round == BLIND]
    known = resolved is not None and verdict.answer_key not in erased
    return Finished(
        id=debate_id,
        kind=kind,
        seed=seed,
        blind={one.agent_id: one.answer_key for one in blind},
        again={
            one.agent_id: Again(one.answer_key, one.reason)
            for one in told
            if one.round == AGAIN and one.answer_key is not None
        },
        lineages={one.agent_id: one.lineage for one in blind},
        confidences={one.agent_id: one.confidence for one in blind if one.confidence is not None},
        chosen=verdict.answer_key,
        confidence=verdict.confidence,
        none=verdict.none_of_these,
        degraded=verdict.degraded,
        trusted_share=verdict.coverage.get("trusted_share"),
        calls=(verdict.cost or {}).get("calls"),
        right=(right or "") if known else None,
    )


def _erased_key(position_id: str) -> str:
    """The key that `personal_data.erasure` leaves in the place of an answer."""
    return f"erased:{position_id}"
