"""`folkmoot serve`: checks, then starts, watches and stops the processes of the embedded profile. No torch in here.

    engine:<model>  the base model with all its adapters, and the embedder beside the first     loopback, random port
    index           Chroma's own server, sole owner of its folder                               loopback, random port
    api             the HTTP API, and the debates                                               settings.host:port
    worker          Celery with its clock: claims improvement jobs                              no port

What the settings already point at (an engine, an embedder, an index elsewhere) is not started. A process that ends is
started again with back-off; when the supervisor ends, however it ends, all of them end. `running.json` in the data
folder says where everything is; a second supervisor on the same folder is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from api import keys, preflight
from api.processes import Child
from api.running import forget_running, read_running, write_running
from personal_data.database import Database
from personal_data.errors import ConfigurationError
from personal_data.settings import Settings, prepare_data_dir
from training.jobs import worker_command

_LOCK_FILE = "serve.lock"
_ROOT = Path(__file__).resolve().parent.parent
_TICK_S = 0.2
_READY_WITHIN_S = 180.0
_STOP_WITHIN_S = 6.0
_GIVE_UP_AFTER = 3
_QUIET = {
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "LANGSMITH_TRACING": "false",
    "OTEL_SDK_DISABLED": "true",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Nothing leaves the machine that was not asked for."""


class Supervisor:
    """The processes of one data folder. Use `with Supervisor(settings).running() as url:`, or `serve`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = _with_addresses(settings)
        self._given = settings
        self.children: list[Child] = []
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
        preflight.check_space(self.settings.data_dir)
        preflight.check_port(self.settings.host, self.settings.port)
        preflight.check_models(self.settings)
        self._prepare_database()
        self.children = _children(self._given, self.settings)
        for child in self.children:
            child.start()
        self._write_running()

    def tend(self) -> None:
        """Start again what has ended."""
        restarted = [child.name for child in self.children if child.tend()]
        if restarted:
            self._write_running()

    def wait_ready(self) -> None:
        """Wait until the API and all that it needs answer.

        Raises:
            ConfigurationError: a process ends again and again, or the time is up.
        """
        deadline = time.monotonic() + _READY_WITHIN_S
        with httpx.Client(timeout=5.0, trust_env=False) as client:
            while not self.stopping and not _answers(client, f"{self.url}/ready"):
                self.tend()
                self._complain(time.monotonic() > deadline)
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

    def _complain(self, late: bool) -> None:
        for child in self.children:
            if child.failures >= _GIVE_UP_AFTER or (late and child.failures):
                raise ConfigurationError(f"{child.name} does not start: {child.last_words()} (see {child.log})")
        if late:
            raise ConfigurationError(f"not ready after {_READY_WITHIN_S:.0f} s; see {self.settings.logs_dir}")

    def _write_running(self) -> None:
        write_running(self.settings.data_dir, self.url, {child.name: child.pid for child in self.children})


def serve(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: something must be put right first.
    """
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
        "  Key   in another terminal: folkmoot user add ada --name Ada\n"
        f"  Data  {supervisor.settings.data_dir} (logs in {supervisor.settings.logs_dir.name}/)"
    )


def _with_addresses(settings: Settings) -> Settings:
    """Fill in the loopback addresses of all that we start ourselves, and the token they share."""
    engines = dict(settings.engines)
    for name, model in settings.models.items():
        if model.kind == "engine" and name not in engines:
            engines[name] = _loopback()
    ours = {
        "data_dir": settings.data_dir.expanduser().absolute(),
        "port": settings.port or preflight.free_port(),
        "engines": engines,
        "engine_token": settings.engine_token or secrets.token_urlsafe(32),
        "embedding_url": settings.embedding_url or next(iter(engines.values()), None) or _loopback(),
        "index_url": settings.index_url or _loopback(),
    }
    return settings.model_copy(update=ours)


def _loopback() -> str:
    return f"http://127.0.0.1:{preflight.free_port()}"


def _children(given: Settings, settings: Settings) -> list[Child]:
    """What has to be started, as far as `given` does not point at one that runs elsewhere."""
    commands: dict[str, list[str]] = {}
    embedder = given.embedding_url is None
    for name, model in settings.models.items():
        if model.kind == "engine" and name not in given.engines:
            commands[f"engine-{name}"] = _engine(name, model.base, settings.engines[name], embedder=embedder)
            embedder = False
    if embedder and settings.embedding_url is not None and settings.embedding_url not in given.engines.values():
        commands["embedder"] = _engine(None, None, settings.embedding_url, embedder=True)
    if given.index_url is None:
        commands["index"] = _index(settings)
    commands["api"] = _api(settings)
    commands["worker"] = worker_command()
    environment = _environment(settings)
    return [Child(name, command, environment, settings.logs_dir / f"{name}.log") for name, command in commands.items()]


def _engine(name: str | None, base: str | None, url: str, *, embedder: bool) -> list[str]:
    command = [sys.executable, "-P", "-m", "agents.engine.server", "--host", "127.0.0.1", "--port", _port(url)]
    if name is not None and base is not None:
        command += ["--model", name, "--base", base]
    return [*command, "--embedder"] if embedder else command


def _index(settings: Settings) -> list[str]:
    chroma = Path(sys.executable).with_name("chroma")
    if not chroma.exists():
        raise ConfigurationError(f"{chroma} is missing: install Folkmoot's packages again (chromadb brings it)")
    folder = settings.data_dir / "index"
    return [str(chroma), "run", "--path", str(folder), "--host", "127.0.0.1", "--port", _port(settings.index_url)]


def _api(settings: Settings) -> list[str]:
    command = [sys.executable, "-P", "-m", "uvicorn", "api.main:create_app", "--factory"]
    command += ["--host", settings.host, "--port", str(settings.port)]
    return [*command, "--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "3"]


def _environment(settings: Settings) -> dict[str, str]:
    """The parent's environment, our settings as FOLKMOOT_* variables, no telemetry, and our own packages first."""
    environment = {**os.environ, **_QUIET}
    for name, value in settings.model_dump(mode="json", exclude_none=True).items():
        environment[f"FOLKMOOT_{name.upper()}"] = value if isinstance(value, str) else json.dumps(value)
    if not any(preflight.is_hub_id(model.base) for model in settings.models.values()):
        environment["HF_HUB_OFFLINE"] = "1"
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return environment


def _port(url: str | None) -> str:
    return str(urlsplit(url or "").port)


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.HTTPError:
        return False
