"""What the native routes take and give. Times are seconds since the epoch; ids are ours and opaque."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, JsonValue

from api.openai_schemas import Text
from personal_data.importing import totals
from personal_data.records import Import, Job, TrainingRun
from society.health import Drift, Health

Handle = Annotated[str, Field(min_length=1, max_length=63)]
Scope = Annotated[str, Field(max_length=80)]
LongText = Annotated[Text, Field(min_length=1, max_length=32_000)]


class In(BaseModel, extra="forbid", allow_inf_nan=False):
    """A request body: an unknown field is an error, not a shrug; no number in it is infinite."""


class Out(BaseModel, from_attributes=True):
    """An answer, read from a record."""


class Done(BaseModel):
    """It is done and there is nothing to add."""

    ok: Literal[True] = True


class UserIn(In):
    handle: Handle
    name: Annotated[Text, Field(min_length=1, max_length=200)]
    model: Annotated[str, Field(max_length=64)] | None = None


class UserOut(Out):
    id: str
    handle: str
    name: str
    admin: bool


class NewUserOut(BaseModel):
    """`key` is shown here and never again."""

    user: UserOut
    key: str


class KeyIn(In):
    label: Annotated[Text, Field(max_length=200)] = ""


class KeyOut(Out):
    id: str
    label: str
    created_at: float
    revoked_at: float | None


class NewKeyOut(KeyOut):
    """`key` is shown here and never again."""

    key: str


Instruction = Annotated[Text, Field(min_length=1, max_length=500)]


class AgentIn(In):
    instructions: Annotated[list[Instruction], Field(max_length=20)] | None = None
    model: Annotated[str, Field(max_length=64)] | None = None


class AgentOut(Out):
    id: str
    handle: str
    model: str
    live_version_id: str | None
    instructions: list[str]
    improve_every_s: float | None


class ModelOut(Out):
    name: str
    kind: str
    base: str | None
    lineage: str
    abilities: dict[str, Any] | None
    """What was tried with it, such as `reflect`: {passed, of, able, ...}; what is missing was not tried yet."""


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
    about: Annotated[list[Annotated[Text, Field(min_length=1, max_length=100)]], Field(max_length=50)] = []
    kinds: Annotated[list[Annotated[Text, Field(max_length=20)]], Field(max_length=10)] = []
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

    me: Annotated[list[Annotated[Text, Field(max_length=200)]], Field(max_length=50)] = []
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


class FeedbackIn(In):
    """What the owner preferred: to a stored answer (`message_id`) or to a `prompt` of their own. `rejected` alone says
    that an answer was not good; `chosen` alone that it was, or, of a stored answer, what it should have been."""

    message_id: Annotated[str, Field(max_length=40)] | None = None
    prompt: LongText | None = None
    chosen: LongText | None = None
    rejected: LongText | None = None


class FeedbackOut(Out):
    id: str
    message_id: str | None
    prompt: list[dict[str, str]]
    chosen: str | None
    rejected: str | None


class ConversationOut(Out):
    id: str
    created_at: float


class MessageOut(Out):
    id: str
    seq: int
    role: str
    content: str
    memory_ids: list[str]
    adapter_version_id: str | None
    finish_reason: str | None
    created_at: float


class DisclosureOut(Out):
    memory_id: str
    debate_id: str
    audience: str
    created_at: float


class SocietyIn(In):
    slug: Handle
    name: Annotated[Text, Field(max_length=200)] = ""


class InviteIn(In):
    handle: Handle


class MemberOut(BaseModel):
    handle: str
    state: str
    role: str
    shares_memories: bool


class RoleIn(In):
    role: Literal["member", "observer"]


class SeatIn(In):
    shares_memories: bool


class SocietyOut(BaseModel):
    """`state` is the caller's own seat: invited or accepted."""

    slug: str
    name: str
    owner: bool
    state: str | None
    members: list[MemberOut]
    plan: dict[str, Any]
    """How it debates where a question does not say."""


class PlanIn(In):
    """How a debate goes; what is left out is as the society has it, or else as by default."""

    panel_size: Annotated[int, Field(ge=1, le=64)] | None = None
    """Seats, for those that the society trusts most and one by lot."""
    samples: Annotated[int, Field(ge=1, le=16)] | None = None
    """So many times each member thinks."""
    rounds: Annotated[int, Field(ge=0, le=2)] | None = None
    """Of talk after the blind one: contested hypotheses are cross-examined (1) and solved again (2)."""
    sure: Annotated[float, Field(gt=0.5, le=1)] | None = None
    """A hypothesis this probable ends the debate."""
    max_calls: Annotated[int, Field(ge=1, le=4096)] | None = None
    thrifty: bool | None = None
    """Ask the most trusted first, and the others only where they may change the answer."""


Topic = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class DebateIn(In):
    society: Handle
    question: LongText
    kind: Literal["closed", "open", "opinion"] = "closed"
    """Whether answers can be compared, are texts of which some are better, or opinions of which none is right."""
    topic: Topic = "general"
    """What trust is learnt apart for."""
    plan: PlanIn | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class ResolvedIn(In):
    """A question whose right answer is known, with what members answered, by handle; null abstained."""

    question: LongText
    right: LongText
    topic: Topic = "general"
    answers: Annotated[dict[Handle, LongText | None], Field(min_length=1, max_length=256)]


class ResolvedQuestionsIn(In):
    questions: Annotated[list[ResolvedIn], Field(min_length=1, max_length=5000)]


class TrustOut(Out):
    """What a society knows of a member: how probable it is that it is right when it answers, over all and by topic."""

    handle: str
    right: float | None
    topics: dict[str, float]


class LearnedOut(Out):
    """The rule that decides in a society, why, and whom it trusts."""

    rule: str
    resolved: int
    measured: dict[str, float]
    members: list[TrustOut]


class HealthOut(BaseModel):
    """How a society is doing, by its finished debates, and what new adapters changed in its members."""

    health: Health
    drift: list[Drift]


class DebateLine(Out):
    """A debate in a list."""

    id: str
    question: str
    state: str
    created_at: float
    finished_at: float | None


class DebateOut(DebateLine):
    """A debate as its asker reads it; `verdict` is None until it is done, `text` is the report in plain lines."""

    error: str | None
    outcome: str | None
    seed: int
    kind: str
    topic: str
    plan: dict[str, Any]
    panel: list[str]
    positions: list[dict[str, Any]]
    reviews: list[dict[str, Any]]
    hypotheses: list[dict[str, Any]]
    verdict: dict[str, Any] | None
    text: str


class OutcomeIn(In):
    """What turned out to be right."""

    answer: LongText


Stage = Literal["texts", "preferences", "memories", "debates", "environment"]


class ImproveIn(In):
    """What an improvement should do; everything left out is the default recipe's business."""

    stages: Annotated[list[Stage], Field(min_length=1, max_length=5)] | None = None
    texts: dict[str, JsonValue] | None = None
    preferences: dict[str, JsonValue] | None = None
    memories: dict[str, JsonValue] | None = None
    debates: dict[str, JsonValue] | None = None
    environment: dict[str, JsonValue] | None = None
    evaluation: dict[str, JsonValue] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class RunOut(Out):
    id: str
    stage: str
    decision: str | None
    reasons: list[str]
    gate: dict[str, Any] | None
    steps: list[dict[str, Any]]
    finished_at: float | None


class ImprovementOut(BaseModel):
    id: str
    state: str
    progress: dict[str, Any]
    attempts: int
    cancel_requested: bool
    result: dict[str, Any] | None
    error: str | None
    created_at: float
    finished_at: float | None
    runs: list[RunOut] = []

    @classmethod
    def of(cls, job: Job, runs: list[TrainingRun]) -> ImprovementOut:
        fields = {name: getattr(job, name) for name in cls.model_fields if name != "runs"}
        return cls(**fields, runs=[RunOut.model_validate(run) for run in runs])


class ReflectionOut(Out):
    """`result`: the model, whether it is able, how many tasks of its trial it passed; and where it is, how many turns
    were looked in, the ids of facts that were added, confirmed and ended, and why how many others were kept out."""

    id: str
    state: str
    progress: dict[str, Any]
    attempts: int
    cancel_requested: bool
    result: dict[str, Any] | None
    error: str | None
    created_at: float
    finished_at: float | None


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


class CountOut(Out):
    count: int


class ScheduleIn(In):
    """How often the agent improves itself; None switches the schedule off."""

    every_hours: Annotated[float, Field(ge=0.001, le=24 * 366)] | None


class AdapterOut(Out):
    id: str
    number: int
    live: bool
    evaluation: dict[str, Any]
    sha256: str
    created_at: float


class RollbackIn(In):
    """`number` 0 is the bare base model; left out, the parent of the live version."""

    number: Annotated[int, Field(ge=0)] | None = None
