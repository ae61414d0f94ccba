"""The door of the learning room: one improvement of one agent, from a leased job to a published adapter or a refusal.

    read the plan → freeze the data → load base and live adapter → stage: preferences → gate → stage: environment → gate
    → publish at most one version

Each stage starts from the last candidate that passed. Publishing is: adapter folder on disk (named by the lease's
token), then one SQL transaction that checks the lease, records the version, moves the agent's pointer, writes the
decisions and closes the job. A crash anywhere leaves the published version as it was, and the job starts again from it.
What the owner does meanwhile wins: a cancelled job publishes nothing, nor does one whose agent was rolled back or moved
to another model. Nothing here knows of queues or processes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from agents.adapters import Adapter, AdapterStore, activate, read_adapter
from agents.engine.base import load_base
from agents.engine.lora import AdapterStack
from personal_data.database import Database
from personal_data.errors import BackendError, Conflict, InvalidInput, NotFound
from personal_data.records import AdapterVersion, Agent, new_id
from personal_data.settings import Settings
from training import journal, ledger
from training.journal import Decision, Journal
from training.ledger import Lease
from training.packing import SharedPromptPolicy
from training.plan import Plan, read_plan
from training.preference import encode_pairs
from training.rewards.registry import LEARNING, REWARDS, Makers
from training.stages import environment, preferences
from training.stages.bench import INCUMBENT, POLICY, PROCESS, SLOTS, START, Bench, StageResult, Tell
from training.suite import make_suite
from training.tasks.interactions import Preferences, read_preferences

Progress = Callable[[str, int, int, str], None]
"""Stage, steps done, steps in all, a note. Whatever it raises stops the improvement; nothing is published then."""


@dataclass(frozen=True)
class _Frozen:
    """What the job starts from, read once."""

    agent_id: str
    model: str
    base: str
    live: AdapterVersion | None
    next_number: int
    preferences: Preferences
    known: str | None
    """Why these preferences need not be learned again."""


@dataclass
class _Cycle:
    """An improvement under way."""

    database: Database
    lease: Lease
    plan: Plan
    frozen: _Frozen
    stack: AdapterStack
    bench: Bench
    progress: Progress
    candidate: Adapter | None = None
    ended: list[tuple[str, Journal, StageResult]] = field(default_factory=list)


def improve(
    settings: Settings, database: Database, lease: Lease, *, progress: Progress, rewards: Makers = REWARDS
) -> dict[str, Any]:
    """Run the job and close it; the result is also stored on the job. `rewards` makes each known reward.

    Having nothing to learn from, or a candidate that the gate refuses, is a result with reasons, not an error.

    Returns:
        {"decision": "published" | "refused" | "skipped", "reasons": [...], "version": {"id", "number"} | None,
         "stages": [{"stage", "run_id", "decision", "reasons", "gate"}, ...]}

    Raises:
        InvalidInput: the payload asks for something unknown, or the agent's model cannot be trained.
        NotFound: the agent is gone.
        RewardFailed: a reward broke its contract.
        LeaseLost: somebody else holds the job now; nothing was published.
        Conflict: the owner has cancelled the job; nothing was published.
        AdapterError: the live adapter is torn or does not fit.
    """
    plan = read_plan(lease.payload, job_id=lease.job_id)
    progress("loading", 0, 1, "loading the model")
    cycle = _open(settings, database, lease, plan, progress)
    cycle.bench.rewards = rewards
    for stage in plan.stages:
        _run_stage(cycle, stage)
    return _close(AdapterStore(settings.adapters_dir), cycle)


def _open(settings: Settings, database: Database, lease: Lease, plan: Plan, progress: Progress) -> _Cycle:
    with database.session() as session:
        frozen = _freeze(settings, session, lease, plan)
        journal.close_interrupted(session, lease.job_id, lease.token)
    base = load_base(frozen.base)
    live = None
    if frozen.live is not None:
        store = AdapterStore(settings.adapters_dir)
        store.verify(frozen.live)
        live = read_adapter(store.path(frozen.live), base_sha256=base.sha256)
    ranks = [plan.preferences.rank, plan.environment.recipe.rank, live.rank if live else 1]
    stack = AdapterStack(base, slots=SLOTS + _learns_along(plan), rank=max(ranks))
    if live is not None:
        stack.load(START, live)
        stack.load(INCUMBENT, live)
    policy = SharedPromptPolicy(base, stack)
    suite = make_suite(plan.seed, **dataclasses.asdict(plan.evaluation))
    train, held = (encode_pairs(base, pairs) for pairs in (frozen.preferences.train, frozen.preferences.gate))
    bench = Bench(policy, stack.parameters(), suite, plan.seed, gate_pairs=held, train_pairs=train)
    return _Cycle(database, lease, plan, frozen, stack, bench, progress)


def _learns_along(plan: Plan) -> bool:
    """Whether a reward trains an adapter of its own beside the policy."""
    return "environment" in plan.stages and plan.environment.reward in LEARNING


def _freeze(settings: Settings, session: Session, lease: Lease, plan: Plan) -> _Frozen:
    agent = session.get(Agent, lease.subject_id)
    if agent is None or agent.user_id != lease.user_id:
        raise NotFound(f"no agent {lease.subject_id}")
    model = settings.models.get(agent.model)
    if model is None or not model.trainable or model.base is None:
        raise InvalidInput(f"model {agent.model!r} cannot be trained: it is not configured here with a `base`")
    live = session.get(AdapterVersion, agent.live_version_id) if agent.live_version_id else None
    preferences = read_preferences(session, agent.user_id)
    known = journal.tried_before(
        session,
        agent_id=agent.id,
        stage="preferences",
        data_sha256=preferences.digest,
        recipe=_recipe(plan, "preferences", agent.model),
        live=live,
    )
    highest = session.scalar(sa.select(sa.func.max(AdapterVersion.number)).filter_by(agent_id=agent.id))
    return _Frozen(
        agent_id=agent.id,
        model=agent.model,
        base=model.base,
        live=live,
        next_number=(highest or 0) + 1,
        preferences=preferences,
        known=known,
    )


def _run_stage(cycle: _Cycle, stage: str) -> None:
    """Run one stage on top of the last candidate that passed."""
    run = _open_run(cycle, stage)

    def tell(done: int, total: int, note: str) -> None:
        cycle.progress(stage, done, total, note)

    if stage == "preferences" and cycle.frozen.known is not None:
        result = StageResult("skipped", (cycle.frozen.known,))
    else:
        result = _train(cycle, stage, run, tell)
    result = dataclasses.replace(result, gate=journal.finite(result.gate))
    if result.decision == "passed":
        cycle.candidate = cycle.stack.export(POLICY)
        cycle.stack.load(INCUMBENT, cycle.candidate)
        cycle.bench.baseline = result.measured
    cycle.ended.append((stage, run, result))


def _train(cycle: _Cycle, stage: str, run: Journal, tell: Tell) -> StageResult:
    """A candidate whose logits are not finite any more has diverged: that is the candidate's fault, not the job's."""
    plan, bench = cycle.plan, cycle.bench
    recipe = plan.preferences if stage == "preferences" else plan.environment.recipe
    _prepare_policy(cycle, rank=recipe.rank, alpha=recipe.alpha)
    try:
        if stage == "preferences":
            return preferences.run(bench, cycle.frozen.preferences, plan.preferences, run, tell)
        return environment.run(bench, plan.environment, run, tell)
    except BackendError as error:
        return StageResult("refused", (f"training broke: {error}",))


def _open_run(cycle: _Cycle, stage: str) -> Journal:
    recipe = _recipe(cycle.plan, stage, cycle.frozen.model)
    return journal.open_run(
        cycle.database,
        job_id=cycle.lease.job_id,
        token=cycle.lease.token,
        stage=stage,
        agent_id=cycle.frozen.agent_id,
        parent_version_id=cycle.frozen.live.id if cycle.frozen.live else None,
        recipe=recipe,
        data_sha256=cycle.frozen.preferences.digest if stage == "preferences" else _digest(recipe),
        made_from=cycle.frozen.preferences.made_from if stage == "preferences" else {},
    )


def _recipe(plan: Plan, stage: str, model: str) -> dict[str, Any]:
    """The settings of a stage as they are recorded."""
    settings = plan.environment if stage == "environment" else plan.preferences
    return dataclasses.asdict(settings) | {"seed": plan.seed, "model": model}


def _digest(recipe: dict[str, Any]) -> str:
    """The items of an environment follow from its recipe."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _prepare_policy(cycle: _Cycle, *, rank: int, alpha: float) -> None:
    """Put the incumbent's adapter, or a fresh one, into the policy slot; a reward that learns along starts there."""
    if cycle.candidate is None and cycle.frozen.live is None:
        cycle.stack.fresh(POLICY, rank=rank, alpha=alpha, seed=cycle.plan.seed)
    else:
        cycle.stack.load(POLICY, cycle.stack.export(INCUMBENT))
    if _learns_along(cycle.plan):
        cycle.stack.load(PROCESS, cycle.stack.export(POLICY))


def _close(store: AdapterStore, cycle: _Cycle) -> dict[str, Any]:
    """Publish the last candidate that passed, if any, and close the job: one transaction."""
    cycle.progress("publishing", 0, 1, "writing down the result")
    version = _publish(store, cycle)
    with cycle.database.session() as session:
        ledger.fence(session, cycle.lease)
        obstacle = _put_live(session, version)
        told = [_told(stage, run, result, obstacle) for stage, run, result in cycle.ended]
        live = version if obstacle is None else None
        result = {
            "decision": "published" if live else max((stage["decision"] for stage in told), key=_WEIGHT.__getitem__),
            "reasons": [reason for stage in told for reason in stage["reasons"]],
            "version": {"id": live.id, "number": live.number} if live else None,
            "stages": told,
        }
        for (_, run, _), stage in zip(cycle.ended, told, strict=True):
            run.decide(session, stage["decision"], stage["reasons"], stage["gate"])
        ledger.finish(session, cycle.lease, result)
    return result


_WEIGHT = {"skipped": 0, "refused": 1}


def _put_live(session: Session, version: AdapterVersion | None) -> str | None:
    """Record the version and move the agent's pointer; why not, if its owner has changed the agent meanwhile.

    The folder of a version that was not recorded is garbage, which the next worker to start collects.
    """
    if version is None:
        return None
    try:
        activate(session, version)
    except Conflict as error:
        return str(error)
    return None


def _told(stage: str, run: Journal, result: StageResult, obstacle: str | None) -> dict[str, Any]:
    decision: Decision
    if result.decision != "passed":
        decision, reasons = result.decision, list(result.reasons)
    elif obstacle is None:
        decision, reasons = "published", list(result.reasons)
    else:
        decision, reasons = "refused", [obstacle]
    return {"stage": stage, "run_id": run.run_id, "decision": decision, "reasons": reasons, "gate": result.gate}


def _publish(store: AdapterStore, cycle: _Cycle) -> AdapterVersion | None:
    """Write the candidate's folder; its row is only made here and recorded later."""
    if cycle.candidate is None:
        return None
    lease, frozen = cycle.lease, cycle.frozen
    path, sha256 = store.publish(
        frozen.agent_id, frozen.next_number, cycle.candidate, job_id=lease.job_id, token=lease.token
    )
    return AdapterVersion(
        id=new_id("adv"),
        agent_id=frozen.agent_id,
        number=frozen.next_number,
        job_id=lease.job_id,
        token=lease.token,
        parent_id=frozen.live.id if frozen.live else None,
        model=frozen.model,
        path=path,
        sha256=sha256,
        base_sha256=cycle.candidate.base_sha256,
        evaluation={stage: dict(result.gate or {}) for stage, _, result in cycle.ended if result.decision == "passed"},
    )
