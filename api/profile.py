"""The embedded profile: which processes there are, where each listens, how it is started. No torch in here.

    engine-<model>  the base model with all its adapters, and the embedder beside the first     loopback, random port
    embedder        alone, where no engine of ours runs                                         loopback, random port
    index           Chroma's own server, sole owner of its folder                               loopback, random port
    api             the HTTP API, and the debates                                               settings.host:port
    worker          Celery with its clock: claims improvement jobs                              no port

Doors: `with_addresses`, `children`. What the settings already point at (an engine, an embedder, an index elsewhere) is
not started.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

from api import preflight
from api.processes import Child
from personal_data.errors import ConfigurationError
from personal_data.settings import Settings
from training.jobs import worker_command

ENGINES = ("engine-", "embedder")
"""How the names of the processes begin that load a model."""
_ROOT = Path(__file__).resolve().parent.parent
_TOKEN_VARIABLE = "FOLKMOOT_ENGINE_TOKEN"  # noqa: S105 - the name of the variable, not a token
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


def with_addresses(settings: Settings) -> Settings:
    """Fill in the loopback addresses of all that we start ourselves, and the token they share."""
    own = [name for name, model in settings.models.items() if model.kind == "engine" and name not in settings.engines]
    engines = settings.engines | {name: _loopback() for name in own}
    ours = {
        "port": settings.port or preflight.free_port(),
        "engines": engines,
        "engine_token": settings.engine_token or secrets.token_urlsafe(32),
        "index_url": settings.index_url or _loopback(),
    }
    if settings.embedding_url is None:
        ours["embedding_url"] = engines[own[0]] if own else _loopback()
        ours["embedding_api_key_env"] = _TOKEN_VARIABLE  # an embedder elsewhere never sees our token
    return settings.model_copy(update=ours)


def _loopback() -> str:
    return f"http://127.0.0.1:{preflight.free_port()}"


def children(given: Settings, settings: Settings) -> list[Child]:
    """What has to be started, as far as `given` does not point at one that runs elsewhere."""
    commands: dict[str, list[str]] = {}
    embedder = given.embedding_url is None
    for name, model in settings.models.items():
        if model.kind == "engine" and name not in given.engines:
            commands[f"engine-{name}"] = _engine(name, model.base, settings.engines[name], embedder=embedder)
            embedder = False
    if embedder:
        commands["embedder"] = _engine(None, None, settings.embedding_url, embedder=True)
    if given.index_url is None:
        commands["index"] = _index(settings)
    commands["api"] = _api(settings)
    commands["worker"] = worker_command()
    environment = _environment(settings)
    return [Child(name, command, environment, settings.logs_dir / f"{name}.log") for name, command in commands.items()]


def _engine(name: str | None, base: str | None, url: str | None, *, embedder: bool) -> list[str]:
    command = [sys.executable, "-P", "-m", "agents.engine.server", "--host", "127.0.0.1", "--port", _port(url)]
    if name is not None and base is not None:
        command += ["--model", name, "--base", base]
    return [*command, "--embedder"] if embedder else command


def _index(settings: Settings) -> list[str]:
    chroma = Path(sys.executable).with_name("chroma")
    if not chroma.exists():
        raise ConfigurationError(f"{chroma} is missing: install Folkmoot's packages again (chromadb brings it)")
    folder = index_folder(settings)
    return [str(chroma), "run", "--path", str(folder), "--host", "127.0.0.1", "--port", _port(settings.index_url)]


def index_folder(settings: Settings) -> Path:
    """What the index of this data folder keeps; SQL can fill it again."""
    return settings.data_dir / "index"


def _api(settings: Settings) -> list[str]:
    """On asyncio's own loop: uvloop's sockets raise no audit events, so that no guard could see where they lead."""
    command = [sys.executable, "-P", "-m", "uvicorn", "api.main:create_app", "--factory", "--loop", "asyncio"]
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
