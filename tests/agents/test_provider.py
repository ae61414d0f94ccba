"""Third-party models: litellm over a real connection to `transformers serve`, a server that is not ours."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agents.backend import AdapterRef
from agents.messages import Delta, Message, SamplingParams
from agents.provider import ProviderBackend
from personal_data.errors import BackendError, BackendTimeout, BackendUnavailable, ConfigurationError

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


def test_another_address_never_sees_the_environments_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-precious")
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def one_request() -> None:
            def handle() -> None:
                connection, _ = listener.accept()
                with connection:
                    seen.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")

            base = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
            handled = asyncio.create_task(asyncio.to_thread(handle))
            with pytest.raises(BackendError):
                await ProviderBackend("openai/x", api_base=base).complete(ASK, COLD)
            await handled

        asyncio.run(one_request())
    assert b"sk-precious" not in seen[0]


def test_importing_the_room_does_not_import_litellm() -> None:
    script = "import sys, agents.models; print({'litellm', 'torch', 'transformers', 'openai'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"
