"""What a society makes of free texts, where no answer can be compared with another: by rankings, never by a model.

Doors: `choose` (the decision), `settled` (whether there is nothing left to rank). For the quality of texts (`open`)
Borda points, each ballot weighed by its member's trust and nobody's own text counted by themselves; for questions of
opinion Schulze over private rankings, and how many hold each statement: no one is right there, so nothing is probable.
Where nobody could rank, what most hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from society.aggregation.ballot import lot
from society.aggregation.log_odds import LINEAGE_CAP
from society.aggregation.plurality import DISSENT_FLOOR, count, decision
from society.aggregation.ranks import borda, schulze
from society.room import Room
from society.standing import Standing
from society.state import OPINION, Cluster, Decision, Vote


def choose(room: Room, standing: Standing) -> Decision:
    """What comes out of the rankings that there are."""
    rankings = _ballots(standing)
    if not any(len(ranking) > 1 for ranking in rankings.values()):
        return _most_held(room, standing)
    return _by_schulze(room, standing, rankings) if room.debate.kind == OPINION else _by_borda(room, standing, rankings)


def settled(standing: Standing) -> str | None:
    """Why there is nothing to rank; None where there is."""
    held = [key for key in standing.votes.values() if key is not None]
    if not held:
        return "nobody answered"
    if len(set(held)) == 1:
        return "all agree" if len(held) > 1 else "nothing is contested"
    return None


def _ballots(standing: Standing) -> dict[str, tuple[str, ...]]:
    """Of what is left: an answer may have been erased since."""
    return {
        member: tuple(key for key in ranking if key in standing.wording)
        for member, ranking in sorted(standing.rankings.items())
    }


def _by_borda(room: Room, standing: Standing, rankings: Mapping[str, Sequence[str]]) -> Decision:
    own = {member: {key} for member, key in standing.votes.items() if key is not None}
    trust = {member: room.learned.trust(member, room.debate.topic) for member in rankings}
    found = borda(rankings, seed=room.debate.seed, own=own, trust=trust)
    points = {key: found.points.get(key) or 0.0 for key in standing.wording}
    total = math.fsum(points.values())
    if not total:
        return _most_held(room, standing)
    equal = next((group for group in found.ties if found.order[0] in group), ())
    tie = f"tie of {len(equal)} answers, drawn by lot from the debate's seed" if equal else None
    shares = {key: value / total for key, value in points.items()}
    return _decision(_clusters(room, standing, found.order, shares), "borda", tie, sure=True)


def _by_schulze(room: Room, standing: Standing, rankings: Mapping[str, Sequence[str]]) -> Decision:
    found = schulze(rankings, seed=room.debate.seed)
    equal = sum(found.order[0] in pair for pair in found.ties)
    tie = f"tie of {equal + 1} statements, by how many others each beats, then by lot" if equal else None
    return _decision(_clusters(room, standing, found.order, _held_by(standing)), "schulze", tie, sure=False)


def _most_held(room: Room, standing: Standing) -> Decision:
    """Plurality. Of opinions it tells how many hold each and no more."""
    trust = {member: room.learned.trust(member, room.debate.topic) for member in standing.votes}
    found = count(
        standing.ballot(room.debate.topic),
        standing.lineages,
        seed=room.debate.seed,
        trust=trust,
        lineage_cap=LINEAGE_CAP,
    )
    if room.debate.kind == OPINION:
        order = list(found.probabilities)
        return _decision(_clusters(room, standing, order, _held_by(standing)), found.rule, found.tie, sure=False)
    votes = [
        Vote(member, standing.lineages[member], key, standing.wording.get(key or ""))
        for member, key in standing.votes.items()
    ]
    return replace(decision(votes, found), none=found.none)


def _held_by(standing: Standing) -> dict[str, float]:
    """The share of those that were heard that holds each statement."""
    return {key: len(standing.supporters(key)) / len(standing.votes) for key in standing.wording}


def _clusters(room: Room, standing: Standing, order: Sequence[str], shares: Mapping[str, float]) -> tuple[Cluster, ...]:
    """In that order; what nobody ranked comes last, what more hold first."""
    rest = sorted(
        standing.wording.keys() - set(order),
        key=lambda key: (-len(standing.supporters(key)), lot(room.debate.seed, key)),
    )
    return tuple(
        Cluster(key, standing.wording[key], tuple(standing.supporters(key)), shares[key]) for key in [*order, *rest]
    )


def _decision(clusters: tuple[Cluster, ...], rule: str, tie: str | None, *, sure: bool) -> Decision:
    winner = clusters[0] if clusters else None
    return Decision(
        winner=winner,
        clusters=clusters,
        confidence=winner.posterior if winner is not None and sure else None,
        rule=rule,
        tie=tie,
        dissent=tuple(one for one in clusters[1:] if one.posterior >= DISSENT_FLOOR),
    )
