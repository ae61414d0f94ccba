"""Who is calling: the dependencies that routes declare. The owner of everything a request touches comes from here and
from nowhere else.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from api import keys
from api.keys import Caller
from api.state import AppState
from personal_data.errors import NotFound, Unauthorized


def _credential(request: Request) -> str:
    """The one key of a request: `Authorization: Bearer`, or `api-key` as some clients send it."""
    bearers = request.headers.getlist("authorization")
    plain = request.headers.getlist("api-key")
    if len(bearers) + len(plain) != 1:
        raise Unauthorized("send one API key, as `Authorization: Bearer fm_...`")
    if plain:
        return plain[0]
    scheme, _, value = bearers[0].partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("send the API key as `Authorization: Bearer fm_...`")
    return value.strip()


def _caller(request: Request, state: AppState) -> Caller:
    credential = _credential(request)
    with state.database.reading() as session:
        return keys.authenticate(session, credential)


def _admin(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
    if not caller.admin:
        raise NotFound("no such URL")
    return caller


CurrentUser = Annotated[Caller, Depends(_caller)]
Admin = Annotated[Caller, Depends(_admin)]
