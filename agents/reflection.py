"""Reflection: what an owner's turns tell that lasts, drawn out by a model in two stages and checked in code.

Doors: `Reflection.run` (the job), `Reflector` (the two stages), `asking` (whom it asks). *Observe* shows the model some
of the owner's own turns, as quoted lines, and asks for facts and standing preferences, each with the lines that state
it. *Reconcile* shows it one such finding beside the known ones nearest to it: the same, new, or the end of something
older. The model proposes, code disposes: an answer that is no JSON of the asked form, names lines that are not there,
or tells names, numbers or matters that its lines do not hold, is counted and kept out. The first stage is shown the
owner's own turns and nothing else, so neither system text nor a recalled memory comes back as news. Which models can do
this is tried first (`agents/ability.py`). A model that refuses a request has found nothing in it: that is no fault.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from sqlalchemy.orm import Session

from agents.backend import ChatBackend
from agents.messages import Message, SamplingParams
from agents.prompts import observe, reconcile
from personal_data.database import Database
from personal_data.errors import RequestRefused
from personal_data.facts import KINDS, Found, Kept, Seen, current, keep, looked_in, unobserved
from personal_data.lexical import words
from personal_data.memory import Memory
from personal_data.records import User

Ask = Callable[[Message], Awaitable[str]]
"""Puts one message to the model; its whole answer."""
Progress = Callable[[str, int, int, str], None]
"""(stage, done, total, note), as every job of the ledger tells it."""
Fence = Callable[[Session], None]

TURNS_AT_ONCE = 12
_CHARS_AT_ONCE = 6_000
"""So that a page of lines stays within what small models overlook."""
TURNS_A_JOB = 600
"""One job looks in so many turns, the newest; the next one goes on."""
_MAX_TOKENS = 1_000
_KNOWN_SHOWN = 6
_MOST_CHARS = 300
_LEAST_CONFIDENCE = 0.5
_GROUNDED = 0.5
"""The share of a finding's words that its lines must hold, beside all its names and numbers."""
_NAME_OR_NUMBER = re.compile(r"[^\W\d_][\w'’]*|\d[\d.,:]*")
_DECISIONS = ("new", "same", "replaces", "drop")


def asking(backend: ChatBackend) -> Ask:
    """Questions to the bare base model, without anybody's adapter: one that was taught a style answers in it."""
    params = SamplingParams(max_tokens=_MAX_TOKENS, temperature=0.0)

    async def ask(message: Message) -> str:
        return (await backend.complete([message], params)).text

    return ask


@dataclass(frozen=True, slots=True)
class Observed:
    """What the first stage made of some turns: findings, and why others were kept out."""

    found: tuple[Found, ...]
    kept_out: Counter[str]


class Reflector:
    """The two stages, over one model, for one owner."""

    def __init__(self, ask: Ask, owner: str) -> None:
        self._ask, self._owner = ask, owner

    async def observe(self, turns: Sequence[Seen]) -> Observed:
        """What these turns tell that lasts. One answer that cannot be read is asked for once more.

        Raises:
            FolkmootError: the model failed (see `ChatBackend`).
        """
        message = observe(self._owner, [_dated(turn) for turn in turns])
        try:
            for _ in range(2):
                told = _json(await self._ask(message), "[", "]")
                if isinstance(told, list):
                    return self._checked(told, turns)
        except RequestRefused:
            return await self._halved(turns)
        return Observed((), Counter({"unreadable": 1}))

    async def _halved(self, turns: Sequence[Seen]) -> Observed:
        """A page that was refused may be too long; what a single turn is refused for is its own."""
        if len(turns) == 1:
            return Observed((), Counter({"refused by the model": 1}))
        halves = turns[: len(turns) // 2], turns[len(turns) // 2 :]
        first, second = [await self.observe(half) for half in halves]
        return Observed(first.found + second.found, first.kept_out + second.kept_out)

    def _checked(self, told: Sequence[Any], turns: Sequence[Seen]) -> Observed:
        found: list[Found] = []
        kept_out: Counter[str] = Counter()
        for one in told:
            finding = _finding(one, turns)
            if finding is None:
                kept_out["malformed"] += 1
            elif finding.confidence < _LEAST_CONFIDENCE:
                kept_out["unsure"] += 1
            elif not self._grounded(finding, {turn.id: turn for turn in turns}):
                kept_out["not in the owner's words"] += 1
            else:
                found.append(finding)
        return Observed(tuple(found), kept_out)

    def _grounded(self, finding: Found, turns: dict[str, Seen]) -> bool:
        said = " ".join(_dated(turns[source]) for source in finding.sources)
        stems, own = set(words(said)), set(words(self._owner))
        named = [word for word in _NAME_OR_NUMBER.findall(finding.text) if word[0].isupper() or word[0].isdigit()]
        first = finding.text.split()[0].strip(".,;:!?'\"")
        strange = [word for word in named if word != first and not set(words(word)) <= stems | own]
        content = [stem for stem in words(finding.text) if stem not in own]
        return not strange and sum(stem in stems for stem in content) >= max(1, _GROUNDED * len(content))

    async def reconcile(self, finding: Found, known: Sequence[tuple[str, str]]) -> Found | None:
        """A finding with how it stands to what is `known` (id, text); None: it is to be dropped. An answer that cannot
        be read after a second try leaves it beside what is known: nothing is ended by a guess.

        Raises:
            FolkmootError: the model failed (see `ChatBackend`).
        """
        if not known:
            return finding
        for memory_id, text in known:
            if _plain(text) == _plain(finding.text):
                return replace(finding, same_as=memory_id)
        decision, of = await self._decision(finding, [text for _, text in known])
        at = None if of is None else known[of - 1][0]
        if decision == "drop":
            return None
        return replace(
            finding, same_as=at if decision == "same" else None, replaces=at if decision == "replaces" else None
        )

    async def _decision(self, finding: Found, known: Sequence[str]) -> tuple[str, int | None]:
        message = reconcile(self._owner, known, finding.text)
        try:
            for _ in range(2):
                told = _json(await self._ask(message), "{", "}")
                if isinstance(told, dict) and (decided := _decided(told, len(known))) is not None:
                    return decided
        except RequestRefused:
            pass
        return "new", None


@dataclass(frozen=True, slots=True)
class Reflection:
    """The whole job for one owner: their turns, a page at a time, each page kept before the next one is asked for."""

    database: Database
    memory: Memory
    user_id: str
    ask: Ask
    fence: Fence

    async def run(self, progress: Progress) -> dict[str, Any]:
        """Look in the owner's turns of late. What came of it: how many turns, ids of what was added, confirmed and
        ended, and how many findings were kept out, by reason.

        Raises:
            FolkmootError: the model failed (see `ChatBackend`), or the lease is gone; pages before stand.
        """
        reflector = Reflector(self.ask, self._owner())
        kept_out: Counter[str] = Counter()
        kept: list[Kept] = []
        done, total = 0, min(TURNS_A_JOB, self._waiting())
        while done < total and (turns := self._next()):
            progress("reflect", done, total, f"{sum(one.added is not None for one in kept)} facts so far")
            observed = await reflector.observe(turns)
            kept_out += observed.kept_out
            for finding in observed.found:
                if (settled := await reflector.reconcile(finding, self._known(finding))) is None:
                    kept_out["not worth keeping"] += 1
                else:
                    kept.append(self._keep(turns, settled))
            self._close(turns)
            done += len(turns)
        return {
            "turns": done,
            "added": [one.added for one in kept if one.added is not None],
            "confirmed": sorted({one.confirmed for one in kept if one.confirmed is not None}),
            "ended": [one.ended for one in kept if one.ended is not None],
            "kept_out": dict(kept_out),
        }

    def _owner(self) -> str:
        with self.database.reading() as session:
            return session.get_one(User, self.user_id).name

    def _waiting(self) -> int:
        with self.database.reading() as session:
            return len(unobserved(session, self.user_id, TURNS_A_JOB))

    def _next(self) -> list[Seen]:
        with self.database.reading() as session:
            waiting = unobserved(session, self.user_id, TURNS_AT_ONCE)
        lengths = accumulate(len(turn.text) for turn in reversed(waiting))
        fits = sum(length <= _CHARS_AT_ONCE for length in lengths)
        return waiting[-max(1, fits) :]

    def _known(self, finding: Found) -> list[tuple[str, str]]:
        """The facts and preferences that are nearest to it and hold now, whoever told them."""
        hits = self.memory.recall(self.user_id, finding.text, _KNOWN_SHOWN, kinds=KINDS)
        with self.database.reading() as session:
            return [(row.id, row.text) for row in current(session, self.user_id, [hit.id for hit in hits])]

    def _keep(self, turns: Sequence[Seen], finding: Found) -> Kept:
        with self.database.session() as session:
            self.fence(session)
            kept = keep(session, self.user_id, turns, finding)
        self.memory.drain_outbox()
        return kept

    def _close(self, turns: Sequence[Seen]) -> None:
        with self.database.session() as session:
            self.fence(session)
            looked_in(session, self.user_id, turns)


def _dated(turn: Seen) -> str:
    return f"({datetime.fromtimestamp(turn.at, UTC):%-d %B %Y}) {turn.text}"


def _finding(told: Any, turns: Sequence[Seen]) -> Found | None:
    """One entry of the answer, where it has the form that was asked for."""
    if not isinstance(told, dict):
        return None
    kind, text, lines, confidence = (told.get(name) for name in ("kind", "text", "lines", "confidence"))
    if kind not in KINDS or not isinstance(text, str) or not text.strip() or len(text) > _MOST_CHARS:
        return None
    if not isinstance(lines, list) or not lines or isinstance(confidence, bool):
        return None
    if not all(type(line) is int and 1 <= line <= len(turns) for line in lines):
        return None
    if not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        return None
    sources = tuple(turns[line - 1].id for line in dict.fromkeys(lines))
    return Found(" ".join(text.split()), kind, float(confidence), sources)


def _decided(told: dict[str, Any], known: int) -> tuple[str, int | None] | None:
    decision, of = told.get("decision"), told.get("of")
    if decision not in _DECISIONS:
        return None
    if decision in ("new", "drop"):
        return decision, None
    return (decision, of) if type(of) is int and 1 <= of <= known else None


def _json(answer: str, opening: str, closing: str) -> Any:
    """The JSON value in an answer, whatever stands around it; None where there is none."""
    start, end = answer.find(opening), answer.rfind(closing)
    try:
        return json.loads(answer[start : end + 1]) if 0 <= start < end else None
    except (json.JSONDecodeError, RecursionError):
        return None


def _plain(text: str) -> str:
    return " ".join(text.split()).rstrip(".").casefold()
