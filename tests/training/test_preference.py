"""Preference losses on a softmax policy reach the optimum that theory gives; batches and splits are sound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import pytest
import torch

from agents.messages import Message
from tests.training.toy import ToyPolicy
from training import preference
from training.monitors import Monitors
from training.optim import StackedAdamW
from training.preference import LOSSES, EncodedAnswer, EncodedDislike, EncodedPair, Given, PreferenceRecipe
from training.supervised import shuffled
from training.tasks.interactions import Preference


def pair(chosen: int, rejected: int, prompt: int = 0) -> EncodedPair:
    said = Preference((Message("user", str(prompt)),), str(chosen), str(rejected))
    return EncodedPair(said, ((prompt,), (chosen,)), ((prompt,), (rejected,)))


@pytest.mark.parametrize(("beta", "optimum"), [(1.0, 0.731059), (0.5, 0.880797)])
def test_two_action_optimum(beta: float, optimum: float) -> None:
    """Preferences drawn with odds e^1 : 1, the rewards 1 and 0 under Bradley-Terry: pi = sigma(1 / beta)."""
    policy = ToyPolicy(words=("yes", "no"))
    wins = torch.tensor([1.0, 0.0], dtype=torch.float64).softmax(dim=0)
    optimizer = StackedAdamW([policy.logits], slots=[3], lr=0.05, max_norm=1e9)
    both = [pair(0, 1), pair(1, 0)]
    recipe = PreferenceRecipe(beta=beta, sft=0.0)
    for _ in range(600):
        optimizer.zero_grad()
        losses = [preference.pair_loss(policy, [one], [0.0], recipe, slot=3)[0] for one in both]
        torch.autograd.backward(wins[0] * losses[0] + wins[1] * losses[1])
        optimizer.step()
    assert policy.distribution(3)[0].item() == pytest.approx(optimum, abs=1e-6)
    assert beta * preference.margins(policy, [both[0]], slot=3)[0] == pytest.approx(1.0, abs=1e-5)


def liked(answer: int, prompt: int = 0) -> EncodedAnswer:
    said = Preference((Message("user", str(prompt)),), str(answer), None)
    return EncodedAnswer(said, ((prompt,), (answer,)))


def learn(policy: ToyPolicy, given: Sequence[Given], recipe: PreferenceRecipe) -> list[dict[str, float]]:
    told: list[dict[str, float]] = []
    trainer = LOSSES[recipe.loss](
        policy=policy,
        optimizer=StackedAdamW([policy.logits], slots=[3], lr=0.1),
        recipe=recipe,
        monitors=Monitors(),
        slot=3,
        reference=2,
        seed=1,
    )
    stopped = trainer.run(given, lambda _done, numbers: told.append(numbers))
    assert stopped is None
    return told


def test_preferred_answers_become_likelier_and_other_slots_stay() -> None:
    policy = ToyPolicy(prompts=4)
    pairs = [pair(1, 0, prompt) for prompt in range(4)]
    told = learn(policy, pairs, PreferenceRecipe(batch=2))
    assert len(told) == 12
    assert all(margin > 0 for margin in preference.margins(policy, pairs, slot=3))
    assert preference.chosen_nll(policy, pairs, slot=3)[0] < preference.chosen_nll(policy, pairs, slot=2)[0]
    assert (policy.logits[:3] == 0).all()


def test_the_supervised_term_keeps_the_chosen_answer_likely() -> None:
    """With DPO alone both answers may fall; the anchor counts their likelihood, not only their difference."""
    plain, anchored = ToyPolicy(), ToyPolicy()
    learn(plain, [pair(1, 0)], PreferenceRecipe(sft=0.0, epochs=20))
    learn(anchored, [pair(1, 0)], PreferenceRecipe(sft=1.0, epochs=20))
    assert anchored.distribution(3)[1] > plain.distribution(3)[1]


def test_a_batch_never_repeats_a_pair_and_all_are_seen_equally() -> None:
    batches = shuffled(10, 4, Random(3))
    seen = [next(batches) for _ in range(10)]
    assert all(len(set(batch)) == 4 for batch in seen)
    counts = [sum(batch.count(place) for batch in seen) for place in range(10)]
    assert counts == [4] * 10


def test_several_pairs_of_one_prompt_are_one_piece_of_evidence() -> None:
    policy = ToyPolicy(prompts=2)
    pairs = [pair(1, 0), pair(1, 0), pair(0, 2), pair(1, 0, prompt=1)]
    with torch.no_grad():
        policy.logits[3, 0] = torch.tensor([0.0, 3.0, 0.0, 0.0])
    assert preference.margins(policy, pairs, slot=3) == pytest.approx([3.0, 3.0, 0.0, 0.0])
    assert preference.margins_by_prompt(policy, pairs, slot=3) == pytest.approx([2.0, 0.0])
    assert preference.prompts_of(pairs) == 2


def test_ipo_leads_the_margin_to_its_finite_value() -> None:
    """1 / (2 beta), where DPO on pairs that all agree has no end."""
    policy = ToyPolicy()
    optimizer = StackedAdamW([policy.logits], slots=[3], lr=0.05, max_norm=1e9)
    recipe = PreferenceRecipe(loss="ipo", beta=0.1, sft=0.0)
    for _ in range(600):
        optimizer.zero_grad()
        torch.autograd.backward(preference.pair_loss(policy, [pair(1, 0)], [0.0], recipe, slot=3)[0])
        optimizer.step()
    assert preference.margins(policy, [pair(1, 0)], slot=3)[0] == pytest.approx(5.0, abs=1e-4)


def test_smoothed_labels_end_at_the_margin_that_they_believe_in() -> None:
    """cDPO: sigma(beta d) = 1 - e."""
    policy = ToyPolicy()
    optimizer = StackedAdamW([policy.logits], slots=[3], lr=0.05, max_norm=1e9)
    recipe = PreferenceRecipe(beta=1.0, label_smoothing=0.1, sft=0.0)
    for _ in range(800):
        optimizer.zero_grad()
        torch.autograd.backward(preference.pair_loss(policy, [pair(1, 0)], [0.0], recipe, slot=3)[0])
        optimizer.step()
    margin = torch.tensor(preference.margins(policy, [pair(1, 0)], slot=3)[0])
    assert torch.sigmoid(margin).item() == pytest.approx(0.9, abs=1e-5)


def test_the_default_loss_is_dpo_and_its_numbers_are_what_they_were() -> None:
    policy = ToyPolicy(prompts=4)
    told = learn(policy, [pair(1, 0, prompt) for prompt in range(4)], PreferenceRecipe(batch=2))
    assert PreferenceRecipe().loss == "dpo"
    assert list(told[0]) == ["loss", "accuracy", "margin", "chosen_nll", "gradient_norm"]
    assert told[0]["loss"] == pytest.approx(3 * math.log(2), abs=1e-9), "ln 2 of the pair, ln 4 of the answer"


def test_an_answer_without_a_rejected_one_teaches_kto_alone() -> None:
    given = [pair(1, 0, prompt) for prompt in range(3)] + [liked(1, 3)]
    paired, single = ToyPolicy(prompts=4), ToyPolicy(prompts=4)
    learn(paired, given, PreferenceRecipe(batch=2))
    assert (paired.logits[3, 3] == 0).all()
    assert (paired.logits[3, :3] != 0).any()
    told = learn(single, given, PreferenceRecipe(loss="kto", batch=2))
    assert len(told) == 21, "3 pairs are 6 examples, and the liked answer is one"
    for prompt in range(4):
        assert single.distribution(3, prompt)[1] > 0.4
    assert all(single.distribution(3, prompt)[0] < 0.25 for prompt in range(3))
    assert (single.logits[:3] == 0).all()
    assert all(numbers["baseline"] >= 0 for numbers in told)


def test_liked_answers_alone_are_enough_for_kto() -> None:
    policy = ToyPolicy(prompts=4)
    learn(policy, [liked(2, prompt) for prompt in range(4)], PreferenceRecipe(loss="kto", sft=0.0, batch=2))
    assert all(policy.distribution(3, prompt)[2] > 0.3 for prompt in range(4))


def disliked(answer: int, prompt: int = 0) -> EncodedDislike:
    of = pair(0, answer, prompt)
    return EncodedDislike(Preference(of.preference.messages, None, "worse"), of.rejected)


def test_disliked_answers_teach_kto_alone_and_become_less_likely() -> None:
    policy, paired = ToyPolicy(prompts=4), ToyPolicy(prompts=4)
    given = [*(liked(2, prompt) for prompt in range(2)), *(disliked(1, prompt) for prompt in (2, 3))]
    told = learn(policy, given, PreferenceRecipe(loss="kto", sft=0.0, batch=2))
    assert len(told) == 12, "four examples, six times, two at once"
    assert all(policy.distribution(3, prompt)[2] > 0.3 for prompt in (0, 1))
    assert all(policy.distribution(3, prompt)[1] < 0.2 for prompt in (2, 3))
    assert learn(paired, [*given, pair(1, 0)], PreferenceRecipe(batch=2))
    assert (paired.logits[3, 1:] == 0).all()


def test_a_disliked_answers_margin_is_what_speaks_against_it() -> None:
    """Logits 3 and 0 of four: log p = 3 - ln(e^3 + 3) and -ln(e^3 + 3)."""
    policy = ToyPolicy(prompts=2)
    with torch.no_grad():
        policy.logits[3, 0] = torch.tensor([0.0, 3.0, 0.0, 0.0])
    total = math.log(math.exp(3) + 3)
    given = [disliked(1), liked(1), pair(1, 0), disliked(0)]
    assert preference.margins(policy, given, slot=3) == pytest.approx([total - 3, 3 - total, 3, total])
    assert preference.prompts_of(given) == 1
    assert [(one.answer, one.liked) for one in preference.judgements(given)] == [
        (liked(1).chosen, True), (pair(1, 0).chosen, True),
        (disliked(1).rejected, False), (pair(1, 0).rejected, False), (disliked(0).rejected, False),
    ]  # fmt: skip


def test_answers_that_were_rejected_alone_have_no_supervised_term() -> None:
    rejected = [one for one in preference.judgements([pair(1, 0), pair(1, 0, 1)]) if not one.liked]
    policy = ToyPolicy(prompts=2)
    loss, numbers = preference.answer_loss(policy, rejected, [0.0, 0.0], 0.0, PreferenceRecipe(beta=0.1), slot=3)
    log_ratio = torch.tensor(0.25).log()
    assert loss.item() == pytest.approx(torch.sigmoid(0.1 * log_ratio).item(), abs=1e-6)
    assert "chosen_nll" not in numbers


def test_the_baseline_of_kto_is_read_from_answers_to_other_prompts() -> None:
    given = [
        EncodedAnswer(liked(1, 0).preference, ((0,), (1, 1, 1))),
        EncodedAnswer(liked(1, 1).preference, ((1, 1, 1), (2,))),
        EncodedAnswer(liked(1, 0).preference, ((0,), (3,))),
    ]
    unrelated = [one.unrelated for one in preference.judgements(given)]
    assert unrelated == [((0,), (2,)), ((1, 1, 1), (3,)), ((0,), (2,))]
    room = [EncodedAnswer(given[0].preference, ((0,), (1, 1, 1, 1, 1))), given[1]]
    assert preference.judgements(room)[1].unrelated == ((1, 1, 1), (1, 1, 1)), "cut to the longest row there is"
    assert preference.judgements([given[0], given[2]])[0].unrelated is None, "one prompt has no other"


def test_the_baseline_is_the_divergence_that_the_policy_has_at_large() -> None:
    """Answers drawn from the policy itself: then the mean log-ratio is the exact KL."""
    policy = ToyPolicy(prompts=2)
    with torch.no_grad():
        policy.logits[3, :, 1] = 2.0
    trainer = LOSSES["kto"](
        policy=policy,
        optimizer=StackedAdamW([policy.logits], slots=[3], lr=0.1),
        recipe=PreferenceRecipe(loss="kto"),
        monitors=Monitors(),
        slot=3,
        reference=2,
        seed=1,
    )
    ratio = (policy.distribution(3)[1] / policy.distribution(2)[1]).log().item()
    assert isinstance(trainer, preference.Kto)
    likely = preference.judgements([liked(1, 0), liked(1, 1)])
    assert trainer._baseline(likely) == pytest.approx(ratio)
    assert trainer._baseline(preference.judgements([liked(0, 0), liked(0, 1)])) == 0.0, "never below"


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_that_are_not_finite_break_the_run_and_leave_the_weights_alone(loss: str) -> None:
    policy = ToyPolicy(prompts=4)
    policy.logits.register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[no-untyped-call]
    monitors = Monitors()
    trainer = LOSSES[loss](
        policy=policy,
        optimizer=StackedAdamW([policy.logits], slots=[3], lr=0.1),
        recipe=PreferenceRecipe(loss=loss),
        monitors=monitors,
        slot=3,
        reference=2,
        seed=1,
    )
    told: list[int] = []
    stopped = trainer.run([pair(1, 0, prompt) for prompt in range(4)], lambda done, _: told.append(done))
    assert stopped == "loss or gradient was not finite 3 times"
    assert told == [1, 2, 3]
    assert monitors.broken
    assert (policy.logits == 0).all()


def test_a_liked_answer_is_evidence_by_its_own_likelihood() -> None:
    policy = ToyPolicy(prompts=2)
    with torch.no_grad():
        policy.logits[3, 0] = torch.tensor([0.0, 3.0, 0.0, 0.0])
    mixed = [pair(1, 0), liked(2, 1)]
    assert preference.margins(policy, mixed, slot=3) == pytest.approx([3.0, torch.tensor(0.25).log().item()])
