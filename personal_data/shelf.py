"""One owner's live memories as recall needs them, in this process: vectors in one matrix, words in one index.

Doors: `Shelf`, which is told what changed, and `Shelves`, which keeps those used last within a bound of bytes. SQL is
the truth; a shelf can be thrown away at any time. Memories are numbered in the order in which they came; a memory of
several chunks has several vectors, and its neighbours are those that stand beside it in the same conversation.
"""

from __future__ import annotations

import math
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from personal_data.embedding import Vectors
from personal_data.lexical import LexicalIndex, Mask, Scores, words
from personal_data.sharing import Opening, View

Numbers = npt.NDArray[np.intp]
NOBODY = -1
"""The neighbour of the first and the last of a conversation."""
EXACT_MEMORIES = 250_000
"""Beyond so many an owner's vectors are not kept here: those of MiniLM alone would take 400 MB."""
_SEPARATOR = "|"
_COMPARED_AT_ONCE = 10_000
_BYTES_A_MEMORY, _BYTES_A_CHARACTER = 600, 3
"""Beside its vectors: 784 bytes were measured for texts of 69 characters (`benchmarks/memory_scale.py` draws them)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A memory as SQL has it now."""

    id: str
    text: str
    speaker: str
    kind: str
    scope: str
    thread: str | None
    at: float | None
    """When it happened, or else when it was remembered."""
    guard: frozenset[str] = frozenset()
    """The sensitive kinds that keep it back."""
    named: bool = False
    """Whether its owner gave it its scope by hand: within that scope no kind keeps it back."""
    said_at: float | None = None
    """Since when it was known, where that was told."""
    valid_to: float | None = None
    """From when on it is not true any more."""


class _Coded:
    """Strings of which there are few different ones, a number each."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self._values = array("i")

    def append(self, text: str) -> None:
        self._values.append(self.codes.setdefault(text, len(self.codes)))

    def set(self, number: int, text: str) -> None:
        self._values[number] = self.codes.setdefault(text, len(self.codes))

    def are(self, texts: Iterable[str]) -> Mask:
        """Which of them are one of these texts."""
        wanted = np.zeros(len(self.codes) + 1, bool)  # one more, so that there is one
        wanted[[self.codes[text] for text in texts if text in self.codes]] = True
        found: Mask = wanted[np.array(self._values)]
        return found

    def where(self, condition: Callable[[str], bool]) -> Mask:
        """Which of them are of a kind."""
        return self.are([text for text in self.codes if condition(text)])

    def found(self, among: Mask) -> list[str]:
        """The different ones among these."""
        texts = list(self.codes)
        counts = np.bincount(np.array(self._values)[among], minlength=len(texts))
        return [texts[code] for code in np.flatnonzero(counts)]


@dataclass(eq=False)
class Shelf:
    """What an owner's memories are, as of a `revision` of theirs; None knows nothing yet."""

    revision: int | None = None
    exact: bool = True
    """Whether it holds vectors; the index is asked otherwise."""
    entries: list[Entry] = field(default_factory=list)
    words: LexicalIndex = field(default_factory=LexicalIndex)
    _alive: array[int] = field(default_factory=lambda: array("b"))
    _before: array[int] = field(default_factory=lambda: array("q"))
    _after: array[int] = field(default_factory=lambda: array("q"))
    _at: array[float] = field(default_factory=lambda: array("d"))
    _scopes: _Coded = field(default_factory=lambda: _Coded())
    _guards: _Coded = field(default_factory=lambda: _Coded())
    _named: array[int] = field(default_factory=lambda: array("b"))
    _speakers: _Coded = field(default_factory=lambda: _Coded())
    _kinds: _Coded = field(default_factory=lambda: _Coded())
    _said_at: array[float] = field(default_factory=lambda: array("d"))
    _valid_to: array[float] = field(default_factory=lambda: array("d"))
    lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: dict[str, int] = field(default_factory=dict)
    _last_of_thread: dict[str, int] = field(default_factory=dict)
    _text_bytes: int = 0
    _fresh: list[tuple[int, Vectors]] = field(default_factory=list)
    _embedded: set[int] = field(default_factory=set)
    _matrix: Vectors = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    _holders: Numbers = field(default_factory=lambda: np.zeros(0, np.intp))
    """Whose each vector of the matrix is."""
    _rows: array[int] = field(default_factory=lambda: array("q"))
    """Of each memory the place of its first vector in the matrix, or NOBODY."""
    _kin: array[float] = field(default_factory=lambda: array("f"))
    _between: array[float] = field(default_factory=lambda: array("f"))

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        return self._matrix.nbytes + sum(vectors.nbytes for _, vectors in self._fresh) + self._text_bytes

    def says(self, memory_id: str) -> str | None:
        """The text of a memory as it is here; None where it is not here."""
        number = self._numbers.get(memory_id)
        return None if number is None else self.entries[number].text

    def clear(self) -> None:
        """As if nothing had been put here."""
        lock = self.lock
        self.__dict__.update(Shelf().__dict__)
        self.lock = lock

    def put(self, entry: Entry, vectors: Vectors | None) -> None:
        """Add a memory with its vectors [chunks, size], None while it has none, or take note of how it is now. Its
        text, its place and the vectors that it once had never change."""
        number = self._numbers.get(entry.id)
        if number is None:
            number = self._add(entry)
        self.entries[number] = entry
        self._scopes.set(number, entry.scope)
        self._guards.set(number, _SEPARATOR.join(sorted(entry.guard)))
        self._named[number] = entry.named
        self._said_at[number] = -math.inf if entry.said_at is None else entry.said_at
        self._valid_to[number] = math.inf if entry.valid_to is None else entry.valid_to
        if vectors is not None and self.exact and number not in self._embedded:
            self._embedded.add(number)
            self._fresh.append((number, vectors))
            if len(self._embedded) > EXACT_MEMORIES:
                self._give_up_vectors()

    def _add(self, entry: Entry) -> int:
        number = self._numbers[entry.id] = len(self.entries)
        self.entries.append(entry)
        self._text_bytes += _BYTES_A_MEMORY + _BYTES_A_CHARACTER * len(entry.text)
        self._alive.append(True)
        self._at.append(math.nan if entry.at is None else entry.at)
        self._scopes.append(entry.scope)
        self._guards.append("")
        self._named.append(False)
        self._speakers.append(entry.speaker)
        self._kinds.append(entry.kind)
        self._said_at.append(-math.inf)
        self._valid_to.append(math.inf)
        self.words.add(words(f"{_day(entry.at)} {entry.speaker} {entry.text}"))
        self._line_up(entry, number)
        return number

    def _give_up_vectors(self) -> None:
        self.exact = False
        self._fresh.clear()
        self._matrix, self._holders = np.zeros((0, 0), np.float32), np.zeros(0, np.intp)
        for place in range(len(self)):
            self._rows[place], self._kin[place], self._between[place] = NOBODY, 0, 0

    def _line_up(self, entry: Entry, number: int) -> None:
        before = NOBODY if entry.thread is None else self._last_of_thread.get(entry.thread, NOBODY)
        self._before.append(before)
        self._after.append(NOBODY)
        self._rows.append(NOBODY)
        self._kin.append(0)
        self._between.append(0)
        if before != NOBODY:
            self._after[before] = number
        if entry.thread is not None:
            self._last_of_thread[entry.thread] = number

    def remove(self, memory_id: str) -> None:
        """Forget a memory; unknown ones are fine. Its words and vector go with the shelf's next life."""
        if (number := self._numbers.get(memory_id)) is not None:
            self._alive[number] = False
            entry = self.entries[number]
            self.entries[number] = replace(entry, text="", speaker="")

    def cosines(self, query: Vectors) -> Scores:
        """The best cosine of each memory's chunks with a unit vector [size]; -1 where it has no vector."""
        found = np.full(len(self), -1.0, np.float32)
        self._gather()
        if self._matrix.shape[1] == len(query):
            cosines = self._matrix @ query
            if len(self._holders) == len(self._embedded):  # one each
                found[self._holders] = cosines
            else:
                np.maximum.at(found, self._holders, cosines)
        return found

    def placed(self, found: Iterable[tuple[str, float]]) -> Scores:
        """The cosines that an index has found, by memory id, as `cosines` has them; strange ids are left out."""
        places = np.full(len(self), -1.0, np.float32)
        for memory_id, cosine in found:
            if (number := self._numbers.get(memory_id)) is not None:
                places[number] = max(places[number], cosine)
        return places

    def count(self, memory_ids: Iterable[str], among: Mask) -> int:
        """How many of these memories are here and among those."""
        return sum(among[self._numbers[one]] for one in memory_ids if one in self._numbers)

    @property
    def alive(self) -> Mask:
        """Which memories were not forgotten."""
        return np.array(self._alive, bool)

    def seen_by(self, view: View | None) -> Mask:
        """Which of the live memories an audience may see; None is their owner."""
        if view is None:
            return self.alive
        seen = self.in_scope(view) & (np.array(self._named, bool) | self.unguarded(view.kinds))
        for opening in view.openings:
            seen |= self._opened(opening) & self.unguarded(opening.kinds)
        found: Mask = seen & self.alive
        return found

    def true_at(self, moment: float) -> Mask:
        """Which memories tell what nothing had ended by then."""
        found: Mask = np.array(self._valid_to, np.float64) > moment
        return found

    def known_at(self, moment: float) -> Mask:
        """Which memories had been told by then; those that nobody dated were."""
        found: Mask = np.array(self._said_at, np.float64) <= moment
        return found

    def of_kinds(self, kinds: Collection[str]) -> Mask:
        """Which memories are facts, turns and so on."""
        return self._kinds.are(kinds)

    def unguarded(self, kinds: Collection[str]) -> Mask:
        """Which memories no other sensitive kinds keep back."""
        return self._guards.where(lambda guard: set(filter(None, guard.split(_SEPARATOR))) <= set(kinds))

    def in_scope(self, view: View) -> Mask:
        """Which memories have a scope that a view shows, whatever keeps them back."""
        return self._scopes.are(view.scopes)

    def _opened(self, opening: Opening) -> Mask:
        """Which hold all words of one of its phrases, in their text: not in who says it, or when."""
        opened = np.zeros(len(self), bool)
        for phrase in opening.about:
            for number in self.words.holding(phrase):
                opened[number] |= phrase <= set(words(self.entries[number].text))
        return opened

    @property
    def neighbours(self) -> tuple[Numbers, Numbers]:
        """The numbers of those before and after each memory, or NOBODY."""
        return np.array(self._before, np.intp), np.array(self._after, np.intp)

    @property
    def kinship(self) -> tuple[Scores, Scores]:
        """Of each memory the cosine of its vector and that of the one before, and the cosine of the one before and the
        one after; 0 where one of the two is not there or has no vector."""
        self._gather()
        return np.array(self._kin, np.float32), np.array(self._between, np.float32)

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """When each was, in seconds since the epoch; NaN where nobody knows."""
        return np.array(self._at, np.float64)

    def speakers(self, among: Mask) -> list[str]:
        """Who says something in these memories."""
        return self._speakers.found(among)

    def said_by(self, speaker: str) -> Mask:
        """Which memories are this speaker's."""
        return self._speakers.are([speaker])

    def _gather(self) -> None:
        """Bring the vectors that have come since into the matrix."""
        if not self._fresh:
            return
        size = self._fresh[-1][1].shape[1]
        fresh = [(number, vectors) for number, vectors in self._fresh if vectors.shape[1] == size]
        parts = [vectors for _, vectors in fresh]
        holders = np.repeat([number for number, _ in fresh], [len(vectors) for vectors in parts])
        if self._matrix.shape[1] == size:
            parts.insert(0, self._matrix)
            holders = np.concatenate([self._holders, holders])
        self._matrix, self._holders = np.concatenate(parts), holders.astype(np.intp)
        self._fresh.clear()
        row = len(self._matrix) - sum(len(vectors) for _, vectors in fresh)
        for number, vectors in fresh:
            self._rows[number] = row
            row += len(vectors)
        self._relate(np.array([number for number, _ in fresh], np.intp))

    def _relate(self, numbers: Numbers) -> None:
        """Compare these memories, whose vectors are new, and their neighbours with those beside them."""
        before, after = self.neighbours
        numbers = np.unique(np.concatenate([numbers, before[numbers], after[numbers]]))
        numbers = numbers[numbers != NOBODY]
        rows = np.append(np.array(self._rows, np.intp), NOBODY)  # NOBODY is the last place, and has no vector
        for start in range(0, len(numbers), _COMPARED_AT_ONCE):
            some = numbers[start : start + _COMPARED_AT_ONCE]
            kin = self._compare(rows[some], rows[before[some]])
            between = self._compare(rows[before[some]], rows[after[some]])
            for number, near, across in zip(some.tolist(), kin.tolist(), between.tolist(), strict=True):
                self._kin[number], self._between[number] = near, across

    def _compare(self, one: Numbers, other: Numbers) -> Scores:
        cosines = np.einsum("nd,nd->n", self._matrix[one], self._matrix[other])
        found: Scores = np.where((one == NOBODY) | (other == NOBODY), np.float32(0), cosines)
        return found


def _day(at: float | None) -> str:
    """A moment as words that a question may use."""
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC):%-d %B %Y}"


class Shelves:
    """The shelves used last, no more than about `limit` bytes of them, but for those in use."""

    def __init__(self, refresh: Callable[[str, Shelf], None], limit: int) -> None:
        self._refresh, self._limit = refresh, limit
        self._shelves: OrderedDict[str, Shelf] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._total = 0
        self._lock = threading.Lock()

    @contextmanager
    def of(self, owner: str) -> Iterator[Shelf]:
        """The owner's shelf, brought to the present, for one user at a time."""
        with self._lock:
            shelf = self._shelves.setdefault(owner, Shelf())
            self._shelves.move_to_end(owner)
        with shelf.lock:
            try:
                self._refresh(owner, shelf)
                yield shelf
            finally:
                self._keep(owner, shelf)

    def drop(self, owner: str) -> None:
        """Throw an owner's away."""
        with self._lock:
            if self._shelves.pop(owner, None) is not None:
                self._total -= self._sizes.pop(owner, 0)

    def _keep(self, owner: str, shelf: Shelf) -> None:
        """Take note of its size, and throw away those that have waited longest."""
        with self._lock:
            if self._shelves.get(owner) is shelf:
                self._total += shelf.bytes - self._sizes.get(owner, 0)
                self._sizes[owner] = shelf.bytes
            while self._total > self._limit and len(self._shelves) > 1:
                oldest, _ = self._shelves.popitem(last=False)
                self._total -= self._sizes.pop(oldest, 0)
