"""Questions about what an owner said, to be answered without the text at hand: knowledge in the adapter.

Doors: `read_own_texts` (what may be asked about, read once), `memory_tasks` (the questions, filtered and split), and
`MEMORIES`, which marks answers. Asked about are the owner's own words that still hold: never what others said, what was
forgotten, what a model drew from them, or what is sensitive, for what an adapter has learnt by heart no scope keeps
back. A challenger (`challenger.py`) is shown one text and writes a question; the solver is asked the bare question.

The split is by conversation, as for preferences, and stable: what the gate asks is never trained on, nor is what comes
to the same. Only training is filtered by difficulty. A gate of questions that the incumbent happens to get right half
the time would flatter whoever comes after it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import sqlalchemy as sa
from sqlalchemy.orm import Session

from agents import prompts
from agents.backend import PolicyBackend
from agents.messages import SamplingParams
from personal_data.facts import PREFERENCE
from personal_data.outbox import live
from personal_data.records import Memory, User
from personal_data.secrets import hold_back
from personal_data.sensitive import kinds_of_memory
from training.rollouts import Task, answer_of
from training.tasks.challenger import NO_QUESTION, Challenge, Reader, Trial, alike, choose_challenger, fault
from training.tasks.environments import Checker, Exact, Item
from training.tasks.interactions import is_for_gate

FEWEST = 20
"""So many questions training needs, and so many the gate."""
LEARNABLE = (0.2, 0.8)
"""The pass rates that are kept for training (R-Zero, PRIME): within, right and wrong answers of one group differ."""
_TOO_HARD, _TOO_EASY = "too hard", "known already"
_LONGEST_TEXT = 1_000
"""Characters. A longer text is not about one thing, and small models have no room for it."""


@dataclass(frozen=True, slots=True)
class OwnText:
    """A memory that may be asked about."""

    id: str
    text: str
    conversation: str
    """What it was said in; a text that stands alone is a conversation of its own."""


@dataclass(frozen=True, slots=True)
class OwnTexts:
    """An owner's texts, oldest first, and why how many others are not among them."""

    owner: str = ""
    texts: tuple[OwnText, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of their content; which questions follow from it depends on the model as well."""
        content = [self.owner, *([one.conversation, one.text] for one in self.texts)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_own_texts(
    session: Session, user_id: str, *, latest: int = 400, longest: int | None = _LONGEST_TEXT
) -> OwnTexts:
    """What the owner said of late and may be asked about. What others said is not even counted.

    Args:
        longest: characters of a text; None: any number.

    Raises:
        NoResultFound: no such user.
    """
    said = Memory.own, Memory.kind != PREFERENCE, Memory.confidence.is_(None)
    newest = sa.select(Memory).where(*live(user_id), *said).order_by(Memory.id.desc()).limit(latest)
    texts: list[OwnText] = []
    left_out: Counter[str] = Counter()
    for row in reversed(session.scalars(newest).all()):
        if (reason := _kept_out(row, longest)) is not None:
            left_out[reason] += 1
        else:
            texts.append(OwnText(row.id, row.text, row.thread or row.content_sha256))
    return OwnTexts(session.get_one(User, user_id).name, tuple(texts), left_out)


def _kept_out(row: Memory, longest: int | None) -> str | None:
    """Why a memory may not be asked about. Words decide again, for the list of them may have grown since."""
    if row.valid_to is not None:
        return "not true any more"
    if row.sensitive or kinds_of_memory(row.text, kind=row.kind, own=row.own):
        return "sensitive"
    if hold_back(row.text)[1]:
        return "secret"
    return None if longest is None or len(row.text) <= longest else "text too long"


@dataclass(frozen=True, slots=True)
class MemoryTasks:
    """Questions about an owner's texts.

    `rejected` counts texts and questions that were left out, by reason; `missing` says in plain words what was lacking
    and what was done instead, and is empty where nothing was.
    """

    train: tuple[Task, ...]
    rates: tuple[float, ...]
    """How often each of `train` is answered rightly as things are."""
    gate: tuple[Task, ...]
    rejected: Mapping[str, int]
    trial: Trial | None
    """How the model did as a challenger; None where there was nothing to ask about."""
    missing: tuple[str, ...]
    memory_ids: tuple[str, ...]
    """The memories that the questions are about: what is erased later can be traced to them."""

    @property
    def enough(self) -> bool:
        """Whether there are enough of both to train on and to judge it by."""
        return min(len(self.train), len(self.gate)) >= FEWEST


MEMORIES: Checker = Exact("memories")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, whose it is, and what it is about."""

    owner: str
    of: OwnText
    challenge: Challenge

    @property
    def item(self) -> Item:
        return Item(MEMORIES.name, 1, self.challenge.question, self.challenge.answer, "")

    @property
    def task(self) -> Task:
        """Whose agent is asked, and the bare question: nothing that tells the answer."""
        messages = (prompts.system(self.owner), prompts.at_once(self.item.question))
        return Task(messages, self.item.question, self.item, self.item.answer)


def memory_tasks(
    own: OwnTexts,
    policy: PolicyBackend,
    params: SamplingParams,
    *,
    frozen: int,
    solver: int,
    samples: int = 8,
) -> MemoryTasks:
    """Let a challenger ask about the texts, and keep what is fair, and for training what can be learnt from.

    Args:
        params: how training will sample answers; pass rates are measured so.
        frozen: the slot of the challenger, which also says whether a question can be answered from its text.
        solver: the slot whose pass rate decides, over `samples` answers.

    Too few texts, or a model that cannot ask, is a result and no error.

    Raises:
        FolkmootError: the policy broke (see `PolicyBackend`).
    """
    if not own.texts:
        return _closed(own, {}, (), Counter(own.left_out), None)
    challenger, trial = choose_challenger(policy, slot=frozen)
    rejected = Counter(own.left_out)
    written = challenger.write(own.owner, [one.text for one in own.texts])
    asked = _in_view(_different(_fair(own, written, rejected), rejected), Reader(policy, frozen), rejected)
    gate = [one for one in asked if is_for_gate(one.of.conversation)]
    practised = [one for one in asked if not is_for_gate(one.of.conversation)]
    train = _learnable(practised, policy, params, solver, samples, rejected)
    return _closed(own, train, gate, rejected, trial)


def _fair(own: OwnTexts, written: Sequence[Challenge | None], rejected: Counter[str]) -> list[_Asked]:
    found: list[_Asked] = []
    for of, challenge in zip(own.texts, written, strict=True):
        if (reason := fault(of.text, challenge)) is not None:
            rejected[reason] += 1
        elif challenge is not None:
            found.append(_Asked(own.owner, of, challenge))
    return found


def _different(asked: Sequence[_Asked], rejected: Counter[str]) -> list[_Asked]:
    """The first of those that come to one; none where the owner gave two answers, of which one is out of date."""
    kept: list[_Asked] = []
    ambiguous: set[str] = set()
    for one in asked:
        twin = next((old for old in kept if alike(old.challenge, one.challenge)), None)
        if twin is None:
            kept.append(one)
        elif MEMORIES.is_right(twin.item, one.challenge.answer):
            rejected["asked already"] += 1
        else:
            ambiguous.add(twin.of.id)
            rejected["answered in two ways"] += 1
    rejected["answered in two ways"] += len(ambiguous)
    return [one for one in kept if one.of.id not in ambiguous]


def _in_view(asked: Sequence[_Asked], reader: Reader, rejected: Counter[str]) -> list[_Asked]:
    """Those that can be answered from their text."""
    found = reader.finds([(one.owner, one.of.text, one.challenge) for one in asked])
    rejected["not answered with the text in view"] += found.count(False)
    return [one for one, known in zip(asked, found, strict=True) if known]


def _learnable(
    asked: Sequence[_Asked],
    policy: PolicyBackend,
    params: SamplingParams,
    slot: int,
    samples: int,
    rejected: Counter[str],
) -> dict[_Asked, float]:
    """Those that are answered rightly at times, and how often."""
    answered = policy.sample([one.task.messages for one in asked], samples, params, slot=slot) if asked else []
    low, high = LEARNABLE
    found: dict[_Asked, float] = {}
    for one, completions in zip(asked, answered, strict=True):
        rate = fmean(MEMORIES.is_right(one.item, answer_of(said)) is True for said in completions)
        if low <= rate <= high:
            found[one] = rate
        else:
            rejected[_TOO_HARD if rate < low else _TOO_EASY] += 1
    return found


def _closed(
    own: OwnTexts, train: Mapping[_Asked, float], gate: Sequence[_Asked], rejected: Counter[str], trial: Trial | None
) -> MemoryTasks:
    return MemoryTasks(
        train=tuple(one.task for one in train),
        rates=tuple(train.values()),
        gate=tuple(one.task for one in gate),
        rejected=dict(+rejected),
        trial=trial,
        missing=tuple(_missing(own, len(train), len(gate), rejected, trial)),
        memory_ids=tuple(sorted(one.of.id for one in (*train, *gate))),
    )


def _missing(own: OwnTexts, train: int, gate: int, rejected: Counter[str], trial: Trial | None) -> Iterator[str]:
    if trial is None:
        yield f"there is nothing of {own.owner}'s own to ask about"
        return
    if not trial.able:
        yield (
            f"the model asked fairly about {trial.passed} of {trial.of} texts in its trial: questions were made of "
            f"known relations instead, which {len(own.texts) - rejected[NO_QUESTION]} of {len(own.texts)} texts tell"
        )
    if min(train, gate) < FEWEST:
        yield f"{train} questions to train on and {gate} for the gate; {FEWEST} of each are needed"
    if train < FEWEST and rejected[_TOO_HARD]:
        yield (
            f"questions that are hardly ever answered: {rejected[_TOO_HARD]}; what is not known at all cannot be "
            "practised, so train on the texts themselves first"
        )
