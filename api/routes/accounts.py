"""People and their keys."""

from __future__ import annotations

from fastapi import APIRouter

from agents.directory import create_user
from api import keys
from api.auth import Admin, CurrentUser
from api.schemas import KeyIn, KeyOut, NewKeyOut, NewUserOut, UserIn, UserOut
from api.state import AppState
from personal_data.errors import InvalidInput

router = APIRouter(prefix="/api", tags=["accounts"])


@router.post("/users", status_code=201)
def add_user(body: UserIn, _admin: Admin, state: AppState) -> NewUserOut:
    """Add a person with their agent; the answer holds their first key."""
    model = body.model or state.settings.default_model
    if model not in state.settings.models:
        known = ", ".join(sorted(state.settings.models))
        raise InvalidInput(f"no model {model!r} is configured; there are: {known}", param="model")
    with state.database.session() as session:
        user = create_user(session, handle=body.handle, name=body.name, model=model)
        _, credential = keys.create_key(session, user.id, "first")
        return NewUserOut(user=UserOut.model_validate(user), key=credential)


@router.get("/me")
def me(caller: CurrentUser) -> UserOut:
    """Whom the key belongs to."""
    return UserOut(id=caller.user_id, handle=caller.handle, name=caller.name, admin=caller.admin)


@router.post("/keys", status_code=201)
def add_key(body: KeyIn, caller: CurrentUser, state: AppState) -> NewKeyOut:
    """One more key for the caller."""
    with state.database.session() as session:
        key, credential = keys.create_key(session, caller.user_id, body.label)
        return NewKeyOut(**KeyOut.model_validate(key).model_dump(), key=credential)


@router.get("/keys")
def listing(caller: CurrentUser, state: AppState) -> list[KeyOut]:
    """The caller's keys, without their secrets."""
    with state.database.reading() as session:
        return [KeyOut.model_validate(key) for key in keys.list_keys(session, caller.user_id)]


@router.delete("/keys/{key_id}")
def revoke(key_id: str, caller: CurrentUser, state: AppState) -> KeyOut:
    """Revoke a key; it is useless from this answer on."""
    with state.database.session() as session:
        return KeyOut.model_validate(keys.revoke_key(session, caller.user_id, key_id))
