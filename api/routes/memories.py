"""What the caller's agent remembers, where it came from, and whom it was shown to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import CurrentUser
from api.keys import Caller
from api.schemas import (
    CorrectionIn,
    Done,
    FindingsOut,
    HitOut,
    MemoriesIn,
    MemoryIn,
    MemoryOut,
    QueuedOut,
    ScopeIn,
    StoredOut,
    VersionOut,
)
from api.state import AppState, State
from personal_data.memory import NewMemory

router = APIRouter(prefix="/api", tags=["memories"])


@router.post("/memories", status_code=201)
def remember(body: MemoryIn, caller: CurrentUser, state: AppState) -> StoredOut:
    """Remember one text."""
    return _stored(state, caller, [body])


@router.post("/memories/batch", status_code=201)
def remember_all(body: MemoriesIn, caller: CurrentUser, state: AppState) -> StoredOut:
    """Remember many texts, or none where one cannot be taken."""
    return _stored(state, caller, body.memories)


@router.get("/memories")
def memories(
    caller: CurrentUser,
    state: AppState,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[str | None, Query(max_length=40)] = None,
    kind: Annotated[str | None, Query(max_length=16)] = None,
    speaker: Annotated[str | None, Query(max_length=200)] = None,
    holds: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
) -> list[MemoryOut]:
    """The caller's memories, newest first; `before` is the last id of the page before. Only those of a kind, of a
    speaker, or that hold a text, where that is asked for."""
    rows = state.memory.entries(caller.user_id, limit=limit, before=before, kind=kind, speaker=speaker, holds=holds)
    return [MemoryOut.model_validate(row) for row in rows]


@router.get("/memories/recall")
def recall(
    q: Annotated[str, Query(min_length=1, max_length=4000)],
    caller: CurrentUser,
    state: AppState,
    k: Annotated[int, Query(ge=1, le=64)] = 8,
    as_of: Annotated[float | None, Query(ge=0)] = None,
    kind: Annotated[list[str] | None, Query(max_length=4)] = None,
) -> list[HitOut]:
    """What the agent would recall for `q`, best first, and why; with `as_of`, in seconds since the epoch, as if it were
    asked then."""
    return [HitOut.model_validate(hit) for hit in state.memory.recall(caller.user_id, q, k, as_of=as_of, kinds=kind)]


@router.put("/memories/{memory_id}")
def correct(memory_id: str, body: CorrectionIn, caller: CurrentUser, state: AppState) -> Done:
    """Let a memory say something else; what it said before is kept until it is forgotten."""
    state.memory.correct(caller.user_id, memory_id, body.text)
    return Done()


@router.post("/memories/{memory_id}/undo")
def undo(memory_id: str, caller: CurrentUser, state: AppState) -> Done:
    """Take its last correction back."""
    state.memory.take_back_correction(caller.user_id, memory_id)
    return Done()


@router.get("/memories/{memory_id}/history")
def history(memory_id: str, caller: CurrentUser, state: AppState) -> list[VersionOut]:
    """What a memory said before, oldest first."""
    return [VersionOut.model_validate(row) for row in state.memory.history(caller.user_id, memory_id)]


@router.put("/memories/{memory_id}/scope")
def share(memory_id: str, body: ScopeIn, caller: CurrentUser, state: AppState) -> Done:
    """Share a memory with a society or everybody here, or take it back."""
    state.memory.set_scope(caller.user_id, memory_id, body.scope)
    return Done()


@router.delete("/memories/{memory_id}")
def forget(memory_id: str, caller: CurrentUser, state: AppState) -> Done:
    """Erase one memory, text and vector."""
    state.memory.forget(caller.user_id, memory_id)
    return Done()


@router.get("/memories/health")
def verify(caller: CurrentUser, state: AppState) -> FindingsOut:
    """Whether the index holds the caller's memories, and finds a sample of them by their own vectors."""
    return FindingsOut.model_validate(state.memory.verify(caller.user_id))


@router.post("/memories/rebuild", status_code=202)
def rebuild(caller: CurrentUser, state: AppState) -> QueuedOut:
    """Fill the caller's part of the index anew; recall goes on meanwhile."""
    return QueuedOut(queued=state.memory.rebuild(caller.user_id))


def _stored(state: State, caller: Caller, bodies: list[MemoryIn]) -> StoredOut:
    items = [
        NewMemory(
            body.text,
            speaker=body.speaker or caller.name,
            kind=body.kind,
            scope=body.scope,
            event_at=body.event_at,
            own=body.speaker in (None, caller.name),
            named=body.scope is not None,
        )
        for body in bodies
    ]
    ids = state.memory.remember(caller.user_id, items)
    return StoredOut(ids=ids, scopes=state.memory.scopes(caller.user_id, ids))
