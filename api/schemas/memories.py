"""What is remembered, imported, shared and erased."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.openai_schemas import Text
from api.schemas.base import In, JobOut, LongText, Out, Scope
from personal_data.importing import totals
from personal_data.records import Import, Job


class MemoryIn(In):
    text: LongText
    speaker: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    """Who said it; the owner when left out."""
    kind: Literal["fact", "turn", "document", "preference"] = "fact"
    scope: Scope | None = None
    """Left out: private, or what it is already where the text is known."""
    event_at: float | None = None


class MemoriesIn(In):
    memories: Annotated[list[MemoryIn], Field(min_length=1, max_length=500)]


class ScopeIn(In):
    scope: Scope


class MemoryOut(Out):
    id: str
    text: str
    speaker: str
    kind: str
    scope: str
    sources: list[str]
    event_at: float | None
    confidence: float | None
    """How sure the model was that drew it from the turns in `sources`; null where somebody said it themselves."""
    valid_from: float | None
    valid_to: float | None
    """From when on it is not true any more."""
    superseded_by: str | None
    created_at: float


class CorrectionIn(In):
    text: LongText


class VersionOut(Out):
    number: int
    text: str
    replaced_at: float


class HitOut(Out):
    id: str
    text: str
    speaker: str
    kind: str
    scope: str
    score: float
    why: dict[str, int]
    """Its place, 1 the best, by each way that found it: words, meaning, nearby, time, speaker."""
    sources: list[str]


class GrantIn(In):
    """`about`: words, or phrases all of whose words must be there; left out, `kinds` are granted within the scopes."""

    audience: Scope
    about: Annotated[list[Annotated[Text, Field(min_length=1, max_length=100)]], Field(max_length=50)] = Field(
        default_factory=list
    )
    kinds: Annotated[list[Annotated[Text, Field(max_length=20)]], Field(max_length=10)] = Field(default_factory=list)
    until: Annotated[float, Field(gt=0)] | None = None
    """Seconds since the epoch; left out: until it is withdrawn."""


class GrantOut(Out):
    id: str
    audience: str
    about: list[str]
    kinds: list[str]
    until: float | None
    withdrawn_at: float | None
    created_at: float


class ShownOut(BaseModel):
    """`count` memories would be seen, `memories` is a page of them; `hidden` says why how many others are not."""

    count: int
    memories: list[MemoryOut]
    hidden: dict[str, int]
    recalled: list[HitOut]


class FindingsOut(Out):
    healthy: bool
    memories: int
    waiting: int
    astray: int
    probes: int
    lost: int
    broken: str | None


class QueuedOut(BaseModel):
    queued: int


class StoredOut(BaseModel):
    """Memories, in the order of what was sent, with the scope that each has now."""

    ids: list[str]
    scopes: list[str]


TimezoneName = Annotated[str | None, Field(max_length=64)]
DateOrder = Literal["dmy", "mdy", "ymd"] | None


class ChoiceIn(In):
    """How an upload is to be imported."""

    me: Annotated[list[Annotated[Text, Field(max_length=200)]], Field(max_length=50)] = Field(default_factory=list)
    """The speakers who are the caller; everybody else is context."""
    scope: Scope | None = None
    """Left out: private, or what it is already where a text is known."""
    timezone: TimezoneName = None
    date_order: DateOrder = None


class ImportOut(BaseModel):
    """`totals` sums up all parts; `parts` are the first so many of them."""

    id: str
    name: str
    state: str
    """looking, ready (waits for `run`), running, done, failed or undone."""
    error: str | None
    choice: dict[str, Any]
    progress: dict[str, Any] | None
    totals: dict[str, Any]
    parts: list[dict[str, Any]]
    created_at: float
    finished_at: float | None

    @classmethod
    def of(cls, begun: Import, job: Job | None, *, parts: int = 0) -> ImportOut:
        """As the rows say; work whose job has given up has failed, though it could not say so itself."""
        gave_up = job is not None and job.state in ("failed", "dead") and begun.state in ("looking", "running")
        busy = job is not None and job.state in ("queued", "leased") and begun.state in ("looking", "running")
        return cls(
            id=begun.id,
            name=begun.name,
            state="failed" if gave_up else begun.state,
            error=job.error if job is not None and gave_up else begun.error,
            choice=begun.choice,
            progress=dict(job.progress) if job is not None and busy else None,
            totals=totals(begun.units),
            parts=begun.units[:parts],
            created_at=begun.created_at,
            finished_at=begun.finished_at,
        )


class UndoneOut(BaseModel):
    id: str
    forgotten: int


class EraseIn(In):
    """One of the three. A source is an import, a conversation, or what `sources` of memories begin with; everything
    must be confirmed with one's own handle."""

    memory: Annotated[str, Field(max_length=40)] | None = None
    source: Annotated[Text, Field(min_length=1, max_length=500)] | None = None
    everything: bool = False
    confirm: Annotated[str, Field(max_length=64)] | None = None


class ErasureOut(Out):
    """The receipt: how many of each kind were removed, which files still hold something of it, and what was out of
    reach, with the reasons."""

    id: str
    what: dict[str, Any]
    state: str
    stage: str
    removed: dict[str, int]
    residue: dict[str, int]
    could_not: list[str]
    created_at: float
    finished_at: float | None


class RestoredOut(BaseModel):
    """How many rows of each kind are new, and what was left out: reason → how many."""

    added: dict[str, int]
    left_out: dict[str, int]


class ReflectionOut(JobOut):
    """`result`: the model, whether it is able, how many tasks of its trial it passed; and where it is, how many turns
    were looked in, the ids of facts that were added, confirmed and ended, and why how many others were kept out."""


class PreferenceOut(Out):
    id: str
    text: str


class ProfileOut(Out):
    instructions: list[str]
    preferences: list[PreferenceOut]
    left_out: list[PreferenceOut]
    """Preferences that the budget leaves to recall."""
    tokens: int
    budget: int
