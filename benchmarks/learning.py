"""Claim: an agent teaches itself what it can work out slowly, with no label anywhere; judges that see do not.

`python -m benchmarks.learning` runs whole improvement jobs on the built-in model: every family under every reward, over
several seeds, at the difficulty where a third to a half of its direct answers is right. The rewards: the truth; the
frozen and blind judge, which is the default; the majority of the group; and a judge that is shown the answer it judges.
Accuracies are greedy, on the gate's held-out items. A family where thinking longer does not help must be refused.
`--workers N` runs N jobs side by side, one thread each; a job takes some minutes of one core.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: jobs run side by side

from agents import prompts
from benchmarks.figures import Figure, finish, machine, mean, shown
from benchmarks.jobs import place
from society.canonical import answer_key
from training.rewards.base import Need, Rewards
from training.rewards.judging import TextJudge
from training.rewards.registry import REWARDS, Makers, Sources
from training.rollouts import Rollout

FAMILIES = {"sort_numbers": 3, "order": 3, "count_letter": 1}
HOPELESS = ("reverse", 4)
"""Here the model is better at once than with work."""
TRUTH, BLIND, MAJORITY, SEEING = "truth", "blind", "majority", "seeing"
TAUGHT_BY = (TRUTH, BLIND, MAJORITY, SEEING)
MOST_STEPS = {SEEING: 60}
"""It reads every different answer with work, which takes most of a step; its harm shows early."""
GATE_ITEMS = 400
NOISE = 1.645 * (0.5 / GATE_ITEMS) ** 0.5
"""The one-sided 95 % limit of a difference between two accuracies near a half."""
WANTED_GAIN, WANTED_SHARE, MOST_SECONDS = 0.15, 0.8, 300.0


class Seeing:
    """The judge not to build: it checks an answer that it is shown, and agrees where its own then equals it."""

    name = "group_judge"  # it stands in for that reward in these jobs
    needs: frozenset[Need] = frozenset()
    """Said so that nobody tries it out first: an unproven judge of text would not be let near the policy."""

    def __init__(self, judge: TextJudge) -> None:
        self._judge = judge

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        shown = list(dict.fromkeys((one.task.question, one.answer or "") for one in rollouts))
        said = self._judge.read([prompts.review(question, answer, answer) for question, answer in shown], seed=0)
        checked = dict(zip(shown, said, strict=True))
        return Rewards([_agrees(one.answer, checked[one.task.question, one.answer or ""]) for one in rollouts])


def _agrees(answer: str | None, reviewed: str | None) -> float | None:
    own = prompts.final_answer(reviewed or "")
    if answer is None or own is None:
        return None
    return float(answer_key(own) == answer_key(answer))


def _seeing(sources: Sources) -> Seeing:
    assert sources.text_judge is not None
    return Seeing(sources.text_judge)


@dataclass(frozen=True, slots=True)
class Cell:
    """One job: practise a family at a difficulty under a reward."""

    family: str
    difficulty: int
    reward: str
    seed: int


@dataclass(frozen=True, slots=True)
class Row:
    """What came of it: the candidate's held-out accuracy beside the incumbent's, None where none was made."""

    cell: Cell
    decision: str
    reasons: tuple[str, ...]
    gap: float | None
    before: float | None
    after: float | None
    rewarded: float | None
    right: float | None
    stopped: str | None
    seconds: float

    @property
    def gain(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def published_gain(self) -> float:
        """What reached the agent."""
        return self.gain or 0.0 if self.decision == "published" else 0.0

    @property
    def harmful(self) -> bool:
        """Published, and worse than before by more than noise."""
        return bool(self.published_gain < -NOISE)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--family", action="append", choices=FAMILIES, help="only this one, or several")
    parser.add_argument("--reward", action="append", choices=TAUGHT_BY, help="only this one, or several")
    options = parser.parse_args(arguments)
    families, rewards = options.family or list(FAMILIES), options.reward or list(TAUGHT_BY)
    cells = [
        (Cell(family, FAMILIES[family], reward, seed), min(options.steps, MOST_STEPS.get(reward, options.steps)))
        for reward in TAUGHT_BY
        for family in FAMILIES
        for seed in range(options.seeds)
        if reward in rewards and family in families
    ]
    cells += [(Cell(*HOPELESS, BLIND, 0), options.steps)] if BLIND in rewards else []
    print(f"learning, {options.steps} steps, {options.seeds} seeds, {options.workers} jobs side by side, {machine()}")
    print(f"{'family':14} {'taught by':9} seed  gap  before after   gain  reward truth  decision   seconds")
    rows: list[Row] = []
    with multiprocessing.get_context("spawn").Pool(options.workers, maxtasksperchild=1) as pool:
        for row in pool.imap_unordered(_run, cells):
            rows.append(row)
            _print(row)
    _summary(rows)
    return finish(_figures(rows))


def _run(given: tuple[Cell, int]) -> Row:
    cell, steps = given
    import torch

    torch.set_num_threads(1)
    makers: Makers = REWARDS if cell.reward != SEEING else {**REWARDS, Seeing.name: _seeing}
    reward = Seeing.name if cell.reward == SEEING else cell.reward
    practice = {"name": cell.family, "difficulty": cell.difficulty, "reward": reward, "steps": steps}
    payload = {"stages": ["environment"], "seed": cell.seed, "environment": practice | {"gate_items": GATE_ITEMS}}
    with place() as here:
        result, seconds = here.improve(payload, rewards=makers)
        steps_taken = here.last_steps()
    [stage] = result["stages"]
    return _row(cell, stage, steps_taken, reward, seconds)


def _row(cell: Cell, stage: dict[str, Any], steps: Sequence[dict[str, Any]], reward: str, seconds: float) -> Row:
    gate = stage["gate"] or {}
    checks = [check for check in gate.get("checks", []) if check["name"].startswith(cell.family)]
    target = checks[0] if checks else {"before": None, "after": None}
    last = steps[-20:]
    return Row(
        cell,
        stage["decision"],
        tuple(stage["reasons"]),
        next((gap["gap"] for gap in gate.get("gaps", {}).values()), None),
        target["before"],
        target["after"],
        mean([step[f"reward_{reward}"] for step in last]),
        mean([step["reward_truth"] for step in last]),
        gate.get("stopped_early"),
        seconds,
    )


def _print(row: Row) -> None:
    cell = row.cell
    numbers = " ".join(f"{shown(value):>6}" for value in (row.gap, row.before, row.after, row.gain))
    told = " ".join(f"{shown(value):>5}" for value in (row.rewarded, row.right))
    where = f"{cell.family} {cell.difficulty}"
    print(
        f"{where:14} {cell.reward:9} {cell.seed:4} {numbers}  {told}  {row.decision:9} {row.seconds:7.0f}", flush=True
    )
    for told_why in [*([row.stopped] if row.stopped else []), *([] if row.decision == "published" else row.reasons)]:
        print(f"{'':24} {told_why}", flush=True)


def _summary(rows: Sequence[Row]) -> None:
    print(f"\nmeans over seeds +- their spread; held-out n = {GATE_ITEMS} a job; `reached`: what the gate let through")
    for reward in TAUGHT_BY:
        for family in FAMILIES:
            found = _of(rows, family, reward)
            if not found:
                continue
            gains = [row.gain for row in found if row.gain is not None]
            spread = stdev(gains) if len(gains) > 1 else 0.0
            before = mean([row.before for row in found])
            published = sum(row.decision == "published" for row in found)
            print(
                f"{family:14} {reward:9} from {shown(before)}: candidate {shown(mean(gains))} +- {spread:.3f}, "
                f"reached {shown(mean([row.published_gain for row in found]))}, published {published} of {len(found)}"
            )


def _of(rows: Sequence[Row], family: str, reward: str) -> list[Row]:
    return [row for row in rows if (row.cell.family, row.cell.reward) == (family, reward)]


def _figures(rows: Sequence[Row]) -> list[Figure]:
    figures = []
    for family in FAMILIES:
        truth, blind = (_reached(_of(rows, family, reward)) for reward in (TRUTH, BLIND))
        share = None if truth is None or blind is None or truth <= 0 else blind / truth
        figures.append(Figure(f"learning.{family}_truth", truth, ">=", WANTED_GAIN))
        figures.append(Figure(f"learning.{family}_blind_share", share, ">=", WANTED_SHARE))
    hopeless = [row for row in rows if (row.cell.family, row.cell.difficulty) == HOPELESS]
    figures.append(
        Figure("learning.trained_without_a_gap", sum(row.decision != "skipped" for row in hopeless), "<=", 0)
    )
    figures.append(Figure("learning.worse_and_published", sum(row.harmful for row in rows), "<=", 0))
    figures.append(Figure("learning.seconds", _slowest(rows), "<=", MOST_SECONDS))
    return figures


def _reached(rows: Sequence[Row]) -> float | None:
    return fmean(row.published_gain for row in rows) if rows else None


def _slowest(rows: Sequence[Row]) -> float | None:
    """Of the jobs that a user would run."""
    return max((row.seconds for row in rows if row.cell.reward in (TRUTH, BLIND)), default=None)


if __name__ == "__main__":
    sys.exit(main())
