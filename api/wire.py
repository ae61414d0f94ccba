"""Reading Folkmoot's HTTP answers: errors back into our error tree, server-sent events into (name, data)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from personal_data.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    Conflict,
    FolkmootError,
    InvalidInput,
    NotFound,
    Overloaded,
    Unauthorized,
    UnsupportedParameter,
)

_BY_STATUS: dict[int, type[FolkmootError]] = {
    400: InvalidInput,
    401: Unauthorized,
    404: NotFound,
    409: Conflict,
    413: InvalidInput,
    429: Overloaded,
    502: BackendError,
    503: BackendUnavailable,
    504: BackendTimeout,
}


@contextmanager
def told_plainly(base_url: str) -> Iterator[None]:
    """Turn what goes wrong on the way into errors that say what to do."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise BackendTimeout(f"Folkmoot at {base_url} did not answer in time") from error
    except httpx.ConnectError as error:
        raise BackendUnavailable(f"nothing answers at {base_url}: is `folkmoot serve` running?") from error
    except httpx.TransportError as error:
        raise BackendUnavailable(f"the connection to {base_url} broke off: {error}") from error


def raise_for(answer: httpx.Response) -> None:
    """Raise the error that a refusal stands for, or an answer that leads elsewhere."""
    if answer.is_success:
        return
    try:
        told = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        raise BackendError(f"HTTP {answer.status_code}: {answer.text[:200]}", status=answer.status_code) from None
    raise _error(told, answer.status_code)


def content(answer: httpx.Response, *, besides: int | None = None) -> Any:
    """The JSON of an answer that is no refusal, or has the status `besides`.

    Raises:
        FolkmootError: it is a refusal, or something else answers there.
    """
    if answer.status_code != besides:
        raise_for(answer)
    try:
        return answer.json()
    except ValueError:
        raise BackendError(f"{answer.url} answers, but not in JSON: is that a Folkmoot?") from None


def _error(told: dict[str, Any], status: int) -> FolkmootError:
    message = str(told.get("message"))
    if told.get("code") == "unsupported_parameter":
        return UnsupportedParameter(message, param=told.get("param"))
    kind = _BY_STATUS.get(status, BackendError)
    if issubclass(kind, InvalidInput):
        return kind(message, param=told.get("param"))
    return kind(message)


def events(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, data) of each server-sent event; our own events and OpenAI's chunks alike."""
    name = "message"
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line == "data: [DONE]":
            return
        elif line.startswith("data: "):
            data = json.loads(line[6:])
            if "error" in data and name == "message":
                raise _error(data["error"], 502)
            yield name, data
            name = "message"
