"""Families of reasoning-gym (Stojanovski et al. 2025, 2505.24760), an optional library: `pip install 'folkmoot[gym]'`.

Door: `Gym`, an `Environment` over one of its datasets; a difficulty is a level of the dataset's curriculum. `LEVELS`
lists those that may be used. It is not all of them: some score an answer by running it as Python, some fail at some of
their levels, do not end or draw slowly, and some have questions of thousands of characters. Answers are scored by the
library's own `score_answer`; only full marks are right. The library takes seconds to import, so it is when the first
item is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from random import Random
from typing import Any

from personal_data.errors import ConfigurationError
from training.tasks.environments import Item, same_answer

PREFIX = "gym:"
LEVELS: Mapping[str, int] = {
    "aiw": 9,
    "base_conversion": 5,
    "basic_arithmetic": 5,
    "caesar_cipher": 2,
    "chain_sum": 11,
    "count_bits": 5,
    "count_primes": 5,
    "decimal_chain_sum": 5,
    "dice": 4,
    "family_relationships": 9,
    "gcd": 4,
    "isomorphic_strings": 3,
    "lcm": 4,
    "leg_counting": 12,
    "letter_counting": 8,
    "products": 11,
    "simple_equations": 4,
    "simple_geometry": 4,
    "syllogism": 4,
    "word_sequence_reversal": 2,
    "word_sorting": 2,
}
"""Datasets whose scoring has been read and compares texts or decimals, with the levels that can be drawn and whose
questions stay below 600 characters, in the version that constraints.txt pins."""


@dataclass(frozen=True, slots=True)
class GymItem(Item):
    """An item with the entry that the library scores answers by."""

    entry: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


class Gym:
    """One dataset as a family.

    Raises:
        ConfigurationError: the library is not installed.
    """

    def __init__(self, dataset: str) -> None:
        if find_spec("reasoning_gym") is None:
            raise ConfigurationError(
                f"{PREFIX}{dataset} needs reasoning-gym, which is not installed: pip install 'folkmoot[gym]'"
            )
        self._dataset = dataset

    @property
    def name(self) -> str:
        return PREFIX + self._dataset

    @property
    def difficulties(self) -> tuple[int, ...]:
        return tuple(range(1, LEVELS[self._dataset] + 1))

    def sample(self, rng: Random, difficulty: int) -> GymItem:
        """Draw one item: the hardest range of every knob at this level. It has no `work`."""
        if difficulty not in self.difficulties:
            raise ValueError(f"{self.name} has difficulties {self.difficulties}, not {difficulty}")
        entry = _drawn(self._dataset, difficulty, seed=rng.getrandbits(32))[0]
        return GymItem(self.name, difficulty, entry["question"].strip(), entry["answer"], "", entry)

    def is_right(self, item: Item, answer_text: str | None) -> bool | None:
        """By the library where `item.answer` is its own; another's answer (the blind judge's) it knows nothing of, and
        would score by its own all the same: those are compared as everywhere."""
        if not isinstance(item, GymItem) or item.answer != item.entry["answer"]:
            return same_answer(item, answer_text)
        if not (answer_text or "").strip():
            return None
        return bool(_scorer(self._dataset, item.difficulty).score_answer(answer_text, item.entry) == 1.0)


@cache
def _scorer(dataset: str, difficulty: int) -> Any:
    """What scores the answers of a level; whichever entries it would draw do not matter."""
    return _drawn(dataset, difficulty, seed=0)


def _drawn(dataset: str, difficulty: int, *, seed: int) -> Any:
    """A dataset of one entry."""
    from reasoning_gym.coaching.base_curriculum import DefaultCurriculumContext, RangeAttributeMode
    from reasoning_gym.factory import create_curriculum, create_dataset

    curriculum = create_curriculum(dataset)
    curriculum.set_global_level(difficulty - 1)
    hardest = DefaultCurriculumContext(mode=RangeAttributeMode.UPPER_BOUND)
    config = curriculum.generate_configuration({"seed": seed, "size": 1}, hardest)
    return create_dataset(dataset, **vars(config))
