"""What the owner's own choices say: a Bradley-Terry head on the bare base's hidden states (RLHF, Ouyang et al. 2022).

Frozen features, ridge and a lower confidence bound (`ridge.py`), for the few pairs that one person gives. Scores
compare answers to one prompt; across prompts they mean nothing. Door: `fit`, once a cycle; it does not learn along.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from personal_data.errors import InvalidInput
from training.preference import EncodedPair
from training.rewards.base import Batch, Need, Rewards, needed
from training.rewards.prepare import BARE, Summarising
from training.rewards.ridge import RidgeHead, earned, fit_ridge


class HumanFeedback:
    """The lower bound of the head's score on a completion's last hidden state, less `centre`, in units of `scale`.

    None for an answer that was cut off: its last state is not that of an end.
    """

    name = "human_feedback"
    needs: frozenset[Need] = frozenset({"hidden_states", "preferences"})

    def __init__(self, head: RidgeHead, *, kappa: float = 1.0, centre: float = 0.0, scale: float = 1.0) -> None:
        self._head, self._kappa, self._centre, self._scale = head, kappa, centre, scale

    def score(self, batch: Batch) -> Rewards:
        read = needed(batch.base_summaries, "hidden_states", self.name)
        if not read:
            return Rewards([])
        bounds = self._head.lower_bound(torch.stack([one.hidden[-1] for one in read]), kappa=self._kappa).tolist()
        ended = [rollout.sampled.finish_reason != "length" for rollout in batch]
        scaled = [(bound - self._centre) / self._scale for bound in bounds]
        return Rewards([value if whole else None for value, whole in zip(scaled, ended, strict=True)])


def fit(
    policy: Summarising, train: Sequence[EncodedPair], held: Sequence[EncodedPair], *, ridge: float = 1.0
) -> HumanFeedback:
    """A head fitted to what the owner chose, in units of its spread over the held-out answers.

    Raises:
        InvalidInput: too few pairs, or it is not better than chance on those it has not seen.
    """
    differences = [better - worse for better, worse in (_states(policy, pairs) for pairs in (train, held) if pairs)]
    if len(differences) < 2:
        told = f"{len(train)} pairs to learn from and {len(held)} held out"
        raise InvalidInput(f"reward 'human_feedback' has nothing to fit: {told}", param="reward")
    head = fit_ridge(differences[0], ridge=ridge)
    if (reason := earned(head, len(train), differences[1])) is not None:
        raise InvalidInput(f"reward 'human_feedback' has not earned its place: {reason}", param="reward")
    bounds = head.lower_bound(torch.cat(_states(policy, held)))
    return HumanFeedback(head, centre=float(bounds.mean()), scale=float(bounds.std()) or 1.0)


def _states(policy: Summarising, pairs: Sequence[EncodedPair]) -> tuple[Tensor, Tensor]:
    """What the bare base's output head read at the end of the chosen and of the rejected answers, [pairs, hidden]."""
    read = policy.summaries([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs], slot=BARE)
    states = torch.stack([one.hidden[-1] for one in read]).double()
    return states[: len(pairs)], states[len(pairs) :]
