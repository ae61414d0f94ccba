"""Rewards keep their contract: None where there is nothing to say, a named stop where they break it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from agents import prompts
from agents.backend import SampledTokens
from agents.messages import Message, SamplingParams
from personal_data.errors import BackendError, InvalidInput
from tests.training.toy import ToyPolicy
from training.judge import BlindJudge, measure_gap
from training.optim import StackedAdamW
from training.rewards import registry
from training.rewards.base import PREPARED, Batch, Need, RewardFailed, Rewards, score
from training.rewards.blind import Blind
from training.rewards.human_feedback import HumanFeedback
from training.rewards.judging import FrozenJudge
from training.rewards.prime import ProcessModel
from training.rewards.ridge import fit_ridge
from training.rewards.shaping import Shaping, repetition
from training.rewards.truth import Truth
from training.rollouts import Rollout, Task
from training.tasks.environments import ENVIRONMENTS, Item

ADD = ENVIRONMENTS["add"]


def task(first: int = 2, second: int = 3) -> Task:
    question = f"What is {first} + {second}?"
    return Task((prompts.at_once(question),), question, Item("add", 1, question, str(first + second), ""))


def rollout(text: str, *, of: Task | None = None, finish_reason: str = "stop", tokens: int = 2) -> Rollout:
    return Rollout(0, of or task(), SampledTokens((1,), tuple(range(tokens)), (-1.0,) * tokens, text, finish_reason))


class Solver:
    """A model that answers sums from a table, and records every prompt it is shown."""

    def __init__(self, **work: str) -> None:
        self.work, self.asked = work, list[str]()

    def sample(
        self, prompts: Sequence[Sequence[Message]], n: int, params: SamplingParams, *, slot: int
    ) -> list[list[SampledTokens]]:
        return [[self._answer(messages[-1].content) for _ in range(n)] for messages in prompts]

    def _answer(self, prompt: str) -> SampledTokens:
        self.asked.append(prompt)
        text = "4" if prompts.AT_ONCE in prompt else self.work.get(prompt[8:13], "so\nanswer: 5")
        return SampledTokens((1,), (1, 2), (-1.0, -1.0), text, "length" if text == "cut" else "stop")

    def score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, slot: int) -> list[list[float]]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("text", "finish_reason", "value"),
    [
        ("5", "stop", 1.0),
        (" 5. ", "stop", 1.0),
        ("2+3\nanswer: 5", "stop", 1.0),
        ("6", "stop", 0.0),
        ("5 or 6", "stop", 0.0),
        ("", "stop", None),
        ("5", "length", None),
    ],
)
def test_truth(text: str, finish_reason: str, value: float | None) -> None:
    assert Truth(ADD).score([rollout(text, finish_reason=finish_reason)]).values == [value]


def test_truth_of_a_task_without_an_item_is_missing() -> None:
    open_ended = Task((Message("user", "How are you?"),), "How are you?")
    assert Truth(ADD).score([rollout("5", of=open_ended)]).values == [None]


def test_blind_judge_sees_the_bare_question_once_and_never_a_proposal() -> None:
    solver = Solver()
    reward = Blind(BlindJudge(solver, ADD, slot=1, max_tokens=64))
    proposals = [rollout(text) for text in ("5", "SECRET-6", "5.")]
    assert reward.score(proposals).values == [1.0, 0.0, 1.0]
    assert reward.score(proposals).values == [1.0, 0.0, 1.0]
    assert solver.asked == [prompts.propose("What is 2 + 3?").content]


def test_blind_judges_by_its_own_answer_not_by_the_truth() -> None:
    reward = Blind(BlindJudge(Solver(**{"2 + 3": "answer: 7"}), ADD, slot=1, max_tokens=64))
    assert reward.score([rollout("5"), rollout("7")]).values == [0.0, 1.0]


@pytest.mark.parametrize("work", ["I cannot say", "cut", "answer: ?"])
def test_blind_without_a_judgement_is_missing(work: str) -> None:
    reward = Blind(BlindJudge(Solver(**{"2 + 3": work}), ADD, slot=1, max_tokens=64))
    assert reward.score([rollout("5"), rollout("")]).values == [None, None]


def test_gap_is_what_thinking_longer_gains() -> None:
    tasks = [task(first, 5 - first) for first in range(6)]
    solver = Solver()
    limits = SamplingParams(8)
    judge = BlindJudge(solver, ADD, slot=1, max_tokens=64)
    gap = measure_gap(solver, judge, ADD, tasks, slot=2, fast=limits, slow=limits)
    assert (gap.n, gap.judged, gap.fast_agrees, gap.slow_agrees, gap.gap) == (6, 6, 0.0, 1.0, 1.0)
    assert (gap.fast_right, gap.slow_right, gap.judge_right) == (0.0, 1.0, 1.0)
    assert gap.positive


def test_questions_that_the_judge_did_not_answer_say_nothing_about_the_gap() -> None:
    tasks = [task(first, 5 - first) for first in range(6)]
    limits = SamplingParams(8)
    silent = Solver(**{"0 + 5": "I cannot say", "1 + 4": "cut", "2 + 3": "answer: 4"})
    gap = measure_gap(
        silent, BlindJudge(silent, ADD, slot=1, max_tokens=64), ADD, tasks, slot=2, fast=limits, slow=limits
    )
    assert (gap.n, gap.judged) == (6, 4)
    assert (gap.fast_agrees, gap.slow_agrees) == (1 / 4, 1.0)
    assert gap.judge_right == 3 / 6
    mute = Solver(**{f"{first} + {5 - first}": "cut" for first in range(6)})
    gap = measure_gap(mute, BlindJudge(mute, ADD, slot=1, max_tokens=64), ADD, tasks, slot=2, fast=limits, slow=limits)
    assert (gap.judged, gap.fast_agrees, gap.slow_agrees, gap.gap, gap.error) == (0, None, None, None, None)
    assert not gap.positive
    assert str(gap) == "the judge answered 0 of 6 questions"


@pytest.mark.parametrize(("tokens", "value"), [([5] * 5, -0.75), ([1, 2, 1, 2, 1, 2], -0.6), ([1], 0.0)])
def test_repetition(tokens: list[int], value: float) -> None:
    assert repetition(tokens, ngram=2) == pytest.approx(value)


def test_shaping_only_takes_away() -> None:
    said = [rollout("fine"), rollout(""), rollout("..."), rollout("cut off", finish_reason="length")]
    assert Shaping().score(said).values == [0.0, -1.0, -1.0, -1.0]


def test_work_is_bad_form_only_where_the_answer_was_asked_for_at_once() -> None:
    worked = "Tom is older than Ada.\nanswer: Tom"
    at_once, at_length = Task((prompts.at_once("Who?"),), "Who?"), Task((prompts.propose("Who?"),), "Who?")
    said = [rollout(text, of=task) for task in (at_once, at_length) for text in ("Tom", worked)]
    assert Shaping().score(said).values == [0.0, -1.0, 0.0, 0.0]


class Broken:
    name = "broken"
    needs: frozenset[Need] = frozenset()

    def __init__(self, answer: Rewards | Exception) -> None:
        self._answer = answer

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        (Broken(KeyError("no such column")), "'broken' raised KeyError"),
        (Broken(Rewards([1.0, 2.0])), "'broken' returned 2 values for 1 rollouts"),
        (Broken(Rewards([float("inf")])), "'broken' returned inf"),
        (Broken(Rewards([float("nan")])), "'broken' returned nan"),
        (Broken(Rewards(None)), "'broken' must return values a rollout or values a token"),
        (Broken(Rewards([1.0], token_values=[[0.5, 0.5]])), "'broken' must return values a rollout or values a token"),
        (Broken(Rewards(None, token_values=[None, None])), "'broken' returned 2 values for 1 rollouts"),
        (Broken(Rewards(None, token_values=[[0.5]])), "'broken' returned 1 values for 2 tokens"),
        (Broken(Rewards(None, token_values=[[0.5, float("nan")]])), "'broken' returned nan"),
    ],
)
def test_a_reward_that_breaks_its_contract_stops_the_run_under_its_name(reward: Broken, told: str) -> None:
    with pytest.raises(RewardFailed, match=told):
        score(reward, Batch([rollout("5")]))


def test_what_a_reward_raises_on_purpose_is_not_hidden_under_its_name() -> None:
    with pytest.raises(BackendError, match="logits are not finite"):
        score(Broken(BackendError("the policy's logits are not finite")), Batch([rollout("5")]))


def test_a_reward_that_needs_what_nobody_prepares_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    needy = Broken(Rewards([1.0]))
    needy.needs = frozenset({"judge", "reference_text"})
    monkeypatch.setattr(registry, "REWARDS", {"needy": lambda _: needy})
    sources = registry.Sources(ADD, BlindJudge(Solver(), ADD, slot=1, max_tokens=64))
    with pytest.raises(InvalidInput, match="'needy' needs reference_text; the trainer prepares base_logit_summary"):
        registry.build("needy", sources)


def test_registry_builds_every_reward_and_lists_them_for_an_unknown_name() -> None:
    sources = registry.Sources(ADD, BlindJudge(Solver(), ADD, slot=1, max_tokens=64))
    head = fit_ridge(torch.ones(1, 2))
    toy = ToyPolicy()
    process = ProcessModel(toy, StackedAdamW([toy.logits], slots=[1], lr=0.1), slot=1)
    everything = dataclasses.replace(
        sources,
        text_judge=FrozenJudge(Solver(), slot=1, max_tokens=64),
        preferences=HumanFeedback(head),
        relative=head,
        process=process,
        prepared=PREPARED | {"reference_text"},
    )
    for name in registry.REWARDS:
        assert registry.build(name, everything).name == name
    with pytest.raises(InvalidInput, match=r"blind, endogenous, .*, truth"):
        registry.build("applause", sources)
