"""Next-token learning: nothing is lost in packing, the texts become likelier, the replay holds what was there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.toy import ToyPolicy
from training.monitors import Monitors
from training.optim import StackedAdamW
from training.rollouts import TokenPair
from training.supervised import Supervised, TextsRecipe, mean_nll, nll_of, pack

END = 0
texts = st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=20).map(lambda ids: [*ids, END]), max_size=8)


@given(texts, st.integers(1, 9))
def test_packing_loses_and_repeats_no_token(encoded: list[list[int]], block: int) -> None:
    packed = pack(encoded, end=END, block=block)
    stream = [token for text in encoded for token in text]
    assert [token for _, completion in packed for token in completion] == stream
    assert all(0 < len(completion) <= block for _, completion in packed)
    before = [END, *stream]
    assert [prompt for prompt, _ in packed] == [[before[place * block]] for place in range(len(packed))]


def test_mean_nll_counts_every_token_once() -> None:
    logp = torch.tensor([[-1.0, -3.0], [-5.0, 0.0]])
    assert mean_nll(logp, torch.tensor([[True, True], [True, False]])).item() == 3.0


def learn(
    policy: ToyPolicy, blocks: Sequence[TokenPair], replay: Sequence[TokenPair], recipe: TextsRecipe
) -> tuple[list[dict[str, float]], str | None]:
    told: list[dict[str, float]] = []
    trainer = Supervised(
        policy=policy,
        optimizer=StackedAdamW([policy.logits], slots=[3], lr=0.1),
        recipe=recipe,
        monitors=Monitors(),
        slot=3,
        seed=1,
    )
    stopped = trainer.run(blocks, replay, lambda _done, numbers: told.append(numbers))
    assert len(told) == trainer.updates(len(blocks)) or stopped is not None
    return told, stopped


BLOCKS: list[TokenPair] = [((0,), (1, 1, 1, 2))] * 6


def test_the_texts_become_likelier_down_to_their_entropy_and_other_slots_stay() -> None:
    policy = ToyPolicy()
    told, _ = learn(policy, BLOCKS, [], TextsRecipe(epochs=40, max_updates=400, warmup=0))
    assert told[0]["text_nll"] == pytest.approx(math.log(4))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert nll_of(policy, BLOCKS, slot=3) == pytest.approx(entropy, abs=0.05)
    assert (policy.logits[:3] == 0).all()


def test_the_replay_holds_what_was_there() -> None:
    free, held = ToyPolicy(), ToyPolicy()
    replay: list[TokenPair] = [((0,), (3,))]
    learn(free, BLOCKS, [], TextsRecipe(epochs=20))
    told, _ = learn(held, BLOCKS, replay, TextsRecipe(epochs=20))
    assert told[0]["replay_nll"] == pytest.approx(math.log(4))
    assert nll_of(held, replay, slot=3) < nll_of(free, replay, slot=3) - 1
    unweighed = ToyPolicy()
    told, _ = learn(unweighed, BLOCKS, replay, TextsRecipe(epochs=20, replay=0.0))
    assert "replay_nll" not in told[0]
    assert torch.equal(unweighed.logits, free.logits)


def test_gradients_that_are_not_finite_break_the_run_and_leave_the_weights_alone() -> None:
    policy = ToyPolicy()
    policy.logits.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]
    _, stopped = learn(policy, BLOCKS, [], TextsRecipe())
    assert stopped == "loss or gradient was not finite 3 times"
    assert (policy.logits == 0).all()
