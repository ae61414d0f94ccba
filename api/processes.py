"""One child process of the supervisor: started, watched, started again with back-off, stopped with all it started.

No child outlives the process that started it, however that one ends: the kernel kills the child when its parent dies
(PR_SET_PDEATHSIG, on Linux). Each child leads a process group of its own, so that a Ctrl-C in the terminal reaches the
supervisor alone, which then stops them in order.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_SETTLED_S = 60.0
_MAX_LOG_BYTES = 8 * 2**20
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Child:
    """A command that should always be running; its output goes to `log`."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.failures = 0
        """Times in a row that it ended before it had run for a minute."""
        self.restarts = 0
        """Times that it was started again."""
        self._command = list(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._next_start: float | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it now."""
        _rotate(self.log)
        parent = os.getpid()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                preexec_fn=lambda: _die_with(parent),
            )
        self._started, self._next_start = time.monotonic(), None

    def tend(self) -> bool:
        """Start it again when it has ended and its back-off is over; True when that happened."""
        if self._process is None or self._process.poll() is None:
            return False
        if self._next_start is None:
            settled = time.monotonic() - self._started > _SETTLED_S
            self.failures = 1 if settled else self.failures + 1
            self._reap_group()
            wait = min(_FIRST_BACKOFF_S * 2.0 ** (self.failures - 1), _LONGEST_BACKOFF_S)
            self._next_start = time.monotonic() + wait
        if time.monotonic() < self._next_start:
            return False
        self.restarts += 1
        self.start()
        return True

    def ask_to_stop(self) -> None:
        """Send SIGTERM to it and to everything it started."""
        self._signal(signal.SIGTERM)

    def stop(self, within_s: float) -> None:
        """Wait for its end, or bring it about."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, within_s))
        self._reap_group()
        self._process.wait()

    def last_words(self) -> str:
        """The last line it wrote, for an error message."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _reap_group(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def _die_with(parent: int) -> None:
    """In the child, before exec: ask the kernel for SIGKILL at the parent's death; it may have died already."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _rotate(log: Path) -> None:
    with contextlib.suppress(OSError):
        if log.stat().st_size > _MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
