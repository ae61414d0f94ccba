"""A cross-encoder over what recall found, where one is configured: it reads the question and each memory together.

Door: `EndpointReranker`, a client of `/v1/rerank` as vLLM, TEI, Jina and Cohere serve it. It sees the few memories that
the rankings of all of them put first, and its order is fused with theirs as one more ranking, so that what it does not
understand is not lost. It is never asked about what the audience may not see; while it is away recall goes on without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import httpx

from personal_data.errors import BackendError, BackendTimeout, BackendUnavailable


class Reranker(Protocol):
    """Orders texts by how well they answer a question."""

    def order(self, question: str, texts: Sequence[str]) -> list[int]:
        """The places of `texts`, the best first. Raises BackendError."""
        ...


class EndpointReranker:
    """Client of a `/v1/rerank`; `url` is the server's, without /v1.

    Raises (from `order`): BackendUnavailable, BackendTimeout, BackendError.
    """

    def __init__(self, url: str, model: str, *, token: str | None = None, timeout_s: float = 10.0) -> None:
        self._model = model
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=timeout_s, trust_env=False)

    def order(self, question: str, texts: Sequence[str]) -> list[int]:
        body = {"model": self._model, "query": question, "documents": list(texts), "top_n": len(texts)}
        try:
            answer = self._client.post("/v1/rerank", json=body)
        except httpx.TimeoutException as error:
            raise BackendTimeout(f"the reranker at {self._client.base_url} did not answer in time") from error
        except httpx.TransportError as error:
            raise BackendUnavailable(f"the reranker at {self._client.base_url} cannot be reached") from error
        if answer.status_code != 200:
            raise BackendError(f"the reranker refused: {answer.text[:200]}", status=answer.status_code)
        try:
            return _places(answer.json(), len(texts))
        except (LookupError, TypeError, ValueError) as error:
            raise BackendError("what answers as the reranker does not say how relevant each text is") from error


def _places(told: Any, count: int) -> list[int]:
    scores = {int(row["index"]): float(row["relevance_score"]) for row in told["results"]}
    if not all(0 <= place < count for place in scores):
        raise ValueError("a text that was not there")
    return sorted(scores, key=lambda place: (-scores[place], place))
