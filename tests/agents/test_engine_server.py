"""The engine's process over a real socket, with the real `openai` client."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from random import Random

import httpx
import numpy as np
import openai
import pytest

from agents.adapters import read_adapter
from agents.engine.base import load_base
from agents.engine.lora import AdapterStack
from agents.engine.policy import EnginePolicy
from agents.engine.server import _listen
from agents.messages import Message, SamplingParams
from tests.agents.running import ROOT, TOKEN, Running, environment

ASK = [{"role": "user", "content": "What is the time?"}]


@pytest.fixture(scope="module")
def policy(qwen3_folder: Path) -> EnginePolicy:
    base = load_base(str(qwen3_folder))
    return EnginePolicy(base, AdapterStack(base, slots=1, rank=1))


def test_chat_says_what_the_library_says(server: Running, policy: EnginePolicy) -> None:
    reply = server.client.chat.completions.create(model="tiny", messages=ASK, max_tokens=20, temperature=0)
    expected = policy.sample([[Message("user", "What is the time?")]], 1, SamplingParams(max_tokens=20), slot=0)[0][0]
    assert reply.object == "chat.completion"
    assert reply.choices[0].message.content == expected.text
    assert reply.choices[0].finish_reason == expected.finish_reason
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == len(expected.prompt_ids)
    assert reply.usage.total_tokens == len(expected.prompt_ids) + len(expected.token_ids)


def test_stream_is_the_whole_reply_in_pieces(server: Running) -> None:
    asked = {"model": "tiny", "messages": ASK, "max_tokens": 40, "temperature": 1.0, "seed": 3}
    whole = server.client.chat.completions.create(**asked)
    chunks = list(server.client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].choices[0].delta.content == ""
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks[:-2])
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_framing(server: Running) -> None:
    body = {"model": "tiny", "messages": ASK, "max_tokens": 3, "stream": True, "temperature": 0}
    reply = httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=_auth())
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = reply.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    bodies = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert all("usage" not in chunk and "finish_reason" in chunk["choices"][0] for chunk in bodies)
    assert bodies[-1]["choices"][0]["delta"] == {}


def _auth() -> dict[str, str]:
    return {"authorization": f"Bearer {TOKEN}"}


def test_seeds_and_samples(server: Running) -> None:
    def texts(seed: int, n: int) -> list[str | None]:
        reply = server.client.chat.completions.create(
            model="tiny", messages=ASK, max_tokens=12, temperature=1, seed=seed, n=n
        )
        assert [choice.index for choice in reply.choices] == list(range(n))
        return [choice.message.content for choice in reply.choices]

    assert texts(1, 4) == texts(1, 4)
    assert len(set(texts(1, 4))) == 4
    assert texts(1, 1) == texts(1, 4)[:1]
    assert texts(2, 1) != texts(1, 1)


def test_streamed_samples_are_told_apart(server: Running) -> None:
    asked = {"model": "tiny", "messages": ASK, "max_tokens": 12, "temperature": 1.0, "seed": 4, "n": 3}
    whole = server.client.chat.completions.create(**asked)
    parts = ["", "", ""]
    for chunk in server.client.chat.completions.create(**asked, stream=True):
        parts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert parts == [choice.message.content for choice in whole.choices]


def test_top_k_one_is_greedy(server: Running) -> None:
    asked = {"model": "tiny", "messages": ASK, "max_tokens": 12}
    greedy = server.client.chat.completions.create(**asked, temperature=0)
    narrow = server.client.chat.completions.create(**asked, temperature=1.5, extra_body={"top_k": 1})
    tiny_p = server.client.chat.completions.create(**asked, temperature=1.5, top_p=1e-6)
    assert narrow.choices[0].message.content == greedy.choices[0].message.content == tiny_p.choices[0].message.content


def test_a_stop_string_across_tokens_is_never_shown(server: Running) -> None:
    asked = {"model": "tiny", "messages": ASK, "max_tokens": 40, "temperature": 1, "seed": 8}
    whole = server.client.chat.completions.create(**asked, logprobs=True).choices[0]
    text = whole.message.content or ""
    assert whole.logprobs is not None
    tokens = [entry.token for entry in whole.logprobs.content or ()]
    pairs = [first[-1] + second[0] for first, second in pairwise(tokens[3:])]
    stop = next(pair for pair in pairs if "\ufffd" not in pair and pair in text)
    cut = server.client.chat.completions.create(**asked, stop=["not there", stop]).choices[0]
    assert cut.finish_reason == "stop"
    assert cut.message.content == text[: text.index(stop)]
    streamed = list(server.client.chat.completions.create(**asked, stop=stop, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == cut.message.content
    assert streamed[-1].choices[0].finish_reason == "stop"


def test_chat_logprobs(server: Running) -> None:
    asked = {"model": "tiny", "messages": ASK, "max_tokens": 6, "temperature": 0, "logprobs": True, "top_logprobs": 3}
    whole = server.client.chat.completions.create(**asked).choices[0].logprobs
    assert whole is not None
    assert whole.content is not None
    for entry in whole.content:
        assert len(entry.top_logprobs) == 3
        assert entry.top_logprobs[0].logprob == entry.logprob  # greedy: the token is the best alternative
        assert entry.bytes == list(entry.token.encode())
    streamed = []
    for chunk in server.client.chat.completions.create(**asked, stream=True):
        if (logprobs := chunk.choices[0].logprobs) and logprobs.content:
            streamed += logprobs.content
    assert [entry.logprob for entry in streamed] == [entry.logprob for entry in whole.content]


def test_plain_completions(server: Running, policy: EnginePolicy) -> None:
    ids = policy.base.encode([Message("user", "What is the time?")])
    chat = server.client.chat.completions.create(model="tiny", messages=ASK, max_tokens=8, temperature=0)
    reply = server.client.completions.create(
        model="tiny", prompt=[ids, ids], max_tokens=8, temperature=0, logprobs=2, n=1
    )
    assert [choice.text for choice in reply.choices] == [chat.choices[0].message.content] * 2
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert logprobs.token_logprobs is not None
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == 8
    text = server.client.completions.create(model="tiny", prompt="What is", max_tokens=8, temperature=0)
    streamed = server.client.completions.create(
        model="tiny", prompt="What is", max_tokens=8, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in streamed) == text.choices[0].text


def test_adapters_by_name(server: Running, adapters: dict[str, Path], qwen3_folder: Path) -> None:
    """More adapters than slots, all at once: each request is answered through its own."""
    for name, folder in adapters.items():
        for _ in range(2):  # the same again is no change
            reply = httpx.post(
                f"{server.url}/v1/load_lora_adapter",
                json={"lora_name": name, "lora_path": str(folder)},
                headers=_auth(),
            )
            assert reply.status_code == 200
    assert set(adapters) < {card.id for card in server.client.models.list()}
    expected = _expected(qwen3_folder, adapters)
    with ThreadPoolExecutor(8) as pool:
        names = [*expected] * 4
        answers = list(pool.map(lambda name: _greedy(server, name), names))
    assert answers == [expected[name] for name in names]
    assert len(set(expected.values())) == 4
    assert server.metric("adapters_resident") == 2
    name = next(iter(adapters))
    assert (
        httpx.post(f"{server.url}/v1/unload_lora_adapter", json={"lora_name": name}, headers=_auth()).status_code == 200
    )
    with pytest.raises(openai.NotFoundError):
        _greedy(server, name)


def _greedy(server: Running, model: str) -> str | None:
    reply = server.client.chat.completions.create(model=model, messages=ASK, max_tokens=12, temperature=0)
    return reply.choices[0].message.content


def _expected(base_folder: Path, adapters: dict[str, Path]) -> dict[str, str]:
    base = load_base(str(base_folder))
    stack = AdapterStack(base, slots=4, rank=8)
    policy = EnginePolicy(base, stack)
    ask = [[Message("user", "What is the time?")]]
    texts = {}
    for slot, name in enumerate(["tiny", *adapters]):
        if slot:
            stack.load(slot, read_adapter(adapters[name], base_sha256=base.sha256))
        texts[name] = policy.sample(ask, 1, SamplingParams(max_tokens=12), slot=slot)[0][0].text
    return texts


def test_an_adapter_that_cannot_be_loaded(server: Running, adapters: dict[str, Path], tmp_path: Path) -> None:
    def load(name: str, path: Path) -> httpx.Response:
        body = {"lora_name": name, "lora_path": str(path)}
        return httpx.post(f"{server.url}/v1/load_lora_adapter", json=body, headers=_auth())

    (tmp_path / "adapter_config.json").write_text("{}")
    for reply in (load("bad", tmp_path), load("bad", tmp_path / "nothing"), load("tiny", adapters["adapter-1"])):
        assert reply.status_code == 400
        assert reply.json()["error"]["message"]
    assert "bad" not in {card.id for card in server.client.models.list()}


REFUSED = [
    ({"model": "nobody"}, 404, "model_not_found", "model"),
    ({"tools": [{"type": "function"}]}, 400, "unsupported_parameter", "tools"),
    ({"response_format": {"type": "json_object"}}, 400, "unsupported_parameter", "response_format"),
    ({"frequency_penalty": 0.5}, 400, "unsupported_parameter", "frequency_penalty"),
    ({"shoe_size": 44}, 400, "unsupported_parameter", "shoe_size"),
    ({"max_tokens": 250}, 400, "context_length_exceeded", "messages"),
    ({"messages": [{"role": "user", "content": "x " * 300}]}, 400, "context_length_exceeded", "messages"),
    ({"messages": []}, 400, "invalid_value", "messages"),
    ({"messages": [{"role": "tool", "content": "x"}]}, 400, "invalid_value", "messages"),
    ({"temperature": 3}, 400, "invalid_value", "temperature"),
    ({"temperature": "warm"}, 400, "invalid_value", "temperature"),
    ({"top_p": 0}, 400, "invalid_value", "top_p"),
    ({"n": 9}, 400, "invalid_value", "n"),
    ({"n": 10**9}, 400, "invalid_value", "n"),
    ({"top_k": 10**30}, 400, "invalid_value", "top_k"),
    ({"stop": [""]}, 400, "invalid_value", "stop"),
    ({"top_logprobs": 21, "logprobs": True}, 400, "invalid_value", "top_logprobs"),
]


@pytest.mark.parametrize(("change", "status", "code", "param"), REFUSED, ids=lambda value: str(value)[:40])
def test_refusals_have_openais_shape(server: Running, change: dict, status: int, code: str, param: str) -> None:
    body = {"model": "tiny", "messages": ASK, **change}
    for stream in (False, True):
        reply = httpx.post(f"{server.url}/v1/chat/completions", json={**body, "stream": stream}, headers=_auth())
        assert reply.status_code == status
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        assert reply.json()["error"]["code"] == code
        assert reply.json()["error"]["param"] == param


def test_neutral_values_are_accepted(server: Running) -> None:
    neutral = {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "tools": None, "user": "ada"}
    reply = server.client.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": " the time?"}]}
        ],
        max_completion_tokens=5,
        temperature=0,
        response_format={"type": "text"},
        extra_body=neutral,
    )
    plain = server.client.chat.completions.create(model="tiny", messages=ASK, max_tokens=5, temperature=0)
    assert reply.choices[0].message.content == plain.choices[0].message.content


@pytest.mark.parametrize(
    ("change", "param"),
    [({"prompt": []}, "prompt"), ({"prompt": [[]]}, "prompt"), ({"prompt": ["x"] * 9}, "prompt"), ({"n": 10**9}, "n")],
    ids=["none", "empty", "too-many", "samples"],
)
def test_prompts_that_cannot_be_served(server: Running, change: dict, param: str) -> None:
    body = {"model": "tiny", "prompt": "x", "max_tokens": 1, **change}
    reply = httpx.post(f"{server.url}/v1/completions", json=body, headers=_auth())
    assert reply.status_code == 400
    assert (reply.json()["error"]["code"], reply.json()["error"]["param"]) == ("invalid_value", param)


def test_a_top_k_beyond_the_vocabulary_hides_nothing(server: Running) -> None:
    asked = {"model": "tiny", "messages": ASK, "max_tokens": 12, "temperature": 1, "seed": 5}
    whole = server.client.chat.completions.create(**asked).choices[0].message.content
    wide = server.client.chat.completions.create(**asked, extra_body={"top_k": 2**62}).choices[0].message.content
    assert wide == whole


DEEP = b'{"model": "tiny", "messages": ' + b"[" * 700 + b"]" * 700 + b"}"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": ' + b"[" * 100_000, DEEP, b"\xff\xfe"])
def test_bodies_that_are_no_json(server: Running, body: bytes) -> None:
    reply = httpx.post(f"{server.url}/v1/chat/completions", content=body, headers=_auth())
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "invalid_value"


def test_lone_surrogates_do_no_harm(server: Running) -> None:
    body = '{"model": "tiny", "messages": [{"role": "user", "content": "a \\ud800 b"}], "max_tokens": 3}'
    assert httpx.post(f"{server.url}/v1/chat/completions", content=body, headers=_auth()).status_code == 200
    body = '{"model": "\\udfff", "messages": [{"role": "user", "content": "a"}]}'
    reply = httpx.post(f"{server.url}/v1/chat/completions", content=body, headers=_auth())
    assert reply.status_code == 404
    assert "\ufffd" in reply.json()["error"]["message"]


def test_nobody_enters_without_the_token(server: Running) -> None:
    stranger = openai.OpenAI(base_url=f"{server.url}/v1", api_key="guess", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        stranger.models.list()
    assert caught.value.code == "invalid_api_key"
    url = f"{server.url}/v1/models"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers=[("authorization", f"Bearer {TOKEN}")] * 2).status_code == 401
    assert httpx.get(f"{server.url}//v1/models").status_code == 401
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}


def test_unknown_paths_and_methods(server: Running) -> None:
    for reply, status in (
        (httpx.get(f"{server.url}/v1/nothing", headers=_auth()), 404),
        (httpx.get(f"{server.url}/v1/chat/completions", headers=_auth()), 405),
    ):
        assert reply.status_code == status
        assert reply.json()["error"]["message"]
    assert server.client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError):
        server.client.models.retrieve("nobody")


def test_embeddings(server: Running) -> None:
    texts = ["A man is eating food.", "Someone eats a meal.", "The rocket reached orbit at dawn."]
    plain = server.client.embeddings.create(model="all-MiniLM-L6-v2", input=texts, encoding_format="float")
    vectors = np.array([entry.embedding for entry in plain.data])
    assert vectors.shape == (3, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.4
    packed = httpx.post(
        f"{server.url}/v1/embeddings",
        json={"model": "all-MiniLM-L6-v2", "input": texts[0], "encoding_format": "base64"},
        headers=_auth(),
    ).json()["data"][0]["embedding"]
    assert np.allclose(np.frombuffer(base64.b64decode(packed), "<f4"), vectors[0], atol=1e-5)
    with pytest.raises(openai.BadRequestError):
        server.client.embeddings.create(model="all-MiniLM-L6-v2", input="x", dimensions=7)
    with pytest.raises(openai.NotFoundError):
        server.client.embeddings.create(model="tiny", input="x")


def test_cancelled_clients_leave_nothing_behind(server: Running) -> None:
    """50 clients that go away, streaming or not, half of them before their first token."""
    before, failed = server.metric("cancelled_total"), server.metric("failed_total")

    def leave(number: int) -> None:
        body = {"model": "tiny", "messages": ASK, "max_tokens": 200, "n": 4, "temperature": 1, "ignored": None}
        with httpx.Client(timeout=httpx.Timeout(30, read=0.02 if number % 2 else 30)) as client:
            try:
                body["stream"] = number % 4 != 1
                with client.stream("POST", f"{server.url}/v1/chat/completions", json=body, headers=_auth()) as reply:
                    next(reply.iter_raw(), None)
            except httpx.ReadTimeout:
                pass

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(leave, range(50)))
    for _ in range(400):
        if not (server.metric("rows") or server.metric("prompts_waiting")):
            break
        time.sleep(0.05)
    assert server.metric("rows") == server.metric("prompts_waiting") == server.metric("adapters_pinned") == 0
    assert server.metric("cancelled_total") > before
    assert server.metric("failed_total") == failed
    assert _greedy(server, "tiny")


def test_a_thousand_clients_that_go_away_leak_no_slot(server: Running, adapters: dict[str, Path]) -> None:
    """Connections that break at any moment, or with the first token; eight at a time, three adapters in two slots."""
    for name, path in adapters.items():
        loaded = {"lora_name": name, "lora_path": str(path)}
        httpx.post(f"{server.url}/v1/load_lora_adapter", json=loaded, headers=_auth()).raise_for_status()
    host, port = server.url.removeprefix("http://").split(":")
    rng, gate = Random(3), asyncio.Semaphore(8)

    async def leave(number: int) -> None:
        model = rng.choice(["tiny", *adapters])
        body = {"model": model, "prompt": [5] * rng.randint(1, 60), "max_tokens": 150, "stream": number % 2 == 0}
        content = json.dumps(body)
        head = f"POST /v1/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\n"
        async with gate:
            reader, writer = await asyncio.open_connection(host, int(port))
            fields = f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
            writer.write(f"{head}{fields}\r\n{content}".encode())
            await writer.drain()
            await (reader.readline() if body["stream"] else asyncio.sleep(rng.random() * 0.02))
            writer.transport.abort()

    async def everybody() -> None:
        await asyncio.gather(*(leave(number) for number in range(1000)))

    before = server.metric("cancelled_total")
    asyncio.run(everybody())
    for _ in range(400):
        if not (server.metric("rows") or server.metric("prompts_waiting")):
            break
        time.sleep(0.05)
    assert server.metric("rows") == server.metric("prompts_waiting") == server.metric("adapters_pinned") == 0
    assert server.metric("cancelled_total") - before > 250
    assert all(_greedy(server, name) for name in adapters)


def test_a_full_queue_says_when_to_come_back(server: Running) -> None:
    """8 prompts that each fill every row for long: while one runs, 7 wait, and 8 may."""
    url = f"{server.url}/v1/completions"
    body = {"model": "tiny", "prompt": ["What is the time?"] * 8, "max_tokens": 200, "n": 8, "temperature": 1}
    with (
        httpx.Client(headers=_auth(), timeout=120) as client,
        client.stream("POST", url, json={**body, "stream": True}) as running,
    ):
        pieces = running.iter_raw()  # kept: a generator that is dropped closes the connection
        next(pieces)
        busy = client.post(url, json=body)
        more = client.post(url, json={**body, "prompt": "x", "max_tokens": 1, "n": 1})
    assert busy.status_code == 429
    assert int(busy.headers["retry-after"]) >= 1
    assert busy.json()["error"]["code"] == "queue_full"
    assert more.status_code == 200


def test_what_it_sends_is_not_held_back_until_the_last_packet_is_acknowledged() -> None:
    """Nagle's algorithm and delayed ACKs together cost each reply 40 ms."""
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--model", "m", "--base", "/nowhere"), "config.json is missing"),
        (("--model", "m"), "--base"),
        ((), "--embedder"),
    ],
)
def test_it_says_in_one_line_why_it_cannot_start(options: tuple[str, ...], told: str) -> None:
    command = [sys.executable, "-m", "agents.engine.server", *options]
    ended = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert told in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_taken_port_is_one_line(server: Running, qwen3_folder: Path) -> None:
    port = server.url.rpartition(":")[2]
    command = [
        sys.executable,
        "-m",
        "agents.engine.server",
        "--model",
        "m",
        "--base",
        str(qwen3_folder),
        "--port",
        port,
    ]
    ended = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "cannot listen" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
