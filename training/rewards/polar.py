"""A reference-relative reward: how much of what makes the reference good an answer has (POLAR, 2507.05197).

The paper pre-trains a reward model on trajectories of many policies; this is its small form, a Bradley-Terry head on
hidden states of the candidate and of its product with the reference's. The reference's own states would fall out of
every difference, so they are no feature. Scores compare answers to one (prompt, reference) only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.rewards.base import Batch, Need, Rewards, groups, needed
from training.rewards.ridge import RidgeHead, fit_ridge


def relative_features(reference: Tensor, candidate: Tensor) -> Tensor:
    """[h(candidate); h(reference) * h(candidate)]: [n, hidden] twice -> [n, 2 hidden]."""
    return torch.cat([candidate, reference * candidate], dim=-1)


def fit_relative(reference: Tensor, better: Tensor, worse: Tensor, *, ridge: float = 1.0) -> RidgeHead:
    """Fit -log sigma(r(x, ref, better) - r(x, ref, worse)); each argument [triples, hidden]."""
    return fit_ridge(relative_features(reference, better) - relative_features(reference, worse), ridge=ridge)


class Polar:
    """The head's lower bound for an answer against its task's reference, less the group's mean.

    None without a reference.
    """

    name = "polar"
    needs: frozenset[Need] = frozenset({"hidden_states", "reference_text", "preferences"})

    def __init__(self, head: RidgeHead, *, kappa: float = 1.0) -> None:
        self._head, self._kappa = head, kappa

    def score(self, batch: Batch) -> Rewards:
        read = needed(batch.base_summaries, "hidden_states", self.name)
        references = needed(batch.references, "reference_text", self.name)
        values: list[float | None] = [None] * len(batch)
        for places in groups(batch):
            present = [place for place in places if references[place] is not None]
            if not present:
                continue
            known = torch.stack([references[place].hidden for place in present])
            candidates = torch.stack([read[place].hidden[-1] for place in present])
            scores = self._head.lower_bound(relative_features(known, candidates), kappa=self._kappa)
            for place, score in zip(present, (scores - scores.mean()).tolist(), strict=True):
                values[place] = score
        return Rewards(values)
