"""The rule for when nothing is known of the members: the answer that most of them gave (3.1).

Doors: `plurality`, from a debate's votes to its decision; `count`, the same from a ballot; `decision`, which turns any
rule's posterior into what a debate stores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot, Posterior, check_probability, ranked, silence
from society.state import Cluster, Decision, Vote

DISSENT_FLOOR = 0.10
"""A losing hypothesis with at least this posterior is reported."""


def plurality(
    votes: Sequence[Vote], *, seed: int, trust: Mapping[str, float] | None = None, lineage_cap: float | None = None
) -> Decision:
    """The answer that most members gave; abstentions and absences are no votes.

    Posterior of a hypothesis with v of n votes among K distinct answers: (v + 1) / (n + K + 1), the Laplace estimate
    that keeps one share for "none of these", so that a lone voice is never certain. A tie goes to the answer whose
    supporters have the higher summed `trust` (a probability a member), and without that, or when it is equal too, to
    the lowest hash of the debate's seed and the answer's key: no member's privilege. With `lineage_cap` members of one
    lineage weigh no more than that many votes together.
    """
    ballot = Ballot({vote.agent_id: vote.key for vote in votes})
    lineages = {vote.agent_id: vote.lineage for vote in votes}
    return decision(votes, count(ballot, lineages, seed=seed, trust=trust, lineage_cap=lineage_cap))


def count(
    ballot: Ballot,
    lineages: Mapping[str, str],
    *,
    seed: int,
    trust: Mapping[str, float] | None = None,
    lineage_cap: float | None = None,
) -> Posterior:
    """Plurality as a posterior; arguments as in `plurality`, `lineages` a lineage a member (its own where missing).

    Raises InvalidInput for a trust that is no probability, or a cap that is not above 0.
    """
    for member, probability in (trust or {}).items():
        check_probability(probability, f"the trust in {member}", param="trust")
    if lineage_cap is not None and not lineage_cap > 0:
        raise InvalidInput(f"a lineage's cap must be above 0, not {lineage_cap}", param="lineage_cap")
    groups = ballot.supporters()
    if not groups:
        return silence("plurality")
    weights = _capped(ballot, lineages, lineage_cap)
    shares = {key: math.fsum(weights[member] for member in members) for key, members in groups.items()}
    total = math.fsum(shares.values()) + len(shares) + 1
    summed = {key: math.fsum((trust or {}).get(member, 0.0) for member in members) for key, members in groups.items()}
    return ranked(
        shares, {key: (share + 1) / total for key, share in shares.items()}, "plurality", trust=summed, seed=seed
    )


def decision(votes: Sequence[Vote], posterior: Posterior) -> Decision:
    """A posterior in the debate's words. Each hypothesis is worded as its first supporter, by id, put it."""
    answered = sorted((vote for vote in votes if vote.key is not None), key=lambda vote: vote.agent_id)
    wording: dict[str, str] = {}
    supporters: dict[str, list[str]] = {}
    for vote in answered:
        assert vote.key is not None
        wording.setdefault(vote.key, vote.answer or vote.key)
        supporters.setdefault(vote.key, []).append(vote.agent_id)
    clusters = tuple(
        Cluster(key=key, answer=wording[key], supporters=tuple(supporters[key]), posterior=probability)
        for key, probability in posterior.probabilities.items()
    )
    return Decision(
        winner=clusters[0] if clusters else None,
        clusters=clusters,
        confidence=posterior.confidence,
        rule=posterior.rule,
        tie=posterior.tie,
        dissent=tuple(cluster for cluster in clusters[1:] if cluster.posterior >= DISSENT_FLOOR),
    )


def _capped(ballot: Ballot, lineages: Mapping[str, str], cap: float | None) -> dict[str, float]:
    """Each voter's weight: its lineage's votes together weigh at most `cap`; seats are never taken away."""
    voters = {member: lineages.get(member, member) for member in ballot.standing()}
    seats: dict[str, int] = {}
    for lineage in voters.values():
        seats[lineage] = seats.get(lineage, 0) + 1
    return {member: 1.0 if cap is None else min(1.0, cap / seats[lineage]) for member, lineage in voters.items()}
