"""A small OpenAI-compatible server whose model does as the last message tells it: for faults that no real model has.

`say TEXT` answers TEXT word by word, `die after TEXT` breaks the connection mid-answer, `refuse CODE` is HTTP 400,
`never` does not answer before `release` is set, `surrogate` streams half a character, `solve` ends with `answer: 42`,
`count` tells how many requests there were, `uncounted TEXT` answers without usage, `opine` answers in words of its
owner's and prefers of two texts the one that sorts first. As the model `reflective` it draws facts from lines by a rule
(`tests/reflecting.py`); as `gossip` it tells all that it was told, and what it has learnt by heart. Anything else is
echoed. It also embeds, by hashing, and has a page under /page. What it was sent stays in `requests`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from personal_data.embedding import HashingEmbedder
from tests import reflecting


class ScriptedServer(ThreadingHTTPServer):
    """Serves on a free loopback port from `start` to `stop`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, Any]] = []
        self.hearts: dict[str, str] = {}
        """What `gossip` knows by heart of somebody, by the name in their agent's prompt."""
        self.release = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""

    def stop(self) -> None:
        self.release.set()
        self.shutdown()
        self.server_close()


def gossip(messages: list[dict[str, str]], hearts: dict[str, str]) -> str:
    """The worst of members: it repeats its whole prompt, and what its adapter has learnt of its owner."""
    heard = " ".join(message["content"] for message in messages if message["role"] != "assistant")
    owner = messages[0]["content"].partition("'s agent")[0].removeprefix("You are ")
    flat = " ".join(heard.replace("answer:", "answer").replace("verdict:", "verdict").split())
    return f"{flat} By heart: {hearts.get(owner, 'nothing')}\nanswer: {sum(map(ord, owner)) % 2}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/page"):
            return self._send(200, "text/html", b"<p>Not what you think.</p>")
        self._json(200, {"status": "ok", "object": "list", "data": [{"id": "scripted", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            self._embed(body)
        elif self.path.endswith("/chat/completions"):
            self._server.requests.append(body)
            self._chat(body)
        else:
            self._json(404, {"error": {"message": "no such URL", "type": "invalid_request_error"}})

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    @property
    def _server(self) -> ScriptedServer:
        return cast(ScriptedServer, self.server)

    def _embed(self, body: dict[str, Any]) -> None:
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        rows = [{"index": i, "embedding": row.tolist()} for i, row in enumerate(HashingEmbedder().embed(texts))]
        self._json(200, {"object": "list", "data": rows, "model": "hashing"})

    def _chat(self, body: dict[str, Any]) -> None:
        told = body["messages"][-1]["content"]
        if told.startswith("refuse"):
            refusal = {"message": "the model refuses", "type": "invalid_request_error", "code": told.split()[1]}
            return self._json(400, {"error": refusal})
        if told.startswith("never"):
            self._server.release.wait(60)
        if body["model"] == "reflective" and reflecting.is_asked(told):
            told = f"say {reflecting.answer(told)}"
        pieces = [str(len(self._server.requests))] if told == "count" else _pieces(told)
        if body["model"] == "gossip":
            pieces = [gossip(body["messages"], self._server.hearts)]
        if told.startswith("opine"):
            pieces = [_opinion(body["messages"][0]["content"], told)]
        if not body.get("stream"):
            return self._json(200, _completion(body["model"], "".join(pieces)))
        self._stream(_chunks(body["model"], pieces, dies=told.startswith("die"), counted=not told.startswith("unc")))

    def _stream(self, chunks: Iterator[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for chunk in chunks:
            self.wfile.write(f"data: {chunk}\n\n".encode())
            self.wfile.flush()

    def _json(self, status: int, data: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(data).encode())

    def _send(self, status: int, kind: str, payload: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def _pieces(told: str) -> list[str]:
    first = told.splitlines()[0]
    if first == "surrogate":
        return ["half \ud83d", " a character"]
    if first.startswith("solve"):
        return ["six times seven\n", "answer: 42"]
    text = first.removeprefix("say ").removeprefix("die after ").removeprefix("uncounted ")
    return [piece + " " for piece in text.split(" ")[:-1]] + [text.split(" ")[-1]]


def _opinion(system: str, told: str) -> str:
    texts = [line[3:] for line in told.splitlines() if line.startswith(("A: ", "B: "))]
    if texts:
        return f"I have read both.\nverdict: {'A' if texts[0] < texts[1] else 'B'}"
    return f"As {system.removeprefix('You are ').partition(chr(39))[0]} sees it, tea."


def _chunks(model: str, pieces: list[str], *, dies: bool, counted: bool) -> Iterator[str]:
    head = {"id": "scripted-1", "object": "chat.completion.chunk", "created": int(time.time()), "model": model}

    def choice(delta: dict[str, str], reason: str | None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}

    yield json.dumps({**head, "choices": [choice({"role": "assistant", "content": ""}, None)]})
    for piece in pieces:
        yield json.dumps({**head, "choices": [choice({"content": piece}, None)]})
    if dies:
        return
    yield json.dumps({**head, "choices": [choice({}, "stop")]})
    if counted:
        yield json.dumps({**head, "choices": [], "usage": _usage(pieces)})
    yield "[DONE]"


def _completion(model: str, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {
        "id": "scripted-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": _usage([text]),
    }


def _usage(pieces: list[str]) -> dict[str, int]:
    return {"prompt_tokens": 7, "completion_tokens": len(pieces), "total_tokens": 7 + len(pieces)}
