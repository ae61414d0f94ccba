"""Third-party models through litellm's SDK: the only file that imports it.

Door: `ProviderBackend`. litellm is imported on first use (it takes seconds) and with its switches set before, so that
it fetches no price list, reads no .env file and keeps no cache. A provider serves no adapters.

Some models take no seed, or no temperature. These, top_p and top_k only say how to draw an answer, and litellm drops
those that a model does not know; `stop` and `logprobs` change what an answer holds, and are refused there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import ModuleType
from typing import Any

from agents.backend import TOO_LONG, AdapterRef
from agents.endpoint import gather
from agents.messages import (
    Completion,
    Delta,
    FinishReason,
    Message,
    SamplingParams,
    TokenLogprob,
    Usage,
    chat_request,
    well_formed,
)
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

_SWITCHES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "OTEL_SDK_DISABLED": "true",
}


class ProviderBackend:
    """One model of one provider.

    Args:
        model: litellm's name for it, for instance "openai/some-model".
        api_base: another address than the provider's own.
        api_key: the key, sent to that address only; without both, litellm looks for the provider's usual variable.
        timeout_s: the longest one answer may take.
    """

    def __init__(
        self, model: str, *, api_base: str | None = None, api_key: str | None = None, timeout_s: float = 120.0
    ) -> None:
        self.model = model
        self._api_base = api_base
        self._api_key = api_key
        self._timeout_s = timeout_s

    async def stream(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> AsyncGenerator[Delta, None]:
        """Yield deltas; the last one carries `finish_reason`. Closing the generator closes the connection.

        Raises:
            ConfigurationError: an adapter was asked for.
            UnsupportedParameter: `stop` or `logprobs` was asked of a model that has no such thing.
            BackendError and its kinds, Overloaded: as `ChatBackend` says.
        """
        if adapter is not None:
            raise ConfigurationError(f"{self.model} is a provider's model; it carries no adapters")
        litellm = await asyncio.to_thread(_litellm)
        from openai import OpenAIError  # what every error of litellm's descends from

        deadline = asyncio.get_running_loop().time() + self._timeout_s
        async with aclosing(self._deltas(litellm, messages, params)) as deltas:
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        delta = await anext(deltas)
                except StopAsyncIteration:
                    return
                except (TimeoutError, litellm.exceptions.Timeout) as error:
                    raise BackendTimeout(f"{self.model} did not answer within {self._timeout_s:g} s") from error
                except OpenAIError as error:
                    raise _mapped(litellm, self.model, error) from error
                yield delta

    async def complete(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> Completion:
        """Return the whole completion. Raises as `stream`."""
        return await gather(self.stream(messages, params, adapter=adapter), self.model)

    async def aclose(self) -> None:
        """Nothing is kept open between answers."""

    async def _deltas(
        self, litellm: ModuleType, messages: Sequence[Message], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        arguments = self._arguments(messages, params)
        _check_supported(litellm, self.model, arguments)
        chunks = await litellm.acompletion(**arguments)
        finish: FinishReason | None = None
        usage: Usage | None = None
        try:
            async for chunk in chunks:
                if counted := getattr(chunk, "usage", None):
                    usage = Usage(counted.prompt_tokens, counted.completion_tokens)
                for choice in chunk.choices:
                    finish = _finish(choice.finish_reason) or finish
                    if delta := _delta(choice):
                        yield delta
        finally:
            await chunks.aclose()
        if finish is None:
            raise BackendUnavailable(f"{self.model} broke off its answer")
        yield Delta(finish_reason=finish, usage=usage)

    def _arguments(self, messages: Sequence[Message], params: SamplingParams) -> dict[str, Any]:
        arguments = chat_request(messages, params) | {
            "model": self.model,
            "api_base": self._api_base,
            "api_key": self._api_key or ("none" if self._api_base else None),  # never the environment's to elsewhere
            "timeout": self._timeout_s,
            "max_retries": 0,
            "caching": False,
            "drop_params": True,
        }
        if params.top_p < 1:
            arguments["top_p"] = params.top_p
        return arguments


def _litellm() -> ModuleType:
    """litellm, imported once with its switches set before."""
    os.environ.update(_SWITCHES)
    import litellm

    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    return litellm


def _check_supported(litellm: ModuleType, model: str, arguments: dict[str, Any]) -> None:
    supported = litellm.get_supported_openai_params(model)  # None: a provider that litellm knows nothing of
    for name in ("stop", "logprobs", "top_logprobs"):
        if arguments.get(name) and supported is not None and name not in supported:
            raise UnsupportedParameter(f"{model} takes no {name}; leave it out", param=name)


def _delta(choice: Any) -> Delta | None:
    text = well_formed(choice.delta.content or "")
    entries = (getattr(choice, "logprobs", None) or {}).get("content") or ()
    logprobs = tuple(map(_logprob, entries))
    return Delta(text, logprobs) if text or logprobs else None


def _logprob(entry: Any) -> TokenLogprob:
    top = tuple((well_formed(other["token"]), other["logprob"]) for other in entry["top_logprobs"])
    return TokenLogprob(well_formed(entry["token"]), entry["logprob"], top)


def _finish(reason: str | None) -> FinishReason | None:
    if reason is None:
        return None
    return "length" if reason == "length" else "stop"


def _mapped(litellm: ModuleType, model: str, error: Exception) -> FolkmootError:
    """Our error for one of litellm's, with the first line of its message."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    told, status = f"{model}: {text}", getattr(error, "status_code", None)
    kinds = litellm.exceptions
    if isinstance(error, kinds.RateLimitError):
        return Overloaded(told)
    if status in (400, 422) and getattr(error, "llm_provider", None):  # without one, the model's name is at fault
        code = TOO_LONG if isinstance(error, kinds.ContextWindowExceededError) else getattr(error, "code", None)
        return RequestRefused(told, status=status, code=code if isinstance(code, str) else None)
    away = (kinds.APIConnectionError, kinds.ServiceUnavailableError, kinds.BadGatewayError)
    unreachable = isinstance(error, away) or "Connection error" in text
    return (BackendUnavailable if unreachable else BackendError)(told, status=status)
