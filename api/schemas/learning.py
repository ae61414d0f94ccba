"""Improvement jobs, their runs, and the adapters that came of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from api.schemas.base import In, JobOut, Out
from personal_data.records import Job, TrainingRun

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


class ImprovementOut(JobOut):
    runs: list[RunOut] = Field(default_factory=list)

    @classmethod
    def of(cls, job: Job, runs: list[TrainingRun]) -> ImprovementOut:
        fields = {name: getattr(job, name) for name in cls.model_fields if name != "runs"}
        return cls(**fields, runs=[RunOut.model_validate(run) for run in runs])


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
