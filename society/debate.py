"""The door of a debate: the only file on LangGraph.

    blind round (in one wave, or thriftily in several) → hypotheses → enough? → cross-examination → enough?
        → the contested question solved again → verdict
    where answers cannot be compared: blind round → which texts say the same? → members rank them → verdict

The graph keeps no checkpoints: what happened is in our own tables, so a debate that another process takes up after a
crash starts again from the beginning and finds each finished call there. State and Send arguments hold ids only; texts
and clients stay in the runtime context, which LangGraph never stores.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
os.environ.setdefault("LANGSMITH_TRACING", "false")

from langgraph.errors import NodeError, NodeTimeoutError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, TimeoutPolicy
from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.errors import FolkmootError, LeaseLost
from personal_data.records import Agent, Debate, Member, Society
from personal_data.sharing import society_scope
from society import keeping, likeness, rankings, rounds, standing
from society.checks.checking import computed
from society.learning import Learned, Learning
from society.room import Directory, Room
from society.rounds import AGAIN, BLIND
from society.state import CLOSED, DebateState, LikenessSeat, Plan, RankingSeat, ReviewSeat, Seat
from society.verdict import cluster, conclude, contested, enough, waves

_TOO_LATE_S = 0.5
"""With less time than this left no other round is begun."""


async def run_debate(
    database: Database,
    directory: Directory,
    debate_id: str,
    *,
    fence: Callable[[Session], None],
    finish: Callable[[Session], None],
    learning: Learning | None = None,
) -> None:
    """Run a recorded debate to its verdict, or resume it.

    Members that fail or outlast the debate's `deadline_s` are recorded as absent; the others' answers stand. `learning`
    is kept by whoever runs many debates.

    Raises:
        LeaseLost: another process has taken the debate over; nothing more was written.
    """
    room = await asyncio.to_thread(_open, database, directory, debate_id, learning or Learning(), fence, finish)
    if room.debate.kind == CLOSED:
        value = await computed(room.debate.question, within_s=room.remaining_s() / 4)
        room = replace(room, computed=value)
    start: DebateState = {"debate_id": debate_id, "panel": list(room.debate.panel), "asked": 0, "stopped": ""}
    await _graph().ainvoke(start, context=room)
    for fault in room.faults:
        raise fault


def _open(
    database: Database,
    directory: Directory,
    debate_id: str,
    learning: Learning,
    fence: Callable[[Session], None],
    finish: Callable[[Session], None],
) -> Room:
    with database.reading() as session:
        debate = session.get_one(Debate, debate_id)
        slug = session.get_one(Society, debate.society_id).slug
        query = select(Member.agent_id).where(Member.society_id == debate.society_id, Member.shares_memories.is_(False))
        silent = frozenset(session.scalars(query))
        own = session.scalar(select(Agent.id).where(Agent.user_id == debate.user_id))
        learned = learning.of(session, debate.society_id, until=debate.created_at)
    return Room(
        database=database,
        directory=directory,
        debate=debate,
        plan=Plan.read(debate.plan),
        audience=society_scope(slug),
        learned=learned,
        solo=_solo(debate, own, learned),
        silent=silent,
        closes_at=time.monotonic() + debate.deadline_s,
        fence=fence,
        finish=finish,
        computed=None,
    )


def _solo(debate: Debate, own: str | None, learned: Learned) -> bool:
    if own is None or debate.panel[:1] != [own]:
        return False
    return learned.trust(own, debate.topic) >= Plan.read(debate.plan).sure


@cache
def _graph() -> Any:
    graph = StateGraph(DebateState, context_schema=Room)
    graph.add_node("member", _member, input_schema=Seat, error_handler=_absent)
    graph.add_node("cluster", _cluster)
    graph.add_node("reviewer", _reviewer, input_schema=ReviewSeat, error_handler=_absent_reviewer)
    graph.add_node("weigh", _weigh)
    graph.add_node("solver", _member, input_schema=Seat, error_handler=_absent_solver)
    graph.add_node("likener", _likener, input_schema=LikenessSeat, error_handler=_absent_likener)
    graph.add_node("compare", _compare)
    graph.add_node("ranker", _ranker, input_schema=RankingSeat, error_handler=_absent_solver)
    graph.add_node("conclude", _conclude)
    graph.add_conditional_edges(START, _next_wave, ["member"])
    graph.add_edge("member", "cluster")
    graph.add_edge("reviewer", "weigh")
    graph.add_edge("solver", "conclude")
    graph.add_edge("likener", "compare")
    graph.add_edge("ranker", "conclude")
    graph.add_edge("conclude", END)
    return graph.compile()


def _next_wave(state: DebateState, runtime: Runtime[Room]) -> list[Send]:
    left = state["panel"][state["asked"] :]
    [wave, *_] = waves(runtime.context, state["panel"])[_waves_before(runtime.context, state) :]
    assert wave == left[: len(wave)]
    return [_seat(runtime.context, "member", BLIND, agent_id) for agent_id in wave]


def _waves_before(room: Room, state: DebateState) -> int:
    sizes = [len(wave) for wave in waves(room, state["panel"])]
    return next(number for number in range(len(sizes)) if sum(sizes[:number]) == state["asked"])


def _seat(room: Room, node: str, round_: int, agent_id: str) -> Send:
    """Free texts are worth little before they are ranked: who hangs in the blind round must not cost that."""
    seat = Seat(debate_id=room.debate.id, round=round_, agent_id=agent_id)
    ranked = room.debate.kind != CLOSED and room.plan.rounds > 0
    limit = room.remaining_s() / 2 if ranked else room.remaining_s()
    return Send(node, seat, timeout=TimeoutPolicy(run_timeout=limit))


async def _member(state: Seat, *, runtime: Runtime[Room]) -> dict[str, Any]:
    await rounds.think(runtime.context, state)
    return {}


async def _reviewer(state: ReviewSeat, *, runtime: Runtime[Room]) -> dict[str, Any]:
    await rounds.review(runtime.context, state)
    return {}


async def _likener(state: LikenessSeat, *, runtime: Runtime[Room]) -> dict[str, Any]:
    await likeness.liken(runtime.context, state)
    return {}


async def _ranker(state: RankingSeat, *, runtime: Runtime[Room]) -> dict[str, Any]:
    await rankings.rank(runtime.context, state)
    return {}


async def _absent(state: Seat, error: NodeError, runtime: Runtime[Room]) -> Command[str]:
    """A member's fault is an absence. LangGraph follows no edge after a handler, so the way on is said: a debate of
    which nobody is left must end too."""
    await _mark(state, error, runtime.context)
    return Command(goto="cluster")


async def _absent_reviewer(state: ReviewSeat, error: NodeError, runtime: Runtime[Room]) -> Command[str]:
    await _mark(state, error, runtime.context)
    return Command(goto="weigh")


async def _absent_likener(state: LikenessSeat, error: NodeError, runtime: Runtime[Room]) -> Command[str]:
    await _mark(state, error, runtime.context)
    return Command(goto="compare")


async def _absent_solver(state: Seat, error: NodeError, runtime: Runtime[Room]) -> Command[str]:
    await _mark(state, error, runtime.context)
    return Command(goto="conclude")


async def _mark(seat: Seat | ReviewSeat, error: NodeError, room: Room) -> None:
    """LangGraph drops what a handler raises, so a fault of ours waits for `run_debate`."""
    cause = TimeoutError() if isinstance(error.error, NodeTimeoutError) else error.error
    if isinstance(cause, LeaseLost) or not isinstance(cause, FolkmootError | TimeoutError):
        room.faults.append(cause)
    else:
        await keeping.mark_absent(room, seat, cause)


async def _cluster(state: DebateState, *, runtime: Runtime[Room]) -> Command[Any]:
    """After a wave: more members, or reviewers, or the end."""
    room = runtime.context
    if room.faults:
        return Command(goto=END)
    if room.debate.kind != CLOSED:
        return await _free(room)
    wave = waves(room, state["panel"])[_waves_before(room, state)]
    asked = state["asked"] + len(wave)
    outstanding = state["panel"][asked:]
    step = await asyncio.to_thread(_step, room, standing.BLIND, outstanding)
    if step.stopped is None and outstanding:
        after = DebateState(**{**state, "asked": asked})
        return Command(goto=_next_wave(after, runtime), update={"asked": asked})
    if step.stopped is None and step.reviews:
        policy = TimeoutPolicy(run_timeout=room.remaining_s())
        return Command(goto=[Send("reviewer", seat, timeout=policy) for seat in step.reviews])
    return Command(goto="conclude", update={"stopped": step.stopped or step.otherwise})


async def _free(room: Room) -> Command[Any]:
    """After the blind round on a question without a canonical answer. Half of the time that is left is for ranking."""
    doubts = await likeness.doubts(room)
    if not doubts or room.remaining_s() <= _TOO_LATE_S:
        return Command(goto="compare")
    policy = TimeoutPolicy(run_timeout=room.remaining_s() / 2)
    return Command(goto=[Send("likener", seat, timeout=policy) for seat in doubts])


async def _compare(state: DebateState, *, runtime: Runtime[Room]) -> Command[Any]:
    """Once it is known which texts are one: everybody ranks what others said, or the end."""
    room = runtime.context
    if room.faults:
        return Command(goto=END)
    late = room.remaining_s() <= _TOO_LATE_S
    following = await asyncio.to_thread(rankings.ranking_seats, room, late=late)
    policy = TimeoutPolicy(run_timeout=room.remaining_s())
    sends = [Send("ranker", seat, timeout=policy) for seat in following.seats]
    return Command(goto=sends or "conclude", update={"stopped": following.stopped})


async def _weigh(state: DebateState, *, runtime: Runtime[Room]) -> Command[Any]:
    """After the reviews: everybody solves it again who has answered, or the end."""
    room = runtime.context
    if room.faults:
        return Command(goto=END)
    step = await asyncio.to_thread(_step, room, standing.REVIEWED, ())
    if step.stopped is None and step.solvers:
        return Command(
            goto=[_seat(room, "solver", AGAIN, agent_id) for agent_id in step.solvers],
            update={"stopped": "all rounds are over"},
        )
    return Command(goto="conclude", update={"stopped": step.stopped or step.otherwise})


@dataclass(frozen=True, slots=True)
class _Step:
    """What comes next: `stopped` says why nothing does; `otherwise` why there is nothing to go on with."""

    stopped: str | None
    otherwise: str
    reviews: list[ReviewSeat]
    solvers: list[str]


def _step(room: Room, stage: standing.Stage, outstanding: Sequence[str]) -> _Step:
    with room.database.session() as session:
        room.fence(session)
        stands, decided = cluster(session, room, stage)
        stopped = enough(room, stands, decided, outstanding)
        reviews = contested(session, room, stands, decided) if room.plan.rounds > 0 else []
    solvers = list(stands.votes) if room.plan.rounds > 1 else []
    if stands.calls + len(solvers) > room.plan.max_calls:
        solvers = []
    late = room.remaining_s() <= _TOO_LATE_S
    over = room.plan.rounds < (1 if stage == standing.BLIND else 2)
    otherwise = "all rounds are over" if over else "no time is left" if late else "the budget is spent"
    return _Step(stopped, otherwise, [] if late else reviews, [] if late else solvers)


async def _conclude(state: DebateState, *, runtime: Runtime[Room]) -> dict[str, Any]:
    if not runtime.context.faults:
        await asyncio.to_thread(conclude, runtime.context, state["panel"], state["stopped"])
    return {}
