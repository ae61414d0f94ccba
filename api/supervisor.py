"""`folkmoot serve`: checks, then starts, watches and stops the processes of `profile.py`. No torch in here.

A process that ends is started again with back-off, and that is said; when the supervisor ends, however it ends, all of
them end. `running.json` in the data folder says where everything is; a second supervisor on the same folder is refused.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx

from api import keys, preflight, profile, purging
from api.processes import Child
from api.running import command, forget_running, read_running, write_running
from personal_data.database import Database
from personal_data.errors import ConfigurationError
from personal_data.settings import Settings, prepare_data_dir

_LOCK_FILE = "serve.lock"
_TICK_S = 0.2
_READY_WITHIN_S = 180.0
_NEWS_EVERY_S = 30.0
_STEADY_S = 10.0
"""A process that has not ended for so long is up; longer than its back-off until we give up."""
_STOP_WITHIN_S = 6.0
_GIVE_UP_AFTER = 3


class Supervisor:
    """The processes of one data folder. Use `with Supervisor(settings).running() as url:`, or `serve`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = profile.with_addresses(settings)
        self._given = settings
        self.children: list[Child] = []
        self._ended: dict[str, float] = {}
        """When a process last ended or was started again, on the monotonic clock."""
        self._written: tuple[dict[str, int | None], dict[str, int]] | None = None
        self._lock_file: int | None = None
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        """Whether somebody has asked to stop."""
        return self._stopping.is_set()

    @property
    def url(self) -> str:
        """Where the API is, seen from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.host, self.settings.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.settings.port}"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Start everything, wait until it is ready, give its URL; stop everything at the end.

        Raises:
            ConfigurationError: something must be put right first; its message is one line.
        """
        try:
            self.start()
            self.wait_ready()
            watch = threading.Thread(target=self.serve_until_stopped, name="supervisor", daemon=True)
            watch.start()
            try:
                yield self.url
            finally:
                self.request_stop()
                watch.join()
        finally:
            self.stop()

    def start(self) -> None:
        """Check, prepare the data folder and the database, and start the processes.

        Raises:
            ConfigurationError: something must be put right first.
        """
        prepare_data_dir(self.settings)
        self._take_lock()
        preflight.check_host(self.settings)
        preflight.check_space(self.settings.data_dir, self.settings.min_free_bytes)
        preflight.check_port(self.settings.host, self.settings.port)
        preflight.check_models(self._given)
        self._prepare_database()
        self.children = profile.children(self._given, self.settings)
        for child in self.children:
            child.start()
        self._write_running()

    def tend(self) -> None:
        """Start again what has ended, and say so; empty the index's folder where somebody has erased something."""
        self._purge_index()
        for child in self.children:
            failures = child.failures
            restarted = child.tend()
            if restarted or child.failures != failures:
                self._ended[child.name] = time.monotonic()
            if restarted:
                words = child.last_words() or "without a word"
                print(f"{child.name} ended ({words}) and was started again; see {child.log}", file=sys.stderr)
        self._write_running()

    def _purge_index(self) -> None:
        """Its server keeps the bytes of what it has deleted: stop it, remove its folder, start it with nothing."""
        if (wish := purging.wanted(self.settings.data_dir)) is None:
            return
        for child in self.children:
            if child.name == purging.INDEX:
                child.ask_to_stop()
                child.stop(_STOP_WITHIN_S)
                shutil.rmtree(profile.index_folder(self.settings), ignore_errors=True)
                child.start()
        purging.done(self.settings.data_dir, wish)

    def wait_ready(self) -> None:
        """Wait until the API and all that it needs answer, and every process stays up.

        An engine of ours gets as long as it lives: it may be fetching its base model. What we wait for is said.

        Raises:
            ConfigurationError: a process ends again and again, or the time of what is no engine is up.
        """
        started = told = time.monotonic()
        with httpx.Client(timeout=5.0, trust_env=False) as client:
            while not self.stopping:
                self.tend()
                awaited = self._awaited(client)
                self._complain(awaited, late=time.monotonic() - started > _READY_WITHIN_S)
                if not awaited:
                    return
                if time.monotonic() - told > _NEWS_EVERY_S:
                    told = time.monotonic()
                    print(f"still waiting for {', '.join(awaited)}; see {self.settings.logs_dir}", flush=True)
                time.sleep(_TICK_S)

    def stop(self) -> None:
        """Stop every process within seconds and let go of the data folder."""
        deadline = time.monotonic() + _STOP_WITHIN_S
        for child in reversed(self.children):
            child.ask_to_stop()
        for child in reversed(self.children):
            child.stop(deadline - time.monotonic())
        self.children = []
        if self._lock_file is not None:
            forget_running(self.settings.data_dir)
            os.close(self._lock_file)
            self._lock_file = None

    def request_stop(self) -> None:
        """Make `serve_until_stopped` return; safe in a signal handler."""
        self._stopping.set()

    def serve_until_stopped(self) -> None:
        """Watch the processes until somebody asks to stop."""
        while not self._stopping.wait(_TICK_S):
            self.tend()

    def _prepare_database(self) -> None:
        database = Database(self.settings.database)
        database.migrate()
        keys.bootstrap(database, self.settings.data_dir)
        database.dispose()

    def _take_lock(self) -> None:
        handle = os.open(self.settings.data_dir / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            where = (read_running(self.settings.data_dir) or {}).get("url", "somewhere")
            raise ConfigurationError(
                f"a Folkmoot is already running on data folder {self.settings.data_dir} (at {where})"
            ) from error
        self._lock_file = handle

    def _complain(self, awaited: Sequence[str], *, late: bool) -> None:
        """Raise when there is nothing to wait for any more."""
        for child in self.children:
            if child.failures >= _GIVE_UP_AFTER or (late and child.name in awaited):
                raise ConfigurationError(f"{child.name} does not start: {child.last_words()} (see {child.log})")
        silent = [part for part in awaited if part not in self._slow()]
        if late and silent:
            raise ConfigurationError(
                f"no answer from {', '.join(silent)} in {_READY_WITHIN_S:.0f} s; see {self.settings.logs_dir}"
            )

    def _awaited(self, client: httpx.Client) -> list[str]:
        """What is not ready yet: processes that have ended lately, the API, or the parts that it finds silent."""
        unsteady = [child.name for child in self.children if not self._is_steady(child)]
        try:
            answer = client.get(f"{self.url}/ready")
            parts = answer.json() if answer.status_code in (200, 503) else {"api": False}
        except (httpx.HTTPError, ValueError):
            parts = {"api": False}
        return unsteady + [part for part, answers in parts.items() if not answers]

    def _slow(self) -> set[str]:
        """The parts that may take their time."""
        return {child.name.replace("-", ":", 1) for child in self.children if child.name.startswith(profile.ENGINES)}

    def _is_steady(self, child: Child) -> bool:
        return time.monotonic() - self._ended.get(child.name, -_STEADY_S) >= _STEADY_S

    def _write_running(self) -> None:
        """Write down what runs, when that has changed; one that has just ended has no pid."""
        processes = {child.name: child.pid if self._is_steady(child) else None for child in self.children}
        restarts = {child.name: child.restarts for child in self.children}
        if self._written != (processes, restarts):
            write_running(self.settings.data_dir, self.url, processes, restarts)
            self._written = processes, restarts


def serve(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM. What it and its processes write is for its owner only.

    Raises:
        ConfigurationError: something must be put right first.
    """
    os.umask(0o077)
    supervisor = Supervisor(settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.request_stop())
    try:
        supervisor.start()
        print("Folkmoot is starting ...", flush=True)
        supervisor.wait_ready()
        if not supervisor.stopping:
            print(_welcome(supervisor), flush=True)
        supervisor.serve_until_stopped()
    finally:
        supervisor.stop()
    print("Folkmoot has stopped.", flush=True)


def _welcome(supervisor: Supervisor) -> str:
    return (
        "Folkmoot is ready. Ctrl-C stops it.\n"
        f"  API   {supervisor.url}/v1 for OpenAI clients, {supervisor.url}/api for the rest\n"
        f"  Key   in another terminal: {command()} user add ada --name Ada\n"
        f"  Data  {supervisor.settings.data_dir} (logs in {supervisor.settings.logs_dir.name}/)"
    )
