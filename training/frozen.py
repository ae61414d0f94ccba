"""What an improvement starts from, read from the records once: the agent, its live adapter, its owner's data.

Door: `freeze`; `settings_of` and `recipe_of` say what a stage is recorded with. Nothing is trained here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from personal_data.errors import InvalidInput, NotFound
from personal_data.records import AdapterVersion, Agent
from personal_data.settings import Settings
from training import journal, prolonged
from training.ledger import Lease
from training.plan import EnvironmentPlan, Plan
from training.preference import PreferenceRecipe
from training.prolonged import Course
from training.supervised import TextsRecipe
from training.tasks.interactions import Preferences, read_preferences
from training.tasks.texts import Texts, read_texts


@dataclass(frozen=True)
class Frozen:
    """What the job starts from."""

    agent_id: str
    model: str
    base: str
    live: AdapterVersion | None
    next_number: int
    preferences: Preferences
    texts: Texts
    known: dict[str, str]
    """Stages whose data need not be learned again, and why."""
    course: Course | None
    """How prolonged learning goes on; None: practice is not prolonged."""
    anchor: AdapterVersion | None
    """The version that it is held to, where that is neither the base nor the live one."""

    def digest(self, plan: Plan, stage: str) -> str:
        """SHA-256 of what a stage learns from; the items of an environment follow from its recipe."""
        if stage == "environment":
            recipe = recipe_of(plan, stage, self.model)
            return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        return self.texts.digest if stage == "texts" else self.preferences.digest

    def made_from(self, plan: Plan, stage: str) -> dict[str, list[str]]:
        """What a stage learns from, by id; practice does where accepted answers are replayed or what is rewarded."""
        if stage == "texts":
            return self.texts.made_from
        practice = plan.environment
        if stage == "preferences" or practice.recipe.ptx or practice.reward == "human_feedback":
            return self.preferences.made_from
        return {}


def freeze(settings: Settings, session: Session, lease: Lease, plan: Plan) -> Frozen:
    """Read what the job's agent and its owner have now.

    Raises:
        InvalidInput: the agent's model cannot be trained.
        NotFound: the agent is gone.
    """
    agent = session.get(Agent, lease.subject_id)
    if agent is None or agent.user_id != lease.user_id:
        raise NotFound(f"no agent {lease.subject_id}")
    model = settings.models.get(agent.model)
    if model is None or not model.trainable or model.base is None:
        raise InvalidInput(f"model {agent.model!r} cannot be trained: it is not configured here with a `base`")
    live = session.get(AdapterVersion, agent.live_version_id) if agent.live_version_id else None
    highest = session.scalar(sa.select(sa.func.max(AdapterVersion.number)).filter_by(agent_id=agent.id))
    preferences = read_preferences(session, agent.user_id, unpaired=plan.preferences.loss == "kto")
    texts = read_texts(session, agent.user_id) if "texts" in plan.stages else Texts()
    course = _course(session, agent, plan, live)
    held_to = None if course is None or live is None or course.reference == live.id else course.reference
    return Frozen(
        agent_id=agent.id,
        model=agent.model,
        base=model.base,
        live=live,
        next_number=(highest or 0) + 1,
        preferences=preferences,
        texts=texts,
        known=_known(session, agent, plan, live, {"texts": texts.digest, "preferences": preferences.digest}),
        course=course,
        anchor=session.get(AdapterVersion, held_to) if held_to else None,
    )


def _course(session: Session, agent: Agent, plan: Plan, live: AdapterVersion | None) -> Course | None:
    if "environment" not in plan.stages or not plan.environment.recipe.prolonged:
        return None
    cycles = prolonged.earlier_cycles(session, agent.id, agent.model)
    task = prolonged.task_of(recipe_of(plan, "environment", agent.model))
    return prolonged.course(cycles, task, built_on=[one.id for one in journal.lineage(session, live)])


def _known(
    session: Session, agent: Agent, plan: Plan, live: AdapterVersion | None, digests: dict[str, str]
) -> dict[str, str]:
    """The stages whose data was learned, or tried in vain, before."""
    told = {
        stage: journal.tried_before(
            session,
            agent_id=agent.id,
            stage=stage,
            data_sha256=digest,
            recipe=recipe_of(plan, stage, agent.model),
            live=live,
        )
        for stage, digest in digests.items()
        if stage in plan.stages
    }
    return {stage: why for stage, why in told.items() if why is not None}


def settings_of(plan: Plan, stage: str) -> TextsRecipe | PreferenceRecipe | EnvironmentPlan:
    """What the plan says of a stage."""
    if stage == "texts":
        return plan.texts
    return plan.preferences if stage == "preferences" else plan.environment


def recipe_of(plan: Plan, stage: str, model: str) -> dict[str, Any]:
    """The settings of a stage as they are recorded."""
    return dataclasses.asdict(settings_of(plan, stage)) | {"seed": plan.seed, "model": model}
