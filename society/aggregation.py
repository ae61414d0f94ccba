"""Who is right, decided by counting, never by a model. First rule: plurality, with a recorded tie rule."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from society.state import Cluster, Decision, Vote

DISSENT_FLOOR = 0.10
"""A losing hypothesis with at least this posterior is reported."""


def plurality(votes: Sequence[Vote], *, seed: int) -> Decision:
    """The answer that most members gave; abstentions and absences are no votes.

    Posterior of a hypothesis with v of n votes among K distinct answers: (v + 1) / (n + K + 1), the Laplace estimate
    that keeps one share for "none of these", so that a lone voice is never certain. A tie is broken by lot, the lowest
    hash of the debate's seed and the answer's key: the same again on every run, and no member's privilege.
    """
    voters = [vote for vote in votes if vote.key is not None]
    groups: dict[str, list[Vote]] = {}
    for vote in voters:
        assert vote.key is not None
        groups.setdefault(vote.key, []).append(vote)
    if not groups:
        return Decision(None, (), None, "plurality")
    total = len(voters) + len(groups) + 1
    clusters = [
        Cluster(
            key=key,
            answer=group[0].answer or key,
            supporters=tuple(sorted(vote.agent_id for vote in group)),
            posterior=(len(group) + 1) / total,
        )
        for key, group in groups.items()
    ]
    clusters.sort(key=lambda cluster: (-len(cluster.supporters), _lot(seed, cluster.key)))
    winner, *others = clusters
    return Decision(
        winner=winner,
        clusters=tuple(clusters),
        confidence=winner.posterior,
        rule="plurality",
        tie=_tie(clusters),
        dissent=tuple(cluster for cluster in others if cluster.posterior >= DISSENT_FLOOR),
    )


def _lot(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()


def _tie(clusters: Sequence[Cluster]) -> str | None:
    """How the first place was decided, when several hypotheses had as many votes."""
    equal = sum(len(cluster.supporters) == len(clusters[0].supporters) for cluster in clusters)
    return f"tie of {equal} answers, drawn by lot from the debate's seed" if equal > 1 else None
