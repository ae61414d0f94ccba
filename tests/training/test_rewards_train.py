"""Every reward that this trainer can feed takes a step of reinforcement learning on a real model, end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.engine.base import load_base
from agents.engine.lora import AdapterStack
from agents.messages import Message
from tests.agents.tiny import save_qwen3
from training.grpo import Grpo, GrpoRecipe, Step
from training.judge import BlindJudge
from training.monitors import Monitors
from training.optim import StackedAdamW
from training.packing import SharedPromptPolicy
from training.rewards import registry
from training.rewards.judging import FrozenJudge
from training.rewards.prime import ProcessModel
from training.rollouts import Task
from training.tasks.environments import ENVIRONMENTS, Item

ADD = ENVIRONMENTS["add"]
FED = sorted(set(registry.REWARDS) - {"nover", "rlpr", "human_feedback", "polar"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_qwen3(tmp_path_factory.mktemp("train") / "base", max_position_embeddings=512)


class Sums:
    """The same few sums for ever."""

    def take(self, count: int) -> list[Task]:
        questions = [f"What is {number} + 1?" for number in range(count)]
        items = [Item("add", 1, question, str(number + 1), "") for number, question in enumerate(questions)]
        return [Task((Message("user", item.question),), item.question, item, item.answer) for item in items]


@pytest.mark.parametrize("name", FED)
def test_takes_a_step(folder: Path, name: str) -> None:
    base = load_base(str(folder))
    stack = AdapterStack(base, slots=5, rank=4)
    for slot in range(1, 5):
        stack.fresh(slot, rank=4, alpha=8, seed=slot)
    policy, parameters = SharedPromptPolicy(base, stack), stack.parameters()
    sources = registry.Sources(
        ADD,
        BlindJudge(policy, ADD, slot=1, max_tokens=4),
        text_judge=FrozenJudge(policy, slot=1, max_tokens=4),
        process=ProcessModel(policy, StackedAdamW(parameters, slots=[4], lr=0.01), slot=4),
    )
    reward = registry.build(name, sources)
    before = [parameter.detach().clone() for parameter in parameters]
    steps: list[Step] = []
    trainer = Grpo(
        policy=policy,
        optimizer=StackedAdamW(parameters, slots=[3], lr=0.01),
        rewards=[(reward, 1.0), (registry.build("shaping", sources), 0.2)] if name != "shaping" else [(reward, 1.0)],
        recipe=GrpoRecipe(steps=2, prompts=4, group=4, max_tokens=6),
        monitors=Monitors(kl_limit=9.0),
        slot=3,
        reference=2,
        seed=1,
    )
    trainer.run(Sums(), lambda done, step: steps.append(step))
    assert len(steps) == 2
    assert len(steps[0].rewards[name]) == len(steps[0].advantages) == 16
    assert all(bool(parameter.isfinite().all()) for parameter in parameters)
    trained = {3} | ({4} if name == "prime" else set())
    for ours, fresh in zip(parameters, before, strict=True):
        for slot in set(range(5)) - trained:
            assert bool((ours[slot] == fresh[slot]).all()), slot
