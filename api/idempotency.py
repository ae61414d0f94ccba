"""The `Idempotency-Key` header: a retried request does its work, and stores its turns, once."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header

from personal_data.errors import InvalidInput

_MAX_CHARS = 100


async def _request_id(idempotency_key: Annotated[str | None, Header()] = None) -> str | None:
    if idempotency_key is not None and not 0 < len(idempotency_key) <= _MAX_CHARS:
        raise InvalidInput(f"Idempotency-Key has 1-{_MAX_CHARS} characters", param="Idempotency-Key")
    return idempotency_key


RequestId = Annotated[str | None, Depends(_request_id)]
