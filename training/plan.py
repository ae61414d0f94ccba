"""What an improvement job asks for, read from its payload and checked before anything is loaded.

    {"stages": ["texts", "preferences", "memories", "debates", "environment"], "seed": 7,
     "texts": {"epochs": 4},
     "preferences": {"loss": "kto", "epochs": 6},
     "memories": {"steps": 40, "proposer": "spice"},
     "debates": {"max_tokens": 160},
     "environment": {"name": "order", "difficulty": 2, "reward": "blind", "steps": 160},
     "evaluation": {"per_family": 16, "recall": 96}}

Everything is optional. Unknown names are refused with the known ones listed: a typo never trains something else.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from personal_data.errors import InvalidInput
from training.grpo import GrpoRecipe
from training.losses import LEVELS, POLICY_LOSSES, SCALES
from training.preference import LOSSES, PreferenceRecipe
from training.rewards.proposer import PROPOSERS
from training.rewards.registry import REWARDS
from training.supervised import TextsRecipe
from training.tasks import families

STAGES = ("texts", "preferences", "memories", "debates", "environment")
_BY_DEFAULT = ("preferences", "environment")
_OF_PRACTICE: Mapping[str, Sequence[str]] = {"loss": tuple(POLICY_LOSSES), "level": LEVELS, "scale": SCALES}
_BY_PROPOSER = {**_OF_PRACTICE, "proposer": tuple(PROPOSERS)}
_NAMES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "preferences": {"loss": tuple(LOSSES)},
    "memories": _BY_PROPOSER,
    "debates": _OF_PRACTICE,
    "environment": _OF_PRACTICE,
}
OF_FAMILIES = frozenset({"gap_items", "gate_items", "prolonged"})
"""Settings of practice that mean nothing where the tasks are the owner's own: there are as many as there are."""
_LIMITS: Mapping[str, tuple[float, float]] = {
    "steps": (1, 1000),
    "prompts": (1, 256),
    "group": (2, 32),
    "passes": (1, 4),
    "lr": (0.0, 0.1),
    "clip_low": (0.0, 1.0),
    "clip_high": (0.0, 10.0),
    "delta": (1.0, 1000.0),
    "cap": (0.1, 1000.0),
    "std_floor": (0.0, 10.0),
    "resample": (0, 1),
    "ptx": (0.0, 10.0),
    "kl_beta": (0.0, 10.0),
    "max_tokens": (1, 512),
    "gap_items": (8, 1000),
    "gate_items": (8, 5000),
    "beta": (0.001, 10.0),
    "label_smoothing": (0.0, 0.5),
    "sft": (0.0, 10.0),
    "block": (16, 8192),
    "replay": (0.0, 10.0),
    "replay_items": (0, 1000),
    "epochs": (1, 50),
    "max_updates": (1, 1000),
    "batch": (1, 64),
    "per_family": (1, 500),
    "recall": (1, 5000),
    "work_tokens": (8, 8192),
}
_OF_DEBATES = GrpoRecipe(steps=48, prompts=8, max_tokens=160)
"""Debated questions are asked as in a debate: with room for work."""


@dataclass(frozen=True, slots=True)
class MemoriesRecipe(GrpoRecipe):
    """Practice of questions about one's own texts; `proposer`: who of `PROPOSERS` says how much a question teaches."""

    steps: int = 24
    prompts: int = 16
    proposer: str = "spice"


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """Which family to practise, and what rewards it. A difficulty of None follows the agent: half is right."""

    name: str = "order"
    difficulty: int | None = None
    reward: str = "blind"
    recipe: GrpoRecipe = field(default_factory=GrpoRecipe)


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """How many items of each family and of recall guard against forgetting, and how many tokens work may take."""

    per_family: int = 16
    recall: int = 96
    work_tokens: int = 160


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked plan; equal plans on equal data give equal adapters."""

    stages: tuple[str, ...]
    seed: int
    texts: TextsRecipe
    preferences: PreferenceRecipe
    memories: MemoriesRecipe
    debates: GrpoRecipe
    environment: EnvironmentPlan
    evaluation: EvaluationPlan


_Recipe = TypeVar("_Recipe", MemoriesRecipe, GrpoRecipe, PreferenceRecipe, TextsRecipe, EvaluationPlan)
_Name = TypeVar("_Name", str, int)


def read_plan(payload: Mapping[str, Any], *, job_id: str) -> Plan:
    """Check a job's payload; the seed defaults to a hash of the job's id, so that a restarted job repeats itself.

    Raises:
        InvalidInput: an unknown stage, family, difficulty, reward, loss or setting, or a value out of range.
    """
    payload = {name: value for name, value in payload.items() if value is not None}
    _known("improvement", payload, ("stages", "seed", *STAGES, "evaluation"))
    seed = payload.get("seed", int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4], "big"))
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise InvalidInput(f"seed must be a whole number within 0..{2**32 - 1}, not {seed!r}", param="seed")
    return Plan(
        stages=_stages(payload.get("stages", _BY_DEFAULT)),
        seed=seed,
        texts=_with_settings(TextsRecipe(), payload.get("texts", {}), "texts"),
        preferences=_with_settings(PreferenceRecipe(), payload.get("preferences", {}), "preferences"),
        memories=_with_settings(MemoriesRecipe(), payload.get("memories", {}), "memories"),
        debates=_with_settings(_OF_DEBATES, payload.get("debates", {}), "debates"),
        environment=_environment(payload.get("environment", {})),
        evaluation=_with_settings(EvaluationPlan(), payload.get("evaluation", {}), "evaluation"),
    )


def _stages(stages: Sequence[str]) -> tuple[str, ...]:
    if isinstance(stages, str) or not stages:
        raise InvalidInput(f"stages must be a list of: {', '.join(STAGES)}", param="stages")
    for stage in stages:
        _choice("stage", stage, STAGES)
    return tuple(stage for stage in STAGES if stage in stages)


def _environment(payload: Mapping[str, Any]) -> EnvironmentPlan:
    wanted = dict(payload)
    plan = EnvironmentPlan()
    name = wanted.pop("name", plan.name)
    environment, difficulty = families.environment(name), wanted.pop("difficulty", None)
    if difficulty is not None:
        _choice("difficulty", difficulty, environment.difficulties)
    reward = _choice("reward", wanted.pop("reward", plan.reward), sorted(set(REWARDS) - {"shaping"}))
    return EnvironmentPlan(name, difficulty, reward, _with_settings(GrpoRecipe(), wanted, "environment"))


def _with_settings(recipe: _Recipe, settings: Mapping[str, Any], where: str) -> _Recipe:
    named = _NAMES.get(where, {})
    kinds = {known.name: type(getattr(recipe, known.name)) for known in dataclasses.fields(recipe)}
    if where in ("memories", "debates"):
        kinds = {name: kind for name, kind in kinds.items() if name not in OF_FAMILIES}
    _known(where, settings, [name for name in kinds if name in _LIMITS or name in named or kinds[name] is bool])
    for name, value in settings.items():
        if name in named:
            _choice(name, value, named[name])
        elif kinds[name] is bool:
            _switch(where, name, value)
        else:
            _within(where, name, value, whole=kinds[name] is int)
    return dataclasses.replace(recipe, **settings)


def _within(where: str, name: str, value: Any, *, whole: bool) -> None:
    low, high = _LIMITS[name]
    if type(value) not in ((int,) if whole else (int, float)) or not low <= value <= high:
        raise InvalidInput(f"{where}.{name} must be within {low}..{high}, not {value!r}", param=f"{where}.{name}")


def _switch(where: str, name: str, value: Any) -> None:
    if type(value) is not bool:
        raise InvalidInput(f"{where}.{name} must be true or false, not {value!r}", param=f"{where}.{name}")


def _choice(what: str, value: _Name, known: Sequence[_Name] | Mapping[_Name, Any]) -> _Name:
    if value not in list(known):
        raise InvalidInput(f"unknown {what} {value!r}; known: {', '.join(map(str, known))}", param=what)
    return value


def _known(where: str, settings: Mapping[str, Any], names: Sequence[str]) -> None:
    if not isinstance(settings, Mapping):
        raise InvalidInput(f"{where} must be an object", param=where)
    for name in settings:
        _choice(f"setting of {where}", name, names)
