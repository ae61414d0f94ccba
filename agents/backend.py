"""The two seams between Folkmoot and a language model.

`ChatBackend`: messages in, text deltas out. Chat, debate and judging go through it; it may be our engine, vLLM or a
third party. `PolicyBackend`: sample and score *tokens* with log-probabilities under a named adapter. Training goes
through it. Nothing above this file knows which model library or server is behind either.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agents.messages import Completion, Delta, Message, SamplingParams

TOO_LONG = "context_length_exceeded"
"""OpenAI's code for a prompt and an answer that together are longer than the model's context."""


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """A published adapter as a server must know it: the version's id is its name, `path` its folder."""

    name: str
    path: Path


class ChatBackend(Protocol):
    """One configured model that answers messages, as itself (`adapter` None) or through somebody's adapter.

    Raises `BackendUnavailable` when it cannot be reached or its answer breaks off, `BackendTimeout` after the client's
    time limit, `RequestRefused` when the server finds fault with the request (`code` is TOO_LONG where that is the
    fault), `Overloaded` when it has too much to do, `BackendError` when it refuses otherwise, `UnsupportedParameter`
    when it lacks what was asked for, and `ConfigurationError` when it has not been set up.
    """

    def stream(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> AsyncGenerator[Delta, None]:
        """Yield deltas; the last one carries `finish_reason`. Closing the generator cancels the work."""
        ...

    async def complete(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> Completion:
        """Return the whole completion."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


@dataclass(frozen=True, slots=True)
class SampledTokens:
    """One sampled completion: token ids, their log-probabilities under the sampler, the text, why it ended."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: str


class PolicyBackend(Protocol):
    """A model whose tokens can be sampled and scored: what training needs.

    `slot` is where the backend holds an adapter; slot 0 is always the bare base model.
    """

    def sample(
        self, prompts: Sequence[Sequence[Message]], n: int, params: SamplingParams, *, slot: int
    ) -> list[list[SampledTokens]]:
        """Sample `n` completions a prompt; result is [len(prompts)][n]. `params.seed` fixes every one of them."""
        ...

    def score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, slot: int) -> list[list[float]]:
        """Log-probability (natural log, temperature 1) of every completion token of each (prompt, completion) pair."""
        ...
