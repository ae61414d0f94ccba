"""How a debate stands, read from its records alone: what each member holds, and what became of each hypothesis.

Door: `standing_of`. A member's last position counts; one that left what it held before without a reason that it could
have seen (a verified hypothesis, or its own one refuted) counts as the one before. A hypothesis is refuted for good
when every argument for it claims something that a machine finds not to hold, or when it is not what the question itself
comes to (`checks/`); a review that claims such a thing tells nothing. Of a question without a canonical answer, texts
that were found to be one count as one, and nothing is refuted: members rank what is left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.records import Debate, Hypothesis, Position, Review
from society.aggregation.ballot import Ballot, Reviews
from society.canonical import answer_key
from society.merging import checks_of, merged
from society.state import CLOSED, Status

RANKING = 2
"""The round of positions that hold rankings and no answer."""
UNFOUNDED = "unfounded"
Stage = Literal["blind", "reviewed", "settled"]
BLIND: Stage = "blind"
REVIEWED: Stage = "reviewed"
SETTLED: Stage = "settled"


@dataclass(frozen=True, slots=True)
class Standing:
    """Members are agent ids; a vote that is None abstained; who is absent has none."""

    votes: Mapping[str, str | None]
    wording: Mapping[str, str]
    """Answer key → the answer as its first supporter put it."""
    lineages: Mapping[str, str]
    confidences: Mapping[str, float]
    revisions: Mapping[str, str | None]
    """The adapter version that each answered with."""
    absent: Mapping[str, str]
    """Member → cause."""
    reviews: Mapping[str, Reviews]
    """Answer key → lineages that verified it, and that refuted it."""
    ruled_out: frozenset[str]
    """Answer keys that a machine has refuted."""
    calls: int
    completion_tokens: int | None
    merged: Mapping[str, str] = field(default_factory=dict)
    """Answer key → the key that it counts as."""
    rankings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Member → answer keys, best first; not of those that could not rank."""

    def ballot(self, topic: str) -> Ballot:
        """As the rules of aggregation take it."""
        return Ballot(self.votes, self.confidences, topic=topic, reviews=self.reviews, ruled_out=self.ruled_out)

    def supporters(self, key: str) -> list[str]:
        """Who holds an answer."""
        return sorted(member for member, vote in self.votes.items() if vote == key)

    def status(self, key: str) -> Status:
        """What became of an answer."""
        if key in self.merged:
            return "merged"
        if key in self.ruled_out:
            return "refuted"
        found = self.reviews.get(key, Reviews())
        if found.verified == found.refuted:
            return "open"
        return "verified" if found.verified > found.refuted else "refuted"


def standing_of(session: Session, debate: Debate, stage: Stage = SETTLED) -> Standing:
    """How it stands at a stage: after the blind round, after the reviews, or when all is said."""
    query = select(Position).where(Position.debate_id == debate.id).order_by(Position.round, Position.agent_id)
    if stage != SETTLED:
        query = query.where(Position.round == 0)
    positions = list(session.scalars(query.with_for_update(read=True)))  # who erases an answer waits
    reviews: list[Review] = []
    if stage != BLIND:
        reviews = list(session.scalars(select(Review).where(Review.debate_id == debate.id).order_by(Review.agent_id)))
    held = _held([row for row in positions if row.round != RANKING])
    answered = {member: row for member, row in held.items() if row.status == "answered"}
    spoken: list[Position | Review] = [*positions, *reviews]
    tokens = [row.completion_tokens for row in spoken]
    votes = {member: row.answer_key for member, row in sorted(held.items()) if row.status != "absent"}
    wording = _wording(answered)
    free = debate.kind != CLOSED
    one = merged_of(session, debate, votes.values(), reviews) if free else {}
    return Standing(
        votes={member: one.get(key, key) if key is not None else None for member, key in votes.items()},
        wording={key: answer for key, answer in wording.items() if key not in one},
        lineages={member: row.lineage for member, row in held.items()},
        confidences={member: row.confidence for member, row in answered.items() if row.confidence is not None},
        revisions={member: row.adapter_version_id for member, row in held.items()},
        absent={member: row.cause or "error" for member, row in sorted(held.items()) if row.status == "absent"},
        reviews={} if free else _reviewed(session, debate, reviews, _blind(positions)),
        ruled_out=frozenset() if free else _ruled_out(answered.values()),
        calls=sum((row.flags or {}).get("calls", 1) for row in spoken),
        completion_tokens=None if None in tokens else sum(count for count in tokens if count is not None),
        merged=one,
        rankings={
            row.agent_id: tuple(row.alternatives or ())
            for row in positions
            if row.round == RANKING and row.status == "answered"
        },
    )


def merged_of(
    session: Session, debate: Debate, votes: Iterable[str | None], reviews: Iterable[Review]
) -> dict[str, str]:
    """Answer key → the key that it was merged into (`merging.merged`)."""
    return merged(votes, checks_of(reviews, _keys(session, debate)), seed=debate.seed)


def _held(positions: list[Position]) -> dict[str, Position]:
    held: dict[str, Position] = {}
    for row in positions:
        if row.round == 0 or (row.status == "answered" and row.reason != UNFOUNDED):
            held[row.agent_id] = row
    return held


def _wording(answered: Mapping[str, Position]) -> dict[str, str]:
    wording: dict[str, str] = {}
    for _, row in sorted(answered.items()):
        if row.answer_key is not None:
            wording.setdefault(row.answer_key, row.answer or row.answer_key)
    return wording


def _blind(positions: list[Position]) -> dict[str, str | None]:
    return {row.agent_id: row.answer_key for row in positions if row.round == 0}


def _reviewed(
    session: Session, debate: Debate, reviews: list[Review], blind: Mapping[str, str | None]
) -> dict[str, Reviews]:
    """Counted by lineage: near-clones check alike. Who finds again what they had said in the blind round tells nothing
    new, be it for the hypothesis or against it: that vote is counted already. Nor does who claims what does not
    hold."""
    keys = _keys(session, debate)
    said: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in reviews:
        if row.answer is not None and answer_key(row.answer) == blind.get(row.agent_id):
            continue
        if not _holds(row):
            continue
        said[keys[row.hypothesis_id]][row.verdict].add(row.lineage)
    return {key: Reviews(len(found["verified"]), len(found["refuted"])) for key, found in sorted(said.items())}


def _keys(session: Session, debate: Debate) -> dict[str, str]:
    query = select(Hypothesis.id, Hypothesis.key).where(Hypothesis.debate_id == debate.id)
    return dict(session.execute(query).tuples().all())


def _ruled_out(answered: Iterable[Position]) -> frozenset[str]:
    """Answers none of whose arguments holds, or that are not what the question comes to."""
    sound: dict[str, list[bool]] = defaultdict(list)
    for row in answered:
        if row.answer_key is not None:
            sound[row.answer_key].append(_holds(row))
    return frozenset(key for key, arguments in sound.items() if not any(arguments))


def _holds(row: Position | Review) -> bool:
    """Whether a machine has found nothing against it; where it could tell the answer itself, nothing else counts."""
    checks = checks_in(row)
    return all(one["passed"] for one in [one for one in checks if one["of_question"]] or checks)


def checks_in(row: Position | Review) -> list[dict[str, Any]]:
    """What a machine found in it, as it was stored: see `checks.check.Check`."""
    return list((row.flags or {}).get("checks", ()))
