"""DPO on a softmax policy reaches the optimum that theory gives; the pairs' batches and splits are sound."""

from __future__ import annotations

from random import Random

import pytest
import torch

from agents.messages import Message
from tests.training.toy import ToyPolicy
from training import preference
from training.monitors import Monitors
from training.optim import StackedAdamW
from training.preference import Dpo, EncodedPair, PreferenceRecipe
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


def learn(policy: ToyPolicy, pairs: list[EncodedPair], recipe: PreferenceRecipe) -> list[dict[str, float]]:
    told: list[dict[str, float]] = []
    trainer = Dpo(
        policy=policy,
        optimizer=StackedAdamW([policy.logits], slots=[3], lr=0.1),
        recipe=recipe,
        monitors=Monitors(),
        slot=3,
        reference=2,
        seed=1,
    )
    stopped = trainer.run(pairs, lambda _done, numbers: told.append(numbers))
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
    batches = preference._batches(10, 4, Random(3))
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
