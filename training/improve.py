"""The door of the learning room: one improvement of one agent, from a leased job to a published adapter or a refusal.

    read the plan → freeze the data → load base and live adapter → each stage of texts, preferences, memories, debates,
    environment: train → gate → publish at most one version

Each stage starts from the last candidate that passed. Publishing is: adapter folder on disk (named by the lease's
token), then one SQL transaction that checks the lease, records the version, moves the agent's pointer, writes the
decisions and closes the job. A crash anywhere leaves the published version as it was, and the job starts again from it.
What the owner does meanwhile wins: a cancelled job publishes nothing, nor does one whose agent was rolled back or moved
to another model. Nothing here knows of queues or processes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from agents.adapters import Adapter, AdapterStore, activate, read_adapter
from agents.engine.base import Base, load_base
from agents.engine.lora import AdapterStack
from agents.messages import storable
from personal_data.database import Database
from personal_data.errors import BackendError, Conflict
from personal_data.records import AdapterVersion, new_id
from personal_data.settings import Settings
from training import journal, ledger
from training.frozen import Frozen, freeze, practice_of, recipe_of
from training.journal import Decision, Journal
from training.ledger import Lease
from training.packing import SharedPromptPolicy
from training.plan import STAGES, Plan, read_plan
from training.preference import encode_completion, encode_disliked, encode_liked, encode_pairs
from training.rewards.prepare import BARE
from training.rewards.registry import LEARNING, REWARDS, Makers
from training.rollouts import TokenPair
from training.stages import debates, environment, memories, preferences, texts
from training.stages.bench import ANCHOR, INCUMBENT, POLICY, PROCESS, SLOTS, START, Bench, StageResult, Tell
from training.suite import make_suite
from training.supervised import pack
from training.tasks.texts import Talk

Progress = Callable[[str, int, int, str], None]
"""Stage, steps done, steps in all, a note. Whatever it raises stops the improvement; nothing is published then."""


@dataclass
class _Cycle:
    """An improvement under way."""

    database: Database
    lease: Lease
    plan: Plan
    frozen: Frozen
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
    cycle = _open(settings, database, lease, plan, progress, rewards)
    for stage in plan.stages:
        _run_stage(cycle, stage)
    return _close(AdapterStore(settings.adapters_dir), cycle)


def _open(
    settings: Settings, database: Database, lease: Lease, plan: Plan, progress: Progress, rewards: Makers
) -> _Cycle:
    with database.session() as session:
        frozen = freeze(settings, session, lease, plan)
        journal.close_interrupted(session, lease.job_id, lease.token)
    base = load_base(frozen.base)
    store = AdapterStore(settings.adapters_dir)
    live, anchor = (_adapter(store, version, base) for version in (frozen.live, frozen.anchor))
    ranks = [practice_of(plan, stage).rank for stage in STAGES]
    ranks += [adapter.rank for adapter in (live, anchor) if adapter is not None]
    slots = ANCHOR + 1 if anchor is not None else SLOTS + _learns_along(plan)
    stack = AdapterStack(base, slots=slots, rank=max(ranks))
    for slot, adapter in ((START, live), (INCUMBENT, live), (ANCHOR, anchor)):
        if adapter is not None:
            stack.load(slot, adapter)
    return _Cycle(database, lease, plan, frozen, stack, _bench(plan, frozen, base, stack, rewards), progress)


def _adapter(store: AdapterStore, version: AdapterVersion | None, base: Base) -> Adapter | None:
    if version is None:
        return None
    store.verify(version)
    return read_adapter(store.path(version), base_sha256=base.sha256)


def _bench(plan: Plan, frozen: Frozen, base: Base, stack: AdapterStack, rewards: Makers) -> Bench:
    preferred, own = frozen.preferences, frozen.texts
    block = min(plan.texts.block, base.max_positions - 1)

    def blocks(talks: Sequence[Talk]) -> list[TokenPair]:
        encoded = [encode_completion(base, text) for talk in talks for text in talk.texts]
        return pack(encoded, end=base.tokenizer.eos_token_id, block=block)

    return Bench(
        policy=SharedPromptPolicy(base, stack),
        parameters=stack.parameters(),
        suite=make_suite(plan.seed, **dataclasses.asdict(plan.evaluation)),
        seed=plan.seed,
        gate_pairs=encode_pairs(base, preferred.gate),
        train_pairs=encode_pairs(base, preferred.train),
        gate_liked=encode_liked(base, preferred.gate),
        train_liked=encode_liked(base, preferred.train),
        gate_disliked=encode_disliked(base, preferred.gate),
        train_disliked=encode_disliked(base, preferred.train),
        train_texts=blocks(own.train),
        gate_texts=[blocks([talk]) for talk in own.gate],
        reference=_reference(frozen),
        room=lambda messages: base.max_positions - len(base.encode(messages)),
        rewards=rewards,
    )


def _reference(frozen: Frozen) -> int:
    """The slot that practice of a family is held to: what the stage starts from, but for prolonged learning."""
    if frozen.course is None:
        return INCUMBENT
    if frozen.course.reference is None:
        return BARE
    return START if frozen.anchor is None else ANCHOR


def _learns_along(plan: Plan) -> bool:
    """Whether a reward trains an adapter of its own beside the policy."""
    return "environment" in plan.stages and plan.environment.reward in LEARNING


def _run_stage(cycle: _Cycle, stage: str) -> None:
    """Run one stage on top of the last candidate that passed."""
    run = _open_run(cycle, stage)

    def tell(done: int, total: int, note: str) -> None:
        cycle.progress(stage, done, total, note)

    course = cycle.frozen.course if stage == "environment" else None
    if (known := cycle.frozen.known.get(stage)) is not None:
        result = StageResult("skipped", (known,), asked_about=())
    elif course is not None and course.refused is not None:
        result = StageResult("refused", (course.refused,))
    else:
        result = _train(cycle, stage, run, tell)
    held_to = {} if course is None else {"reference": course.reference}
    result = dataclasses.replace(result, gate=storable(result.gate and {**result.gate, **held_to}))
    if result.decision == "passed":
        cycle.candidate = cycle.stack.export(POLICY)
        cycle.stack.load(INCUMBENT, cycle.candidate)
        cycle.bench.baseline = result.measured
    cycle.ended.append((stage, run, result))


def _train(cycle: _Cycle, stage: str, run: Journal, tell: Tell) -> StageResult:
    """A candidate whose logits are not finite any more has diverged: that is the candidate's fault, not the job's."""
    plan, bench, frozen = cycle.plan, cycle.bench, cycle.frozen
    recipe = practice_of(plan, stage)
    _prepare_policy(cycle, rank=recipe.rank, alpha=recipe.alpha)
    stages: dict[str, Callable[[], StageResult]] = {
        "texts": lambda: texts.run(bench, frozen.texts, plan.texts, run, tell),
        "preferences": lambda: preferences.run(bench, frozen.preferences, plan.preferences, run, tell),
        "memories": lambda: memories.run(bench, frozen.own, plan.memories, run, tell),
        "debates": lambda: debates.run(bench, frozen.debates, plan.debates, run, tell),
        "environment": lambda: environment.run(bench, plan.environment, run, tell),
    }
    try:
        return stages[stage]()
    except BackendError as error:
        return StageResult("refused", (f"training broke: {error}",))


def _open_run(cycle: _Cycle, stage: str) -> Journal:
    frozen = cycle.frozen
    return journal.open_run(
        cycle.database,
        job_id=cycle.lease.job_id,
        token=cycle.lease.token,
        stage=stage,
        agent_id=frozen.agent_id,
        parent_version_id=frozen.live.id if frozen.live else None,
        recipe=recipe_of(cycle.plan, stage, frozen.model),
        data_sha256=frozen.digest(cycle.plan, stage),
        made_from=frozen.made_from(cycle.plan, stage),
    )


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
        for (name, run, ended), stage in zip(cycle.ended, told, strict=True):
            made_from = cycle.frozen.made_from(cycle.plan, name, ended.asked_about)
            run.decide(session, stage["decision"], stage["reasons"], stage["gate"], made_from)
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
