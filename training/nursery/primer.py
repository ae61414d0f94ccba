"""The copy primer: token puzzles that make a small model learn to look things up before it learns language.

Without it a model of this size memorises answers and never copies unseen names (a plain run had 29 % recall after 17
minutes). Tasks: repeat, reverse, and find the value of a key in a list. The tokens come first from a set of 64, then
from windows of 64, invented names, digits and the whole vocabulary. Cf. induction heads, Olsson et al. 2022
(arXiv:2209.11895).
"""

from __future__ import annotations

from random import Random

from training.nursery.language import Speech
from training.nursery.tokenizer import SPECIAL_TOKENS, ChatEncoder

_WINDOW = 64


class Primer:
    """Draws token puzzles as (ids, trained) pairs like `ChatEncoder.conversation`."""

    def __init__(self, rng: Random, encoder: ChatEncoder) -> None:
        self._rng, self._encoder, self._speech = rng, encoder, Speech(rng)
        self._marks = {name: encoder.text(name) for name in ("repeat", "reverse", "find", "\n-", ":")}
        self._first = len(SPECIAL_TOKENS)

    def puzzle(self, *, narrow: bool) -> tuple[list[int], list[bool]]:
        """One puzzle; `narrow` keeps to the 64 tokens that everything starts with."""
        task = self._rng.choices(("repeat", "reverse", "find"), (5, 2, 3))[0]
        return self._find(narrow) if task == "find" else self._echo(task, narrow)

    def _echo(self, task: str, narrow: bool) -> tuple[list[int], list[bool]]:
        tokens = self._tokens(self._rng.randint(2, 20 if task == "repeat" else 10), narrow)
        answer = tokens if task == "repeat" else tokens[::-1]
        return self._chat([], [*self._marks[task], *self._marks[":"], *tokens], answer)

    def _find(self, narrow: bool) -> tuple[list[int], list[bool]]:
        pairs = [
            (self._tokens(self._rng.randint(1, 2), narrow), self._tokens(self._rng.randint(1, 4), narrow))
            for _ in range(self._rng.randint(1, 8))
        ]
        pairs = [pair for place, pair in enumerate(pairs) if pair[0] not in [key for key, _ in pairs[:place]]]
        block = [token for key, value in pairs for token in (*self._marks["\n-"], *key, *self._marks[":"], *value)]
        key, value = self._rng.choice(pairs)
        return self._chat(block, [*self._marks["find"], *self._marks[":"], *key], value)

    def _tokens(self, count: int, narrow: bool) -> list[int]:
        rng, first, size = self._rng, self._first, self._encoder.size
        kind = "narrow" if narrow else rng.choice(("window", "window", "names", "digits", "any"))
        if kind == "names":
            names = " ".join(self._speech.invented_name() for _ in range(1 + count // 4))
            return self._encoder.text(f" {names}")
        if kind == "digits":
            return self._encoder.text("".join(rng.choices("0123456789", k=count)))
        start = first if kind != "window" else rng.randrange(first, size - _WINDOW)
        stop = size if kind == "any" else start + _WINDOW
        return [rng.randrange(start, stop) for _ in range(count)]

    def _chat(self, system: list[int], user: list[int], answer: list[int]) -> tuple[list[int], list[bool]]:
        roles, end = self._encoder.roles, self._encoder.end
        ids = [roles["system"], *system, end] if system else []
        ids += [roles["user"], *user, end, roles["assistant"]]
        return [*ids, *answer, end], [False] * len(ids) + [True] * (len(answer) + 1)
