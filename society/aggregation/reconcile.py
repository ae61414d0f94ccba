"""ReConcile's vote: stated confidences, recalibrated in five steps (3.4). For comparison: records do better."""

from __future__ import annotations

import math
from collections.abc import Mapping

from personal_data.errors import InvalidInput
from society.aggregation.ballot import Ballot, Posterior, check_probability, ranked, silence


def recalibrated(confidence: float) -> float:
    """f of 3.4: 1 for certainty, .8 from .9, .5 from .8, .3 above .6, .1 up to .6."""
    check_probability(confidence, "a confidence", param="confidences")
    if confidence == 1:
        return 1.0
    if confidence >= 0.9:
        return 0.8
    if confidence >= 0.8:
        return 0.5
    return 0.3 if confidence > 0.6 else 0.1


def reconcile(ballot: Ballot, *, seed: int, trust: Mapping[str, float] | None = None) -> Posterior:
    """argmax over c of sum over c's supporters of f(conf_i); a member that gave no answer weighs nothing.

    Probabilities are shares of the weight, without any for "none of these": the rule knows none. Raises InvalidInput
    when a voter states no confidence.
    """
    groups = ballot.supporters()
    if not groups:
        return silence("ReConcile")
    mute = sorted(set(ballot.standing()) - set(ballot.confidences))
    if mute:
        raise InvalidInput(f"ReConcile needs a confidence from each voter; {mute[0]} stated none", param="confidences")
    weights = {
        key: math.fsum(recalibrated(ballot.confidences[member]) for member in members)
        for key, members in groups.items()
    }
    total = math.fsum(weights.values())
    summed = {key: math.fsum((trust or {}).get(member, 0.0) for member in members) for key, members in groups.items()}
    shares = {key: weight / total for key, weight in weights.items()}
    return ranked(weights, shares, "ReConcile", trust=summed, seed=seed)
