"""A cross-encoder over what recall found: its order is fused in, it sees what may be seen, and recall outlives it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.errors import BackendError, BackendUnavailable
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.reranking import EndpointReranker
from tests.personal_data.test_memory import AWAY, person

TEXTS = ("The boat is green.", "The boat is in the harbour.", "My sister likes harbours.")


@contextmanager
def reranking(status: int, answer: Any) -> Iterator[tuple[EndpointReranker, list[dict[str, Any]]]]:
    """A server that answers so, or as a function of what it is asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            payload = json.dumps(answer(asked[-1]) if callable(answer) else answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield EndpointReranker(f"http://127.0.0.1:{server.server_port}", "m"), asked
    finally:
        server.shutdown()
        server.server_close()


def last_first(body: dict[str, Any]) -> dict[str, Any]:
    return {"results": [{"index": n, "relevance_score": n / 10} for n in range(len(body["documents"]))]}


def remembered(database: Database, reranker: EndpointReranker) -> tuple[Memory, str]:
    ada = person(database, "ada")
    memory = Memory(database, HashingEmbedder(), ChromaIndex(AWAY), reranker)
    memory.remember(ada, [NewMemory(text, "Ada") for text in TEXTS])
    return memory, ada


def test_its_order_is_one_more_ranking(database: Database) -> None:
    with reranking(200, last_first) as (reranker, asked):
        memory, ada = remembered(database, reranker)
        hits = memory.recall(ada, "Where is the boat?", 2)
    assert len(hits) == 2
    assert asked[0]["query"] == "Where is the boat?" and asked[0]["documents"][0].startswith("Ada: The boat")
    shown = [text.removeprefix("Ada: ") for text in asked[0]["documents"]]
    assert [hit.why["reranker"] for hit in hits] == [len(shown) - shown.index(hit.text) for hit in hits]
    assert all(hit.score == pytest.approx(sum(1 / (5 + place) for place in hit.why.values())) for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_it_never_sees_what_the_audience_may_not(database: Database) -> None:
    with reranking(200, last_first) as (reranker, asked):
        memory, ada = remembered(database, reranker)
        assert memory.recall(ada, "boat", 5, audience="public") == []
        memory.remember(ada, [NewMemory("Boats are fun.", "Ada", scope="public", named=True)])
        assert len(memory.recall(ada, "boat", 5, audience="public")) == 1
    assert [body["documents"] for body in asked] == [["Ada: Boats are fun."]]


@pytest.mark.parametrize(
    ("status", "answer"),
    [(500, {}), (200, []), (200, {"results": [{"index": 99, "relevance_score": 1}]}), (200, {"results": [{}]})],
)
def test_recall_goes_on_without_it(database: Database, status: int, answer: Any) -> None:
    with reranking(status, answer) as (reranker, _):
        memory, ada = remembered(database, reranker)
        hits = memory.recall(ada, "Where is the boat?", 2)
        with pytest.raises(BackendError):
            reranker.order("boat", TEXTS)
    assert len(hits) == 2 and all("reranker" not in hit.why for hit in hits)
    with pytest.raises(BackendUnavailable):
        EndpointReranker(AWAY, "m").order("boat", TEXTS)
