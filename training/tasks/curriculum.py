"""Tasks whose difficulty follows the policy: what it gets right about half of the time teaches it most.

The learnability of a task is p(1 - p), largest at p = 1/2, and a group of rollouts that are all right or all wrong
teaches nothing (R-Zero, 2508.05004; PRIME, 2502.01456). So the difficulty rises while more than half is right, and
falls while less is. Door: `Curriculum`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from training.rollouts import Task, at_once_tasks
from training.tasks.environments import Environment

TARGET = 0.5
_RATE = 0.5
"""Levels a step at a success of 1 instead of 1/2, twice: one step's noise (some .08) moves it by a twentieth."""
_READY = 64


class Curriculum:
    """Held-in items of one family at a difficulty that is a real number: 2.25 draws one item in four at level 3, the
    others at level 2. No item comes twice before all that can be found have come.

    Args:
        levels: the levels that may be drawn, consecutive, from easy to hard.
        start: the difficulty of the first step.
        opens: asked once whether a level above `start` may be entered; where not, the one below stays the highest.
    """

    def __init__(
        self, environment: Environment, levels: Sequence[int], start: float, rng: Random, opens: Callable[[int], bool]
    ) -> None:
        self._environment, self._rng, self._opens = environment, rng, opens
        self._lowest, self._highest = min(levels), max(levels)
        self._open = math.ceil(start)
        self.difficulty = start
        self.visited: set[int] = set()
        self._ready: dict[int, list[Task]] = {}
        self._drawn: dict[int, set[str]] = {}

    def take(self, count: int) -> list[Task]:
        """The tasks of one step."""
        level, share = math.floor(self.difficulty), self.difficulty % 1
        drawn = [level + (self._rng.random() < share) for _ in range(count)]
        self.visited.update(drawn)
        return [self._next(one) for one in drawn]

    def ahead(self) -> list[Task]:
        """What will come next if the difficulty stays as it is, some dozens: a judge may think about it in advance."""
        levels = {math.floor(self.difficulty), math.ceil(self.difficulty)}
        return [task for level in sorted(levels) for task in self._pool(level)]

    def hear(self, success: float | None) -> None:
        """What share of a step's answers was right; None, nobody knows, leaves the difficulty alone."""
        if success is None:
            return
        wanted = min(max(self.difficulty + _RATE * (success - TARGET), self._lowest), self._highest)
        while self._open < wanted and self._opens(self._open + 1):
            self._open += 1
        if wanted > self._open:
            self._highest = self._open
        self.difficulty = min(wanted, self._open)

    def _next(self, level: int) -> Task:
        return self._pool(level).pop(0)

    def _pool(self, level: int) -> list[Task]:
        """Some dozens of unused tasks of a level, at least one."""
        pool, drawn = self._ready.setdefault(level, []), self._drawn.setdefault(level, set())
        if len(pool) < _READY:
            found = at_once_tasks(self._environment, self._rng, level, _READY, held_out=False)
            fresh = [task for task in found if task.question not in drawn]
            drawn.update(task.question for task in fresh)
            pool += fresh
        if not pool:  # a small family, all of it seen: once more from the start
            drawn.clear()
            return self._pool(level)
        return pool
