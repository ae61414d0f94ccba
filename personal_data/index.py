"""The vector index: a client of Chroma's own server. The only file that talks to Chroma.

SQL is the truth and this index can be dropped and filled again at any time. Owners are spread over a fixed number of
collections by a hash of their id, and every call carries one owner, whose filter is added here, below every caller.
The server's REST API is spoken directly: Chroma's Python client obeys proxy variables, so that private vectors could
leave the machine, waits for ever, and raises bare exceptions. Vectors are always our own: the server embeds nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from personal_data.embedding import Vectors
from personal_data.errors import IndexBroken, IndexUnavailable

_SHARDS = 64
_PART = "#"
_BATCH = 200
_COLLECTIONS = "/tenants/default_tenant/databases/default_database/collections"


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One vector with what the index may filter on."""

    memory_id: str
    scope: str
    vector: Vectors
    part: int = 0
    """A memory has a vector for each of its parts."""

    @property
    def id(self) -> str:
        return self.memory_id if self.part == 0 else f"{self.memory_id}{_PART}{self.part}"


class VectorIndex(Protocol):
    """Vectors by owner. Raises IndexUnavailable from every method when the server is away."""

    def upsert(self, owner: str, model: str, rows: Sequence[IndexRow]) -> None: ...

    def delete(self, owner: str, model: str, memory_ids: Sequence[str]) -> None: ...

    def query(
        self, owner: str, model: str, vector: Vectors, k: int, scopes: Sequence[str] | None
    ) -> list[tuple[str, float]]: ...

    def nearest(self, owner: str, model: str, vectors: Vectors, k: int) -> list[list[tuple[str, float]]]: ...

    def known(self, owner: str, model: str, memory_ids: Sequence[str]) -> set[str]: ...

    def drop(self, owner: str, model: str) -> None: ...


class ChromaIndex:
    """A `VectorIndex` on `chroma run`. `url` is http://host:port; connects on first use.

    Whatever goes wrong in a call (nobody there, no answer within `timeout_s` seconds, an answer that is not Chroma's)
    raises IndexUnavailable.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=f"{self._url}/api/v2",
            timeout=timeout_s,
            trust_env=False,
            verify=self._url.startswith("https:"),
        )
        self._collections: dict[str, str] = {}
        """Name → id, as far as this process has asked."""

    def upsert(self, owner: str, model: str, rows: Sequence[IndexRow]) -> None:
        """Add or replace the owner's vectors."""
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            self._ask(
                owner,
                model,
                "upsert",
                ids=[row.id for row in batch],
                embeddings=[row.vector.tolist() for row in batch],
                metadatas=[{"owner": owner, "scope": row.scope, "memory": row.memory_id} for row in batch],
            )

    def delete(self, owner: str, model: str, memory_ids: Sequence[str]) -> None:
        """Remove the vectors of the owner's memories; unknown ids are fine."""
        self._ask(owner, model, "delete", where={"$and": [{"owner": owner}, {"memory": {"$in": list(memory_ids)}}]})

    def query(
        self, owner: str, model: str, vector: Vectors, k: int, scopes: Sequence[str] | None
    ) -> list[tuple[str, float]]:
        """The memories (id, cosine) of the owner's k nearest vectors, best first, each as often as it has one of them;
        `scopes` None means all of them."""
        where: dict[str, Any] = {"owner": owner}
        if scopes is not None:
            where = {"$and": [where, {"scope": {"$in": list(scopes)}}]}
        return self._query(owner, model, vector[None], k, where)[0]

    def nearest(self, owner: str, model: str, vectors: Vectors, k: int) -> list[list[tuple[str, float]]]:
        """For each of these vectors what `query` finds, in one call."""
        return self._query(owner, model, vectors, k, {"owner": owner})

    def _query(
        self, owner: str, model: str, vectors: Vectors, k: int, where: dict[str, Any]
    ) -> list[list[tuple[str, float]]]:
        asked = {"query_embeddings": vectors.tolist(), "n_results": k, "where": where, "include": ["distances"]}
        found = self._ask(owner, model, "query", **asked)
        try:
            return [
                [(str(row).partition(_PART)[0], 1.0 - float(distance)) for row, distance in zip(*one, strict=True)]
                for one in zip(found["ids"], found["distances"], strict=True)
            ]
        except (LookupError, TypeError, ValueError) as error:
            raise self._strange() from error

    def known(self, owner: str, model: str, memory_ids: Sequence[str]) -> set[str]:
        """Which of these ids the index holds for this owner."""
        found = self._ask(owner, model, "get", ids=list(memory_ids), where={"owner": owner}, include=[])
        try:
            return set(found["ids"])
        except (LookupError, TypeError) as error:
            raise self._strange() from error

    def drop(self, owner: str, model: str) -> None:
        """Remove the owner's shard, with the vectors of all others in it; the next call makes it again, empty."""
        name = collection_name(owner, model)
        self._collections.pop(name, None)
        with contextlib.suppress(_Gone):
            self._send("DELETE", f"{_COLLECTIONS}/{name}")

    def ping(self) -> None:
        """Raise IndexUnavailable unless the server answers."""
        self._send("GET", "/heartbeat")

    def _ask(self, owner: str, model: str, operation: str, **body: Any) -> Any:
        """One call on the owner's collection, which is made where it is not there yet, or not any more."""
        name = collection_name(owner, model)
        known = self._collections.get(name)
        if known is not None:
            try:
                return self._send("POST", f"{_COLLECTIONS}/{known}/{operation}", body)
            except _Gone:  # somebody has dropped it, or its folder was removed
                self._collections.pop(name, None)
        made = self._collections[name] = self._collection(name, model)
        return self._send("POST", f"{_COLLECTIONS}/{made}/{operation}", body)

    def _collection(self, name: str, model: str) -> str:
        body = {
            "name": name,
            "configuration": {"hnsw": {"space": "cosine"}},
            "metadata": {"embedding_model": model},
            "get_or_create": True,
        }
        try:
            return str(self._send("POST", _COLLECTIONS, body)["id"])
        except (LookupError, TypeError) as error:
            raise self._strange() from error

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            answer = self._http.request(method, path, json=body)
            if answer.is_success:
                return answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise IndexUnavailable(f"the memory index at {self._url} does not answer: {reason}") from error
        raise _KINDS.get(answer.status_code, IndexUnavailable)(
            f"the memory index at {self._url} answers {answer.status_code}: {' '.join(answer.text.split())[:200]}"
        )

    def _strange(self) -> IndexUnavailable:
        return IndexUnavailable(f"what answers at {self._url} is not a memory index (a Chroma server)")


class _Gone(IndexUnavailable):
    """The collection is not there any more."""


_KINDS: dict[int, type[IndexUnavailable]] = {
    httpx.codes.NOT_FOUND: _Gone,
    httpx.codes.INTERNAL_SERVER_ERROR: IndexBroken,
}


def collection_name(owner: str, model: str) -> str:
    """The owner's shard; the embedding model is part of the name, so two models' vectors never meet."""
    shard = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:4], "big") % _SHARDS
    return f"memories-{hashlib.sha256(model.encode()).hexdigest()[:8]}-{shard:02d}"
