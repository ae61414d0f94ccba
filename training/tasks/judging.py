"""Which of two answers is right: the critic, refined on items whose truth code knows (Kimi K2, section 3.2.2).

The judge of a cycle is the agent as it was when the cycle began. So what an agent practises here makes the next cycle's
judge better, and the judge's trial (`rewards/canaries.py`) measures by how much. Door: `Judging`, an `Environment`
behind the prefix `judge:` over any other.

The wrong answer is hard to tell by its looks: the right one with two parts exchanged, or another item's of that level
that stands in the question as the right one does. An item is held out exactly where the one below it is, so that
nobody reads the right answer to a question of some gate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from personal_data.errors import InvalidInput
from training.tasks.environments import Environment, Item, held_out, same_answer

PREFIX = "judge:"
_OTHERS = 24
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Judging:
    """Pairs of answers to the items of a family."""

    of: Environment

    @property
    def name(self) -> str:
        return PREFIX + self.of.name

    @property
    def difficulties(self) -> tuple[int, ...]:
        return self.of.difficulties

    def sample(self, rng: Random, difficulty: int) -> Item:
        """Draw an item, a wrong answer to it, and the order of both; the answer is A or B. It has no `work`.

        Raises:
            ValueError: a difficulty that is not among `difficulties`.
            InvalidInput: no wrong answer can be found, as where all items have one answer.
        """
        for _ in range(_TRIES):
            item = self.of.sample(rng, difficulty)
            for wrong in self._wrong(item, rng):
                pair = self._pair(item, wrong, right_first=rng.random() < 0.5)
                if held_out(pair) == held_out(item):
                    return pair
        raise InvalidInput(f"{self.of.name} has no wrong answers to judge at difficulty {difficulty}")

    def is_right(self, item: Item, answer_text: str | None) -> bool | None:
        return same_answer(item, answer_text)

    def _pair(self, item: Item, wrong: str, *, right_first: bool) -> Item:
        first, second = (item.answer, wrong) if right_first else (wrong, item.answer)
        question = f"{item.question}\nA: {first}\nB: {second}\nWhich answer is better, A or B?"
        return Item(self.name, item.difficulty, question, "A" if right_first else "B", "")

    def _wrong(self, item: Item, rng: Random) -> list[str]:
        """Different wrong answers; where a right one has several parts, no others than those with two exchanged."""
        if wrong := self._refuted(item, _exchanged(item.answer)):
            return wrong
        others = [self.of.sample(rng, item.difficulty).answer for _ in range(_OTHERS)]
        stands = item.answer in item.question
        return sorted(self._refuted(item, others), key=lambda answer: (answer in item.question) != stands)

    def _refuted(self, item: Item, answers: Iterable[str]) -> list[str]:
        return [answer for answer in dict.fromkeys(answers) if self.of.is_right(item, answer) is False]


def _exchanged(answer: str) -> list[str]:
    """The answer with two neighbouring parts exchanged, in every way."""
    parts = answer.split()
    return [
        " ".join([*parts[:place], parts[place + 1], parts[place], *parts[place + 2 :]])
        for place in range(len(parts) - 1)
    ]
