"""Reading a prompt once changes nothing: log-probabilities and gradients equal those of separate rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch

from agents.engine.base import load_base
from agents.engine.lora import AdapterStack
from agents.engine.policy import EnginePolicy
from personal_data.errors import InvalidInput
from tests.agents.tiny import save_llama, save_qwen3
from training import packing
from training.packing import SharedPromptPolicy, pack
from training.rollouts import TokenPair


def tokens(rng: Random, count: int) -> tuple[int, ...]:
    return tuple(rng.randrange(10, 300) for _ in range(count))


def groups(rng: Random) -> list[TokenPair]:
    """Three prompts, the first one's completions not next to each other, lengths from 1."""
    prompts = [tokens(rng, length) for length in (9, 4, 17)]
    return [(prompts[n % 3], tokens(rng, length)) for n, length in enumerate((1, 3, 7, 2, 5, 1, 6, 4, 12))]


@pytest.fixture(params=[save_qwen3, save_llama])
def policies(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[EnginePolicy, SharedPromptPolicy, AdapterStack]:
    save: Callable[[Path], Path] = request.param
    base = load_base(str(save(tmp_path / "base")))
    stack = AdapterStack(base, slots=3, rank=4)
    stack.fresh(2, rank=4, alpha=8, seed=3)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter[2] += 0.05 * torch.randn_like(parameter[2])
    return EnginePolicy(base, stack), SharedPromptPolicy(base, stack), stack


@pytest.mark.parametrize("row_tokens", [512, 12])
def test_equals_separate_rows(
    policies: tuple[EnginePolicy, SharedPromptPolicy, AdapterStack], row_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "ROW_TOKENS", row_tokens)
    plain, packed, stack = policies
    pairs = groups(Random(1))
    assert len(pack(pairs, [2] * len(pairs))) < len(pairs)
    found = []
    for policy in (plain, packed):
        for parameter in stack.parameters():
            parameter.grad = None
        logp, mask = policy.logprobs(pairs, slot=2)
        torch.autograd.backward((logp * torch.arange(1, 10)[:, None]).sum())
        found.append((logp.detach(), mask, [parameter.grad for parameter in stack.parameters()]))
    (logp, mask, gradients), (packed_logp, packed_mask, packed_gradients) = found
    assert torch.equal(mask, packed_mask)
    torch.testing.assert_close(packed_logp, logp, atol=2e-5, rtol=0)
    for ours, theirs in zip(packed_gradients, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    for ours, theirs in zip(packed.summaries(pairs, slot=2), plain.summaries(pairs, slot=2), strict=True):
        for column in ("logprobs", "chosen", "logsumexp", "mean", "entropy", "hidden"):
            torch.testing.assert_close(getattr(ours, column), getattr(theirs, column), atol=2e-4, rtol=0)
    assert packed.score(pairs, slot=2)[4] == pytest.approx(plain.score(pairs, slot=2)[4], abs=2e-5)


def test_long_completions_spread_over_rows() -> None:
    prompt = tuple(range(20))
    rows = pack([(prompt, tuple(range(400)))] * 3, [1, 1, 1])
    assert [len(row.places) for row in rows] == [1, 1, 1]


def test_equal_prompts_of_different_slots_stay_apart() -> None:
    pair = (1, 2, 3), (4, 5)
    rows = pack([pair] * 4, [1, 2, 1, 0])
    assert [(row.slot, [number for number, _ in row.places]) for row in rows] == [(1, [0, 2]), (2, [1]), (0, [3])]


def test_a_pair_beyond_the_context_is_refused(
    policies: tuple[EnginePolicy, SharedPromptPolicy, AdapterStack],
) -> None:
    with pytest.raises(InvalidInput, match="pair 0"):
        policies[1].logprobs([((1,) * 300, (2,)), ((1,) * 300, (3,))], slot=2)
