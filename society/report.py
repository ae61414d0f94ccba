"""A debate as its asker reads it: as data and as text. Built from the records alone, at any time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from agents.messages import shortened
from personal_data.records import Agent, Debate, Hypothesis, Position, Review, Verdict
from society.standing import checks_in, merged_of
from society.state import CLOSED, OPINION, Plan


def report(session: Session, debate: Debate) -> dict[str, Any]:
    """Everything known of a debate so far; `verdict` is None until it is done."""
    handles = dict(session.execute(select(Agent.id, Agent.handle).where(Agent.id.in_(debate.panel))).tuples().all())
    query = select(Position).where(Position.debate_id == debate.id).order_by(Position.created_at, Position.id)
    positions = session.scalars(query).all()
    hypotheses = session.scalars(
        select(Hypothesis).where(Hypothesis.debate_id == debate.id).order_by(Hypothesis.posterior.desc())
    )
    verdict = session.scalar(select(Verdict).where(Verdict.debate_id == debate.id))
    reviews = session.scalars(select(Review).where(Review.debate_id == debate.id).order_by(Review.created_at)).all()
    rows = list(hypotheses)
    votes = [position.answer_key for position in positions if position.round == 0]
    merged = {} if debate.kind == CLOSED else merged_of(session, debate, votes, reviews)
    keys = {row.id: row.key for row in rows}
    computed = {
        position.answer_key or "": one for position in positions for one in checks_in(position) if one["of_question"]
    }
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
        "hypotheses": [_hypothesis(row, merged, computed.get(row.key), handles) for row in rows],
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
        lines.append(conclusion(debate))
    lines += [_line(debate, hypothesis) for hypothesis in debate["hypotheses"]]
    lines += [f"  {line}" for line in _found(debate)]
    silent = [
        f"{position['agent']} ({position['cause'] or 'does not know'})"
        for position in debate["positions"]
        if position["status"] != "answered" and position["round"] == 0
    ]
    if silent:
        lines.append(f"  no answer: {', '.join(silent)}")
    return "\n".join(lines)


def conclusion(debate: dict[str, Any]) -> str:
    """The answer of a debate that has one, and what speaks for it, in the terms of its kind: where no answer is right
    nothing is probable, and where texts were ranked a share of points is no probability."""
    verdict = debate["verdict"]
    rule = verdict["rule"] if verdict["tie"] is None else f"{verdict['rule']}: {verdict['tie']}"
    if debate["kind"] == OPINION:
        held = next((one for one in debate["hypotheses"] if one["key"] == verdict["answer_key"]), None)
        heard = verdict["coverage"]["answered"] + verdict["coverage"]["abstained"]
        holders = 0 if held is None else len(held["supporters"])
        told = "Most would accept" if verdict["rule"] == "schulze" else "Held by most"
        return f"{told}: {verdict['answer']} (held by {holders} of {heard}, {rule})"
    if verdict["rule"] == "borda":
        return f"Ranked best: {verdict['answer']} ({verdict['confidence']:.0%} of the points, {rule})"
    return f"{verdict['answer']} (confidence {verdict['confidence']:.0%}, {rule})"


def _line(debate: dict[str, Any], hypothesis: dict[str, Any]) -> str:
    """One hypothesis, what became of it, and who holds it."""
    text = hypothesis["answer"] if debate["kind"] == CLOSED else shortened(hypothesis["answer"])
    if hypothesis["status"] == "merged":
        into = next(
            (one["answer"] for one in debate["hypotheses"] if one["key"] == hypothesis["merged_into"]), "another"
        )
        return f"  says the same {text!r}, as {shortened(into)!r}"
    label = "for" if hypothesis["key"] == debate["verdict"]["answer_key"] else "dissent"
    if debate["kind"] == OPINION:
        label = "statement"
    became = "" if hypothesis["status"] == "open" else f" ({hypothesis['status']})"
    return f"  {label} {text!r}{became}: {', '.join(hypothesis['supporters'])}"


def _found(debate: dict[str, Any]) -> list[str]:
    """What a machine found: what the question comes to, and which claims do not hold."""
    computed = [one["check"] for one in debate["hypotheses"] if one["check"]]
    lines = [f"by {one['kind']} it comes to {shortened(one['comes_to'])!r}" for one in computed[:1]]
    failed = [one for row in debate["positions"] for one in row["checks"] if not one["passed"]]
    return [*lines, *dict.fromkeys(f"does not hold: {one['claim']} ({one['kind']})" for one in failed)]


def _hypothesis(
    row: Hypothesis, merged: Mapping[str, str], computed: dict[str, Any] | None, handles: dict[str, str]
) -> dict[str, Any]:
    return {
        "id": row.id,
        "key": row.key,
        "answer": row.text,
        "supporters": [handles.get(agent_id, agent_id) for agent_id in row.supporters],
        "posterior": row.posterior,
        "status": row.status,
        "merged_into": merged.get(row.key) if row.status == "merged" else None,
        "check": computed and {"kind": computed["kind"], "comes_to": computed["written"], "passed": computed["passed"]},
    }


def _claims(row: Position | Review) -> list[dict[str, Any]]:
    """What its argument claims that a machine could judge, and whether it holds."""
    return [
        {"kind": one["kind"], "claim": one["written"], "passed": one["passed"]}
        for one in checks_in(row)
        if not one["of_question"]
    ]


def _review(row: Review, keys: dict[str, str], handles: dict[str, str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "agent": handles.get(row.agent_id, row.agent_id),
        "hypothesis": keys.get(row.hypothesis_id),
        "verdict": row.verdict,
        "answer": row.answer,
        "argument": row.argument,
        "checks": _claims(row),
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
        "checks": _claims(position),
        "confidence": position.confidence,
        "alternatives": position.alternatives or [],
        "reason": position.reason,
        "flags": {name: value for name, value in (position.flags or {}).items() if name not in ("calls", "checks")},
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
