"""Taking all of one's data along, bringing it in elsewhere, and erasing it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from typing import IO

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from agents.adapters import AdapterStore
from api import erasures
from api.auth import CurrentUser
from api.errors import PayloadTooLarge
from api.preflight import check_space
from api.schemas import EraseIn, ErasureOut, RestoredOut
from api.state import AppState
from personal_data.erasure.targets import read_wish
from personal_data.errors import InvalidInput, NotFound
from personal_data.portability.export import export
from personal_data.portability.restore import restore
from personal_data.records import Erasure, User

router = APIRouter(prefix="/api", tags=["portability"])

STREAMED = ("POST", "/api/restore")
"""Reads its own body."""
MAX_ARCHIVE_BYTES = 64 * 2**30
_CHUNK = 2**20


@router.get("/export", response_class=StreamingResponse)
def take_along(caller: CurrentUser, state: AppState) -> Response:
    """All of the caller's data as one zip: JSON lines, adapters, a manifest. It holds no key and nobody else's data."""
    archive = tempfile.TemporaryFile(dir=state.settings.data_dir)  # noqa: SIM115 - closed when it has been sent
    try:
        export(state.database, AdapterStore(state.settings.adapters_dir), caller.user_id, archive)
        size = archive.tell()
        archive.seek(0)
    except BaseException:
        archive.close()
        raise
    headers = {
        "Content-Disposition": f'attachment; filename="folkmoot-{caller.handle}.zip"',
        "Content-Length": str(size),
        "Cache-Control": "no-store",
    }
    return StreamingResponse(
        _pieces(archive), media_type="application/zip", headers=headers, background=BackgroundTask(archive.close)
    )


@router.post("/restore")
async def bring_in(request: Request, caller: CurrentUser, state: AppState) -> RestoredOut:
    """Bring in what an archive of `GET /api/export` holds; the body is the zip itself. Twice gives the same as once."""
    await asyncio.to_thread(check_space, state.settings.data_dir, state.settings.min_free_bytes)
    with tempfile.TemporaryFile(dir=state.settings.data_dir) as upload:  # without a name: no crash leaves it behind
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > MAX_ARCHIVE_BYTES:
                raise PayloadTooLarge(f"an archive has {MAX_ARCHIVE_BYTES // 2**30} GiB at most", param="archive")
            await asyncio.to_thread(upload.write, piece)
        store = AdapterStore(state.settings.adapters_dir)
        done = await asyncio.to_thread(restore, state.database, store, caller.user_id, upload)
    return RestoredOut.model_validate(done.as_json())


@router.post("/erase", status_code=202)
def erase(body: EraseIn, caller: CurrentUser, state: AppState) -> ErasureOut:
    """Erase a memory, what came from one source, or everything, down to the bytes on the disk.

    It goes on in the background; the receipt is read at `/api/erasures/{id}`. When everything is erased the answer
    comes at the end and is the receipt: the caller's keys work no more.
    """
    if body.everything and body.confirm != caller.handle:
        raise InvalidInput("to erase everything, confirm it with your own handle", param="confirm")
    with state.database.session() as session:
        wish = read_wish(session, caller.user_id, memory=body.memory, source=body.source, everything=body.everything)
        begun = erasures.begin(session, caller.user_id, wish)
        answer = ErasureOut.model_validate(begun)
    if body.everything:
        return ErasureOut.model_validate(state.eraser.carry_out(answer.id))
    state.eraser.ring()
    return answer


@router.get("/erasures/{erasure_id}")
def receipt(erasure_id: str, caller: CurrentUser, state: AppState) -> ErasureOut:
    """How far an erasure is, what it removed and what it could not; the administrator reads those of who is gone."""
    with state.database.reading() as session:
        found = session.get(Erasure, erasure_id)
        orphan = found is not None and caller.admin and session.get(User, found.user_id) is None
        if found is None or not (found.user_id == caller.user_id or orphan):
            raise NotFound(f"no erasure {erasure_id}")
        return ErasureOut.model_validate(found)


def _pieces(archive: IO[bytes]) -> Iterator[bytes]:
    while piece := archive.read(_CHUNK):
        yield piece
