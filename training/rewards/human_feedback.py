"""What the owner's own choices say: a Bradley-Terry head on the bare base's hidden states (RLHF, Ouyang et al. 2022).

Frozen features, ridge and a lower confidence bound (`ridge.py`), for the few pairs that one person gives. Scores
compare answers to one prompt; across prompts they mean nothing. It fits once a cycle and does not learn along.
"""

from __future__ import annotations

import torch

from training.rewards.base import Batch, Need, Rewards, needed
from training.rewards.ridge import RidgeHead


class HumanFeedback:
    """The lower bound of the head's score on a completion's last hidden state, in units of `scale`."""

    name = "human_feedback"
    needs: frozenset[Need] = frozenset({"hidden_states", "preferences"})

    def __init__(self, head: RidgeHead, *, kappa: float = 1.0, centre: float = 0.0, scale: float = 1.0) -> None:
        self._head, self._kappa, self._centre, self._scale = head, kappa, centre, scale

    def score(self, batch: Batch) -> Rewards:
        read = needed(batch.base_summaries, "hidden_states", self.name)
        if not read:
            return Rewards([])
        features = torch.stack([one.hidden[-1] for one in read])
        bounds = self._head.lower_bound(features, kappa=self._kappa)
        return Rewards([(value - self._centre) / self._scale for value in bounds.tolist()])
