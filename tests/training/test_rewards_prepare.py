"""What rewards need is read from a real model once, and equals what the model says when it is asked alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from agents.backend import SampledTokens
from agents.engine.base import Base, load_base
from agents.engine.lora import AdapterStack
from agents.messages import Message, SamplingParams
from personal_data.errors import InvalidInput
from tests.agents.tiny import save_qwen3
from tests.training.rewarded import said, score
from tests.training.toy import ToyPolicy
from training.packing import SharedPromptPolicy
from training.preference import encode_completion
from training.rewards import registry
from training.rewards.base import PREPARED, Need
from training.rewards.nover import Nover
from training.rewards.prepare import Reader, prepare, reasoning_of
from training.rewards.rlpr import Rlpr
from training.rollouts import Rollout, Task, TokenPair, sample_groups

POLICY, REFERENCE = 2, 1


class Counting(SharedPromptPolicy):
    """Counts what is read, as (kind, slot, pairs)."""

    def __init__(self, base: Base, stack: AdapterStack) -> None:
        super().__init__(base, stack)
        self.read: list[tuple[str, object, int]] = []

    def score(self, pairs: Sequence[TokenPair], *, slot: object) -> list[list[float]]:
        self.read.append(("score", slot, len(pairs)))
        return super().score(pairs, slot=slot)  # type: ignore[arg-type]

    def summaries(self, pairs: Sequence[TokenPair], *, slot: object) -> list:  # type: ignore[type-arg]
        self.read.append(("summaries", slot, len(pairs)))
        return super().summaries(pairs, slot=slot)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Counting:
    base = load_base(str(save_qwen3(Path(tmp_path_factory.mktemp("prepare")) / "base")))
    stack = AdapterStack(base, slots=3, rank=4)
    for slot in (REFERENCE, POLICY):
        stack.fresh(slot, rank=4, alpha=8, seed=slot)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter[1:] += 0.05 * torch.randn_like(parameter[1:])
    return Counting(base, stack)


def reader(policy: Counting, *, texts: bool = False) -> Reader:
    base = policy.base
    return Reader(
        policy,
        slot=POLICY,
        reference=REFERENCE,
        encode=(lambda text: encode_completion(base, text)[:-1]) if texts else None,
        end=base.tokenizer.eos_token_id,
        longest=base.max_positions,
    )


@pytest.fixture
def rollouts(policy: Counting) -> list[Rollout]:
    tasks = [Task((Message("user", text),), text) for text in ("What is the time?", "answer: 42")]
    return sample_groups(policy, tasks, 3, SamplingParams(6, 1.0, seed=4), slot=POLICY)


def test_everything_is_read_once_and_nothing_that_nobody_needs(policy: Counting, rollouts: list[Rollout]) -> None:
    needs: frozenset[Need] = frozenset({"ref_logprobs", "base_logprobs", "logit_summary", "hidden_states"})
    policy.read.clear()
    batch = prepare(reader(policy), rollouts, needs)
    assert sorted(policy.read) == [("score", REFERENCE, 6), ("summaries", 0, 6), ("summaries", POLICY, 6)]
    pairs = [rollout.pair for rollout in rollouts]
    assert batch.ref_logprobs == policy.score(pairs, slot=REFERENCE)
    for ours, alone in zip(batch.base_logprobs or [], policy.score(pairs, slot=0), strict=True):
        assert ours == pytest.approx(alone, abs=2e-5)
    for one, rollout in zip(batch.summaries or [], rollouts, strict=True):
        assert one.logprobs.tolist() == pytest.approx(rollout.sampled.logprobs, abs=1e-4)
    policy.read.clear()
    empty = prepare(reader(policy), rollouts, frozenset({"ground_truth"}))
    assert not policy.read
    assert (empty.ref_logprobs, empty.summaries, empty.references) == (None, None, None)


def test_references_are_read_with_and_without_the_reasoning(policy: Counting) -> None:
    question = Task((Message("user", "What is the time?"),), "What is the time?", reference="42")
    bare = Task((Message("user", "What is the time?"),), "What is the time?")
    base = policy.base
    prompt = tuple(base.encode(question.messages))
    texts = ["check it again\nanswer: 7", "7", "check it again\nanswer: 7"]
    tasks = [question, question, bare]
    rollouts = [
        Rollout(0, task, SampledTokens(prompt, tuple(encode_completion(base, text)), (), text, "stop"))
        for task, text in zip(tasks, texts, strict=True)
    ]
    batch = prepare(reader(policy, texts=True), rollouts, frozenset({"reference_text", "hidden_states"}))
    assert batch.references is not None
    reasoned, plain, none = batch.references
    assert none is None
    assert reasoned is not None and plain is not None
    encode = reader(policy, texts=True).encode
    assert encode is not None
    end = base.tokenizer.eos_token_id
    after = (*prompt, *encode("check it again\nanswer:")), (*encode(" 42"), end)
    alone = policy.score([(prompt, (*encode("42"), end)), after], slot=REFERENCE)
    assert reasoned.without.tolist() == pytest.approx(alone[0], abs=2e-5)
    assert reasoned.after_reasoning is not None
    assert reasoned.after_reasoning.tolist() == pytest.approx(alone[1], abs=2e-5)
    assert reasoned.reasoning_tokens == len(encode("check it again\nanswer:"))
    assert (plain.after_reasoning, plain.reasoning_tokens) == (None, 0)
    assert reasoned.hidden is not None and reasoned.hidden.shape == (32,)
    values, _ = score(Nover(), batch)
    assert values == [2.0, 0.0, None]
    assert score(Rlpr(), batch)[0][2] is None


@pytest.mark.parametrize(
    ("text", "finish", "found"),
    [
        ("so\nanswer: 4", "stop", "so\nanswer:"),
        ("so\nAnswer: 4", "stop", "so\nAnswer:"),
        ("4", "stop", None),
        ("answer: 4", "stop", None),
        ("so\nanswer:", "stop", None),
        ("so\nanswer: 4\nanswer: 5", "stop", None),
        ("so\nanswer: 4", "length", None),
    ],
)
def test_the_reasoning_of_a_completion(text: str, finish: str, found: str | None) -> None:
    assert reasoning_of(said(text, finish=finish).sampled) == found


def test_a_reference_that_does_not_fit_is_none(policy: Counting) -> None:
    task = Task((Message("user", "x"),), "x", reference="fox " * 400)
    prompt = tuple(policy.base.encode(task.messages))
    rollout = Rollout(0, task, SampledTokens(prompt, (5,), (-1.0,), "so answer: 1", "stop"))
    assert prepare(reader(policy, texts=True), [rollout], frozenset({"reference_text"})).references == [None]


def test_a_policy_that_shows_no_logits_is_refused() -> None:
    with pytest.raises(InvalidInput, match="looks into the logits"):
        prepare(Reader(ToyPolicy(), slot=3, reference=2), [said("x")], frozenset({"logit_summary"}))
    with pytest.raises(InvalidInput, match="needs a tokenizer"):
        prepare(Reader(ToyPolicy(), slot=3, reference=2), [said("x")], frozenset({"reference_text"}))


@pytest.mark.parametrize("name", ["self_certainty", "implicit", "endogenous", "majority"])
def test_rewards_score_what_was_prepared_for_them(
    policy: Counting, rollouts: list[Rollout], sources: registry.Sources, name: str
) -> None:
    reward = registry.build(name, sources)
    assert reward.needs <= PREPARED
    values, _ = score(reward, prepare(reader(policy), rollouts, reward.needs))
    assert len(values) == len(rollouts)
    assert name == "majority" or len(set(values)) > 1


@pytest.fixture
def sources(policy: Counting) -> registry.Sources:
    from training.judge import BlindJudge
    from training.tasks.environments import ENVIRONMENTS

    return registry.Sources(ENVIRONMENTS["add"], BlindJudge(policy, ENVIRONMENTS["add"], slot=1, max_tokens=8))


@pytest.mark.parametrize(
    ("name", "need"),
    [
        ("nover", "reference_text"),
        ("rlpr", "reference_text"),
        ("prime", "trainable"),
        ("rubric", "text_judge"),
        ("group_judge", "text_judge"),
        ("self_rewarding", "text_judge"),
        ("generative", "text_judge"),
        ("human_feedback", "preferences"),
        ("polar", "preferences"),
    ],
)
def test_what_this_run_lacks_is_refused_by_name(sources: registry.Sources, name: str, need: str) -> None:
    with pytest.raises(InvalidInput, match=f"reward '{name}' needs {need}; the trainer prepares base_logit_summary"):
        registry.build(name, sources)
