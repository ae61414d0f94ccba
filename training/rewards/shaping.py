"""Form, not substance: endings and repetition. Never above 0, so that it can only take away."""

from __future__ import annotations

from collections.abc import Sequence

from agents import prompts
from training.rewards.base import Need, Rewards
from training.rollouts import Rollout


def repetition(token_ids: Sequence[int], *, ngram: int = 2) -> float:
    """-(1 - distinct n-grams / n-grams); 0 for a text shorter than one n-gram (Yeo et al. 2025)."""
    grams = [tuple(token_ids[start : start + ngram]) for start in range(len(token_ids) - ngram + 1)]
    return -(1 - len(set(grams)) / len(grams)) if grams else 0.0


class Shaping:
    """-1 for an answer that is empty, was cut off, or shows work where it was asked for at once; else the share of
    repeated 3-grams, negative."""

    name = "shaping"
    needs: frozenset[Need] = frozenset()

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        return Rewards([self._value(rollout) for rollout in rollouts])

    def _value(self, rollout: Rollout) -> float:
        if rollout.answer is None or _thinks_aloud(rollout):
            return -1.0
        return repetition(rollout.sampled.token_ids, ngram=3)


def _thinks_aloud(rollout: Rollout) -> bool:
    """What is to be learnt is the answer at once: to write the work out is another skill, and longer."""
    asked = rollout.task.messages[-1].content
    return asked.endswith(prompts.AT_ONCE) and prompts.final_answer(rollout.sampled.text) is not None
