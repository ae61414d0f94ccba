"""Families from elsewhere: a person's own, other libraries', and what they must keep to."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from agents.backend import SampledTokens
from personal_data.errors import ConfigurationError, InvalidInput
from tests.training.contract import has_both_sides, keeps_its_promises, refuses_other_difficulties
from training.rewards.truth import Truth
from training.rollouts import Rollout, at_once_tasks
from training.suite import task_is_right
from training.tasks import families, gym
from training.tasks.debates import DEBATES
from training.tasks.environments import ENVIRONMENTS, Environment, Family
from training.tasks.memories import MEMORIES

EXAMPLE = Path(__file__).parents[2] / "examples" / "environments" / "change.py"
needs_the_library = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None, reason="reasoning-gym is optional: pip install 'folkmoot[gym]'"
)


def change() -> Environment:
    spec = importlib.util.spec_from_file_location("change", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Environment = module.CHANGE
    return found


def levels(environment: Environment) -> Sequence[int]:
    """The first, a middle one and the last."""
    known = environment.difficulties
    return sorted({known[0], known[len(known) // 2], known[-1]})


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_ours_keep_the_promises(name: str) -> None:
    for difficulty in ENVIRONMENTS[name].difficulties:
        keeps_its_promises(ENVIRONMENTS[name], difficulty, seed=difficulty)
    refuses_other_difficulties(ENVIRONMENTS[name])


def test_the_example_keeps_the_promises_and_its_answers_are_right() -> None:
    environment = change()
    refuses_other_difficulties(environment)
    for difficulty in environment.difficulties:
        has_both_sides(environment, difficulty)
        for seed in range(20):
            item = keeps_its_promises(environment, difficulty, seed)
            *prices, paid = map(int, re.findall(r"\d+", item.question))
            assert int(item.answer) == paid - sum(prices)
            assert item.work.endswith(f"= {item.answer}") and len(prices) == difficulty


def test_the_example_can_be_practised() -> None:
    """Its tasks are rewarded by its own checker."""
    environment = change()
    tasks = at_once_tasks(environment, Random(3), 2, 8, held_out=False)
    said = [SampledTokens((1,), (2,), (-1.0,), text, "stop") for text in (str(tasks[0].reference), "no idea", "")]
    rollouts = [Rollout(0, tasks[0], one) for one in said]
    assert Truth(environment).score(rollouts).values == [1.0, 0.0, None]


def test_a_family_with_few_items_gives_those_it_has() -> None:
    coin = Family("coin", lambda rng, _: (f"Which side is {rng.choice('AB')}?", "heads", ""), (1,))
    asked = [at_once_tasks(coin, Random(0), 1, 50, held_out=side) for side in (True, False)]
    assert sum(map(len, asked)) == 2


def test_families_are_found_by_name() -> None:
    assert families.environment("add") is ENVIRONMENTS["add"]
    assert families.checker("add") is ENVIRONMENTS["add"]
    assert families.checker("memories") is MEMORIES
    assert families.checker("debates") is DEBATES
    for name in ("ad", "memories", "gym:", "gym:countdown", "chain_sum", "gym:gym:chain_sum"):
        with pytest.raises(InvalidInput, match=r"unknown environment .*known: add, .*gym:chain_sum"):
            families.environment(name)


def test_without_the_library_its_families_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "Editable" not in str(finder)])
    monkeypatch.delitem(sys.modules, "reasoning_gym", raising=False)
    importlib.invalidate_caches()
    with pytest.raises(ConfigurationError, match=r"gym:chain_sum needs reasoning-gym.*pip install 'folkmoot\[gym\]'"):
        families.environment("gym:chain_sum")


def test_the_library_is_not_imported_before_it_is_needed() -> None:
    """Nor for the name and the levels of a family."""
    code = (
        "import sys; from training.tasks import gym, families; from importlib.util import find_spec\n"
        "assert gym.LEVELS\n"
        "if find_spec('reasoning_gym'): assert families.environment('gym:lcm').difficulties == (1, 2, 3, 4)\n"
        "assert 'reasoning_gym' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@needs_the_library
@pytest.mark.parametrize("dataset", sorted(gym.LEVELS))
def test_reasoning_gyms_families_keep_the_promises(dataset: str) -> None:
    environment = families.environment(f"gym:{dataset}")
    refuses_other_difficulties(environment)
    has_both_sides(environment, environment.difficulties[-1])
    for difficulty in levels(environment):
        for seed in range(5):
            item = keeps_its_promises(environment, difficulty, seed)
            assert len(item.question) < 600


@needs_the_library
def test_reasoning_gym_scores_its_own_answers_and_nobody_elses() -> None:
    """It takes 1,000.0 for 1000; the answer that a blind judge puts in the place of its own it would not look at."""
    environment = families.environment("gym:products")
    item = environment.sample(Random(0), 3)
    assert environment.is_right(item, f"{int(item.answer):,}.00") is True
    assert environment.is_right(item, f"It is {item.answer}") is False, "full marks only"


@needs_the_library
def test_what_a_model_writes_is_never_run(tmp_path: Path) -> None:
    """Some of the library's datasets evaluate answers; none of those is among the families."""
    flag = tmp_path / "ran"
    attack = f"__import__('pathlib').Path({str(flag)!r}).touch()"
    for dataset in gym.LEVELS:
        environment = families.environment(f"gym:{dataset}")
        item = environment.sample(Random(0), 1)
        for text in (attack, f"[{attack}]", f"x + {attack}", "9" * 5000, "1e999999999", "[" * 5000):
            assert environment.is_right(item, text) is False
    assert not flag.exists()


@needs_the_library
def test_its_tasks_are_marked_by_it_in_the_gate() -> None:
    environment = families.environment("gym:chain_sum")
    (task,) = at_once_tasks(environment, Random(0), 1, 1, held_out=True)
    for text, right in ((f"{task.reference}.0", True), ("many", False)):
        assert task_is_right(task, SampledTokens((1,), (2,), (-1.0,), text, "stop")) is right
