"""Many ballots as arrays, so that a rule scores a whole history in a few products. One row an answer that stands.

Door: `tabulate`. Shapes: Q questions, M members (sorted by id), N rows (answers that stand; those of one question lie
together, sorted by key), T topics. A rule's `beliefs` gives scores for rows; `chosen` turns them into choices with the
tie rule of `ballot.ranked`. Nothing is learned here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from society.aggregation.ballot import Ballot, Resolved, lot

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

NO_TOPIC = -1


@dataclass(frozen=True, slots=True)
class Table:
    """Ballots, and what was right where that is known.

    `votes` (N, M): 1 where the member gave the row's answer. `invited`, `answered`, `correct` (Q, M). `confidence`
    (Q, M): NaN where a member stated none. `question` (N,): which question a row belongs to, not decreasing. `right`
    (N,). `topic` (Q,): index into `topics`, or NO_TOPIC. `options` (Q,): NaN for an open question. `reviews` (N, 2):
    verified and refuted. `lineage` (M,): index of the member's lineage.
    """

    members: tuple[str, ...]
    lineages: tuple[str, ...]
    topics: tuple[str, ...]
    keys: tuple[str, ...]
    votes: Floats
    question: Integers
    right: Booleans
    reviews: Floats
    invited: Booleans
    answered: Booleans
    correct: Booleans
    confidence: Floats
    topic: Integers
    options: Floats
    lineage: Integers

    @property
    def questions(self) -> int:
        return len(self.topic)

    @property
    def answers(self) -> Integers:
        """(Q,) How many answers stand in each question."""
        return np.bincount(self.question, minlength=self.questions)

    def part(self, questions: Integers) -> Table:
        """The same members on some of the questions (indices, increasing)."""
        place = np.full(self.questions, -1)
        place[questions] = np.arange(len(questions))
        rows = np.flatnonzero(place[self.question] >= 0)
        return Table(
            members=self.members,
            lineages=self.lineages,
            topics=self.topics,
            keys=tuple(self.keys[row] for row in rows),
            votes=self.votes[rows],
            question=place[self.question[rows]],
            right=self.right[rows],
            reviews=self.reviews[rows],
            invited=self.invited[questions],
            answered=self.answered[questions],
            correct=self.correct[questions],
            confidence=self.confidence[questions],
            topic=self.topic[questions],
            options=self.options[questions],
            lineage=self.lineage,
        )

    def by_member(self, numbers: Mapping[str, float], default: float) -> Floats:
        """(M,) A number a member, `default` for whom none is given."""
        return np.array([numbers.get(member, default) for member in self.members])


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What a rule makes of a table: `score` and `probability` (N,), `none` (Q,): mass of none of these."""

    score: Floats
    probability: Floats
    none: Floats


class Rule(Protocol):
    """A rule that may have learned from a history. `name` is what a decision reports."""

    @property
    def name(self) -> str: ...

    def beliefs(self, table: Table) -> Beliefs: ...


def tabulate(history: Sequence[Resolved], lineages: Mapping[str, str]) -> Table:
    """Resolved questions as a table. A member without a lineage is a lineage of its own."""
    ballots = [resolved.ballot for resolved in history]
    members = tuple(sorted({member for ballot in ballots for member in ballot.votes}))
    topics = tuple(sorted({ballot.topic for ballot in ballots if ballot.topic is not None}))
    of_member = [lineages.get(member, member) for member in members]
    names = tuple(sorted(set(of_member)))
    questions = _Questions({member: column for column, member in enumerate(members)}, len(ballots))
    for index, resolved in enumerate(history):
        questions.add(index, resolved)
    place = {topic: index for index, topic in enumerate(topics)}
    return Table(
        members=members,
        lineages=names,
        topics=topics,
        keys=tuple(questions.keys),
        votes=questions.votes(),
        question=np.array(questions.question, dtype=np.int64),
        right=np.array(questions.right, dtype=np.bool_),
        reviews=np.array(questions.reviews, dtype=np.float64).reshape(-1, 2),
        invited=questions.invited,
        answered=questions.answered,
        correct=questions.correct,
        confidence=questions.confidence,
        topic=np.array([NO_TOPIC if b.topic is None else place[b.topic] for b in ballots], dtype=np.int64),
        options=np.array([np.nan if b.options is None else b.options for b in ballots], dtype=np.float64),
        lineage=np.array([names.index(lineage) for lineage in of_member], dtype=np.int64),
    )


def one(ballot: Ballot, lineages: Mapping[str, str]) -> Table:
    """A table of one question whose outcome is not known."""
    return tabulate([Resolved(ballot, None)], lineages)


class _Questions:
    """Fills the arrays question by question."""

    def __init__(self, column: Mapping[str, int], count: int) -> None:
        shape = (count, len(column))
        self.column = column
        self.invited, self.answered, self.correct = (np.zeros(shape, dtype=np.bool_) for _ in range(3))
        self.confidence = np.full(shape, np.nan)
        self.keys: list[str] = []
        self.question: list[int] = []
        self.right: list[bool] = []
        self.reviews: list[tuple[int, int]] = []
        self.seats: tuple[list[int], list[int]] = ([], [])

    def add(self, index: int, resolved: Resolved) -> None:
        ballot = resolved.ballot
        for member, key in ballot.votes.items():
            seat = (index, self.column[member])
            self.invited[seat] = True
            self.answered[seat] = key is not None
            self.correct[seat] = key is not None and key == resolved.right
            self.confidence[seat] = ballot.confidences.get(member, np.nan)
        for key, supporters in ballot.supporters().items():
            self.seats[0].extend([len(self.keys)] * len(supporters))
            self.seats[1].extend(self.column[member] for member in supporters)
            reviews = ballot.reviews.get(key)
            self.reviews.append((0, 0) if reviews is None else (reviews.verified, reviews.refuted))
            self.keys.append(key)
            self.question.append(index)
            self.right.append(key == resolved.right)

    def votes(self) -> Floats:
        votes = np.zeros((len(self.keys), len(self.column)))
        votes[self.seats] = 1.0
        return votes


def by_question(table: Table, rows: Floats) -> Floats:
    """(Q,) or (Q, F) The sums of (N,) or (N, F) numbers a row over the rows of each question."""
    total = np.zeros((table.questions, *rows.shape[1:]))
    np.add.at(total, table.question, rows)
    return total


def softmax(table: Table, score: Floats, none: Floats) -> Beliefs:
    """Beliefs from log scores a row and the log mass a question of none of these (minus infinity: impossible).

    A question in which no answer stands believes in none of these, whatever its mass.
    """
    top = np.where(np.isfinite(none), none, 0.0)
    np.maximum.at(top, table.question, score)
    weight = np.exp(score - top[table.question])
    rest = np.where(table.answers > 0, np.exp(none - top), 1.0)
    total = by_question(table, weight) + rest
    return Beliefs(score, weight / total[table.question], rest / total)


def capped(table: Table, cap: float, members: Booleans | None = None) -> Floats:
    """(Q, M) The factor by which a voter counts, so that its lineage's voters weigh as at most `cap` of them.

    `members` (M,): whom this is about; the others count in full and take no room.
    """
    voting = by_question(table, table.votes if members is None else table.votes * members)
    seats = np.zeros((table.questions, len(table.lineages)))
    np.add.at(seats.T, table.lineage, voting.T)
    factor = np.minimum(1.0, cap / np.maximum(seats[:, table.lineage], 1.0))
    return factor if members is None else np.where(members, factor, 1.0)


def chosen(table: Table, beliefs: Beliefs, trust: Floats, seed: int) -> Integers:
    """(Q,) The row that each question chooses, -1 where no answer stands: score, then summed trust (M,), then lot.

    Question q draws with `seed` + q: one draw for all would give every tie between "yes" and "no" to the same of them.
    """
    score, summed = np.round(beliefs.score, 9), np.round(table.votes @ trust, 9)
    order = np.lexsort((-summed, -score, table.question))
    choice = np.full(table.questions, -1, dtype=np.int64)
    first = order[np.unique(table.question[order], return_index=True)[1]]
    choice[table.question[first]] = first
    best = choice[table.question]
    equal = np.flatnonzero((score == score[best]) & (summed == summed[best]))
    for question in np.flatnonzero(np.bincount(table.question[equal], minlength=table.questions) > 1):
        rows = equal[table.question[equal] == question]
        choice[question] = min(rows, key=lambda row: lot(seed + int(question), table.keys[row]))
    return choice


def hits(table: Table, choice: Integers) -> Booleans:
    """(Q,) Whether the chosen row is right; silence never is."""
    found = choice >= 0
    hit = np.zeros(table.questions, dtype=np.bool_)
    hit[found] = table.right[choice[found]]
    return hit
