"""Reinforcement learning of one adapter slot: groups of rollouts, group-relative advantages, a clipped update.

GRPO (Shao et al. 2024) with token-level averaging and clip-higher (DAPO, Yu et al. 2025) by default, any policy loss of
`losses` by name. Each reward source is normalised within its group before the sources are combined; groups without
spread may be sampled once more, then they are dropped and counted. Door: `Grpo`; the mathematics is in `losses`, the
rewards come from `rewards`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from agents.messages import SamplingParams
from training.losses import PolicyLoss, combine_sources, group_advantages, kl_k3, policy_loss, share_of
from training.monitors import Monitors
from training.optim import StackedAdamW, warmed_up
from training.rewards.base import Batch, Need, Reward, Rewards, Trainable, score
from training.rewards.prepare import BARE, Reader, prepare
from training.rollouts import Rollout, Task, TaskSource, TokenPair, TrainablePolicy, sample_groups
from training.signs import read_signs
from training.supervised import mean_nll

_NO_SIGNAL = 0.05
_FURTHEST = 2.5
"""Standard deviations that one rollout counts for at most, from one source."""
_REPLAYED = 4
"""Of so many rows that teach, one is replayed beside them."""
_KL_ROWS = 32
_BATCH_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class GrpoRecipe:
    """Settings of the stage. `std_floor` keeps judge noise small, `shaping` is the weight of form beside substance.

    `loss`, `level` and `scale` are names of `losses`; `cap` is cispo's. `resample` (0 or 1): how often groups without
    spread are sampled again (DAPO's dynamic sampling). `ptx` weighs the NLL of replayed answers (Kimi K2). `prolonged`
    holds the policy to the original base over many cycles (`prolonged.py`), not to what each begins with.
    """

    rank: int = 8
    alpha: float = 16.0
    lr: float = 2e-3
    steps: int = 160
    prompts: int = 24
    group: int = 8
    passes: int = 1
    temperature: float = 1.0
    max_tokens: int = 16
    loss: str = "dapo"
    level: str = "token"
    scale: str = "group"
    clip_low: float = 0.2
    clip_high: float = 0.28
    delta: float | None = 4.0
    cap: float = 5.0
    kl_beta: float = 0.05
    kl_limit: float = 1.0
    std_floor: float = 0.1
    shaping: float = 0.2
    resample: int = 0
    ptx: float = 0.05
    prolonged: bool = False
    warmup: int = 2
    gap_items: int = 64
    gate_items: int = 200


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step as it is recorded: numbers, rollouts, every score, the advantages."""

    numbers: dict[str, Any]
    rollouts: Sequence[Rollout]
    rewards: Mapping[str, Sequence[float | None]]
    advantages: Sequence[float]


@dataclass
class Grpo:
    """Trains `slot` of a policy against the frozen slot `reference`.

    `rewards` are sources with their weights; one of weight 0 is recorded and teaches nothing. `replay` are prompts with
    answers whose likelihood is kept up beside the rewards, by the recipe's `ptx`.
    """

    policy: TrainablePolicy
    optimizer: StackedAdamW
    rewards: Sequence[tuple[Reward, float]]
    recipe: GrpoRecipe
    monitors: Monitors
    slot: int
    reference: int
    seed: int
    replay: Sequence[TokenPair] = ()

    def run(self, tasks: TaskSource, on_step: Callable[[int, Step], None]) -> str | None:
        """Take `recipe.prompts` tasks a step; `on_step(done, step)` hears every step before the next tasks are taken.

        Returns why it stopped before `recipe.steps`, or None.

        Raises:
            RewardFailed: a reward broke its contract.
            BackendError: the policy's logits are not finite any more.
        """
        for index in range(self.recipe.steps):
            step, stop = self._step(index, tasks.take(self.recipe.prompts))
            on_step(index + 1, step)
            if stop is not None:
                return stop
        return None

    def _step(self, index: int, tasks: Sequence[Task]) -> tuple[Step, str | None]:
        recipe = self.recipe
        rollouts = sample_groups(self.policy, tasks, recipe.group, self._params(index), slot=self.slot)
        batch, scored, advantages = self._scored(rollouts)
        again = 0
        if recipe.resample and (flat := without_spread(advantages)):
            batch, scored, advantages = self._scored(self._sampled_again(index, tasks, rollouts, flat))
            again = len(flat)
        scores = {name: per_rollout(one) for name, one in scored.items()}
        numbers = self._describe(batch, scores, advantages) | {"resampled": again}
        numbers["info"] = {name: dict(one.info) for name, one in scored.items() if one.info}
        gained, flat_share = _means(advantages, batch.rollouts), 1.0 - numbers["informative"]
        signs = read_signs(batch.rollouts, scores, self._weights(), gained, flat=flat_share)
        numbers |= dataclasses.asdict(signs)
        stop = self.monitors.after_rollouts(entropy=numbers["entropy"], length=numbers["length"], kl=numbers["kl"])
        stop = stop or self.monitors.after_scores(signs)
        if stop is None:
            numbers |= self._learn(batch)
        for _ in range(recipe.passes if stop is None else 0):
            learned, stop = self._update(index, batch, advantages)
            numbers |= learned
            if stop is not None:
                break
        return Step(numbers, batch.rollouts, scores, gained), stop

    def _weights(self) -> dict[str, float]:
        return {reward.name: weight for reward, weight in self.rewards}

    def _params(self, draw: int) -> SamplingParams:
        return SamplingParams(self.recipe.max_tokens, self.recipe.temperature, seed=self.seed * 100_003 + draw)

    def _scored(self, rollouts: Sequence[Rollout]) -> tuple[Batch, dict[str, Rewards], Tensor]:
        """The rollouts as the rewards read them, what these say of them, and the advantages that follow."""
        batch = prepare(self._reader(), rollouts, self._needs())
        scored = {reward.name: score(reward, batch) for reward, _ in self.rewards}
        weights = self._weights()
        longest = max(len(rollout.sampled.token_ids) for rollout in rollouts)
        return batch, scored, advantages_of(scored, weights, self.recipe, longest=longest)

    def _sampled_again(
        self, index: int, tasks: Sequence[Task], rollouts: Sequence[Rollout], flat: Sequence[int]
    ) -> list[Rollout]:
        """The rollouts with the groups of `flat` sampled anew. All are scored again: a reward may weigh the batch."""
        size, draw = self.recipe.group, self.recipe.steps + index
        wanted = [tasks[group] for group in flat]
        fresh = sample_groups(self.policy, wanted, size, self._params(draw), slot=self.slot)
        renewed = list(rollouts)
        for place, rollout in enumerate(fresh):
            group = flat[rollout.group]
            renewed[group * size + place % size] = dataclasses.replace(rollout, group=group)
        return renewed

    def _reader(self) -> Reader:
        return Reader(self.policy, slot=self.slot, reference=self.reference)

    def _needs(self) -> frozenset[Need]:
        """What the rewards need; a KL penalty needs the reference too, which is read once for all of them."""
        anchored: frozenset[Need] = frozenset({"ref_logprobs"} if self.recipe.kl_beta else ())
        return anchored.union(*(reward.needs for reward, _ in self.rewards))

    def _learn(self, batch: Batch) -> dict[str, Any]:
        """Let the rewards that learn do so, before the policy's gradients are gathered: they share parameters."""
        learned = {reward.name: reward.learn(batch) for reward, _ in self.rewards if isinstance(reward, Trainable)}
        return {f"{name}_{what}": value for name, told in learned.items() for what, value in told.items()}

    def _update(self, index: int, rollouts: Batch, advantages: Tensor) -> tuple[dict[str, Any], str | None]:
        """One optimiser step from the groups that teach, in micro-batches; what it did, and why to stop."""
        rows = informative(advantages)
        if not rows:
            return {"loss": None, "gradient_norm": None}, None
        self.optimizer.zero_grad()
        gains, losses = advantages.flatten(0, 1), list[PolicyLoss]()
        lengths = {row: len(rollouts[row].sampled.token_ids) for row in rows}
        batches = list(micro_batches(rows, rollouts))
        for batch in batches:
            loss = self._loss(rollouts, batch, gains[batch])
            mine = [lengths[row] for row in batch]
            share = share_of(self.recipe.loss, mine, list(lengths.values()), batches=len(batches))
            losses.append(dataclasses.replace(loss, value=loss.value.detach() * share))
            torch.autograd.backward(loss.value * share)
        value = float(sum(loss.value for loss in losses))
        replayed = self._replay(index, len(rows))
        applied = self.optimizer.step(lr_scale=warmed_up(index, warmup=self.recipe.warmup))
        numbers = {"loss": value, "gradient_norm": float(applied.norms[0])} | replayed
        numbers |= {name: fmean(getattr(loss, name) for loss in losses) for name in ("clipped_low", "clipped_high")}
        clipped = numbers["clipped_low"] + numbers["clipped_high"]
        return numbers, self.monitors.after_update(value, applied, clipped=clipped)

    def _replay(self, index: int, rows: int) -> dict[str, float]:
        """Add `ptx` times the NLL a token of some of the replay to the gradients."""
        if not self.replay or not self.recipe.ptx:
            return {}
        count = min(len(self.replay), max(1, rows // _REPLAYED))
        some = Random(f"replay {self.seed} {index}").sample(list(self.replay), count)
        nll = mean_nll(*self.policy.logprobs(some, slot=self.slot))
        torch.autograd.backward(self.recipe.ptx * nll)
        return {"replay_nll": float(nll.detach())}

    def _loss(self, batch: Batch, rows: Sequence[int], advantages: Tensor) -> PolicyLoss:
        recipe, rollouts = self.recipe, [batch[row] for row in rows]
        logp, mask = self.policy.logprobs([rollout.pair for rollout in rollouts], slot=self.slot)
        anchors = batch.ref_logprobs if recipe.kl_beta else None
        reference = None if anchors is None else [anchors[row] for row in rows]
        return policy_loss(
            logp,
            _padded([rollout.sampled.logprobs for rollout in rollouts], logp),
            (advantages if advantages.dim() == 1 else advantages[:, : logp.shape[1]]).to(logp),
            mask,
            loss=recipe.loss,
            level=recipe.level,
            clip_low=recipe.clip_low,
            clip_high=recipe.clip_high,
            delta=recipe.delta,
            cap=recipe.cap,
            longest=recipe.max_tokens,
            kl_beta=recipe.kl_beta,
            logp_ref=None if reference is None else _padded(reference, logp),
        )

    def _describe(
        self, rollouts: Batch, scores: Mapping[str, Sequence[float | None]], advantages: Tensor
    ) -> dict[str, Any]:
        """What to watch: mean rewards, entropy and KL a token in nats, mean length, share of groups that teach."""
        logprobs = [value for rollout in rollouts for value in rollout.sampled.logprobs]
        numbers: dict[str, Any] = {f"reward_{name}": _mean_present(values) for name, values in scores.items()}
        numbers |= {
            "entropy": -fmean(logprobs),
            "length": fmean(len(rollout.sampled.token_ids) for rollout in rollouts),
            "kl": self._measured_kl(rollouts, self.reference, rollouts.ref_logprobs),
            "informative": len(informative(advantages)) / len(rollouts),
        }
        if self.recipe.prolonged:
            bare = numbers["kl"] if self.reference == BARE else self._measured_kl(rollouts, BARE, None)
            numbers["kl_base"] = bare
        return numbers

    def _measured_kl(self, rollouts: Batch, slot: int, anchors: Sequence[Sequence[float]] | None) -> float:
        """Mean k3 to a slot over the tokens of some 32 rollouts, evenly spread over the groups."""
        every = slice(None, None, max(1, len(rollouts) // _KL_ROWS))
        some = rollouts[every]
        if anchors is None:
            anchor: Sequence[Sequence[float]] = self.policy.score([one.pair for one in some], slot=slot)
        else:
            anchor = anchors[every]
        sampled = torch.tensor([value for rollout in some for value in rollout.sampled.logprobs])
        return float(kl_k3(sampled, torch.tensor([value for tokens in anchor for value in tokens])).mean())


def per_rollout(rewards: Rewards) -> Sequence[float | None]:
    """One value a rollout, to be recorded: the mean over the tokens where they have values of their own."""
    if rewards.token_values is None:
        return rewards.values or ()
    return [fmean(row) if row else None for row in rewards.token_values]


def advantages_of(
    scored: Mapping[str, Rewards], weights: Mapping[str, float], recipe: GrpoRecipe, *, longest: int = 1
) -> Tensor:
    """Advantages in float64: each source normalised in its group, then their weighted mean.

    Returns:
        [groups, G]; [groups, G, longest] where a source has values a token, which the mask of the loss cuts. Such a
        source is normalised over all tokens of a group; one with a value a rollout counts the same for each token.
    """
    fine = any(one.token_values is not None for one in scored.values())
    tokens = longest if fine else 1
    sources = [_normalised(one, tokens, recipe) for one in scored.values()]
    share = torch.tensor([weights[name] for name in scored], dtype=torch.float64)
    combined = combine_sources(torch.stack(sources), share)
    return combined.view(-1, recipe.group, tokens) if fine else combined


def _normalised(rewards: Rewards, tokens: int, recipe: GrpoRecipe) -> Tensor:
    """One source's advantages [groups, G * tokens], NaN where it has no value."""
    if rewards.token_values is None:
        present = [math.nan if value is None else value for value in rewards.values or ()]
        values = torch.tensor(present, dtype=torch.float64).view(-1, recipe.group)
        return _relative(values, recipe).repeat_interleave(tokens, dim=1)
    padded = [[*(row or ()), *[math.nan] * (tokens - len(row or ()))] for row in rewards.token_values]
    return _relative(torch.tensor(padded, dtype=torch.float64).view(-1, recipe.group * tokens), recipe)


def _relative(values: Tensor, recipe: GrpoRecipe) -> Tensor:
    return group_advantages(values, eps=0.0, std_floor=recipe.std_floor, scale=recipe.scale, limit=_FURTHEST)


def without_spread(advantages: Tensor) -> list[int]:
    """The groups that have nothing to teach; advantages as `advantages_of` gives them."""
    flat: list[int] = (~_teach(advantages)).nonzero().flatten().tolist()
    return flat


def informative(advantages: Tensor) -> list[int]:
    """Rows of the groups that have something to teach; advantages as `advantages_of` gives them."""
    rows: list[int] = _teach(advantages).repeat_interleave(advantages.shape[1]).nonzero().flatten().tolist()
    return rows


def _teach(advantages: Tensor) -> Tensor:
    """[groups], boolean: whether some rollout of a group is better than another."""
    return advantages.abs().flatten(1).amax(dim=1) >= _NO_SIGNAL


def _means(advantages: Tensor, rollouts: Sequence[Rollout]) -> list[float]:
    """One advantage a rollout, to be recorded: the mean over its tokens."""
    rows = advantages.flatten(0, 1)
    if rows.dim() == 1:
        return [float(one) for one in rows]
    lengths = [len(rollout.sampled.token_ids) for rollout in rollouts]
    return [float(row[:length].mean()) for row, length in zip(rows, lengths, strict=True)]


def micro_batches(rows: Sequence[int], rollouts: Sequence[Rollout]) -> Iterator[list[int]]:
    """Rows in order, in batches of a bounded number of tokens; gradients add up over them."""
    batch, tokens = list[int](), 0
    for row in rows:
        length = sum(map(len, rollouts[row].pair))
        if batch and tokens + length > _BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += length
    if batch:
        yield batch


def _padded(rows: Sequence[Sequence[float]], like: Tensor) -> Tensor:
    padded = torch.zeros_like(like)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = torch.tensor(row, dtype=like.dtype)
    return padded.detach()


def _mean_present(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return fmean(present) if present else None
