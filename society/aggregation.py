"""Who is right, decided by counting, never by a model. First rule: plurality, with a recorded tie rule."""

from __future__ import annotations

from collections.abc import Sequence

from society.state import Cluster, Decision, Vote

DISSENT_FLOOR = 0.10
"""A losing hypothesis with at least this posterior is reported."""


def plurality(votes: Sequence[Vote]) -> Decision:
    """The answer that most members gave; abstentions and absences are no votes.

    Posterior of a hypothesis with v of n votes among K distinct answers: (v + 1) / (n + K + 1), the Laplace estimate
    that keeps one share for "none of these", so that a lone voice is never certain. Ties go to the higher summed trust,
    then to the hypothesis whose supporters' ids come first; which of the two decided is recorded.
    """
    voters = [vote for vote in votes if vote.key is not None]
    groups: dict[str, list[Vote]] = {}
    for vote in voters:
        assert vote.key is not None
        groups.setdefault(vote.key, []).append(vote)
    if not groups:
        return Decision(None, (), None, "plurality")
    total = len(voters) + len(groups) + 1
    clusters = {
        key: Cluster(
            key=key,
            answer=group[0].answer or key,
            supporters=tuple(sorted(vote.agent_id for vote in group)),
            posterior=(len(group) + 1) / total,
        )
        for key, group in groups.items()
    }

    def rank(key: str) -> tuple[float, float, tuple[str, ...]]:
        return -len(groups[key]), -sum(vote.trust for vote in groups[key]), clusters[key].supporters

    order = sorted(groups, key=rank)
    winner = clusters[order[0]]
    return Decision(
        winner=winner,
        clusters=tuple(clusters[key] for key in order),
        confidence=winner.posterior,
        rule="plurality",
        tie=_tie(rank(order[0]), rank(order[1])) if len(order) > 1 else None,
        dissent=tuple(clusters[key] for key in order[1:] if clusters[key].posterior >= DISSENT_FLOOR),
    )


def _tie(first: tuple[float, float, tuple[str, ...]], second: tuple[float, float, tuple[str, ...]]) -> str | None:
    if first[0] != second[0]:
        return None
    return "higher summed trust" if first[1] != second[1] else "equal trust: first supporter id"
