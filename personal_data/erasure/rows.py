"""Emptying rows: the memories, the chats and debates that were made from them, and what quotes them.

Doors: `erase_memories`, `erase_conversation`, `erase_import`, in the caller's transaction. Ids, times and tombstones
stay, so that no late writer brings a text back and the history keeps its shape; every text gives way to MARK. Models
rephrase: so an answer that was given with an erased memory before its eyes goes whole, and in other texts of the owner,
and in debates that saw the memory, what quotes it word for word is cut out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from personal_data.erasure.marks import SHORT, Marks
from personal_data.facts import drawn_from, look_again
from personal_data.memory import bury
from personal_data.outbox import take_turn
from personal_data.portability.tables import Owner
from personal_data.records import (
    AdapterVersion,
    Agent,
    ChatMessage,
    Debate,
    Disclosure,
    Feedback,
    Hypothesis,
    Import,
    Job,
    Judgement,
    Memory,
    Position,
    Record,
    ResolvedQuestion,
    Review,
    Rollout,
    TrainingRun,
    Verdict,
    now,
)
from personal_data.versions import history

MARK = "[erased by its owner]"


@dataclass(slots=True)
class Erased:
    """What one transaction took away, for those who follow the trail."""

    removed: Counter[str] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)
    vectors: list[bytes] = field(default_factory=list)
    memory_ids: set[str] = field(default_factory=set)
    feedback_ids: set[str] = field(default_factory=set)
    debate_ids: set[str] = field(default_factory=set)
    """Debates whose question or outcome went, or something of it."""
    debaters: set[str] = field(default_factory=set)
    """Agents that were heard there: any of them may have learned from it."""
    since: float = field(default_factory=now)
    """When the oldest of it came; nothing that was made before knew of it."""

    def marks(self) -> Marks:
        """By which its bytes are known."""
        return Marks.of(self.texts, self.vectors)

    def took(self, kind: str, texts: Sequence[str], created_at: float) -> None:
        self.removed[kind] += 1
        self.texts += [text for text in texts if text and text != MARK]
        self.since = min(self.since, created_at)


def erase_memories(session: Session, owner: Owner, memory_ids: Sequence[str]) -> Erased:
    """Erase these memories, and what was made from them or quotes them."""
    revision = take_turn(session, owner.user_id)
    drawn = drawn_from(session, owner.user_id, memory_ids)
    look_again(session, owner.user_id, drawn)
    mine = Memory.user_id == owner.user_id, Memory.id.in_([*memory_ids, *drawn])
    rows = session.scalars(select(Memory).where(*mine).with_for_update()).all()
    erased = Erased(memory_ids={row.id for row in rows})
    turns = {
        source.removeprefix("message:")
        for row in rows
        for source in row.sources
        if isinstance(source, str) and source.startswith("message:")
    }
    erased.texts += [version.text for version in history(session, [row.id for row in rows])]
    for row in rows:
        if row.deleted_at is None:
            erased.took("memories", [row.text], row.created_at)
        erased.since = min(erased.since, row.created_at)
        if row.embedding is not None:
            erased.vectors.append(row.embedding)
    bury(session, owner.user_id, revision, [row.id for row in rows])
    for row in rows:
        row.speaker, row.thread, row.event_at, row.valid_from, row.valid_to = "", None, None, None, None
    passages = list(erased.texts)
    passages += _empty_messages(session, owner, erased, turns)
    _follow(session, owner, erased, passages)
    return erased


def erase_conversation(session: Session, owner: Owner, conversation_id: str) -> Erased:
    """Empty every turn of a conversation."""
    query = select(ChatMessage.id).where(
        ChatMessage.conversation_id == conversation_id, ChatMessage.user_id == owner.user_id
    )
    erased = Erased()
    passages = _empty_messages(session, owner, erased, set(session.scalars(query)))
    _follow(session, owner, erased, passages)
    return erased


def erase_import(session: Session, owner: Owner, import_id: str) -> Erased:
    """Empty what an import says of the files that came in; one that is running stops at its next batch."""
    erased = Erased()
    begun = session.get(Import, import_id, with_for_update=True)
    if begun is None or begun.user_id != owner.user_id or begun.name == MARK:
        return erased
    erased.took("imports", [begun.name, *strings(begun.units)], begun.created_at)
    begun.state, begun.name, begun.units, begun.choice = "undone", MARK, [], {}
    return erased


def _follow(session: Session, owner: Owner, erased: Erased, passages: Sequence[str]) -> None:
    """From erased memories and turns to all that was made from them."""
    quotes = _Quotes(passages)
    _drop_feedback(session, owner, erased, quotes)
    shown = select(Disclosure.debate_id).where(
        Disclosure.user_id == owner.user_id, Disclosure.memory_id.in_(erased.memory_ids)
    )
    debates = set(session.scalars(select(Debate.id).where(or_(Debate.user_id == owner.user_id, Debate.id.in_(shown)))))
    _empty_positions(session, owner, erased, debates)
    for record, columns, condition in _quoting(owner, debates):
        query = select(record).where(condition).execution_options(yield_per=500)
        for row in session.scalars(query):
            erased.removed["quotes"] += (cut := quotes.cut(row, columns))
            if cut and isinstance(row, Debate):
                erased.debate_ids.add(row.id)
    session.flush()
    name_debaters(session, erased)


def name_debaters(session: Session, erased: Erased) -> None:
    """Write down who was heard in the debates that went, as long as their positions are there."""
    heard = select(Position.agent_id).where(Position.debate_id.in_(erased.debate_ids))
    erased.debaters.update(session.scalars(heard))


def _empty_messages(session: Session, owner: Owner, erased: Erased, turns: set[str]) -> list[str]:
    """Empty these turns, the answers to them, and all answers that were given with an erased memory in view. Returns
    the texts of the turns."""
    query = select(ChatMessage).where(ChatMessage.user_id == owner.user_id)
    query = query.order_by(ChatMessage.conversation_id, ChatMessage.seq).with_for_update()
    passages: list[str] = []
    asked: tuple[str, int] | None = None
    for row in session.scalars(query):
        is_turn = row.id in turns
        answers = row.role == "assistant" and asked == (row.conversation_id, row.seq - 1)
        if is_turn or answers or erased.memory_ids.intersection(row.memory_ids):
            if row.content != MARK:
                if is_turn:
                    passages.append(row.content)
                erased.took("messages", [row.content], row.created_at)
            row.content = MARK
            turns.add(row.id)
        asked = (row.conversation_id, row.seq) if is_turn and row.role == "user" else None
    for feedback in session.scalars(select(Feedback).where(Feedback.user_id == owner.user_id)):
        if feedback.message_id in turns:
            _drop(session, erased, feedback)
    session.flush()
    return passages


def _drop_feedback(session: Session, owner: Owner, erased: Erased, quotes: _Quotes) -> None:
    """A pair whose prompt shows what was erased teaches it: it goes whole."""
    for row in session.scalars(select(Feedback).where(Feedback.user_id == owner.user_id)):
        if quotes.stand_in([row.prompt, row.chosen, row.rejected]):
            _drop(session, erased, row)
    session.flush()


def _drop(session: Session, erased: Erased, row: Feedback) -> None:
    erased.took("feedback", [*strings(row.prompt), row.chosen or "", row.rejected or ""], row.created_at)
    erased.feedback_ids.add(row.id)
    session.delete(row)


def _empty_positions(session: Session, owner: Owner, erased: Erased, debates: set[str]) -> None:
    """What the owner's agent said with an erased memory in view, and the hypotheses and verdicts that are its alone."""
    mine = Position.agent_id == owner.agent_id, Position.debate_id.in_(debates)
    for row in session.scalars(select(Position).where(*mine).with_for_update()):
        if erased.memory_ids.intersection(row.memory_ids):
            empty_position(session, erased, row)
    checked = Review.agent_id == owner.agent_id, Review.debate_id.in_(debates)
    for check in session.scalars(select(Review).where(*checked).with_for_update()):
        if erased.memory_ids.intersection(check.memory_ids) and check.argument != MARK:
            erased.took("reviews", [check.argument or "", check.answer or ""], check.created_at)
            check.argument, check.answer, check.flags = MARK, None, _without_checks(check)


def empty_position(session: Session, erased: Erased, row: Position) -> None:
    """Empty one position, and what a debate made of it alone."""
    if row.argument != MARK:
        erased.took("positions", [row.argument or "", row.answer or ""], row.created_at)
    old, row.argument, row.flags = row.answer_key, MARK, _without_checks(row)
    row.alternatives = None
    _unlearn(session, row)
    if old is None:
        return
    row.answer, row.answer_key = MARK, f"erased:{row.id}"
    session.flush()
    hypothesis = session.scalar(select(Hypothesis).where(Hypothesis.debate_id == row.debate_id, Hypothesis.key == old))
    if hypothesis is None or (hypothesis.supporters != [row.agent_id] and _is_held(session, row, old)):
        return
    erased.took("hypotheses", [hypothesis.text], row.created_at)
    hypothesis.text, hypothesis.key = MARK, row.answer_key
    verdict = session.scalar(select(Verdict).where(Verdict.debate_id == row.debate_id))
    if verdict is not None:
        if verdict.answer_key == old:
            erased.took("verdicts", [verdict.answer or ""], row.created_at)
            verdict.answer, verdict.answer_key = MARK, row.answer_key
        verdict.dissent = [row.answer_key if key == old else key for key in verdict.dissent]
        told = verdict.distribution
        verdict.distribution = told and {row.answer_key if key == old else key: share for key, share in told.items()}
    _rename(session, row, old, row.answer_key)


def _without_checks(row: Position | Review) -> dict[str, Any] | None:
    """What a machine found in an argument quotes it."""
    return row.flags and {name: value for name, value in row.flags.items() if name != "checks"}


def _is_held(session: Session, row: Position, key: str) -> bool:
    """Whether another member has given the very same answer. Who supports it by way of a text of their own, which was
    found to say the same, has not."""
    others = Position.debate_id == row.debate_id, Position.agent_id != row.agent_id, Position.answer_key == key
    return session.scalar(select(Position.id).where(*others).limit(1)) is not None


def _rename(session: Session, row: Position, old: str, new: str) -> None:
    """What others say of an answer names its key, which is made of its words."""
    for ranking in session.scalars(select(Position).where(Position.debate_id == row.debate_id)):
        if old in (ranking.alternatives or ()):
            ranking.alternatives = [new if key == old else key for key in ranking.alternatives or ()]
    query = select(Review).join(Debate, Debate.id == Review.debate_id).where(Debate.kind != "closed")
    for check in session.scalars(query.where(Review.debate_id == row.debate_id, Review.answer == old)):
        check.answer = new


def _unlearn(session: Session, row: Position) -> None:
    """What a society has learnt from this answer it learns no more."""
    for resolved in session.scalars(select(ResolvedQuestion).where(ResolvedQuestion.source == row.debate_id)):
        resolved.votes = {member: vote for member, vote in resolved.votes.items() if member != row.agent_id}
        resolved.reviews = None


class _Quotes:
    """Passages, to be cut out of other texts word for word; short ones are not looked for: they are everybody's."""

    def __init__(self, passages: Sequence[str]) -> None:
        forms = {form for text in passages for form in (text, text.strip(), " ".join(text.split()))}
        self._passages = sorted((form for form in forms if len(form.encode()) >= SHORT), key=len, reverse=True)
        self._marks = Marks.of(self._passages)

    def stand_in(self, value: Any) -> bool:
        """Whether one of them stands in a text, or in a text of a JSON value."""
        return any(self._may(text) and any(one in text for one in self._passages) for text in strings(value))

    def cut(self, row: Record, columns: Sequence[str]) -> int:
        """Cut them out of a row; in how many columns."""
        cut = 0
        for name in columns:
            if self.stand_in(old := getattr(row, name)):
                setattr(row, name, self._without(old))
                cut += 1
        return cut

    def _may(self, text: str) -> bool:
        """A quick look, which does not get slower with the number of passages."""
        return len(self._passages) < 8 or len(self._marks.found(text.encode(errors="surrogatepass"))) > 0

    def _without(self, value: Any) -> Any:
        if isinstance(value, str):
            for passage in self._passages:
                value = value.replace(passage, MARK)
            return value
        if isinstance(value, list):
            return [self._without(one) for one in value]
        return {name: self._without(one) for name, one in value.items()} if isinstance(value, dict) else value


def _quoting(owner: Owner, debates: set[str]) -> list[tuple[Any, tuple[str, ...], ColumnElement[bool]]]:
    """Where the owner's texts may be quoted: the record, its columns, and which rows."""
    runs = select(TrainingRun.id).where(TrainingRun.agent_id == owner.agent_id)
    return [
        (ChatMessage, ("content",), ChatMessage.user_id == owner.user_id),
        (Debate, ("question", "outcome", "error"), Debate.id.in_(debates)),
        (Position, ("answer", "argument", "flags"), Position.debate_id.in_(debates)),
        (Review, ("answer", "argument", "flags"), Review.debate_id.in_(debates)),
        (Hypothesis, ("text",), Hypothesis.debate_id.in_(debates)),
        (Verdict, ("answer",), Verdict.debate_id.in_(debates)),
        (Job, ("payload", "progress", "result", "error"), Job.user_id == owner.user_id),
        (TrainingRun, ("steps", "gate", "reasons"), TrainingRun.agent_id == owner.agent_id),
        (Rollout, ("prompt", "completion"), Rollout.run_id.in_(runs)),
        (Judgement, ("prompt", "said", "verdict"), Judgement.run_id.in_(runs)),
        (AdapterVersion, ("evaluation",), AdapterVersion.agent_id == owner.agent_id),
        (Agent, ("instructions",), Agent.id == owner.agent_id),
    ]


def strings(value: Any) -> list[str]:
    """Every text in a JSON value; of the names in it, those that somebody may have chosen."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        named = [name for name in value if not name.isidentifier()]
        return [*named, *(text for one in value.values() for text in strings(one))]
    return [text for one in value for text in strings(one)] if isinstance(value, list | tuple) else []
