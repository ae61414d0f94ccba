"""Answers that models gave before, replayed: a committee can be measured again without any of its models.

Doors: `read_recorded` (a JSONL file), `RecordedBackend` (one member of it, as a `ChatBackend`). A line holds one
question with its truth and what each member wrote:

    {"question": "...", "truth": "18", "topic": "arithmetic", "answers": {"model-a": "... answer: 18", "model-b": null},
     "confidences": {"model-a": 0.9}}

`topic` may be left out, and a member too, or be null: it was not asked. `confidences` (0 to 1), which may be left out,
are what members said of their own answers. Members may also stand in the line itself, as
objects with a `solution`, beside `ground_truth`: so OpenAI released GSM8K's. The answer of a text is what
it ends with: `answer:`, `A:`, `####`, a box, or "the answer is".
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from agents.backend import AdapterRef
from agents.messages import Completion, Delta, Message, SamplingParams
from agents.prompts import SHOW_WORK, final_answer
from personal_data.errors import BackendError, ConfigurationError, InvalidInput

_MOST_BYTES = 2**30
_ENDS = (
    re.compile(r"####\s*(.+)"),
    re.compile(r"\\boxed\{([^{}]+)\}"),
    re.compile(r"(?m)^\s*A:\s*(.+)"),
    re.compile(r"(?i)\bthe (?:final )?answer is:?\s*(.+)"),
)


@dataclass(frozen=True, slots=True)
class RecordedQuestion:
    """A question, what is right, each member's text, and how sure those were of it that said so."""

    question: str
    truth: str
    topic: str
    answers: Mapping[str, str]
    confidences: Mapping[str, float] = field(default_factory=dict)


def read_recorded(path: Path) -> list[RecordedQuestion]:
    """Every question of a file.

    Raises:
        InvalidInput: it cannot be read, or a line is not of the form; the message names it.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InvalidInput(f"{path.name} is larger than {_MOST_BYTES // 2**30} GiB")
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path.name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    found: dict[str, RecordedQuestion] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            one = _question(line, f"{path.name}, line {number}")
            found.setdefault(one.question, one)
    if not found:
        raise InvalidInput(f"{path.name} holds no question")
    return list(found.values())


def _question(line: str, where: str) -> RecordedQuestion:
    try:
        told = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInput(f"{where}: no JSON") from error
    if not isinstance(told, dict) or not isinstance(question := told.get("question"), str) or not question.strip():
        raise InvalidInput(f"{where}: an object with a `question` is needed")
    truth = told.get("truth", told.get("ground_truth"))
    if not isinstance(truth, str | int | float) or isinstance(truth, bool):
        raise InvalidInput(f"{where}: `truth` must be a text or a number")
    topic = told.get("topic") or ""
    answers = told.get("answers")
    if answers is None:
        answers = {name: one["solution"] for name, one in told.items() if isinstance(one, dict) and "solution" in one}
    if not isinstance(topic, str) or not isinstance(answers, dict) or not answers:
        raise InvalidInput(f"{where}: `answers` must hold what each member wrote, and `topic` be a text")
    if not all(isinstance(text, str | None) for text in answers.values()):
        raise InvalidInput(f"{where}: each answer must be a text, or null")
    texts = {name: text for name, text in answers.items() if text is not None}
    right = answer_of(str(truth)) or str(truth)
    return RecordedQuestion(question.strip(), right, topic, texts, _confidences(told.get("confidences", {}), where))


def _confidences(told: Any, where: str) -> dict[str, float]:
    if not isinstance(told, dict) or not all(
        isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one <= 1 for one in told.values()
    ):
        raise InvalidInput(f"{where}: `confidences` must hold a number from 0 to 1 a member")
    return {member: float(one) for member, one in told.items()}


def answer_of(text: str) -> str | None:
    """What a text ends with as its answer; None where it does not say."""
    if (told := final_answer(text)) is not None:
        return told
    found = [matches[-1].strip() for end in _ENDS if (matches := end.findall(text))]
    return found[0] if found else None


class RecordedBackend:
    """One member of a recorded committee. It says of a question what it said then, however it is asked.

    Raises BackendError for a question that it was not asked.
    """

    def __init__(self, name: str, answers: Mapping[str, str]) -> None:
        self._name, self._answers = name, answers

    async def stream(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> AsyncGenerator[Delta, None]:
        completion = await self.complete(messages, params, adapter=adapter)
        yield Delta(completion.text, finish_reason="stop")

    async def complete(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> Completion:
        asked = next((message.content for message in messages if message.role == "user"), "")
        text = self._answers.get(asked.split("\nProposed:")[0].removesuffix(SHOW_WORK).strip())
        if text is None:
            raise BackendError(f"no answer of {self._name} to this question was recorded")
        told = answer_of(text)
        ending = "" if told is None or final_answer(text) is not None else f"\nanswer: {told}"
        return Completion(text + ending, "stop", None, self._name)

    async def aclose(self) -> None:
        """Nothing is open."""


@cache
def _read_once(path: Path, _modified_ns: int) -> list[RecordedQuestion]:
    return read_recorded(path)


def open_recorded(path: Path, name: str) -> RecordedBackend:
    """A member of the committee of a file, which is read once for all of them.

    Raises:
        ConfigurationError: the file cannot be used, or knows no such member.
    """
    try:
        questions = _read_once(path, path.stat().st_mtime_ns)
    except (OSError, InvalidInput) as error:
        raise ConfigurationError(f"recorded answers: {error}") from error
    answers: dict[str, Any] = {one.question: one.answers[name] for one in questions if name in one.answers}
    if not answers:
        known = sorted({member for one in questions for member in one.answers})
        raise ConfigurationError(f"{path.name} holds no answers of {name!r}; it knows {', '.join(known)}")
    return RecordedBackend(name, answers)
