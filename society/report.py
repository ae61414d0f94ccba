"""A debate as its asker reads it: as data and as text. Built from the records alone, at any time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.records import Agent, Debate, Hypothesis, Position, Review, Verdict
from society.state import Plan


def report(session: Session, debate: Debate) -> dict[str, Any]:
    """Everything known of a debate so far; `verdict` is None until it is done."""
    handles = dict(session.execute(select(Agent.id, Agent.handle).where(Agent.id.in_(debate.panel))).tuples().all())
    positions = session.scalars(
        select(Position).where(Position.debate_id == debate.id).order_by(Position.created_at, Position.id)
    )
    hypotheses = session.scalars(
        select(Hypothesis).where(Hypothesis.debate_id == debate.id).order_by(Hypothesis.posterior.desc())
    )
    verdict = session.scalar(select(Verdict).where(Verdict.debate_id == debate.id))
    reviews = session.scalars(select(Review).where(Review.debate_id == debate.id).order_by(Review.created_at))
    rows = list(hypotheses)
    keys = {row.id: row.key for row in rows}
    return {
        "id": debate.id,
        "question": debate.question,
        "state": debate.state,
        "error": debate.error,
        "outcome": debate.outcome,
        "seed": debate.seed,
        "kind": debate.kind,
        "topic": debate.topic,
        "plan": Plan.read(debate.plan).told(),
        "created_at": debate.created_at,
        "finished_at": debate.finished_at,
        "panel": [handles.get(agent_id, agent_id) for agent_id in debate.panel],
        "positions": [_position(position, handles) for position in positions],
        "reviews": [_review(row, keys, handles) for row in reviews],
        "hypotheses": [_hypothesis(row, handles) for row in rows],
        "verdict": None if verdict is None else _verdict(verdict),
    }


def as_text(debate: dict[str, Any]) -> str:
    """The report as a few plain lines: what is missing first, then the answer, its confidence and the dissent."""
    verdict = debate["verdict"]
    if verdict is None:
        return f"The debate is not finished: {debate['error'] or debate['state']}."
    lines = []
    if verdict["degraded"]:
        lines.append("Degraded: too few members were heard to rely on this.")
    if verdict["coverage"]["absent"] == verdict["coverage"]["invited"]:
        lines.append("Nobody was heard.")
    elif verdict["answer"] is None:
        lines.append("Nobody in this society knows.")
    else:
        rule = verdict["rule"] if verdict["tie"] is None else f"{verdict['rule']}: {verdict['tie']}"
        lines.append(f"{verdict['answer']} (confidence {verdict['confidence']:.0%}, {rule})")
    for hypothesis in debate["hypotheses"]:
        label = "for" if hypothesis["key"] == verdict["answer_key"] else "dissent"
        became = "" if hypothesis["status"] == "open" else f" ({hypothesis['status']})"
        lines.append(f"  {label} {hypothesis['answer']!r}{became}: {', '.join(hypothesis['supporters'])}")
    silent = [
        f"{position['agent']} ({position['cause'] or 'does not know'})"
        for position in debate["positions"]
        if position["status"] != "answered" and position["round"] == 0
    ]
    if silent:
        lines.append(f"  no answer: {', '.join(silent)}")
    return "\n".join(lines)


def _hypothesis(row: Hypothesis, handles: dict[str, str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "key": row.key,
        "answer": row.text,
        "supporters": [handles.get(agent_id, agent_id) for agent_id in row.supporters],
        "posterior": row.posterior,
        "status": row.status,
    }


def _review(row: Review, keys: dict[str, str], handles: dict[str, str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "agent": handles.get(row.agent_id, row.agent_id),
        "hypothesis": keys.get(row.hypothesis_id),
        "verdict": row.verdict,
        "answer": row.answer,
        "argument": row.argument,
        "cause": row.cause,
        "lineage": row.lineage,
        "completion_tokens": row.completion_tokens,
        "elapsed_s": row.elapsed_s,
        "at": row.created_at,
    }


def _position(position: Position, handles: dict[str, str]) -> dict[str, Any]:
    return {
        "id": position.id,
        "agent": handles.get(position.agent_id, position.agent_id),
        "round": position.round,
        "status": position.status,
        "answer": position.answer,
        "answer_key": position.answer_key,
        "argument": position.argument,
        "confidence": position.confidence,
        "alternatives": position.alternatives or [],
        "reason": position.reason,
        "flags": {name: value for name, value in (position.flags or {}).items() if name != "calls"},
        "cause": position.cause,
        "lineage": position.lineage,
        "adapter": position.adapter_version_id,
        "memories_shown": len(position.memory_ids),
        "completion_tokens": position.completion_tokens,
        "elapsed_s": position.elapsed_s,
        "at": position.created_at,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "answer": verdict.answer,
        "answer_key": verdict.answer_key,
        "confidence": verdict.confidence,
        "rule": verdict.rule,
        "tie": verdict.tie,
        "dissent": verdict.dissent,
        "coverage": verdict.coverage,
        "degraded": verdict.degraded,
        "distribution": verdict.distribution,
        "none_of_these": verdict.none_of_these,
        "stopped": verdict.stopped,
        "cost": verdict.cost,
    }
