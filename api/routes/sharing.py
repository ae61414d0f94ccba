"""What others may see of the caller: grants, what an audience would see, and what was shown."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import CurrentUser
from api.schemas import DisclosureOut, GrantIn, GrantOut, HitOut, MemoryOut, Scope, ShownOut
from api.state import AppState
from personal_data import sharing

router = APIRouter(prefix="/api", tags=["sharing"])


@router.post("/grants", status_code=201)
def grant(body: GrantIn, caller: CurrentUser, state: AppState) -> GrantOut:
    """Let an audience see what is about something, or sensitive kinds of what its scope shows already."""
    with state.database.session() as session:
        made = sharing.grant(
            session, caller.user_id, body.audience, about=body.about, kinds=body.kinds, until=body.until
        )
        return GrantOut.model_validate(made)


@router.get("/grants")
def grants(caller: CurrentUser, state: AppState) -> list[GrantOut]:
    """The caller's grants, newest first, those that have ended too."""
    with state.database.reading() as session:
        return [GrantOut.model_validate(found) for found in sharing.grants(session, caller.user_id)]


@router.delete("/grants/{grant_id}")
def withdraw(grant_id: str, caller: CurrentUser, state: AppState) -> GrantOut:
    """Take a grant back; it counts for nothing at the next recall."""
    with state.database.session() as session:
        return GrantOut.model_validate(sharing.withdraw(session, caller.user_id, grant_id))


@router.get("/sharing/preview")
def preview(
    audience: Annotated[Scope, Query()],
    caller: CurrentUser,
    state: AppState,
    q: Annotated[str | None, Query(min_length=1, max_length=4000)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[str | None, Query(max_length=40)] = None,
) -> ShownOut:
    """What an audience would see of the caller: all of it, and with `q` what would be recalled for a question."""
    shown = state.memory.shown_to(caller.user_id, audience, limit=limit, before=before)
    hits = [] if q is None else state.memory.recall(caller.user_id, q, 8, audience=audience)
    return ShownOut(
        count=shown.count,
        memories=[MemoryOut.model_validate(row) for row in shown.page],
        hidden=dict(shown.hidden),
        recalled=[HitOut.model_validate(hit) for hit in hits],
    )


@router.get("/disclosures")
def shown(caller: CurrentUser, state: AppState) -> list[DisclosureOut]:
    """Every memory of the caller that a debate has seen."""
    with state.database.reading() as session:
        return [DisclosureOut.model_validate(row) for row in sharing.disclosures(session, caller.user_id)]
