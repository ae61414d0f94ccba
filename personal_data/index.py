"""The vector index: a client of Chroma's own server. The only file that talks to Chroma.

SQL is the truth and this index can be dropped and rebuilt at any time. Owners are spread over a fixed number of
collections by a hash of their id, and every call carries one owner, whose filter is added here, below every caller.
Vectors are always our own (`embedding_function=None`): a server must never load an embedder that a request names.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import httpx
import numpy as np

from personal_data.embedding import Vectors
from personal_data.errors import IndexUnavailable

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

_SHARDS = 64
_BATCH = 200


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One vector with what the index may filter on."""

    memory_id: str
    scope: str
    vector: Vectors


class VectorIndex(Protocol):
    """Vectors by owner. Raises IndexUnavailable from every method when the server is away."""

    def upsert(self, owner: str, model: str, rows: Sequence[IndexRow]) -> None: ...

    def delete(self, owner: str, model: str, memory_ids: Sequence[str]) -> None: ...

    def query(
        self, owner: str, model: str, vector: Vectors, k: int, scopes: Sequence[str] | None
    ) -> list[tuple[str, float]]: ...

    def known(self, owner: str, model: str, memory_ids: Sequence[str]) -> set[str]: ...


class ChromaIndex:
    """A `VectorIndex` on `chroma run`. `url` is http://host:port; connects on first use."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._client: ClientAPI | None = None
        self._collections: dict[str, Collection] = {}

    def upsert(self, owner: str, model: str, rows: Sequence[IndexRow]) -> None:
        """Add or replace the owner's vectors."""
        with self._collection(owner, model) as collection:
            for start in range(0, len(rows), _BATCH):
                batch = rows[start : start + _BATCH]
                collection.upsert(
                    ids=[row.memory_id for row in batch],
                    embeddings=np.stack([row.vector for row in batch]),
                    metadatas=[{"owner": owner, "scope": row.scope} for row in batch],
                )

    def delete(self, owner: str, model: str, memory_ids: Sequence[str]) -> None:
        """Remove the owner's vectors; unknown ids are fine."""
        with self._collection(owner, model) as collection:
            collection.delete(ids=list(memory_ids), where={"owner": owner})

    def query(
        self, owner: str, model: str, vector: Vectors, k: int, scopes: Sequence[str] | None
    ) -> list[tuple[str, float]]:
        """The owner's k nearest (memory id, cosine), best first; `scopes` None means all of them."""
        where: dict[str, Any] = {"owner": owner}
        if scopes is not None:
            where = {"$and": [where, {"scope": {"$in": list(scopes)}}]}
        with self._collection(owner, model) as collection:
            found = collection.query(
                query_embeddings=vector[np.newaxis], n_results=k, where=where, include=["distances"]
            )
        distances = (found["distances"] or [[]])[0]
        return [(memory, 1.0 - float(distance)) for memory, distance in zip(found["ids"][0], distances, strict=True)]

    def known(self, owner: str, model: str, memory_ids: Sequence[str]) -> set[str]:
        """Which of these ids the index holds for this owner."""
        with self._collection(owner, model) as collection:
            return set(collection.get(ids=list(memory_ids), where={"owner": owner}, include=[])["ids"])

    def ping(self) -> None:
        """Raise IndexUnavailable unless the server answers."""
        with self._errors():
            self._connect().heartbeat()

    @contextmanager
    def _collection(self, owner: str, model: str) -> Iterator[Collection]:
        name = collection_name(owner, model)
        with self._errors():
            with self._lock:
                collection = self._collections.get(name)
                if collection is None:
                    collection = self._connect().get_or_create_collection(
                        name,
                        embedding_function=None,
                        configuration={"hnsw": {"space": "cosine"}},
                        metadata={"embedding_model": model},
                    )
                    self._collections[name] = collection
            try:
                yield collection
            except self._gone():
                self._collections.pop(name, None)
                raise

    def _connect(self) -> ClientAPI:
        if self._client is None:
            import chromadb
            from chromadb.config import Settings as ChromaSettings

            parts = urlsplit(self._url)
            self._client = chromadb.HttpClient(
                host=parts.hostname or "127.0.0.1",
                port=parts.port or 80,
                settings=ChromaSettings(anonymized_telemetry=False),
            )
        return self._client

    @staticmethod
    def _gone() -> type[Exception]:
        from chromadb.errors import NotFoundError

        return NotFoundError

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from chromadb.errors import ChromaError

        try:
            yield
        except (httpx.HTTPError, ConnectionError, ChromaError) as error:
            raise IndexUnavailable(f"the memory index at {self._url} does not answer: {error}") from error
        except ValueError as error:  # what chromadb raises when the first connection fails
            if "Could not connect" not in str(error):
                raise
            raise IndexUnavailable(f"the memory index at {self._url} cannot be reached") from error


def collection_name(owner: str, model: str) -> str:
    """The owner's shard; the embedding model is part of the name, so two models' vectors never meet."""
    shard = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:4], "big") % _SHARDS
    return f"memories-{hashlib.sha256(model.encode()).hexdigest()[:8]}-{shard:02d}"
