"""What every request passes before anything parses it: the Host allow-list and the size of its body.

Plain ASGI, in front of the application. A page on the internet may point its own name at 127.0.0.1 (DNS rebinding);
its requests then carry that name as Host, so a server on loopback answers to loopback names only.
"""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from personal_data.errors import InvalidInput

MAX_BODY_BYTES = 16 * 2**20


class HostGuard:
    """Answers 421 to a Host that is not in `allowed` (names without port)."""

    def __init__(self, app: ASGIApp, allowed: frozenset[str]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._welcome(scope):
            refusal = JSONResponse(
                errors.body("this server does not answer to that Host", "invalid_request_error", code="wrong_host"), 421
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _welcome(self, scope: Scope) -> bool:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        return len(hosts) == 1 and _without_port(hosts[0].decode("latin-1")) in self._allowed


class BodyGuard:
    """Reads the body before the application does and answers 413 when it is larger than `limit` bytes.

    A body that says its length is refused before a byte of it is read; one that lies or does not say, as soon as it
    has passed the limit. The routes in `streamed`, (method, path), read their own body, after the caller is known, and
    have limits of their own.
    """

    def __init__(
        self, app: ASGIApp, limit: int = MAX_BODY_BYTES, streamed: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        self._app = app
        self._limit = limit
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) in self._streamed:
            await self._app(scope, receive, send)
            return
        try:
            first = await self._read(scope, receive)
        except InvalidInput as error:
            await errors.response(error)(scope, receive, send)
            return

        pending = [first]

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> Message:
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        self._check(int(declared) if declared.isdigit() else 0)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            self._check(len(body))
            if not message.get("more_body", False):
                return {"type": "http.request", "body": bytes(body), "more_body": False}

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise errors.PayloadTooLarge(f"the request body is larger than {self._limit // 2**20} MiB; split it")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
