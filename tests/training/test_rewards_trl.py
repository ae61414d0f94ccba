"""Functions written for TRL plug in unchanged: plain, asynchronous, with columns, with nothing to say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.rewarded import said, score, task
from training.rewards.base import Batch, RewardFailed
from training.rewards.trl import TrlReward

BATCH = Batch([said("4", of=task(reference="4")), said("five", of=task(reference="4"))])


def correct(completions: list[Any], solution: list[str], **kwargs: Any) -> list[float | None]:
    """As in TRL's documentation."""
    contents = [completion[0]["content"] for completion in completions]
    return [1.0 if content == known else 0.0 for content, known in zip(contents, solution, strict=True)]


def test_columns_reach_the_function_and_its_name_is_the_rewards() -> None:
    reward = TrlReward(correct)
    assert reward.name == "correct"
    assert score(reward, BATCH)[0] == [1.0, 0.0]


def test_everything_that_trl_passes_is_passed() -> None:
    seen: dict[str, Any] = {}

    def look(prompts: list[Any], completions: list[Any], completion_ids: list[Any], **kwargs: Any) -> list[None]:
        seen.update(kwargs, prompts=prompts, completions=completions, completion_ids=completion_ids)
        kwargs["log_metric"]("seen", 2.0)
        return [None, None]

    values, info = score(TrlReward(look, name="look", columns=lambda rollout: {"level": rollout.group}), BATCH)
    assert values == [None, None]
    assert info == {"seen": 2.0}
    assert seen["prompts"][0] == [{"role": "user", "content": "What is 2 + 2?"}]
    assert seen["completions"][1] == [{"role": "assistant", "content": "five"}]
    assert seen["completion_ids"][0] == [10, 11]
    assert seen["level"] == [0, 0]
    assert seen["trainer_state"] is None


def test_asynchronous_functions_and_instances() -> None:
    async def later(completions: list[Any], **kwargs: Any) -> list[float]:
        return [float(len(completion[0]["content"])) for completion in completions]

    class Length:
        def __call__(self, completions: list[Any], **kwargs: Any) -> list[float]:
            return [1.0] * len(completions)

    assert score(TrlReward(later), BATCH)[0] == [1.0, 4.0]
    assert (TrlReward(Length()).name, score(TrlReward(Length()), BATCH)[0]) == ("Length", [1.0, 1.0])


def test_a_function_that_breaks_stops_the_run_under_its_name() -> None:
    def broken(**kwargs: Any) -> list[float]:
        raise KeyError("answer")

    with pytest.raises(RewardFailed, match="'broken' raised KeyError"):
        score(TrlReward(broken), BATCH)
    with pytest.raises(RewardFailed, match="'short' returned 1 values for 2"):
        score(TrlReward(lambda **kwargs: [1.0], name="short"), BATCH)
