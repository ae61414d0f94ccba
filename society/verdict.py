"""From positions to hypotheses, from hypotheses to a verdict: by rule, never by a model.

Doors: `cluster` (hypotheses as rows), `enough` (whether there is more to ask), `contested` (which hypotheses are
cross-examined, and by whom), `conclude` (the verdict, in the transaction that closes the job). All of it is a function
of records, the plan and the debate's seed: run again, it comes out the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.records import Debate, Hypothesis, Verdict, now
from society.aggregation.ballot import Posterior, Reviews
from society.aggregation.plurality import decision
from society.aggregation.stopping import needed
from society.choice import choose
from society.learning import resolve
from society.room import Room
from society.standing import SETTLED, Stage, Standing, standing_of
from society.state import CLOSED, Decision, ReviewSeat, Vote

REVIEWERS = 2
"""Members that check a hypothesis without holding it; one who holds it checks too, where there is one."""
MOST_CONTESTED = 4
SOLO = 2
"""Members of whom the first is trusted as much as a society is to be sure: it, and one that checks it blindly."""
FULL_COVERAGE = 0.7
"""Below this share of the panel's trust heard, a report is `degraded`: flagged, and no more confident than it."""


def decide(room: Room, standing: Standing) -> Decision:
    """What the society's rule makes of how the debate stands; of free texts, what `choice` does."""
    if room.debate.kind != CLOSED:
        return choose(room, standing)
    found = room.learned.rule.decide(standing.ballot(room.debate.topic), standing.lineages, seed=room.debate.seed)
    if found.tie is not None:
        found = _settled_by_reviews(found, standing)
    votes = [
        Vote(member, standing.lineages[member], key, standing.wording.get(key or ""))
        for member, key in standing.votes.items()
    ]
    return replace(decision(votes, found), none=found.none)


def _settled_by_reviews(found: Posterior, standing: Standing) -> Posterior:
    """Of equal answers the one that most reviewers verified, less those that refuted it; the rule's own order stays
    where they say nothing."""
    first = next(iter(found.probabilities.values()))
    equal = [key for key, probability in found.probabilities.items() if probability == first]
    said = {key: standing.reviews.get(key, Reviews()) for key in equal}
    margin = {key: one.verified - one.refuted for key, one in said.items()}
    best = [key for key in equal if margin[key] == max(margin.values())]
    if len(best) > 1 or len(equal) == 1:
        return found
    order = [*best, *(key for key in found.probabilities if key not in best)]
    probabilities = {key: found.probabilities[key] for key in order}
    return replace(found, probabilities=probabilities, choice=best[0], tie=f"tie of {len(equal)} answers, by reviews")


def enough(room: Room, standing: Standing, decided: Decision, outstanding: Sequence[str] = ()) -> str | None:
    """Why nothing more needs to be asked; None where it does."""
    if decided.winner is None:
        return None if outstanding else "nobody answered"
    holders = decided.winner.supporters
    if not outstanding and len(decided.clusters) == 1:
        return "all agree" if len(holders) > 1 else "nothing is contested"
    if outstanding and room.solo and len(decided.clusters) == 1 and len(holders) == SOLO:
        return "the asker's own agent is trusted and a checker agrees"
    independent = len({standing.lineages[member] for member in holders}) > 1 or room.learned.resolved > 0
    if decided.winner.posterior >= room.plan.sure and len(holders) > 1 and independent:
        return "sure"
    if outstanding and _unassailable(room, standing, outstanding):
        return "the others cannot change it"
    return None


def _unassailable(room: Room, standing: Standing, outstanding: Sequence[str]) -> bool:
    members = [*standing.votes, *outstanding]
    weights = room.learned.rule.weights(members, standing.lineages, topic=room.debate.topic)
    return weights is not None and not needed(standing.votes, outstanding, weights)


def waves(room: Room, panel: Sequence[str]) -> list[list[str]]:
    """In which groups the panel is asked: all at once; or first the asker's own agent and one other, where that one is
    trusted so much; or, to be thrifty, halves of what is left, the most trusted first. Free texts are ranked when all
    are there."""
    if len(panel) <= SOLO or room.debate.kind != CLOSED or not (room.plan.thrifty or room.solo):
        return [list(panel)]
    if room.solo and not room.plan.thrifty:
        return [list(panel[:SOLO]), list(panel[SOLO:])]
    left, found = list(panel), list[list[str]]()
    while left:
        size = max(2 if not found else 1, -(-len(left) // 2)) if len(left) > 1 else 1
        found.append(left[:size])
        left = left[size:]
    return found


def cluster(session: Session, room: Room, stage: Stage) -> tuple[Standing, Decision]:
    """Write the hypotheses as they stand at a stage: what a debate before its crash had gone on to is not looked at."""
    standing = standing_of(session, session.get_one(Debate, room.debate.id), stage)
    decided = decide(room, standing)
    query = select(Hypothesis).where(Hypothesis.debate_id == room.debate.id)
    rows = {row.key: row for row in session.scalars(query)}
    posteriors = {one.key: one.posterior for one in decided.clusters}
    for key in sorted(rows.keys() | standing.wording.keys()):
        row = rows.get(key)
        if row is None:
            row = Hypothesis(
                debate_id=room.debate.id, key=key, text=standing.wording[key], supporters=[], posterior=0.0
            )
            session.add(row)
        row.supporters = standing.supporters(key)
        row.posterior, row.status = posteriors.get(key, 0.0), standing.status(key)
    session.flush()
    return standing, decided


def contested(session: Session, room: Room, standing: Standing, decided: Decision) -> list[ReviewSeat]:
    """Who checks what: of each of the likeliest hypotheses two members that do not hold it, of other lineages first,
    and one that does. None where calls are left for fewer."""
    keys = [one.key for one in decided.clusters][:MOST_CONTESTED]
    rows = select(Hypothesis.key, Hypothesis.id).where(Hypothesis.debate_id == room.debate.id, Hypothesis.key.in_(keys))
    ids = dict(session.execute(rows).tuples().all())
    seats: list[ReviewSeat] = []
    for key in keys:
        holders = standing.supporters(key)
        lineages = {standing.lineages[member] for member in holders}
        others = sorted(
            (member for member, vote in standing.votes.items() if vote != key),
            key=lambda member: (standing.lineages[member] in lineages, _lot(room, key, member)),
        )
        own = sorted(holders, key=lambda member: _lot(room, key, member))[:1]
        seats += [
            ReviewSeat(debate_id=room.debate.id, hypothesis_id=ids[key], agent_id=member)
            for member in [*others[:REVIEWERS], *own]
        ]
    return seats if standing.calls + len(seats) <= room.plan.max_calls else []


def conclude(room: Room, panel: Sequence[str], stopped: str) -> None:
    """Store the verdict and close the job, in one transaction."""
    with room.database.session() as session:
        room.fence(session)
        standing, decided = cluster(session, room, SETTLED)
        session.add(_verdict(room, panel, standing, decided, stopped))
        debate = session.get_one(Debate, room.debate.id)
        debate.state, debate.finished_at = "done", now()
        if room.computed is not None and room.computed.right is not None:
            resolve(session, debate, room.computed.right)
        room.finish(session)


def _verdict(room: Room, panel: Sequence[str], standing: Standing, decided: Decision, stopped: str) -> Verdict:
    asked = [member for member in panel if member in standing.lineages]
    heard = _heard(room, asked, standing)
    degraded = heard < FULL_COVERAGE
    confidence = decided.confidence
    if degraded and confidence is not None:
        confidence = min(confidence, heard)
    kept = {one.key for one in decided.dissent}
    verified = [key for key, found in standing.reviews.items() if found.verified and key in standing.wording]
    winner = decided.winner
    dissent = [one.key for one in decided.clusters[1:] if one.key in kept or one.key in verified]
    return Verdict(
        debate_id=room.debate.id,
        answer=winner.answer if winner else None,
        answer_key=winner.key if winner else None,
        confidence=confidence,
        rule=decided.rule,
        tie=decided.tie,
        dissent=dissent,
        coverage={
            "invited": len(panel),
            "answered": sum(key is not None for key in standing.votes.values()),
            "abstained": sum(key is None for key in standing.votes.values()),
            "absent": len(standing.absent),
            "trusted_share": round(heard, 6),
        }
        | ({} if room.debate.kind == CLOSED else {"ranked": len(standing.rankings)}),
        degraded=degraded,
        distribution={one.key: one.posterior for one in decided.clusters},
        none_of_these=decided.none,
        stopped=stopped,
        cost={
            "calls": standing.calls,
            "completion_tokens": standing.completion_tokens,
            "spared": len(panel) - len(asked) if len(asked) < len(panel) else _would_have_spared(room, panel, standing),
        },
    )


def _heard(room: Room, asked: Sequence[str], standing: Standing) -> float:
    """The share of the panel's trust that was heard; each member alike while nothing is known of them."""
    trust = {member: room.learned.trust(member, room.debate.topic) for member in asked}
    total = sum(trust.values())
    return sum(trust[member] for member in asked if member not in standing.absent) / total if total else 0.0


def _would_have_spared(room: Room, panel: Sequence[str], standing: Standing) -> int:
    """How many of the blind round's calls a thrifty debate would have spared: to be known before one is thrifty."""
    thrifty = replace(room, plan=replace(room.plan, thrifty=True))
    asked: list[str] = []
    for wave in waves(thrifty, panel):
        asked += wave
        outstanding = [member for member in panel if member not in asked]
        so_far = replace(standing, votes={one: key for one, key in standing.votes.items() if one in asked}, reviews={})
        if outstanding and enough(thrifty, so_far, decide(thrifty, so_far), outstanding) is not None:
            return len(outstanding)
    return 0


def _lot(room: Room, key: str, member: str) -> bytes:
    return hashlib.sha256(f"{room.debate.seed}\0{key}\0{member}".encode()).digest()
