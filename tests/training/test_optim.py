"""Every slot of the stacked optimiser is its own AdamW."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.optim import StackedAdamW, warmed_up

SHAPES = ((4, 3, 5), (4, 7, 3))


def stacked() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in SHAPES]


def test_equals_torch_adamw_with_clipping_on_each_slot_alone() -> None:
    together = stacked()
    optimizer = StackedAdamW(together, slots=[1, 3], lr=1e-2, weight_decay=0.1, max_norm=0.5)
    alone = {slot: [p[slot].detach().clone().requires_grad_() for p in stacked()] for slot in (1, 3)}
    peers = {slot: torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1) for slot, parameters in alone.items()}
    for step in range(20):
        gradients = [torch.randn_like(parameter) * (1 + step % 3) for parameter in together]
        for parameter, gradient in zip(together, gradients, strict=True):
            parameter.grad = gradient
        norms = optimizer.step().norms
        for row, (slot, parameters) in enumerate(alone.items()):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient[slot].clone()
            assert float(torch.nn.utils.clip_grad_norm_(parameters, 0.5)) == pytest.approx(float(norms[row]))
            peers[slot].step()
    for slot, parameters in alone.items():
        for ours, theirs in zip(together, parameters, strict=True):
            torch.testing.assert_close(ours[slot], theirs, atol=1e-12, rtol=0)
    for ours, before in zip(together, stacked(), strict=True):
        torch.testing.assert_close(ours[[0, 2]], before[[0, 2]], atol=0, rtol=0)


def test_a_slot_that_is_not_finite_is_skipped_and_its_neighbour_is_not() -> None:
    sick, well = stacked(), stacked()
    first = StackedAdamW(sick, slots=[1, 2], lr=1e-2)
    second = StackedAdamW(well, slots=[2], lr=1e-2)
    for step in range(3):
        for broken, sound in zip(sick, well, strict=True):
            sound.grad = torch.ones_like(sound)
            broken.grad = torch.ones_like(broken)
            broken.grad[1, 0, 0] = float("nan") if step != 1 else 1.0
        applied = first.step().applied.tolist()
        assert applied == [step == 1, True]
        second.step()
    for broken, sound in zip(sick, well, strict=True):
        assert broken.isfinite().all()
        torch.testing.assert_close(broken[2], sound[2], atol=1e-12, rtol=0)


def test_each_slot_has_its_own_settings_and_its_own_steps() -> None:
    """Slots with other learning rates, decays and clips, of which some sit a step out, against torch on each alone."""
    lrs, decays, norms = [1e-2, 3e-3, 1e-1], [0.1, 0.0, 0.3], [0.5, 10.0, 1.0]
    together = stacked()
    optimizer = StackedAdamW(together, slots=[0, 2, 3], lr=lrs, weight_decay=decays, max_norm=norms)
    alone = {slot: [p[slot].detach().clone().requires_grad_() for p in stacked()] for slot in (0, 2, 3)}
    peers = [
        torch.optim.AdamW(parameters, lr=lr, weight_decay=decay)
        for parameters, lr, decay in zip(alone.values(), lrs, decays, strict=True)
    ]
    for step in range(12):
        active = [slot for slot in (0, 2, 3) if (step + slot) % 3]
        for parameter in together:
            parameter.grad = torch.randn_like(parameter)
        applied = optimizer.step(active=active).applied.tolist()
        assert applied == [slot in active for slot in (0, 2, 3)]
        for (slot, parameters), peer, norm in zip(alone.items(), peers, norms, strict=True):
            if slot not in active:
                continue
            for mine, shared in zip(parameters, together, strict=True):
                assert shared.grad is not None
                mine.grad = shared.grad[slot].clone()
            torch.nn.utils.clip_grad_norm_(parameters, norm)
            peer.step()
    for slot, parameters in alone.items():
        for ours, theirs in zip(together, parameters, strict=True):
            torch.testing.assert_close(ours[slot], theirs, atol=1e-12, rtol=0)
    for ours, before in zip(together, stacked(), strict=True):
        torch.testing.assert_close(ours[1], before[1], atol=0, rtol=0)
    with pytest.raises(ValueError, match="2 values for 3 slots"):
        StackedAdamW(together, slots=[0, 2, 3], lr=[1.0, 2.0])


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to train"):
        StackedAdamW([], slots=[1], lr=1e-3)


def test_warm_up_rises_to_one() -> None:
    assert [warmed_up(step, warmup=3) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert warmed_up(0, warmup=0) == 1.0
