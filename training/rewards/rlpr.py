"""RLPR: how much the reasoning raises the probability of a reference answer (Yu et al. 2025, 2506.18254).

The arithmetic mean of token probabilities: one odd token must not decide, as it does in a product. Groups whose
rewards hardly differ are dropped by a threshold that follows their usual spread. References should be short.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, stdev

from torch import Tensor

from training.rewards.base import Batch, Need, Reference, Rewards, groups, needed


def probability_gain(after_reasoning: Tensor, without: Tensor) -> float:
    """clip(B - A, 0, 1), B and A the mean probabilities of the reference's tokens with and without the reasoning.

    Args:
        after_reasoning, without: [n], log-probabilities of the reference's tokens.
    """
    return float((after_reasoning.exp().mean() - without.exp().mean()).clamp(0.0, 1.0))


def rlpr_reward(gain: float, well_formed: bool, *, form_weight: float = 0.1) -> float:
    """.9 gain + .1 for the right form."""
    return (1 - form_weight) * gain + form_weight * well_formed


@dataclass(slots=True)
class SpreadFilter:
    """Keeps groups whose standard deviation exceeds `factor` times its running mean.

    The first step's mean starts the running mean, `momentum` holds it. `factor` is .5 for Qwen, .9 for Llama.
    """

    factor: float = 0.5
    momentum: float = 0.99
    average: float | None = None

    def update(self, spread: float) -> float:
        """Take in one step's mean standard deviation; the threshold that follows."""
        old = spread if self.average is None else self.average
        self.average = self.momentum * old + (1 - self.momentum) * spread
        return self.factor * self.average

    def state_dict(self) -> dict[str, float | None]:
        """What a run that goes on must be given back."""
        return {"average": self.average}

    def load_state_dict(self, state: dict[str, float | None]) -> None:
        """Take up where `state_dict` was taken."""
        self.average = state["average"]


class Rlpr:
    """The gain in the reference's mean probability plus form; None without a reference or in a group without spread."""

    name = "rlpr"
    needs: frozenset[Need] = frozenset({"reference_text"})

    def __init__(self, spread: SpreadFilter | None = None) -> None:
        self.spread = spread or SpreadFilter()

    def score(self, batch: Batch) -> Rewards:
        values = [_value(one) for one in needed(batch.references, "reference_text", self.name)]
        spreads = {}
        for number, places in enumerate(groups(batch)):
            present = [value for place in places if (value := values[place]) is not None]
            if len(present) > 1:
                spreads[number] = stdev(present)
        if not spreads:
            return Rewards(values)
        threshold = self.spread.update(fmean(spreads.values()))
        dropped = 0
        for number, places in enumerate(groups(batch)):
            if spreads.get(number, 0.0) <= threshold:
                dropped += 1
                for place in places:
                    values[place] = None
        return Rewards(values, info={"dropped_groups": dropped, "threshold": threshold})


def _value(reference: Reference | None) -> float | None:
    if reference is None:
        return None
    if reference.after_reasoning is None:
        return rlpr_reward(0.0, False)
    return rlpr_reward(probability_gain(reference.after_reasoning, reference.without), True)
