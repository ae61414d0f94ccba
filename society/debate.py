"""The door of a debate: convene → every member thinks, blind and in parallel → aggregate. The only file on LangGraph.

The graph keeps no checkpoints: what happened is in our own tables, so a debate that another process takes up after a
crash starts again from intake and finds each finished call in the positions table. State and Send arguments hold ids
only; texts and clients stay in the runtime context, which LangGraph never stores.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
os.environ.setdefault("LANGSMITH_TRACING", "false")

from langgraph.errors import NodeError, NodeTimeoutError
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, TimeoutPolicy
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.errors import FolkmootError, LeaseLost
from personal_data.records import Debate, Society
from personal_data.sharing import society_scope
from society import nodes
from society.nodes import BLIND_ROUND, Directory, Room
from society.state import DebateState, Seat


async def run_debate(
    database: Database,
    directory: Directory,
    debate_id: str,
    *,
    fence: Callable[[Session], None],
    finish: Callable[[Session], None],
) -> None:
    """Run a recorded debate to its verdict, or resume it.

    Members that fail or outlast the debate's `deadline_s` are recorded as absent; the others' answers stand.

    Raises:
        LeaseLost: another process has taken the debate over; nothing more was written.
    """
    debate, slug = await asyncio.to_thread(_read, database, debate_id)
    room = Room(
        database=database,
        directory=directory,
        debate=debate,
        audience=society_scope(slug),
        closes_at=time.monotonic() + debate.deadline_s,
        fence=fence,
        finish=finish,
    )
    start: DebateState = {"debate_id": debate_id, "panel": list(debate.panel)}
    await _graph().ainvoke(start, context=room)
    for fault in room.faults:
        raise fault


def _read(database: Database, debate_id: str) -> tuple[Debate, str]:
    with database.reading() as session:
        debate = session.get_one(Debate, debate_id)
        return debate, session.get_one(Society, debate.society_id).slug


def _graph() -> Any:
    graph = StateGraph(DebateState, context_schema=Room)
    graph.add_node("member", _member, input_schema=Seat, error_handler=_absent)
    graph.add_node("aggregate", _aggregate)
    graph.add_conditional_edges(START, _fan_out, ["member"])
    graph.add_edge("member", "aggregate")
    graph.add_edge("aggregate", END)
    return graph.compile()


def _fan_out(state: DebateState, runtime: Runtime[Room]) -> list[Send]:
    policy = TimeoutPolicy(run_timeout=runtime.context.remaining_s())
    return [
        Send(
            "member",
            Seat(debate_id=state["debate_id"], round=BLIND_ROUND, agent_id=agent_id),
            timeout=policy,
        )
        for agent_id in state["panel"]
    ]


async def _member(state: Seat, *, runtime: Runtime[Room]) -> dict[str, Any]:
    await nodes.think(runtime.context, state)
    return {}


async def _absent(state: Seat, error: NodeError, runtime: Runtime[Room]) -> Command[str]:
    """A member's fault is an absence. LangGraph drops what a handler raises, so ours waits for `run_debate`; and it
    follows no edge after a handler, so the way on is said: a debate of which nobody is left must end too."""
    cause = TimeoutError() if isinstance(error.error, NodeTimeoutError) else error.error
    if isinstance(cause, LeaseLost) or not isinstance(cause, FolkmootError | TimeoutError):
        runtime.context.faults.append(cause)
    else:
        await nodes.mark_absent(runtime.context, state, cause)
    return Command(goto="aggregate")


async def _aggregate(state: DebateState, *, runtime: Runtime[Room]) -> dict[str, Any]:
    if not runtime.context.faults:
        await asyncio.to_thread(nodes.aggregate, runtime.context, state)
    return {}
