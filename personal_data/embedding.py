"""Turning text into unit vectors: a client of any OpenAI-compatible `/v1/embeddings`, or hashing for tests.

The embedded profile's engine serves all-MiniLM-L6-v2 behind that address. Vectors are float32, unit length, so that a
dot product is a cosine. A vector always travels with the name of the model that made it; vectors of two models are
never compared.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Protocol

import httpx
import numpy as np
import numpy.typing as npt

from personal_data.errors import BackendError, BackendTimeout, BackendUnavailable

Vectors = npt.NDArray[np.float32]
_BATCH = 64


class Embedder(Protocol):
    """Texts in, unit vectors [len(texts), dimension] out. `model` names what made them."""

    @property
    def model(self) -> str: ...

    def embed(self, texts: Sequence[str]) -> Vectors: ...


class EndpointEmbedder:
    """Client of an OpenAI-compatible `/v1/embeddings`; `url` is the server's, without /v1.

    Raises (from `embed`): BackendUnavailable, BackendTimeout, BackendError.
    """

    def __init__(self, url: str, model: str, *, token: str | None = None, timeout_s: float = 60.0) -> None:
        self.model = model
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout_s, trust_env=False)

    def embed(self, texts: Sequence[str]) -> Vectors:
        batches = [self._request(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return np.concatenate(batches) if batches else np.zeros((0, 0), np.float32)

    def _request(self, texts: Sequence[str]) -> Vectors:
        try:
            answer = self._client.post("/v1/embeddings", json={"model": self.model, "input": list(texts)})
        except httpx.TimeoutException as error:
            raise BackendTimeout(f"the embedder at {self._client.base_url} did not answer in time") from error
        except httpx.TransportError as error:
            raise BackendUnavailable(f"the embedder at {self._client.base_url} cannot be reached") from error
        if answer.status_code != 200:
            raise BackendError(f"the embedder refused: {answer.text[:200]}", status=answer.status_code)
        rows = sorted(answer.json()["data"], key=lambda row: row["index"])
        return _unit(np.asarray([row["embedding"] for row in rows], np.float32))

    def close(self) -> None:
        self._client.close()


class HashingEmbedder:
    """Deterministic bag-of-words vectors without a model: for tests of everything around the embedder."""

    model = "hashing-256"

    def embed(self, texts: Sequence[str]) -> Vectors:
        return _unit(np.stack([self._one(text) for text in texts])) if texts else np.zeros((0, 256), np.float32)

    def _one(self, text: str) -> Vectors:
        vector = np.zeros(256, np.float32)
        vector[0] = 1e-3  # a text without words still has a direction
        for word in re.findall(r"\w+", text.casefold()):
            digest = hashlib.blake2b(word.encode(), digest_size=4).digest()
            vector[1 + int.from_bytes(digest[:2], "little") % 255] += 1.0 if digest[2] & 1 else -1.0
        return vector


def to_bytes(vectors: Vectors) -> bytes:
    """Vectors [parts, size] as stored in SQL: the size, then the numbers, each 4 bytes, little-endian."""
    return len(vectors[0]).to_bytes(4, "little") + vectors.astype("<f4").tobytes()


def from_bytes(blob: bytes) -> Vectors:
    """What `to_bytes` made: [parts, size]."""
    size = int.from_bytes(blob[:4], "little")
    return np.frombuffer(blob, "<f4", offset=4).reshape(-1, size)


def _unit(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit
