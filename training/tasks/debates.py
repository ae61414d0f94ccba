"""What an agent's own debates teach it: questions whose outcome is known, and what its part in each was worth (6.2.10).

Door: `debate_tasks`. A task is a question as the policy was asked it in the blind round, with those of its owner's
memories that it was shown, and the right answer as its reference. Of other members only the keys of their answers are
looked at, to see who was corrected or misled: no text of theirs comes in, and no memory.

What others remember is theirs. So an answer is learnt only where it cannot come from there: the agent had found it by
itself, code calculates it, a member had found it blindly with no memory in view, or no other one had any in view. Left
out as well is what was answered with a memory that its owner has forgotten since, or that the society's scope does not
cover by itself (a grant may be withdrawn any day), and every debate of a society where the agent has no seat any more.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from agents import prompts
from personal_data.erasure.rows import MARK
from personal_data.records import (
    Agent,
    Debate,
    Hypothesis,
    Member,
    Memory,
    Position,
    ResolvedQuestion,
    Review,
    Society,
    User,
)
from personal_data.sharing import PUBLIC, society_scope
from society.checks.checking import calculated
from society.finished import Finished, finished
from society.rounds import BLIND
from society.state import CLOSED
from training.rollouts import Task
from training.tasks.environments import Checker, Exact, Item
from training.tasks.interactions import is_for_gate, plain

DEBATES: Checker = Exact("debates")


@dataclass(frozen=True, slots=True)
class DebateTask:
    """A question that the agent has debated, and what its part there was worth, -1 to 1 (`credit`)."""

    task: Task
    credit: float
    debate_id: str
    memory_ids: tuple[str, ...] = ()
    """The memories behind the agent's part, those that the prompt shows among them."""

    @property
    def weight(self) -> float:
        """How often it is drawn beside others, 1 to 3: there is most to learn where the agent misled others or was
        wrong, least where it was right against most of them."""
        return 2 - self.credit

    @property
    def for_gate(self) -> bool:
        """Whether it is kept for the gate: one debate in four."""
        return is_for_gate(self.debate_id)


@dataclass(frozen=True, slots=True)
class DebateTasks:
    """A frozen set of tasks; `digest` is the SHA-256 of its content.

    `forgotten` counts debates left out because a memory behind the agent's answer was forgotten or is not shared any
    more, or because the question or its outcome was erased; `borrowed` those whose answer may be what another member
    remembers.
    """

    train: tuple[DebateTask, ...] = ()
    gate: tuple[DebateTask, ...] = ()
    digest: str = ""
    forgotten: int = 0
    borrowed: int = 0

    @property
    def left_out(self) -> dict[str, int]:
        """Why how many debates teach nothing; only what occurred."""
        counts = {
            "a memory, the question or its outcome was taken back": self.forgotten,
            "another member may have remembered the answer": self.borrowed,
        }
        return {why: count for why, count in counts.items() if count}

    @property
    def made_from(self) -> dict[str, list[str]]:
        """What a run on these learns from, by id: what is erased later can be traced to it."""
        both = [*self.train, *self.gate]
        return {
            "debates": [one.debate_id for one in both],
            "memories": sorted({memory_id for one in both for memory_id in one.memory_ids}),
        }


def debate_tasks(session: Session, user_id: str, *, latest: int = 512) -> DebateTasks:
    """The tasks of the owner's `latest` debates with an outcome, oldest first; none for an owner without an agent."""
    owner = session.execute(select(Agent.id, User.name).join(User).where(User.id == user_id)).one_or_none()
    if owner is None:
        return split([])
    debates = finished(session, _debated(owner.id), most=latest)
    parts = _parts(session, owner.id, [one.id for one in debates])
    memories = _memories(session, user_id, parts.values())
    tasks, forgotten, borrowed = list[DebateTask](), 0, 0
    for debate in debates:
        part = parts[debate.id]
        if not debate.right or owner.id not in debate.blind:
            continue  # the verdict or its own answer was erased, or it was heard in a later round only
        if MARK in part.question or MARK in part.outcome or not part.is_kept(memories):
            forgotten += 1
        elif _is_borrowed(debate, owner.id, part):
            borrowed += 1
        else:
            worth = credit(debate, owner.id, part.verified, part.refuted)
            tasks.append(DebateTask(part.task(owner.name, memories), worth, debate.id, tuple(sorted(part.behind))))
    return split(tasks, forgotten=forgotten, borrowed=borrowed)


def split(tasks: Sequence[DebateTask], *, forgotten: int = 0, borrowed: int = 0) -> DebateTasks:
    """Divide tasks, oldest first, between training and gate, as `interactions.split` does: a question stays on the side
    where it was first debated, and of equal questions with equal answers the oldest counts."""
    sides: dict[str, bool] = {}
    unique: dict[tuple[str, str | None], DebateTask] = {}
    for one in tasks:
        question = plain(one.task.question)
        if sides.setdefault(question, one.for_gate) == one.for_gate:
            unique.setdefault((question, one.task.reference), one)
    content = [
        [[(said.role, said.content) for said in one.task.messages], one.task.reference, one.credit]
        for one in unique.values()
    ]
    return DebateTasks(
        train=tuple(one for one in unique.values() if not one.for_gate),
        gate=tuple(one for one in unique.values() if one.for_gate),
        digest=hashlib.sha256(json.dumps(content).encode()).hexdigest(),
        forgotten=forgotten,
        borrowed=borrowed,
    )


def credit(debate: Finished, member: str, verified: Iterable[str], refuted: Iterable[str]) -> float:
    """(right + corrected - misled) / 2, after the incentives of MAPoRL; `verified`, `refuted`: what it said of answers.

    right: 1, -1 for a wrong answer, 0 for none, of what it held in the end. corrected: 1 when it was right where what
    most gave at first was wrong, or when it verified the right answer and another member came over to that. misled: 1
    when another member left the right answer for one that it had given or verified, or after it had refuted the right
    one. Only changes that the society let count are changes.
    """
    verified, refuted = set(verified), set(refuted)
    held, own, right = debate.held(member), debate.blind.get(member), debate.right
    moves = [(debate.blind.get(one), debate.held(one)) for one in debate.again if one != member]
    lone = held == right and right not in debate.modes()
    turned = right in verified and any(before != right == after for before, after in moves)
    misled = any(
        before == right != after and (after in verified or after == own or right in refuted) for before, after in moves
    )
    was_right = 0 if held is None else 1 if held == right else -1
    return (was_right + (lone or turned) - misled) / 2


@dataclass(frozen=True, slots=True)
class _Part:
    """The agent's part in one debate."""

    question: str
    outcome: str
    audience: str
    shown: tuple[str, ...]
    """Its owner's memories in the blind round, the best first."""
    behind: frozenset[str]
    """Those of all rounds."""
    verified: frozenset[str]
    refuted: frozenset[str]
    """Keys of the answers that it found right, and wrong."""
    remembering: frozenset[str]
    """The others that had memories of their owners' in view."""

    def is_kept(self, memories: Mapping[str, Memory]) -> bool:
        """Whether every memory behind it is remembered still, and shared with that society by its own scope."""
        return all(
            one in memories
            and memories[one].scope in (PUBLIC, self.audience)
            and (memories[one].named or memories[one].sensitive == [])
            for one in self.behind
        )

    def task(self, owner: str, memories: Mapping[str, Memory]) -> Task:
        lines = [prompts.MemoryLine(memories[one].speaker, memories[one].text) for one in self.shown]
        messages = prompts.system(owner, lines), prompts.propose(self.question)
        item = Item(DEBATES.name, 1, self.question, self.outcome, "")
        return Task(messages, self.question, item, self.outcome)


def _debated(agent_id: str) -> ColumnElement[bool]:
    """Closed questions with a right answer to compare with, on which the agent was heard in a society where it sits."""
    heard = select(Position.debate_id).where(Position.agent_id == agent_id, Position.status != "absent")
    sits = select(Member.society_id).where(Member.agent_id == agent_id, Member.state == "accepted")
    known = ResolvedQuestion.right != ""
    return and_(Debate.kind == CLOSED, known, Debate.id.in_(heard), Debate.society_id.in_(sits))


def _parts(session: Session, agent_id: str, debate_ids: Sequence[str]) -> dict[str, _Part]:
    in_view = _in_view(session, debate_ids)
    shown = _shown(session, agent_id, debate_ids)
    checked = _checked(session, agent_id, debate_ids)
    return {
        debate_id: _Part(
            question=question,
            outcome=outcome,
            audience=society_scope(slug),
            shown=shown.get(debate_id, ()),
            behind=frozenset(in_view[debate_id][agent_id]),
            verified=frozenset(checked[debate_id, "verified"]),
            refuted=frozenset(checked[debate_id, "refuted"]),
            remembering=frozenset(one for one, ids in in_view[debate_id].items() if ids and one != agent_id),
        )
        for debate_id, question, outcome, slug in _asked(session, debate_ids)
    }


def _in_view(session: Session, debate_ids: Sequence[str]) -> Mapping[str, dict[str, set[str]]]:
    """Debate → member → ids of the memories that it was shown, in whatever round."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in (Position, Review):
        query = select(record.debate_id, record.agent_id, record.memory_ids).where(record.debate_id.in_(debate_ids))
        for debate_id, member, memory_ids in session.execute(query):
            found[debate_id][member].update(memory_ids)
    return found


def _shown(session: Session, agent_id: str, debate_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    mine = Position.agent_id == agent_id, Position.round == BLIND, Position.debate_id.in_(debate_ids)
    rows = session.execute(select(Position.debate_id, Position.memory_ids).where(*mine))
    return {debate_id: tuple(memory_ids) for debate_id, memory_ids in rows}


def _checked(session: Session, agent_id: str, debate_ids: Sequence[str]) -> Mapping[tuple[str, str], set[str]]:
    """(Debate, verdict) → the answers of which the agent said so."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    query = select(Review.debate_id, Review.verdict, Hypothesis.key).join(
        Hypothesis, Hypothesis.id == Review.hypothesis_id
    )
    mine = Review.agent_id == agent_id, Review.debate_id.in_(debate_ids)
    for debate_id, verdict, key in session.execute(query.where(*mine)):
        found[debate_id, verdict].add(key)
    return found


def _asked(session: Session, debate_ids: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Id, question, the right answer as its asker put it, or else as code calculated it, and the society's slug."""
    known = and_(ResolvedQuestion.society_id == Debate.society_id, ResolvedQuestion.source == Debate.id)
    query = select(Debate.id, Debate.question, Debate.outcome, ResolvedQuestion.right, Society.slug)
    query = query.join(Society, Society.id == Debate.society_id).join(ResolvedQuestion, known)
    rows = session.execute(query.where(Debate.id.in_(debate_ids)))
    return [(row.id, row.question, row.outcome or row.right or "", row.slug) for row in rows]


def _memories(session: Session, user_id: str, parts: Iterable[_Part]) -> dict[str, Memory]:
    """The owner's memories behind these that are still remembered."""
    wanted = {memory_id for part in parts for memory_id in part.behind}
    query = select(Memory).where(Memory.user_id == user_id, Memory.deleted_at.is_(None), Memory.id.in_(wanted))
    return {row.id: row for row in session.scalars(query)}


def _is_borrowed(debate: Finished, agent_id: str, part: _Part) -> bool:
    """Whether the right answer may be something that another member remembers."""
    if not part.remembering or debate.blind.get(agent_id) == debate.right or calculated(part.question) is not None:
        return False
    return not any(key == debate.right and one not in part.remembering for one, key in debate.blind.items())
