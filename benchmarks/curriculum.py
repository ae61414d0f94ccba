"""Claim: difficulty follows an agent, near half right; at a fixed difficulty it runs out of anything to learn.

`python -m benchmarks.curriculum` lets two agents of each seed practise ordering people over several improvement jobs,
each on top of what the one before published: one at the difficulty where it is half right, one at the difficulty where
that was in its first job. The reward is the truth, so that only the difficulty differs: a blind judge has limits of its
own (`--reward blind`). After every job both answer held-out items of all levels. An agent's plateau begins with the
first job after which it gains no more than the noise of a job. `--plots FOLDER` draws it. `--workers N` runs N agents
side by side, one thread each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: agents practise side by side

from benchmarks.figures import Figure, finish, machine, mean, shown
from benchmarks.jobs import Place, place
from training.report.curves import Curve, Panel
from training.report.plot import plot
from training.rollouts import Task, at_once_tasks
from training.suite import measure_tasks
from training.tasks.environments import ENVIRONMENTS

FAMILY = "order"
FOLLOWING, FIXED = "following", "fixed"
PER_LEVEL, ROOM = 50, 16
STEPS = 100
PRACTICE = {"name": FAMILY, "steps": STEPS, "prompts": 16, "gate_items": 2000}
TRUTH, BLIND = "truth", "blind"
NEAR_HALF = (0.35, 0.65)
NOISE = 0.01
"""Of an accuracy before and after on the same 400 items, of which a job changes some 5 %: its standard error."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """One job: the mean difficulty and share of right answers of its steps, and the agent's held-out accuracy over all
    levels afterwards."""

    decision: str
    reasons: tuple[str, ...]
    difficulty: float | None
    success: float | None
    accuracy: float


@dataclass(frozen=True, slots=True)
class Agent:
    """The cycles of one agent, and its accuracy before the first."""

    kind: str
    seed: int
    before: float
    cycles: tuple[Cycle, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cycles", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reward", choices=(TRUTH, BLIND), default=TRUTH)
    parser.add_argument("--plots", type=Path, help="a folder for the pictures (SVG)")
    options = parser.parse_args(arguments)
    print(f"curriculum, {FAMILY} by {options.reward}, {options.cycles} jobs of {STEPS} steps, {machine()}", flush=True)
    pairs = [(kind, seed) for seed in range(options.seeds) for kind in (FOLLOWING, FIXED)]
    wanted = [(*agent, options.cycles, options.reward) for agent in pairs]
    agents = []
    with multiprocessing.get_context("spawn").Pool(options.workers, maxtasksperchild=1) as pool:
        for agent in pool.imap_unordered(_practise, wanted):
            agents.append(agent)
            _print(agent)
    if options.plots is not None:
        draw(agents, options.plots)
    return finish(_figures(agents))


def _practise(given: tuple[str, int, int, str]) -> Agent:
    kind, seed, cycles, reward = given
    import torch

    torch.set_num_threads(1)
    held = [
        task
        for level in ENVIRONMENTS[FAMILY].difficulties
        for task in at_once_tasks(ENVIRONMENTS[FAMILY], Random(f"curriculum {level}"), level, PER_LEVEL, held_out=True)
    ]
    found: list[Cycle] = []
    with place() as here:
        before = _accuracy(here, held)
        difficulty: int | None = None
        for number in range(cycles):
            practice = PRACTICE | {"reward": reward} | ({} if difficulty is None else {"difficulty": difficulty})
            payload = {"stages": ["environment"], "seed": seed * 100 + number, "environment": practice}
            [stage] = here.improve(payload)[0]["stages"]
            steps = here.last_steps()
            found.append(_cycle(stage, steps, reward, _accuracy(here, held)))
            print(f"{kind}, seed {seed}, job {number + 1}: {found[-1].accuracy:.3f}", file=sys.stderr, flush=True)
            if kind == FIXED and difficulty is None and steps:
                difficulty = round(steps[0]["difficulty"])
    return Agent(kind, seed, before, tuple(found))


def _cycle(stage: dict[str, Any], steps: Sequence[dict[str, Any]], reward: str, accuracy: float) -> Cycle:
    success = [step[f"reward_{reward}"] for step in steps if step[f"reward_{reward}"] is not None]
    return Cycle(
        stage["decision"],
        tuple(stage["reasons"]),
        fmean(step["difficulty"] for step in steps) if steps else None,
        fmean(success) if success else None,
        accuracy,
    )


def _accuracy(here: Place, held: Sequence[Task]) -> float:
    return measure_tasks(here.policy(), held, slot=1, max_tokens=ROOM).accuracy


def _print(agent: Agent) -> None:
    print(f"\n{agent.kind}, seed {agent.seed}: {agent.before:.3f} of all levels right before")
    for number, cycle in enumerate(agent.cycles, start=1):
        difficulty, success = (shown(value) for value in (cycle.difficulty, cycle.success))
        told = f"  job {number}: level {difficulty}, right {success}, {cycle.decision:9} -> {cycle.accuracy:.3f}"
        print(told, *([] if cycle.decision == "published" else cycle.reasons), sep="  ", flush=True)


def draw(agents: Sequence[Agent], folder: Path) -> None:
    """Three plots over the jobs, means over the seeds: accuracy, difficulty, share of right answers."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, title, unit, first in (
        ("accuracy", "Held-out items of all levels", "share right", 0),
        ("difficulty", "Difficulty", "level", 1),
        ("success", "Right while practising", "share", 1),
    ):
        panel = _panel(agents, title, unit, name, first)
        (folder / f"curriculum-{name}.svg").write_text(plot(panel, alone=True))


def _panel(agents: Sequence[Agent], title: str, unit: str, name: str, first: int) -> Panel:
    most = max(len(agent.cycles) for agent in agents)
    curves = []
    for kind in (FOLLOWING, FIXED):
        chosen = [agent for agent in agents if agent.kind == kind]
        start = [fmean(agent.before for agent in chosen)] if first == 0 else []
        rows = [[getattr(agent.cycles[number], name) for agent in chosen] for number in range(most)]
        curves.append(Curve(kind, (*start, *(mean(row) for row in rows))))
    return Panel(title, unit, tuple(map(float, range(first, most + 1))), tuple(curves), along="job")


def _figures(agents: Sequence[Agent]) -> list[Figure]:
    following, fixed = ([agent for agent in agents if agent.kind == kind] for kind in (FOLLOWING, FIXED))
    rises = [_rise(agent) for agent in following]
    success = [cycle.success for agent in following for cycle in agent.cycles if cycle.success is not None]
    low, high = NEAR_HALF
    gains = [mean([agent.cycles[-1].accuracy - agent.before for agent in chosen]) for chosen in (following, fixed)]
    ahead = None if gains[0] is None or gains[1] is None else gains[0] - gains[1]
    plateaus = [mean([_plateau(agent) for agent in chosen]) for chosen in (following, fixed)]
    later = None if plateaus[0] is None or plateaus[1] is None else plateaus[0] - plateaus[1]
    return [
        Figure("curriculum.difficulty_rise", mean(rises), ">=", 1.0),
        Figure("curriculum.near_half", fmean(low <= one <= high for one in success) if success else None, ">=", 1.0),
        Figure("curriculum.later_plateau", later, ">=", 1 / 3),
        Figure("curriculum.ahead_of_fixed", ahead, ">=", 0.0),
    ]


def _plateau(agent: Agent) -> float:
    """The first job after which accuracy is no more than `NOISE` below where it ends."""
    found = [cycle.accuracy for cycle in agent.cycles]
    return 1.0 + next(number for number, accuracy in enumerate(found) if accuracy >= found[-1] - NOISE)


def _rise(agent: Agent) -> float | None:
    levels = [cycle.difficulty for cycle in agent.cycles if cycle.difficulty is not None]
    return levels[-1] - levels[0] if levels else None


if __name__ == "__main__":
    sys.exit(main())
