"""The error tree. It lives in the lowest layer so that every layer can raise from it.

    FolkmootError                 anything we raise on purpose; `str()` is one line a user can act on
    ├── ConfigurationError        settings, files or ports that must be put right before starting
    │   └── StorageError          the data folder or the disk refuses (unwritable, full)
    ├── InvalidInput              the caller sent something we cannot use           → HTTP 400
    │   └── UnsupportedParameter  a known OpenAI parameter that we do not implement → HTTP 400
    ├── Unauthorized              no key, a wrong key, a revoked key                → HTTP 401
    ├── NotFound                  unknown, or somebody else's: never told apart     → HTTP 404
    ├── Conflict                  it exists already, or its state forbids this      → HTTP 409
    ├── Overloaded                a bounded queue is full                           → HTTP 429
    ├── BackendError              a model server failed us                          → HTTP 502
    │   ├── RequestRefused        it finds fault with the request: too long, a bad value → HTTP 400
    │   ├── BackendUnavailable    it cannot be reached, or died mid-answer          → HTTP 503
    │   └── BackendTimeout        it did not answer in time                         → HTTP 504
    ├── AdapterError              an adapter is missing, torn, or does not fit its base
    ├── IndexUnavailable          the memory index is away; SQL still holds everything
    │   └── IndexBroken           it is there, and cannot read what it holds
    ├── LeaseLost                 another worker holds this job now: stop, publish nothing
    └── RewardFailed              a reward broke its contract (training/rewards/base.py)

A model's fault (a refusal, an answer that does not parse) is never an exception: it is data on its answer.
"""

from __future__ import annotations


class FolkmootError(Exception):
    """Base of everything Folkmoot raises on purpose."""


class ConfigurationError(FolkmootError):
    """Settings, files or ports that must be put right before starting."""


class StorageError(ConfigurationError):
    """The data folder or its disk refuses: unwritable, full, torn."""


class InvalidInput(FolkmootError):
    """The caller sent something we cannot use. `param` names the offending field."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class UnsupportedParameter(InvalidInput):
    """A known OpenAI parameter that we do not implement: rejected, never silently ignored."""


class Unauthorized(FolkmootError):
    """No key, a wrong key, or a revoked key."""


class NotFound(FolkmootError):
    """Unknown, or somebody else's: callers cannot tell the two apart."""


class Conflict(FolkmootError):
    """It exists already, or its state forbids what was asked."""


class Overloaded(FolkmootError):
    """A bounded queue is full. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackendError(FolkmootError):
    """A model server refused or broke. `status` is its HTTP status where it gave one."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RequestRefused(BackendError):
    """A model server finds fault with the request itself; sending it again is useless. `code` is the server's own."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None) -> None:
        super().__init__(message, status=status)
        self.code = code


class BackendUnavailable(BackendError):
    """A model server cannot be reached, or its answer broke off."""


class BackendTimeout(BackendError):
    """A model server did not answer in time."""


class AdapterError(FolkmootError):
    """An adapter is missing, torn, hostile, or does not fit its base model."""


class IndexUnavailable(FolkmootError):
    """The memory index cannot be reached; SQL still holds everything and the outbox will catch up."""


class IndexBroken(IndexUnavailable):
    """The memory index answers that it cannot read what it holds; it can be filled anew."""


class LeaseLost(FolkmootError):
    """Another worker holds this job now: stop at once and publish nothing."""
