"""What an agent can do at each difficulty of a family, and which of them it can practise.

A level is measured when somebody first asks for it: the incumbent's direct answers and its slower thinking, on held-in
items. Door: `Levels`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from random import Random
from typing import Any

from agents.messages import SamplingParams
from training.judge import BlindJudge, Gap, measure_gap
from training.plan import EnvironmentPlan
from training.rollouts import Task, at_once_tasks
from training.stages.bench import INCUMBENT, Bench
from training.tasks.curriculum import TARGET
from training.tasks.environments import Environment

_LEARNABLE = (0.02, 0.98)
_FEWEST = 20


class Levels:
    """The difficulties of the plan's family; one only where the plan names it."""

    def __init__(self, bench: Bench, plan: EnvironmentPlan, environment: Environment, judge: BlindJudge) -> None:
        self._bench, self._plan, self._environment, self._judge = bench, plan, environment, judge
        self._gaps: dict[int, Gap] = {}
        self.all = self._environment.difficulties if plan.difficulty is None else (plan.difficulty,)

    def start(self) -> float | str:
        """The difficulty at which half of the direct answers are rewarded, or as near as can be practised; or why
        nothing can. What cannot be practised because it is too easy is passed over."""
        below: int | None = None
        why = ""
        for level in self.all:
            obstacle = self._obstacle(level)
            if obstacle is None and (self._share(level) or 0.0) <= TARGET:
                return float(level) if below is None else self._crossing(below, level)
            if obstacle is None:
                below = level
            elif below is not None:
                return float(below)
            elif (self._share(level) or 0.0) <= TARGET:
                return obstacle
            why = obstacle or why
        return why if below is None else float(below)

    def opens(self, level: int) -> bool:
        """Whether the difficulty may rise to this level."""
        return level in self.all and self._obstacle(level) is None

    def held_out(self, levels: Iterable[int]) -> list[Task]:
        """The gate's items, in equal parts from the levels that were practised."""
        wanted = sorted(levels)
        share = self._plan.recipe.gate_items // len(wanted)
        return [task for level in wanted for task in self._draw("gate", level, share, held_out=True)]

    def record(self) -> dict[str, Any]:
        """The measured gaps, by level."""
        return {"gaps": {str(level): dataclasses.asdict(gap) for level, gap in sorted(self._gaps.items())}}

    def _obstacle(self, level: int) -> str | None:
        """Why this level cannot be practised with this reward, or None."""
        name, blind, gap = self._plan.name, self._plan.reward == "blind", self._gap(level)
        if (held := len(self._draw("gate", level, _FEWEST, held_out=True))) < _FEWEST:
            return f"{name} has {held} held-out items at difficulty {level}; the gate needs {_FEWEST}"
        if blind and not gap.positive:
            return f"{name}: thinking longer does not beat answering at once ({gap}); a judge has nothing to teach"
        share = self._share(level)
        if share is not None and not _LEARNABLE[0] <= share <= _LEARNABLE[1]:
            return f"{name}: {share:.0%} of direct answers are rewarded (n={gap.n}); groups would not differ"
        return None

    def _share(self, level: int) -> float | None:
        """The share of direct answers that are rewarded."""
        gap = self._gap(level)
        return gap.fast_agrees if self._plan.reward == "blind" else gap.fast_right

    def _crossing(self, below: int, level: int) -> float:
        """Where between two neighbours half would be rewarded, on a straight line."""
        easy, hard = self._share(below) or 0.0, self._share(level) or 0.0
        return below + (easy - TARGET) / (easy - hard)

    def _gap(self, level: int) -> Gap:
        if level not in self._gaps:
            recipe, bench = self._plan.recipe, self._bench
            self._gaps[level] = measure_gap(
                bench.policy,
                self._judge,
                self._environment,
                self._draw("gap", level, recipe.gap_items, held_out=False),
                slot=INCUMBENT,
                fast=SamplingParams(recipe.max_tokens, temperature=1.0, seed=bench.seed),
                slow=SamplingParams(bench.suite.work_tokens, temperature=1.0, seed=bench.seed),
            )
        return self._gaps[level]

    def _draw(self, use: str, level: int, count: int, *, held_out: bool) -> list[Task]:
        rng = Random(f"{use} {self._bench.seed} {self._plan.name} {level}")
        return at_once_tasks(self._environment, rng, level, count, held_out=held_out)
