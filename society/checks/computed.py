"""What a question comes to, as far as it can be computed, and whether an answer is that."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from society.canonical import answer_key
from society.checks.arithmetic import comes_to
from society.checks.check import Check, Kind


@dataclass(frozen=True, slots=True)
class Computed:
    """What a question comes to. `words`: all that it could have come to, where those are a few words; `near`: so much
    more or less may be meant too."""

    kind: Kind
    value: str
    number: Fraction | None = None
    words: frozenset[str] = frozenset()
    near: int = 0

    def check(self, answer: str) -> Check | None:
        """Whether an answer is what it comes to; None where that cannot be told."""
        passed = self._agrees(answer)
        return None if passed is None else Check(self.kind, self.value, passed, of_question=True)

    @property
    def right(self) -> str | None:
        """The answer that a society learns from; None where it can be written in several ways."""
        if self.number is not None:
            return str(self.number.numerator) if self.number.denominator == 1 and not self.near else None
        return None if "\n" in self.value else self.value

    def _agrees(self, answer: str) -> bool | None:
        said, own = answer_key(answer).split(), answer_key(self.value).split()
        if said == own:
            return True
        if self.number is not None:
            same = comes_to(answer, self.number)
            meant = same is False and any(comes_to(answer, self.number + by) for by in (self.near, -self.near))
            return None if meant else same
        if self.words:
            named = self.words.intersection(said)
            return own == [*named] if len(named) == 1 else None
        return None if _stands_in(own, said) or _stands_in(said, own) else False


def _stands_in(some: list[str], words: list[str]) -> bool:
    return f" {' '.join(some)} " in f" {' '.join(words)} "
