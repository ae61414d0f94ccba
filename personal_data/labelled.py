"""Labelled conversations: turns with ids, and questions with the ids of the turns that answer them.

Doors: `read` for the file, `remember` and `recalls` for what recall makes of it, `summary` for the figures. A file is
JSON, so that any labelled set can be converted:

    {"conversations": [{"id": "...",
        "sessions": [{"at": "2023-05-08T13:56", "turns": [{"id": "D1:1", "speaker": "Ana", "text": "..."}]}],
        "questions": [{"question": "...", "evidence": ["D1:1"], "kind": "single", "asked_at": "2024-01-02T10:00"}]}]}

`at` and `asked_at` are ISO 8601 (UTC where they name no zone); `kind` groups the questions in the table; `asked_at`,
from which "last May" is seen, is a day after the last session where it is left out. A question without evidence is not
counted. Each conversation is remembered by somebody of its own, through `Memory.remember`, and asked through
`Memory.recall`: what is measured is what people get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from personal_data.errors import InvalidInput
from personal_data.importers.times import iso
from personal_data.memory import Memory, NewMemory

_SECONDS_A_TURN = 30.0
_DAY_S = 86_400.0
_DEPTH = 50
_SOURCE = "labelled:"


class Turn(BaseModel):
    id: str
    speaker: str
    text: str = Field(min_length=1)


class Session(BaseModel):
    at: str
    turns: list[Turn]


class Question(BaseModel):
    question: str = Field(min_length=1)
    evidence: list[str]
    kind: str = "single"
    asked_at: str | None = None


class Conversation(BaseModel):
    id: str
    sessions: list[Session] = Field(min_length=1)
    questions: list[Question]


class _File(BaseModel):
    conversations: list[Conversation] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: its kind, how many turns answer it, and the places (1 = best) at which recall has found them."""

    kind: str
    evidence: int
    places: tuple[int, ...]

    def recall(self, k: int) -> float:
        """How much of the evidence is among the first k."""
        return sum(place <= k for place in self.places) / self.evidence


def read(path: Path) -> list[Conversation]:
    """The conversations of a file.

    Raises:
        InvalidInput: it is not of the form above; the message says where.
    """
    try:
        found = _File.model_validate_json(path.read_bytes()).conversations
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InvalidInput(f"{path.name}: {where}: {first['msg']}") from error
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    for conversation in found:
        _check(path.name, conversation)
    return found


def _check(name: str, conversation: Conversation) -> None:
    ids = [turn.id for session in conversation.sessions for turn in session.turns]
    if len(set(ids)) < len(ids):
        raise InvalidInput(f"{name}: conversation {conversation.id}: two turns have one id")
    for session in conversation.sessions:
        if iso(session.at) is None:
            raise InvalidInput(f"{name}: conversation {conversation.id}: {session.at!r} is not a date and time")
    for question in conversation.questions:
        if strange := set(question.evidence) - set(ids):
            raise InvalidInput(f"{name}: {question.question!r}: no turn {min(strange)}")
        if question.asked_at is not None and iso(question.asked_at) is None:
            raise InvalidInput(f"{name}: {question.question!r}: {question.asked_at!r} is not a date and time")


def remember(memory: Memory, owner: str, conversation: Conversation) -> None:
    """Tell somebody all of a conversation."""
    memory.remember(
        owner,
        [
            NewMemory(
                turn.text,
                speaker=turn.speaker,
                kind="turn",
                event_at=_at(session) + _SECONDS_A_TURN * place,
                sources=(_SOURCE + turn.id,),
                thread=f"{conversation.id}#{number}",
            )
            for number, session in enumerate(conversation.sessions)
            for place, turn in enumerate(session.turns)
        ],
    )


def recalls(memory: Memory, owner: str, conversation: Conversation) -> Iterator[Asked]:
    """Ask all of its questions of somebody who was told it."""
    end = max(_at(session) for session in conversation.sessions)
    for question in conversation.questions:
        if not question.evidence:
            continue
        asked_at = iso(question.asked_at) or end + _DAY_S
        hits = memory.recall(owner, question.question, _DEPTH, as_of=asked_at)
        # What was made of turns (a fact) counts as them.
        found = [{source.removeprefix(_SOURCE) for source in hit.sources} for hit in hits]
        places = [_place(found, turn) for turn in set(question.evidence)]
        yield Asked(question.kind, len(places), tuple(place for place in places if place is not None))


def _place(found: Sequence[set[str]], turn: str) -> int | None:
    return next((place for place, sources in enumerate(found, 1) if turn in sources), None)


def _at(session: Session) -> float:
    at = iso(session.at)
    assert at is not None, "checked when it was read"
    return at


@dataclass(frozen=True, slots=True)
class Row:
    """Mean recall@k of n questions, each with its 95 % interval (percentile bootstrap over the questions)."""

    n: int
    recall: Mapping[int, tuple[float, float, float]]
    """k → (mean, low, high)."""


def summary(asked: Sequence[Asked], ks: Sequence[int] = (5, 10, 20), *, resamples: int = 2_000, seed: int = 0) -> Row:
    """The figures of some questions, at least one."""
    draws = np.random.default_rng(seed).integers(len(asked), size=(resamples, len(asked)))
    return Row(len(asked), {k: _interval(np.array([one.recall(k) for one in asked]), draws) for k in ks})


def by_kind(asked: Sequence[Asked], make: Callable[[Sequence[Asked]], Row] = summary) -> dict[str, Row]:
    """A row for each kind of question, in the order of their names."""
    kinds = sorted({one.kind for one in asked})
    return {kind: make([one for one in asked if one.kind == kind]) for kind in kinds}


def _interval(values: np.ndarray, draws: np.ndarray) -> tuple[float, float, float]:
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(values.mean()), float(low), float(high)
