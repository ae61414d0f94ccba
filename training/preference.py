"""Learning from the owner's preferences, with a supervised term beside it, on one adapter slot.

`Dpo` updates a slot from pairs (DPO, cDPO, IPO), `Kto` from single answers that were liked or disliked, of which every
pair holds two; the reference is another, frozen slot. `margins_by_prompt` and `chosen_nll` measure it on what was kept
for the gate. The losses themselves are in `losses`, what was preferred comes from `tasks/interactions`. Door: `LOSSES`,
the learners by the name of their loss.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import TypeAlias

import torch
from torch import Tensor

from agents.backend import PolicyBackend
from agents.engine.base import Base
from training.losses import dpo_loss, ipo_loss, kto_loss
from training.monitors import Monitors
from training.optim import StackedAdamW, warmed_up
from training.rollouts import TokenPair, TrainablePolicy
from training.supervised import mean_nll, shuffled
from training.tasks.interactions import Preference

Numbers = dict[str, float]
"""What one step did, as it is recorded."""


@dataclass(frozen=True, slots=True)
class PreferenceRecipe:
    """Settings of the stage. About 30 updates of 8 pairs move a style; `sft` anchors the chosen answers' likelihood.

    `loss` is a name of `LOSSES`; `label_smoothing` (cDPO) is the share of labels taken to be wrong, of dpo alone.

    `min_gate` counts held-out prompts. One pair in four is held out, so 20 of them would ask for some 80 preferences,
    where some dozens must do; 8 is the fewest of which one may go the other way and the sign test still be passed.
    """

    rank: int = 8
    alpha: float = 16.0
    loss: str = "dpo"
    lr: float = 5e-4
    beta: float = 0.2
    label_smoothing: float = 0.0
    sft: float = 1.0
    batch: int = 8
    epochs: int = 6
    max_updates: int = 60
    warmup: int = 2
    min_train: int = 12
    min_gate: int = 8


@dataclass(frozen=True, slots=True)
class EncodedAnswer:
    """A preference with the token ids of its prompt and of the answer that was liked."""

    preference: Preference
    chosen: TokenPair


@dataclass(frozen=True, slots=True)
class EncodedPair(EncodedAnswer):
    """The same with the rejected answer, and its prompt."""

    rejected: TokenPair


@dataclass(frozen=True, slots=True)
class EncodedDislike:
    """A preference that only says what was not good, with the token ids of its prompt and of that answer."""

    preference: Preference
    rejected: TokenPair


Given: TypeAlias = EncodedAnswer | EncodedDislike


def encode_pairs(base: Base, preferences: Sequence[Preference]) -> list[EncodedPair]:
    """Token ids of preferences of one answer over another; a pair that does not fit the model's context is left out."""
    encoded = []
    for preference in preferences:
        if preference.rejected is None or preference.chosen is None:
            continue
        prompt = base.encode(preference.messages)
        chosen, rejected = (encode_completion(base, text) for text in (preference.chosen, preference.rejected))
        if len(prompt) + max(len(chosen), len(rejected)) <= base.max_positions:
            encoded.append(EncodedPair(preference, (prompt, chosen), (prompt, rejected)))
    return encoded


def encode_liked(base: Base, preferences: Sequence[Preference]) -> list[EncodedAnswer]:
    """Token ids of the answers that were liked over no other; one that does not fit the context is left out."""
    liked = [
        EncodedAnswer(one, (base.encode(one.messages), encode_completion(base, one.chosen)))
        for one in preferences
        if one.rejected is None and one.chosen is not None
    ]
    return [one for one in liked if sum(map(len, one.chosen)) <= base.max_positions]


def encode_disliked(base: Base, preferences: Sequence[Preference]) -> list[EncodedDislike]:
    """Token ids of the answers that were disliked alone; one that does not fit the context is left out."""
    disliked = [
        EncodedDislike(one, (base.encode(one.messages), encode_completion(base, one.rejected)))
        for one in preferences
        if one.chosen is None and one.rejected is not None
    ]
    return [one for one in disliked if sum(map(len, one.rejected)) <= base.max_positions]


def encode_completion(base: Base, text: str) -> list[int]:
    """Token ids of an assistant's answer with its end; the text itself never yields special tokens."""
    ids: list[int] = base.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    return [*ids, base.tokenizer.eos_token_id]


@dataclass
class Learner(ABC):
    """Trains `slot` of a policy against the frozen slot `reference`."""

    policy: TrainablePolicy
    optimizer: StackedAdamW
    recipe: PreferenceRecipe
    monitors: Monitors
    slot: int
    reference: int
    seed: int

    @abstractmethod
    def examples(self, given: Sequence[Given]) -> int:
        """How many examples this loss makes of what was given."""

    @abstractmethod
    def run(self, given: Sequence[Given], on_step: Callable[[int, Numbers], None]) -> str | None:
        """Update from what was given; `on_step(done, numbers)` hears every step. Why it stopped early, or None."""

    def updates(self, given: Sequence[Given]) -> int:
        """How many optimiser steps it takes."""
        recipe = self.recipe
        return min(math.ceil(self.examples(given) * recipe.epochs / recipe.batch), recipe.max_updates)

    def _steps(
        self,
        given: Sequence[Given],
        loss_of: Callable[[list[int]], tuple[Tensor, Numbers]],
        on_step: Callable[[int, Numbers], None],
    ) -> str | None:
        """Optimiser steps over shuffled batches; `loss_of` takes the places of a batch among the examples."""
        batches = shuffled(self.examples(given), self.recipe.batch, Random(f"preferences {self.seed}"))
        for step in range(self.updates(given)):
            self.optimizer.zero_grad()
            loss, numbers = loss_of(next(batches))
            torch.autograd.backward(loss)
            update = self.optimizer.step(lr_scale=warmed_up(step, warmup=self.recipe.warmup))
            on_step(step + 1, numbers | {"gradient_norm": float(update.norms[0])})
            if (reason := self.monitors.after_update(numbers["loss"], update)) is not None:
                return reason
        return None


class Dpo(Learner):
    """From pairs; an answer that was liked or disliked alone is not learned from."""

    def examples(self, given: Sequence[Given]) -> int:
        return len(_pairs(given))

    def run(self, given: Sequence[Given], on_step: Callable[[int, Numbers], None]) -> str | None:
        pairs = _pairs(given)
        anchors = margins(self.policy, pairs, slot=self.reference)

        def loss_of(places: list[int]) -> tuple[Tensor, Numbers]:
            batch, anchor = [pairs[place] for place in places], [anchors[place] for place in places]
            return pair_loss(self.policy, batch, anchor, self.recipe, slot=self.slot)

        return self._steps(pairs, loss_of, on_step)


def _pairs(given: Sequence[Given]) -> list[EncodedPair]:
    return [one for one in given if isinstance(one, EncodedPair)]


def pair_loss(
    policy: TrainablePolicy,
    batch: Sequence[EncodedPair],
    anchors: Sequence[float],
    recipe: PreferenceRecipe,
    *,
    slot: int,
) -> tuple[Tensor, Numbers]:
    """DPO's or IPO's loss plus `sft` times the mean token NLL of the chosen answers; `anchors` are the reference's
    margins."""
    both = [pair.chosen for pair in batch] + [pair.rejected for pair in batch]
    logp, mask = policy.logprobs(both, slot=slot)
    logp = torch.where(mask, logp, 0.0)
    summed = logp.sum(dim=1)
    chosen, rejected = summed[: len(batch)], summed[len(batch) :]
    margin = chosen - rejected - torch.tensor(anchors, dtype=logp.dtype, device=logp.device)
    if recipe.loss == "ipo":
        preference = ipo_loss(margin, beta=recipe.beta).mean()
    else:
        preference = dpo_loss(margin, beta=recipe.beta, label_smoothing=recipe.label_smoothing).mean()
    nll = mean_nll(logp[: len(batch)], mask[: len(batch)])
    loss = preference + recipe.sft * nll
    numbers = {
        "loss": float(loss.detach()),
        "accuracy": float((margin.detach() > 0).float().mean()),
        "margin": float(margin.detach().mean()),
        "chosen_nll": float(nll.detach()),
    }
    return loss, numbers


@dataclass(frozen=True, slots=True)
class Judgement:
    """An answer that was liked or not. `unrelated` is its prompt with the answer to another one, from which KTO reads
    how far the policy has moved at large; None where there is no other prompt."""

    answer: TokenPair
    liked: bool
    unrelated: TokenPair | None


def judgements(given: Sequence[Given]) -> list[Judgement]:
    """What was given as single answers: of each pair, the one liked and the other not.

    An unrelated answer is cut where it would make a longer row than the longest there is, which fits the context.
    """
    answers = [(one.chosen, True) for one in given if isinstance(one, EncodedAnswer)]
    answers += [(one.rejected, False) for one in given if isinstance(one, EncodedPair | EncodedDislike)]
    room = max((len(prompt) + len(answer) for (prompt, answer), _ in answers), default=0)
    found = []
    for place, (pair, liked) in enumerate(answers):
        others = (answers[(place + step) % len(answers)][0] for step in range(1, len(answers)))
        other = next((answer for prompt, answer in others if list(prompt) != list(pair[0])), None)
        unrelated = None if other is None else (pair[0], other[: room - len(pair[0])])
        found.append(Judgement(pair, liked, unrelated))
    return found


class Kto(Learner):
    """From single answers, liked or disliked: those that stand alone count too."""

    def examples(self, given: Sequence[Given]) -> int:
        return len(judgements(given))

    def run(self, given: Sequence[Given], on_step: Callable[[int, Numbers], None]) -> str | None:
        judged = judgements(given)
        anchors = [sum(tokens) for tokens in self.policy.score([one.answer for one in judged], slot=self.reference)]

        def loss_of(places: list[int]) -> tuple[Tensor, Numbers]:
            batch, anchor = [judged[place] for place in places], [anchors[place] for place in places]
            return answer_loss(self.policy, batch, anchor, self._baseline(batch), self.recipe, slot=self.slot)

        return self._steps(given, loss_of, on_step)

    def _baseline(self, batch: Sequence[Judgement]) -> float:
        """KL(policy || reference) of a whole answer in nats, estimated on unrelated ones; 0 without any, or below."""
        unrelated = [one.unrelated for one in batch if one.unrelated is not None]
        if not unrelated:
            return 0.0
        now, start = (self.policy.score(unrelated, slot=slot) for slot in (self.slot, self.reference))
        return max(0.0, fmean(sum(late) - sum(early) for late, early in zip(now, start, strict=True)))


def answer_loss(
    policy: TrainablePolicy,
    batch: Sequence[Judgement],
    anchors: Sequence[float],
    baseline: float,
    recipe: PreferenceRecipe,
    *,
    slot: int,
) -> tuple[Tensor, Numbers]:
    """KTO's loss plus `sft` times the mean token NLL of the answers that were liked; `anchors` are the reference's
    log-probabilities of the answers."""
    logp, mask = policy.logprobs([one.answer for one in batch], slot=slot)
    logp = torch.where(mask, logp, 0.0)
    ratio = logp.sum(dim=1) - torch.tensor(anchors, dtype=logp.dtype, device=logp.device)
    liked = torch.tensor([one.liked for one in batch], device=logp.device)
    loss = kto_loss(ratio, liked, ratio.new_tensor(baseline), beta=recipe.beta).mean()
    right = (ratio.detach() > baseline) == liked
    numbers = {"accuracy": float(right.float().mean()), "baseline": baseline}
    if bool(liked.any()):
        nll = mean_nll(logp[liked], mask[liked])
        loss = loss + recipe.sft * nll
        numbers["chosen_nll"] = float(nll.detach())
    return loss, {"loss": float(loss.detach())} | numbers


def margins(policy: PolicyBackend, given: Sequence[Given], *, slot: int) -> list[float]:
    """log p(chosen) - log p(rejected) of each pair, summed over tokens; of an answer alone its own part of that."""
    chosen = [one.chosen for one in given if isinstance(one, EncodedAnswer)]
    rejected = [one.rejected for one in given if isinstance(one, EncodedPair | EncodedDislike)]
    better, worse = iter(policy.score(chosen, slot=slot)), iter(policy.score(rejected, slot=slot))
    return [
        (sum(next(better)) if isinstance(one, EncodedAnswer) else 0.0)
        - (sum(next(worse)) if isinstance(one, EncodedPair | EncodedDislike) else 0.0)
        for one in given
    ]


def margins_by_prompt(policy: PolicyBackend, pairs: Sequence[Given], *, slot: int) -> list[float]:
    """The mean margin of each prompt: several pairs of one prompt are one piece of evidence."""
    by_prompt: dict[str, list[float]] = {}
    for pair, margin in zip(pairs, margins(policy, pairs, slot=slot), strict=True):
        by_prompt.setdefault(pair.preference.question, []).append(margin)
    return [fmean(found) for found in by_prompt.values()]


def prompts_of(pairs: Sequence[Given]) -> int:
    """How many different prompts pairs have."""
    return len({pair.preference.question for pair in pairs})


def chosen_nll(policy: PolicyBackend, pairs: Sequence[EncodedAnswer], *, slot: int) -> list[float]:
    """Negative log-likelihood a token of each chosen answer."""
    return [-sum(tokens) / len(tokens) for tokens in policy.score([pair.chosen for pair in pairs], slot=slot)]


LOSSES: Mapping[str, type[Learner]] = {"dpo": Dpo, "ipo": Dpo, "kto": Kto}
