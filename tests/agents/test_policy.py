"""Sampling and scoring of tokens, against Hugging Face's own forward."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from agents.engine.base import load_base
from agents.engine.lora import AdapterStack
from agents.engine.policy import EnginePolicy, Pair
from agents.messages import Message, SamplingParams
from personal_data.errors import BackendError, InvalidInput
from tests.agents.test_lora import random_adapter

PAIRS: list[Pair] = [(list(range(5, 5 + p)), list(range(40, 40 + c))) for p, c in ((4, 7), (9, 1), (1, 12), (6, 0))]
ASK = [Message("user", "What is the time?")]
WARM = SamplingParams(max_tokens=10, temperature=1.0, seed=5)


def policy(folder: Path) -> EnginePolicy:
    base = load_base(str(folder))
    stack = AdapterStack(base, slots=3, rank=4)
    stack.load(2, random_adapter(stack, rank=4, seed=1))
    return EnginePolicy(base, stack)


def test_score_is_the_log_softmax_of_hugging_face(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    scores = policy(folder).score(PAIRS, slot=0)
    for (prompt, completion), ours in zip(PAIRS, scores, strict=True):
        ids = torch.tensor([[*prompt, *completion]])
        with torch.no_grad():
            table = torch.log_softmax(model(ids).logits[0], dim=-1)
        theirs = [float(table[len(prompt) - 1 + at, token]) for at, token in enumerate(completion)]
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_summaries_are_those_of_hugging_faces_logits(folder: Path) -> None:
    """Under an adapter and under the bare base in one call; in order, whatever groups the lengths make."""
    engine = policy(folder)
    slots = [2, 0, 2, 2]
    found = engine.summaries(PAIRS, slot=slots)
    scores = engine.score(PAIRS, slot=slots)
    for (prompt, completion), slot, ours, scored in zip(PAIRS, slots, found, scores, strict=True):
        ids = torch.tensor([[*prompt, *completion]])
        with torch.no_grad(), engine.stack.rows([slot]):
            output = engine.base.model(ids, output_hidden_states=True)
        rows = slice(len(prompt) - 1, ids.shape[1] - 1)
        logits = output.logits[0, rows]
        chosen = logits.gather(1, torch.tensor(completion, dtype=torch.long)[:, None])[:, 0]
        expected = (chosen - logits.logsumexp(-1), chosen, logits.logsumexp(-1), logits.mean(-1))
        for mine, theirs in zip((ours.logprobs, ours.chosen, ours.logsumexp, ours.mean), expected, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=0)
        entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
        torch.testing.assert_close(ours.entropy, entropy, atol=1e-4, rtol=0)
        torch.testing.assert_close(ours.hidden, output.hidden_states[-1][0, rows], atol=1e-4, rtol=0)
        assert ours.vocabulary == logits.shape[1]
        assert ours.logprobs.tolist() == pytest.approx(scored, abs=1e-5)


def test_many_adapters_are_sampled_in_one_batch(qwen3_folder: Path) -> None:
    engine = policy(qwen3_folder)
    engine.stack.load(1, random_adapter(engine.stack, rank=2, seed=9))
    together = engine.sample([ASK] * 4, 2, WARM, slot=[1, 0, 2, 1])
    for place, slot in enumerate([1, 0, 2, 1]):
        alone = engine.sample([ASK] * 4, 2, WARM, slot=slot)[place]
        assert [sample.token_ids for sample in together[place]] == [sample.token_ids for sample in alone]
    with pytest.raises(ValueError, match="3 slots for 4 rows"):
        engine.sample([ASK] * 4, 2, WARM, slot=[1, 0, 2])


def test_sampled_logprobs_equal_scores(folder: Path) -> None:
    engine = policy(folder)
    groups = engine.sample([ASK, [Message("system", "You are Ada's agent."), *ASK]], 3, WARM, slot=2)
    assert [len(group) for group in groups] == [3, 3]
    rows = [sample for group in groups for sample in group]
    scores = engine.score([(sample.prompt_ids, sample.token_ids) for sample in rows], slot=2)
    for sample, score in zip(rows, scores, strict=True):
        assert list(sample.logprobs) == pytest.approx(score, abs=1e-4)


def test_a_seed_fixes_every_sample(qwen3_folder: Path) -> None:
    engine = policy(qwen3_folder)
    first = engine.sample([ASK, ASK], 3, WARM, slot=0)
    again = engine.sample([ASK, ASK], 3, WARM, slot=0)
    assert [[s.token_ids for s in group] for group in first] == [[s.token_ids for s in group] for group in again]
    assert len({sample.token_ids for group in first for sample in group}) == 6


def test_logprobs_carry_gradient_to_the_slot(qwen3_folder: Path) -> None:
    engine = policy(qwen3_folder)
    logp, mask = engine.logprobs(PAIRS, slot=2)
    assert logp.shape == mask.shape == (4, 12)
    assert mask.sum(dim=1).tolist() == [7, 1, 12, 0]
    assert not logp[~mask].any()
    logp.sum().backward()
    for parameter in engine.stack.parameters():
        assert parameter.grad is not None
        assert parameter.grad[2].any()
        assert not parameter.grad[:2].any()


def test_long_or_empty_pairs_are_refused(qwen3_folder: Path) -> None:
    engine = policy(qwen3_folder)
    with pytest.raises(InvalidInput, match="256"):
        engine.score([([1] * 250, [1] * 7)], slot=0)
    with pytest.raises(InvalidInput, match="pair 0"):
        engine.score([([], [1])], slot=0)
    with pytest.raises(InvalidInput, match="tokens"):
        engine.sample([[Message("user", "word " * 300)]], 1, WARM, slot=0)
    assert engine.sample([], 2, WARM, slot=0) == []
    assert engine.score([], slot=0) == []


def test_a_diverged_adapter_is_reported(qwen3_folder: Path) -> None:
    engine = policy(qwen3_folder)
    with torch.no_grad():
        engine.stack.parameters()[0][2] = float("inf")
    with pytest.raises(BackendError, match="finite"):
        engine.sample([ASK], 1, WARM, slot=2)
    assert engine.sample([ASK], 1, WARM, slot=0)[0][0].token_ids
