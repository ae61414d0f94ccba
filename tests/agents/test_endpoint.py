"""The client of OpenAI-compatible servers, against our engine and against a server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from agents.backend import TOO_LONG, AdapterRef
from agents.endpoint import EndpointBackend
from agents.messages import Delta, Message, SamplingParams
from personal_data.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    FolkmootError,
    Overloaded,
    RequestRefused,
)
from tests.agents.running import TOKEN, Running

ASK = [Message("system", "You are Ada's agent."), Message("user", "What is the time? \ud800")]
WARM = SamplingParams(max_tokens=12, temperature=1.0, seed=3, logprobs=2)


def run(server: str, work: Callable[[EndpointBackend], object], *, timeout_s: float = 60.0, key: str = TOKEN) -> object:
    """Do something with a backend and close it."""

    async def main() -> object:
        backend = EndpointBackend(server, "tiny", api_key=key, timeout_s=timeout_s)
        try:
            return await work(backend)  # type: ignore[misc]
        finally:
            await backend.aclose()

    return asyncio.run(main())


async def _deltas(backend: EndpointBackend) -> list[Delta]:
    return [delta async for delta in backend.stream(ASK, WARM)]


def test_stream_and_whole_answer_agree(server: Running) -> None:
    deltas = run(server.url, _deltas)
    whole = run(f"{server.url}/v1/", lambda backend: backend.complete(ASK, WARM))
    assert "".join(delta.text for delta in deltas) == whole.text
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].finish_reason == whole.finish_reason
    assert deltas[-1].usage == whole.usage
    assert whole.usage.completion_tokens == 12
    assert whole.logprobs == tuple(entry for delta in deltas for entry in delta.logprobs)
    assert all(len(entry.top) == 2 for entry in whole.logprobs)


def test_an_adapter_is_loaded_when_it_is_needed(server: Running, adapters: dict[str, Path]) -> None:
    ref = AdapterRef("on-demand", adapters["adapter-3"])
    cold = SamplingParams(max_tokens=12)

    async def work(backend: EndpointBackend) -> list[str]:
        first = await backend.complete(ASK, cold, adapter=ref)
        assert first.model == "on-demand"
        httpx.post(
            f"{server.url}/v1/unload_lora_adapter",
            json={"lora_name": ref.name},
            headers={"authorization": f"Bearer {TOKEN}"},
        ).raise_for_status()
        together = await asyncio.gather(*(backend.complete(ASK, cold, adapter=ref) for _ in range(4)))
        return [first.text, *(each.text for each in together), (await backend.complete(ASK, cold)).text]

    *adapted, bare = run(server.url, work)
    assert len(set(adapted)) == 1
    assert bare not in adapted


def test_an_adapter_that_is_gone(server: Running, tmp_path: Path) -> None:
    ref = AdapterRef("gone", tmp_path / "gone")
    with pytest.raises(BackendError, match="missing") as caught:
        run(server.url, lambda backend: backend.complete(ASK, WARM, adapter=ref))
    assert type(caught.value) is BackendError  # no fault of the request


def test_refusals_carry_the_servers_words(server: Running) -> None:
    with pytest.raises(RequestRefused, match="context length") as refused:
        run(server.url, lambda backend: backend.complete(ASK, SamplingParams(max_tokens=1000)))
    assert (refused.value.status, refused.value.code) == (400, TOO_LONG)
    with pytest.raises(RequestRefused, match="temperature") as refused:
        run(server.url, lambda backend: backend.complete(ASK, SamplingParams(temperature=3.0)))
    assert (refused.value.status, refused.value.code) == (400, "invalid_value")
    with pytest.raises(BackendError, match="token is missing") as caught:
        run(server.url, lambda backend: backend.complete(ASK, WARM), key="guess")
    assert (type(caught.value), caught.value.status) == (BackendError, 401)


def test_a_busy_server_is_asked_again(server: Running) -> None:
    """24 answers from an engine that refuses beyond 8 rows and 8 waiting."""

    async def work(backend: EndpointBackend) -> list[object]:
        return await asyncio.gather(*(backend.complete(ASK, SamplingParams(max_tokens=60)) for _ in range(24)))

    assert len({whole.text for whole in run(server.url, work)}) == 1


def test_nobody_listens() -> None:
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        run("http://127.0.0.1:9", lambda backend: backend.complete(ASK, WARM))


def _event(**choice: object) -> bytes:
    return f"data: {json.dumps({'choices': [{'index': 0, **choice}]})}\n\n".encode()


_HELLO = _event(delta={"content": "hello"}, finish_reason=None)
_ODD = _event(
    delta={"content": "a\ud800\0b"},
    finish_reason=None,
    logprobs={"content": [{"token": "\0", "logprob": -1.0, "top_logprobs": []}]},
)
_END = _event(delta={}, finish_reason="stop")
_VLLM = {
    "message": "This model's maximum context length is 4096 tokens. However, you requested 5000.",
    "type": "BadRequestError",
    "param": None,
    "code": 400,
}
_FAULTS = {
    "cut": (200, [_HELLO], BackendUnavailable, True),
    "no-done": (200, [_HELLO, _END], BackendUnavailable, False),
    "no-end": (200, [_HELLO, b"data: [DONE]\n\n"], BackendUnavailable, False),
    "error": (200, [_HELLO, b'data: {"error": {"message": "boom"}}\n\n'], BackendUnavailable, False),
    "garbage": (200, [b"data: {{{\n\n"], BackendUnavailable, False),
    "shape": (200, [b'data: {"choices": [7]}\n\n'], BackendUnavailable, False),
    "text": (200, [_event(delta={"content": 7}, finish_reason=None)], BackendUnavailable, False),
    "endless": (200, [b"data: " + b"x" * (5 << 20)], BackendUnavailable, True),
    "odd": (200, [_ODD, _END, b"data: [DONE]\n\n"], None, False),
    "list": (200, [b"data: []\n\n"], BackendUnavailable, False),
    "slow": (200, [_HELLO, b"SLEEP"], BackendTimeout, False),
    "400": (400, [json.dumps({"error": _VLLM}).encode()], RequestRefused, False),
    "422": (422, [b'{"detail": "what?"}'], RequestRefused, False),
    "429": (429, [b"{}"], Overloaded, False),
    "500": (500, [b"<html>\noops\0"], BackendError, False),
    "503": (503, [b'{"error": "warming up"}'], BackendUnavailable, False),
    "504": (504, [b"{}"], BackendTimeout, False),
    "302": (302, [b""], BackendError, False),
}


class _Faulty(BaseHTTPRequestHandler):
    """Answers /<fault>/v1/chat/completions with that fault."""

    protocol_version = "HTTP/1.1"
    release = threading.Event()

    def do_POST(self) -> None:
        status, parts, _, cut = _FAULTS[self.path.split("/")[1]]
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(status)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for part in parts:
            if part == b"SLEEP":
                self.release.wait(30)
            elif part:
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        if not cut:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def faulty() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Faulty) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_port}"
        _Faulty.release.set()
        listener.shutdown()


@pytest.mark.parametrize("fault", [fault for fault, (_, _, expected, _) in _FAULTS.items() if expected])
def test_faults_are_told_apart(faulty: str, fault: str) -> None:
    expected = _FAULTS[fault][2]
    timeout_s = 0.5 if fault in ("slow", "429") else 60
    with pytest.raises(FolkmootError) as caught:
        run(f"{faulty}/{fault}", lambda backend: backend.complete(ASK, WARM), timeout_s=timeout_s)
    assert type(caught.value) is expected
    assert len(str(caught.value).splitlines()) == 1
    if isinstance(caught.value, RequestRefused):
        assert caught.value.code == (TOO_LONG if fault == "400" else None)


def test_odd_text_is_made_storable_and_missing_usage_stays_missing(faulty: str) -> None:
    whole = run(f"{faulty}/odd", lambda backend: backend.complete(ASK, WARM))
    assert (whole.text, whole.usage) == ("a\ufffd\ufffdb", None)
    assert whole.logprobs[0].token == "\ufffd"


def test_a_closed_stream_frees_the_row(server: Running) -> None:
    async def work(backend: EndpointBackend) -> None:
        deltas = backend.stream(ASK, SamplingParams(max_tokens=190, temperature=1.0))
        await anext(deltas)
        await deltas.aclose()
        for _ in range(400):
            if not server.metric("rows"):
                return
            await asyncio.sleep(0.05)
        pytest.fail("the row is still running")

    run(server.url, work)
