"""The mathematics of policy and preference optimisation: pure functions on tensors, nothing else.

Shapes: `[groups, G]` for rewards and advantages, `[B, T]` for tokens with a boolean mask, `[B]` for sequences. One call
serves one agent; a cohort calls it on each agent's rows, so that no statistic ever crosses agents. Missing rewards are
NaN, and NaN never turns into a number silently.

Door: `group_advantages`, `combine_sources`, `policy_loss`, `kl_k3`, `dpo_loss`, `ipo_loss`, `kto_loss`, and the policy
losses by name, `POLICY_LOSSES`. No model, no sampling, no state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

SCALES = ("group", "batch", "none")
"""By which standard deviation advantages are divided; none: Dr. GRPO (Liu et al. 2025)."""
LEVELS = ("token", "sequence")
"""Of what the importance ratio is: of each token, or, as in GSPO (Zheng et al. 2025), of a whole completion."""


def group_advantages(
    rewards: Tensor, *, eps: float = 1e-4, std_floor: float = 0.0, scale: str = "group", limit: float = math.inf
) -> Tensor:
    """A_i = (r_i - mean of its group) / (max(s, std_floor) + eps); Shao et al. 2024, DeepSeekMath, section 4.1.

    Args:
        rewards: [groups, G]; NaN where the reward is missing, which leaves it out of the mean and of s, a
            standard deviation (variance divided by N - 1, as in TRL and verl).
        std_floor: keeps judge noise from being blown up to unit advantages.
        scale: one of `SCALES`: s is the group's, the whole batch's, or there is no division at all.
        limit: what was divided is cut to within -limit..limit.

    Returns:
        [groups, G]; NaN where the reward is missing, 0 throughout a group without spread.
    """
    centred = rewards - rewards.nanmean(dim=1, keepdim=True)
    if scale == "none":
        return centred
    spread = _nanstd(rewards if scale == "group" else rewards.view(1, -1))
    divisor = spread.clamp_min(std_floor) + eps
    scaled = torch.where(divisor > 0, centred / divisor.clamp_min(torch.finfo(rewards.dtype).tiny), centred * 0)
    return scaled.clamp(-limit, limit)


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


def dpo_loss(margin: Tensor, *, beta: float = 0.1, label_smoothing: float = 0.0) -> Tensor:
    """-(1-e) log sigma(beta d) - e log sigma(-beta d) for each pair; Rafailov et al. 2023, with cDPO's smoothing e.

    Args:
        margin: [B], d = (log pi/ref of the chosen) - (log pi/ref of the rejected), each summed over tokens.
    """
    agrees, disagrees = functional.logsigmoid(beta * margin), functional.logsigmoid(-beta * margin)
    return -(1 - label_smoothing) * agrees - label_smoothing * disagrees


def ipo_loss(margin: Tensor, *, beta: float = 0.1) -> Tensor:
    """(d - 1 / (2 beta))^2 for each pair: the margin is led to a finite value (Azar et al. 2023, IPO).

    Args:
        margin: [B], as for `dpo_loss`; summed over tokens as in the paper (TRL takes their mean).
    """
    return (margin - 1 / (2 * beta)).square()


def kto_loss(log_ratio: Tensor, liked: Tensor, baseline: Tensor, *, beta: float = 0.1) -> Tensor:
    """1 - sigma(beta (r - z)) of an answer that was liked, 1 - sigma(beta (z - r)) of one that was not; Ethayarajh et
    al. 2024, KTO, with both weights 1.

    Args:
        log_ratio: [B], r = log pi/ref of each answer, summed over tokens.
        liked: [B], boolean.
        baseline: scalar, z: an estimate of KL(pi || ref), not negative and without gradient.
    """
    distance = beta * (log_ratio - baseline)
    return torch.where(liked, functional.sigmoid(-distance), functional.sigmoid(distance))


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
    loss: str = "dapo",
    level: str = "token",
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    delta: float | None = None,
    cap: float = 5.0,
    longest: int | None = None,
    kl_beta: float = 0.0,
    logp_ref: Tensor | None = None,
) -> PolicyLoss:
    """A surrogate for each token from the ratio w = exp(logp - logp_old), plus the KL penalty, averaged as `loss` says.

    Clip-higher and the mean over all tokens, without the length bias of a mean over sequences, are DAPO's (Yu et al.
    2025); `delta` bounds the loss of negative advantages (INTELLECT-2). Values and gradients are TRL's.

    Args:
        logp, logp_old, logp_ref: [B, T] log-probabilities under the policy, the sampler and the reference.
        advantages: [B], or [B, T] where tokens have their own.
        mask: [B, T], true on completion tokens. Masked positions get no gradient whatever they hold.
        loss: a name of `POLICY_LOSSES`.
        level: one of `LEVELS`; "sequence" belongs to the loss "grpo", whose mean is over sequences too.
        cap: the largest weight of cispo. TRL takes `epsilon_high` for it, whose default shrinks every gradient.
        longest: the most tokens that a completion could have had, for dr_grpo; T where nobody says.
    """
    kind = POLICY_LOSSES[loss]
    ratio = _ratio(logp, logp_old, mask, level)
    gain = advantages[:, None] if advantages.dim() == 1 else advantages
    bounds = kind.bounds(clip_low, clip_high, cap)
    tokens = kind.surrogate(ratio, gain, torch.where(mask, logp, 0.0), bounds, delta)
    kl = None
    if logp_ref is not None:
        divergence = kl_k3(torch.where(mask, logp, 0.0), torch.where(mask, logp_ref, 0.0))
        tokens = tokens + kl_beta * divergence
        kl = float(_over_tokens(divergence.detach(), mask, 0))
    return PolicyLoss(
        value=kind.average(tokens, mask, mask.shape[1] if longest is None else longest),
        kl=kl,
        clipped_low=float(_over_tokens(((ratio < bounds.low) & (gain < 0)).to(logp.dtype), mask, 0)),
        clipped_high=float(_over_tokens(((ratio > bounds.high) & (gain > 0)).to(logp.dtype), mask, 0)),
    )


def _ratio(logp: Tensor, logp_old: Tensor, mask: Tensor, level: str) -> Tensor:
    """[B, T]; [B, 1] for whole completions, the geometric mean over their tokens (GSPO)."""
    difference = torch.where(mask, logp - logp_old, 0.0)
    if level == "sequence":
        difference = (difference.sum(dim=1) / mask.sum(dim=1).clamp_min(1))[:, None]
    return difference.exp()


def share_of(loss: str, lengths: Sequence[int], of: Sequence[int], *, batches: int) -> float:
    """The weight of one of `batches` micro-batches, so that the step does not depend on how it was cut (but for bnpo,
    whose definition is that it does).

    Args:
        lengths: tokens of each completion in this micro-batch.
        of: tokens of each completion in the whole step.
    """
    counts = POLICY_LOSSES[loss].counts
    if counts == "tokens":
        return sum(lengths) / sum(of)
    return len(lengths) / len(of) if counts == "sequences" else 1 / batches


class _Bounds(NamedTuple):
    """Where the ratio is cut."""

    low: float
    high: float


def _around_one(clip_low: float, clip_high: float, _cap: float) -> _Bounds:
    return _Bounds(1 - clip_low, 1 + clip_high)


def _from_above(_clip_low: float, _clip_high: float, cap: float) -> _Bounds:
    return _Bounds(0.0, cap)


def _clipped(ratio: Tensor, gain: Tensor, _logp: Tensor, bounds: _Bounds, delta: float | None) -> Tensor:
    """-min(min(w, delta) A, clamp(w, 1 - clip_low, 1 + clip_high) A): PPO's (Schulman et al. 2017), two-sided."""
    bounded = ratio if delta is None else ratio.clamp_max(delta)
    return -torch.minimum(bounded * gain, ratio.clamp(bounds.low, bounds.high) * gain)


def _weighted(ratio: Tensor, gain: Tensor, logp: Tensor, bounds: _Bounds, _delta: float | None) -> Tensor:
    """-min(w, cap) A logp with no gradient through w: CISPO's (MiniMax-M1, 2025), where no token loses its gradient."""
    return -ratio.clamp_max(bounds.high).detach() * gain * logp


def _over_tokens(values: Tensor, mask: Tensor, _longest: int) -> Tensor:
    """The mean over the tokens of the mask, all rows together."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)


def _over_sequences(values: Tensor, mask: Tensor, _longest: int) -> Tensor:
    """The mean over rows of their token means."""
    return (torch.where(mask, values, 0.0).sum(dim=1) / mask.sum(dim=1).clamp_min(1)).mean()


def _over_places(values: Tensor, mask: Tensor, longest: int) -> Tensor:
    """The sum over the tokens by how many there could have been: a constant, which no length moves."""
    return torch.where(mask, values, 0.0).sum() / (mask.shape[0] * longest)


class _PolicyLoss(NamedTuple):
    surrogate: Callable[[Tensor, Tensor, Tensor, _Bounds, float | None], Tensor]
    bounds: Callable[[float, float, float], _Bounds]
    average: Callable[[Tensor, Tensor, int], Tensor]
    counts: Literal["tokens", "sequences", "batches"]
    """What a micro-batch counts by among the others of one optimiser step."""


POLICY_LOSSES: Mapping[str, _PolicyLoss] = {
    "grpo": _PolicyLoss(_clipped, _around_one, _over_sequences, "sequences"),
    "bnpo": _PolicyLoss(_clipped, _around_one, _over_tokens, "batches"),
    "dapo": _PolicyLoss(_clipped, _around_one, _over_tokens, "tokens"),
    "dr_grpo": _PolicyLoss(_clipped, _around_one, _over_places, "sequences"),
    "cispo": _PolicyLoss(_weighted, _from_above, _over_tokens, "tokens"),
}
"""How tokens are weighed and averaged (TRL's `loss_type`). With one micro-batch a step, bnpo is dapo."""
