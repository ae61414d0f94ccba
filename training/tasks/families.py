"""Families by name: those of `ENVIRONMENTS`, those of other libraries and pairs to judge behind a prefix, and what
is the owner's own: memories and debates.

Doors: `environment`, whose items can be drawn, and `checker`, which marks an item of any family.
"""

from __future__ import annotations

from personal_data.errors import InvalidInput
from training.tasks import gym, judging
from training.tasks.debates import DEBATES
from training.tasks.environments import ENVIRONMENTS, Checker, Environment
from training.tasks.memories import MEMORIES


def environment(name: str) -> Environment:
    """The family called `name`: one of `ENVIRONMENTS`, `gym:` and one of `gym.LEVELS`, or `judge:` and one of these.

    Raises:
        InvalidInput: there is none of that name; the message lists those there are.
        ConfigurationError: its library is not installed.
    """
    if name in ENVIRONMENTS:
        return ENVIRONMENTS[name]
    if isinstance(name, str) and name.startswith(gym.PREFIX) and name.removeprefix(gym.PREFIX) in gym.LEVELS:
        return gym.Gym(name.removeprefix(gym.PREFIX))
    if isinstance(name, str) and name.startswith(judging.PREFIX) and not name.startswith(2 * judging.PREFIX):
        return judging.Judging(environment(name.removeprefix(judging.PREFIX)))
    known = [*ENVIRONMENTS, *(gym.PREFIX + dataset for dataset in gym.LEVELS)]
    raise InvalidInput(
        f"unknown environment {name!r}; known: {', '.join(known)}, and judge: before these", param="environment"
    )


def checker(name: str) -> Checker:
    """Who marks the items of this family.

    Raises:
        InvalidInput, ConfigurationError: as `environment`.
    """
    own = {one.name: one for one in (MEMORIES, DEBATES)}
    return own[name] if name in own else environment(name)
