"""What an improvement starts from, read from the records once: the agent, its live adapter, its owner's data.

Door: `freeze`; `settings_of` and `recipe_of` say what a stage is recorded with. Nothing is trained here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from personal_data.errors import InvalidInput, NotFound
from personal_data.records import AdapterVersion, Agent
from personal_data.settings import Settings
from training import journal, prolonged
from training.grpo import GrpoRecipe
from training.ledger import Lease
from training.plan import OF_FAMILIES, EnvironmentPlan, Plan
from training.preference import PreferenceRecipe
from training.prolonged import Course
from training.signs import TRUTH
from training.supervised import TextsRecipe
from training.tasks.debates import DebateTasks, debate_tasks
from training.tasks.interactions import Preferences, read_preferences
from training.tasks.memories import OwnTexts, read_own_texts
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
    own: OwnTexts
    """What may be asked about."""
    debates: DebateTasks
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
        return self.data[stage].digest

    @property
    def data(self) -> dict[str, Texts | Preferences | OwnTexts | DebateTasks]:
        """What each stage learns from that learns from what is its owner's."""
        return {
            "texts": self.texts,
            "preferences": self.preferences,
            "memories": self.own,
            "debates": self.debates,
        }

    def made_from(self, plan: Plan, stage: str, asked_about: Sequence[str] | None = None) -> dict[str, list[str]]:
        """What a stage learns from, by id; practice does where accepted answers are replayed or what is rewarded.

        Args:
            asked_about: the memories that questions were made of, once that is known; before, any may be.
        """
        if stage == "texts":
            return self.texts.made_from
        found = self.preferences.made_from if _minds_preferences(plan, stage) else {}
        if stage == "memories":
            asked = [one.id for one in self.own.texts] if asked_about is None else asked_about
            return found | {"memories": sorted({*found.get("memories", ()), *asked})}
        if stage == "debates":
            debated = self.debates.made_from
            return found | debated | {"memories": sorted({*found.get("memories", ()), *debated["memories"]})}
        return found


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
    own = read_own_texts(session, agent.user_id) if "memories" in plan.stages else OwnTexts()
    debates = debate_tasks(session, agent.user_id) if "debates" in plan.stages else DebateTasks()
    digests = {"texts": texts.digest, "preferences": preferences.digest, "memories": own.digest}
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
        own=own,
        debates=debates,
        known=_known(session, agent, plan, live, digests | {"debates": debates.digest}),
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


def _minds_preferences(plan: Plan, stage: str) -> bool:
    if stage == "environment" and plan.environment.reward == "human_feedback":
        return True
    recipe = practice_of(plan, stage)
    return not isinstance(recipe, GrpoRecipe) or recipe.ptx > 0


def settings_of(plan: Plan, stage: str) -> TextsRecipe | PreferenceRecipe | GrpoRecipe | EnvironmentPlan:
    """What the plan says of a stage."""
    found: dict[str, TextsRecipe | PreferenceRecipe | GrpoRecipe | EnvironmentPlan] = {
        "texts": plan.texts,
        "preferences": plan.preferences,
        "memories": plan.memories,
        "debates": plan.debates,
        "environment": plan.environment,
    }
    return found[stage]


def practice_of(plan: Plan, stage: str) -> TextsRecipe | PreferenceRecipe | GrpoRecipe:
    """How a stage trains, whatever it trains on."""
    found = settings_of(plan, stage)
    return found.recipe if isinstance(found, EnvironmentPlan) else found


def recipe_of(plan: Plan, stage: str, model: str) -> dict[str, Any]:
    """The settings of a stage as they are recorded."""
    found = settings_of(plan, stage)
    told = dataclasses.asdict(found)
    if isinstance(found, GrpoRecipe):
        told = {name: value for name, value in told.items() if name not in OF_FAMILIES} | {"reward": TRUTH}
    return told | {"seed": plan.seed, "model": model}
