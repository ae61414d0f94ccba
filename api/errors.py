"""Where our error tree becomes HTTP: always `{"error": {message, type, param, code}}`, as OpenAI's clients expect.

The real SDKs pick their exception class by status and read `error.code`; FastAPI's own `{"detail": ...}` would reach
their users as a riddle. A message here is one line that says what to do, never a traceback or somebody's data.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError
from starlette.exceptions import HTTPException

from personal_data.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    Conflict,
    FolkmootError,
    IndexUnavailable,
    InvalidInput,
    NotFound,
    Overloaded,
    RequestRefused,
    StorageError,
    Unauthorized,
    UnsupportedParameter,
)

log = logging.getLogger(__name__)


class ModelNotFound(NotFound):
    """No such agent or society for this caller: unknown and foreign ones are never told apart."""


class PayloadTooLarge(InvalidInput):
    """The request body is larger than any request needs to be."""


class DebateFailed(BackendError):
    """A debate ended without a verdict. The same request again would start another one: no client should by itself."""


@dataclass(frozen=True, slots=True)
class _Kind:
    status: int
    type: str
    code: str | None


_KINDS: dict[type[FolkmootError], _Kind] = {
    PayloadTooLarge: _Kind(413, "invalid_request_error", "request_too_large"),
    UnsupportedParameter: _Kind(400, "invalid_request_error", "unsupported_parameter"),
    InvalidInput: _Kind(400, "invalid_request_error", "invalid_value"),
    Unauthorized: _Kind(401, "invalid_request_error", "invalid_api_key"),
    ModelNotFound: _Kind(404, "invalid_request_error", "model_not_found"),
    NotFound: _Kind(404, "invalid_request_error", "not_found"),
    Conflict: _Kind(409, "invalid_request_error", "conflict"),
    Overloaded: _Kind(429, "rate_limit_error", "overloaded"),
    BackendUnavailable: _Kind(503, "server_error", "model_unavailable"),
    BackendTimeout: _Kind(504, "server_error", "model_timeout"),
    RequestRefused: _Kind(400, "invalid_request_error", "invalid_value"),
    DebateFailed: _Kind(502, "server_error", "debate_failed"),
    BackendError: _Kind(502, "server_error", "model_error"),
    IndexUnavailable: _Kind(503, "server_error", "index_unavailable"),
    StorageError: _Kind(507, "server_error", "storage"),
    FolkmootError: _Kind(500, "server_error", None),
}


def body(message: str, type: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The error object that every failing answer carries."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


UNEXPECTED = body("something went wrong here; the server's log has the details", "server_error")


def describe(error: FolkmootError) -> dict[str, Any]:
    """The error object of one of our errors; also what a stream sends when it breaks off."""
    kind = _kind(error)
    param = "model" if isinstance(error, ModelNotFound) else getattr(error, "param", None)
    return body(str(error), kind.type, param=param, code=getattr(error, "code", None) or kind.code)


def response(error: FolkmootError) -> JSONResponse:
    """The whole HTTP answer for one of our errors; 429 says when to come back, refusals say not to."""
    kind = _kind(error)
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    elif kind.status < 500 or isinstance(error, DebateFailed):
        headers["x-should-retry"] = "false"
    if kind.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(describe(error), kind.status, headers)


def install(app: FastAPI) -> None:
    """Make every failure of `app`, whoever raised it, answer in this one shape."""
    app.add_exception_handler(FolkmootError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(IntegrityError, _taken)
    app.add_exception_handler(Exception, _unexpected)


def _kind(error: FolkmootError) -> _Kind:
    return next(_KINDS[cls] for cls in type(error).__mro__ if cls in _KINDS)


async def _ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FolkmootError)
    if _kind(error).status >= 500:
        log.warning("%s: %s", type(error).__name__, error)
    return response(error)


async def _validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    param = ".".join(where) or None
    if first["type"] == "extra_forbidden":
        return response(UnsupportedParameter(f"unsupported parameter: {param}", param=param))
    if first["type"] == "json_invalid":
        return response(InvalidInput("the request body is not valid JSON"))
    return response(InvalidInput(f"{param or 'request body'}: {first['msg']}", param=param))


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = {404: "unknown_url", 405: "method_not_allowed"}.get(error.status_code)
    message = {404: "no such URL", 405: "this URL has no such method"}.get(error.status_code, str(error.detail))
    return JSONResponse(body(message, "invalid_request_error", code=code), error.status_code, dict(error.headers or {}))


async def _taken(_request: Request, error: Exception) -> JSONResponse:
    """Two requests wanted the same name at the same moment and both found it free; the database let one have it."""
    assert isinstance(error, IntegrityError)
    if getattr(error.orig, "sqlstate", getattr(error.orig, "sqlite_errorname", None)) not in _NOT_UNIQUE:
        raise error
    return response(Conflict("somebody else did the same at this very moment, and it exists now"))


async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    """The traceback goes to the log (Starlette raises on after this answer); the caller learns nothing of it."""
    return JSONResponse(UNEXPECTED, 500)


_NOT_UNIQUE = ("23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")
