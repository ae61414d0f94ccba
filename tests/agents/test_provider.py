"""Third-party models: litellm over a real connection to `transformers serve`, a server that is not ours."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.backend import TOO_LONG, AdapterRef
from agents.messages import Delta, Message, SamplingParams
from agents.provider import ProviderBackend
from personal_data.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    ConfigurationError,
    FolkmootError,
    Overloaded,
    RequestRefused,
    UnsupportedParameter,
)

ASK = [Message("user", "What is the time?")]
COLD = SamplingParams(max_tokens=8)


@pytest.fixture(scope="module")
def stranger(llama_folder: Path) -> Iterator[tuple[str, str]]:
    """URL and model name of a served tiny Llama."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(llama_folder), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1", f"openai/{llama_folder}"
    finally:
        process.terminate()
        process.wait(20)


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert process.poll() is None, "transformers serve has ended"
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("transformers serve did not start")


def ask(backend: ProviderBackend, params: SamplingParams = COLD) -> object:
    return asyncio.run(backend.complete(ASK, params))


def test_chat_both_ways(stranger: tuple[str, str]) -> None:
    url, model = stranger
    backend = ProviderBackend(model, api_base=url)

    async def streamed() -> list[Delta]:
        return [delta async for delta in backend.stream(ASK, COLD)]

    deltas = asyncio.run(streamed())
    whole = ask(backend)
    assert "".join(delta.text for delta in deltas) == whole.text == _asked_directly(url, model)
    assert whole.finish_reason == deltas[-1].finish_reason == "length"
    assert whole.usage == deltas[-1].usage
    assert whole.usage.completion_tokens == 8


def _asked_directly(url: str, model: str) -> str:
    """What the server streams to a client without litellm."""
    body = {
        "model": model.removeprefix("openai/"),
        "messages": [{"role": "user", "content": ASK[0].content}],
        "max_tokens": COLD.max_tokens,
        "temperature": 0,
        "stream": True,
    }
    lines = httpx.post(f"{url}/chat/completions", json=body, timeout=60).text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


@pytest.mark.parametrize(
    ("change", "params", "expected"),
    [
        ({"api_base": "http://127.0.0.1:9/v1"}, COLD, BackendUnavailable),
        ({"model": "nobody/knows"}, COLD, BackendError),
        ({"path": "/nothing"}, COLD, BackendError),
        ({"timeout_s": 0.02}, SamplingParams(max_tokens=200), BackendTimeout),
    ],
    ids=["away", "unknown", "not-found", "slow"],
)
def test_errors_are_ours(
    stranger: tuple[str, str], change: dict[str, object], params: SamplingParams, expected: type[Exception]
) -> None:
    url, model = stranger
    settings = {"model": model, "api_base": url + str(change.pop("path", "")), "api_key": "k", **change}
    with pytest.raises(BackendError) as caught:
        ask(ProviderBackend(**settings), params)  # type: ignore[arg-type]
    assert type(caught.value) is expected
    assert len(str(caught.value).splitlines()) == 1


def test_an_adapter_is_refused(tmp_path: Path) -> None:
    backend = ProviderBackend("openai/x")
    with pytest.raises(ConfigurationError, match="adapters"):
        asyncio.run(backend.complete(ASK, COLD, adapter=AdapterRef("a", tmp_path)))


class Scripted(ThreadingHTTPServer):
    """Answers every request in one way and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: tuple[int, bytes] = (400, b"{}")
        self.keys: list[str] = []
        self.bodies: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_POST(self) -> None:
        self.server.keys.append(str(self.headers))
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("content-type", "text/event-stream" if status == 200 else "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with Scripted() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_another_address_never_sees_the_environments_key(monkeypatch: pytest.MonkeyPatch, scripted: Scripted) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-precious")
    with pytest.raises(BackendError):
        ask(ProviderBackend("openai/x", api_base=f"{scripted.url}/v1"))
    assert "sk-precious" not in scripted.keys[0]


def _events(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def _openais(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


OPENAI = _events(_openais({"role": "assistant", "content": "4\ud800\0"}), _openais({}, "stop")) + b"data: [DONE]\n\n"
_BEGIN = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "c", "usage": {"input_tokens": 5}}
ANTHROPIC = _events(
    {"type": "message_start", "message": _BEGIN},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "4\ud800\0"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
)
MEMBER = SamplingParams(max_tokens=8, temperature=0.5, seed=3)


@pytest.mark.parametrize(
    ("model", "path", "answer", "sent"),
    [
        ("openai/x", "/v1", OPENAI, {"temperature", "seed"}),
        ("openai/o3-mini", "/v1", OPENAI, {"seed"}),
        ("openai/gpt-5", "/v1", OPENAI, {"seed"}),
        ("anthropic/claude-sonnet-4-5", "", ANTHROPIC, {"temperature"}),
    ],
)
def test_a_model_is_spared_what_it_does_not_know(
    scripted: Scripted, model: str, path: str, answer: bytes, sent: set[str]
) -> None:
    """What a debate sends to each of its members; the text is made storable on both ways."""
    scripted.answer = (200, answer)
    backend = ProviderBackend(model, api_base=scripted.url + path, api_key="k")
    whole = asyncio.run(backend.complete([Message("user", "2 + 2? \ud800\0")], MEMBER))
    assert whole.text == "4\ufffd\ufffd"
    assert {"temperature", "seed"} & scripted.bodies[0].keys() == sent
    assert "2 + 2? \ufffd\ufffd" in json.dumps(scripted.bodies[0], ensure_ascii=False)


@pytest.mark.parametrize(
    ("model", "params", "param"),
    [
        ("openai/gpt-5", SamplingParams(stop=("x",)), "stop"),
        ("anthropic/claude-sonnet-4-5", SamplingParams(logprobs=0), "logprobs"),
    ],
)
def test_what_changes_an_answer_is_never_dropped(
    scripted: Scripted, model: str, params: SamplingParams, param: str
) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        ask(ProviderBackend(model, api_base=scripted.url, api_key="k"), params)
    assert caught.value.param == param
    assert scripted.bodies == []


@pytest.mark.parametrize(
    ("status", "error", "expected", "code"),
    [
        (400, {"message": "no such value", "code": "invalid_value"}, RequestRefused, "invalid_value"),
        (400, {"message": "This model's maximum context length is 9 tokens", "code": 400}, RequestRefused, TOO_LONG),
        (402, {"message": "pay first", "code": "poor"}, BackendError, None),
        (429, {"message": "slowly", "code": "rate_limit"}, Overloaded, None),
    ],
)
def test_refusals_are_told_apart(
    scripted: Scripted, status: int, error: dict[str, Any], expected: type[Exception], code: str | None
) -> None:
    scripted.answer = (status, json.dumps({"error": error}).encode())
    with pytest.raises(FolkmootError) as caught:
        ask(ProviderBackend("openai/x", api_base=f"{scripted.url}/v1", api_key="k"))
    assert type(caught.value) is expected
    assert getattr(caught.value, "code", None) == code


def test_importing_the_room_does_not_import_litellm() -> None:
    script = "import sys, agents.models; print({'litellm', 'torch', 'transformers', 'openai'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"
