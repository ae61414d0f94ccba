"""The mathematics of policy and preference optimisation: pure functions on tensors, nothing else.

Shapes: `[groups, G]` for rewards and advantages, `[B, T]` for tokens with a boolean mask, `[B]` for sequences. One call
serves one agent; a cohort calls it on each agent's rows, so that no statistic ever crosses agents. Missing rewards are
NaN, and NaN never turns into a number silently.

Door: `group_advantages`, `combine_sources`, `policy_loss`, `kl_k3`, `dpo_loss`. No model, no sampling, no state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def group_advantages(rewards: Tensor, *, eps: float = 1e-4, std_floor: float = 0.0) -> Tensor:
    """A_i = (r_i - mean of its group) / (max(s, std_floor) + eps); Shao et al. 2024, DeepSeekMath, section 4.1.

    Args:
        rewards: [groups, G]; NaN where the reward is missing, which leaves it out of the mean and of s, the group's
            standard deviation (variance divided by N - 1, as in TRL and verl).
        std_floor: keeps judge noise from being blown up to unit advantages.

    Returns:
        [groups, G]; NaN where the reward is missing, 0 throughout a group without spread.
    """
    centred = rewards - rewards.nanmean(dim=1, keepdim=True)
    divisor = _nanstd(rewards).clamp_min(std_floor) + eps
    return torch.where(divisor > 0, centred / divisor.clamp_min(torch.finfo(rewards.dtype).tiny), centred * 0)


def _nanstd(values: Tensor) -> Tensor:
    """Standard deviation of each row over what is present; 0 where fewer than two values are."""
    present = ~values.isnan()
    count = present.sum(dim=1, keepdim=True)
    deviations = torch.where(present, values - values.nanmean(dim=1, keepdim=True), 0.0)
    return (deviations.square().sum(dim=1, keepdim=True) / (count - 1).clamp_min(1)).sqrt()


def combine_sources(advantages: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over the reward sources that are present; 0 where none is.

    Normalising each source before they are combined keeps two rewards from collapsing into one (GDPO, Liu et al. 2026),
    and an absent source neither punishes nor rewards.

    Args:
        advantages: [sources, groups, G], NaN where a source is missing.
        weights: [sources].
    """
    present = ~advantages.isnan()
    shares = weights[:, None, None] * present
    total = shares.sum(dim=0)
    summed = (shares * advantages.nan_to_num(0.0)).sum(dim=0)
    return torch.where(total > 0, summed / total.clamp_min(torch.finfo(summed.dtype).tiny), 0.0)


def kl_k3(logp: Tensor, logp_ref: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy || reference) a token: e^(ref - logp) - (ref - logp) - 1, never negative."""
    difference = logp_ref - logp
    return difference.exp() - difference - 1


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """`value` to minimise (scalar with autograd), and token shares to watch: mean KL, clipped below, clipped above."""

    value: Tensor
    kl: float | None
    clipped_low: float
    clipped_high: float


def policy_loss(
    logp: Tensor,
    logp_old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    delta: float | None = None,
    kl_beta: float = 0.0,
    logp_ref: Tensor | None = None,
) -> PolicyLoss:
    """The clipped surrogate: -min(min(w, delta) A, clamp(w, 1 - clip_low, 1 + clip_high) A), w = exp(logp - logp_old).

    Clip-higher and the mean over all tokens, without the length bias of a mean over sequences, are DAPO's (Yu et al.
    2025); `delta` bounds the loss of negative advantages (INTELLECT-2).

    Args:
        logp, logp_old, logp_ref: [B, T] log-probabilities under the policy, the sampler and the reference.
        advantages: [B], or [B, T] where tokens have their own.
        mask: [B, T], true on completion tokens. Masked positions get no gradient whatever they hold.
    """
    ratio = torch.where(mask, logp - logp_old, 0.0).exp()
    gain = advantages[:, None] if advantages.dim() == 1 else advantages
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    bounded = ratio if delta is None else ratio.clamp_max(delta)
    tokens = -torch.minimum(bounded * gain, clipped * gain)
    kl = None
    if logp_ref is not None:
        divergence = kl_k3(torch.where(mask, logp, 0.0), torch.where(mask, logp_ref, 0.0))
        tokens = tokens + kl_beta * divergence
        kl = float(_mean(divergence.detach(), mask))
    return PolicyLoss(
        value=_mean(tokens, mask),
        kl=kl,
        clipped_low=float(_mean(((ratio < 1 - clip_low) & (gain < 0)).to(logp.dtype), mask)),
        clipped_high=float(_mean(((ratio > 1 + clip_high) & (gain > 0)).to(logp.dtype), mask)),
    )


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Over the tokens of the mask, all rows together."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)


def dpo_loss(margin: Tensor, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Tensor:
    """-(1-e) log sigma(beta d) - e log sigma(-beta d) for each pair; Rafailov et al. 2023, with cDPO's smoothing e.

    Args:
        margin: [B], d = (log pi/ref of the chosen) - (log pi/ref of the rejected), each summed over tokens.
    """
    agrees, disagrees = functional.logsigmoid(beta * margin), functional.logsigmoid(-beta * margin)
    return -(1 - label_smoothing) * agrees - label_smoothing * disagrees
