"""What a society learns of its members: which questions became clear, and who had answered what.

Doors: `resolve` (a debate's outcome is known), `bring_in` (questions resolved elsewhere, in bulk), `Learning.of`. Keys
of answers are kept and no text; what is learnt is computed anew from these rows, so nothing can be out of step with
them. A debate looks at what was known when it was asked: run again after a crash, it decides the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.errors import Conflict
from personal_data.records import Agent, Debate, Model, ResolvedQuestion, Society, now
from society.aggregation import selector
from society.aggregation.ballot import Ballot, Resolved, Reviews
from society.aggregation.selector import Selected
from society.canonical import answer_key, key_of
from society.standing import Standing, standing_of
from society.state import CLOSED, OPINION
from society.trust import Ledger

MOST = 5_000
"""Of the newest resolved questions so many count."""
_REFIT = 20
"""Resolved questions that may come in before what was learnt from those before is computed anew."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A question that was resolved elsewhere: the right answer, and each member's by its agent's id; None abstained."""

    question: str
    right: str
    answers: Mapping[str, str | None]
    topic: str = "general"


def resolve(session: Session, debate: Debate, right: str) -> None:
    """The asker says what was right; said again, the last word counts. Of free texts (`open`) it is one that was
    given, or nothing can be compared with it and nothing is learnt.

    Raises:
        Conflict: it was a question of opinion, which has no right answer.
    """
    if debate.kind == OPINION:
        raise Conflict("a question of opinion has no right answer: no outcome, and nothing to learn whom to trust from")
    free = debate.kind != CLOSED
    standing = standing_of(session, debate)
    session.execute(delete(ResolvedQuestion).where(ResolvedQuestion.source == debate.id))
    key = key_of(right, free=free) or ""
    key = standing.merged.get(key, key)
    if free and key not in standing.wording:
        return
    session.add(
        ResolvedQuestion(
            society_id=debate.society_id,
            source=debate.id,
            topic=debate.topic,
            right=key,
            votes=_votes(standing),
            reviews={key: {"verified": one.verified, "refuted": one.refuted} for key, one in standing.reviews.items()},
        )
    )


def bring_in(session: Session, society_id: str, questions: Sequence[Brought]) -> int:
    """Learn from questions that were resolved elsewhere; how many were new."""
    rows = {
        hashlib.sha256(f"{one.topic}\0{one.question}".encode(errors="surrogatepass")).hexdigest(): one
        for one in questions
    }
    known = select(ResolvedQuestion.source).where(ResolvedQuestion.society_id == society_id)
    new = rows.keys() - set(session.scalars(known.where(ResolvedQuestion.source.in_(rows))))
    at = now()
    for source in (source for source in rows if source in new):
        one = rows[source]
        votes = {member: {"key": _key(answer)} for member, answer in one.answers.items()}
        right = answer_key(one.right)
        session.add(
            ResolvedQuestion(
                society_id=society_id, source=source, topic=one.topic, right=right, votes=votes, created_at=at
            )
        )
    return len(new)


def resolved_rows(session: Session, society_id: str, *, until: float) -> list[ResolvedQuestion]:
    """The society's resolved questions up to a moment, oldest first."""
    query = select(ResolvedQuestion).where(
        ResolvedQuestion.society_id == society_id, ResolvedQuestion.created_at <= until
    )
    rows = session.scalars(query.order_by(ResolvedQuestion.created_at.desc(), ResolvedQuestion.id.desc()).limit(MOST))
    return list(reversed(rows.all()))


@dataclass(frozen=True, slots=True)
class Learned:
    """The rule that decides in a society, and how far each member's word goes with the adapter that it has now."""

    rule: Selected
    resolved: int
    ledger: Ledger
    revisions: Mapping[str, Sequence[str]]
    """Of each agent with a record, its adapters of that record, the newest first."""

    def trust(self, agent_id: str, topic: str = "") -> float:
        """How probable it is that an agent is right when it answers; a half for one without a record."""
        return self.ledger.reliability(agent_id, self.revisions.get(agent_id, ()), topic=topic)

    def known(self, agent_id: str) -> bool:
        """Whether it has a record."""
        return agent_id in self.revisions


def topics(session: Session, society_id: str) -> list[str]:
    """The topics of its resolved questions."""
    query = select(ResolvedQuestion.topic).where(ResolvedQuestion.society_id == society_id).distinct()
    return sorted(session.scalars(query))


class Learning:
    """What was learnt of each society's members, kept until enough has come in to learn it anew."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, Learned]] = {}
        self._lock = Lock()

    def of(self, session: Session, society_id: str, *, until: float) -> Learned:
        """By the questions that were resolved up to a moment, in whole steps of how many come in."""
        query = select(func.count()).where(
            ResolvedQuestion.society_id == society_id, ResolvedQuestion.created_at <= until
        )
        count = session.scalar(query) or 0
        lineages, live = _agents(session)
        step = count if count < _REFIT else count - count % _REFIT
        state = step, frozenset(lineages.items()), frozenset(live.items())
        with self._lock:
            kept = self._kept.get(society_id)
            if kept is not None and kept[0] == state:
                return kept[1]
        rows = resolved_rows(session, society_id, until=until)[:step]
        rule = selector.select([_resolved(row) for row in rows], lineages, seed=0)
        found = Learned(rule, step, *_ledger(rows, live))
        with self._lock:
            self._kept[society_id] = state, found
        return found

    def prepare(self, database: Database, slug: str) -> None:
        """Learn what is to be learnt of a society before a transaction waits for it; an unknown one is nobody's."""
        with database.reading() as session:
            society_id = session.scalar(select(Society.id).where(Society.slug == slug))
            if society_id is not None:
                self.of(session, society_id, until=now())


def _agents(session: Session) -> tuple[dict[str, str], dict[str, str]]:
    """The lineage of every agent's model, and its adapter, as they are now."""
    query = select(Agent.id, Model.lineage, Agent.live_version_id).join(Model, Agent.model == Model.name)
    rows = session.execute(query).tuples().all()
    return {agent: lineage for agent, lineage, _ in rows}, {agent: version or "" for agent, _, version in rows}


def _ledger(rows: Sequence[ResolvedQuestion], live: Mapping[str, str]) -> tuple[Ledger, dict[str, Sequence[str]]]:
    ledger, last = Ledger(), dict[str, dict[str, int]]()
    for number, row in enumerate(rows):
        for agent, vote in row.votes.items():
            if vote["key"] is not None:
                revision = vote.get("revision") or ""
                ledger = ledger.observed(agent, revision, right=vote["key"] == row.right, topic=row.topic)
                last.setdefault(agent, {})[revision] = number
    for agent, seen in last.items():
        seen[live.get(agent, "")] = len(rows)  # the present adapter comes first, proven or not
    return ledger, {agent: sorted(seen, key=lambda one: -seen[one]) for agent, seen in last.items()}


def _resolved(row: ResolvedQuestion) -> Resolved:
    votes = {member: vote["key"] for member, vote in row.votes.items()}
    confidences = {
        member: vote["confidence"] for member, vote in row.votes.items() if vote.get("confidence") is not None
    }
    reviews = {key: Reviews(**counts) for key, counts in (row.reviews or {}).items()}
    right = row.right if row.right in votes.values() else None
    return Resolved(Ballot(votes, confidences, topic=row.topic, reviews=reviews), right)


def _votes(standing: Standing) -> dict[str, dict[str, Any]]:
    return {
        member: {"key": key, "confidence": standing.confidences.get(member), "revision": standing.revisions.get(member)}
        for member, key in standing.votes.items()
    }


def _key(answer: str | None) -> str | None:
    return None if answer is None else answer_key(answer) or None
