"""What must be true before anything is started: names, folders, space, ports, model files. No torch.

Each check raises one clear line; `folkmoot serve` stops at the first, `folkmoot doctor` shows them all.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import socket
from pathlib import Path

from personal_data.errors import ConfigurationError, StorageError
from personal_data.settings import BUILTIN_BASE, ModelSettings, Settings, read_key

OUR_NAMES = ("agents", "society", "personal_data", "training", "api")
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_ROOT = Path(__file__).resolve().parent.parent


def check_names() -> None:
    """No other distribution owns one of our import names.

    Raises:
        ConfigurationError: one does, so that `import agents` may find somebody else's package.
    """
    owners = importlib.metadata.packages_distributions()
    for name in OUR_NAMES:
        others = sorted(set(owners.get(name, [])) - {"folkmoot"})
        if others:
            raise ConfigurationError(f"{others[0]} is installed here and owns the import name {name!r}: uninstall it")


def check_space(folder: Path, needed: int) -> None:
    """The disk has `needed` bytes of room.

    Raises:
        StorageError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"data folder {folder}: {free // 2**20} MiB free on its disk, {needed // 2**20} MiB needed; "
            "free some space or set FOLKMOOT_DATA_DIR to another disk"
        )


def check_host(settings: Settings) -> None:
    """Whoever listens beyond loopback means it.

    Raises:
        ConfigurationError: `allow_remote` is not set.
    """
    if settings.host not in LOOPBACK_HOSTS and not settings.allow_remote:
        raise ConfigurationError(
            f"host {settings.host} is not loopback: everybody on that network could knock; "
            "set allow_remote = true if that is meant"
        )


def check_port(host: str, port: int) -> None:
    """The API's port can be had.

    Raises:
        ConfigurationError: somebody listens there, or the host is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} on {host}: {error.strerror}; stop what listens there or set FOLKMOOT_PORT"
            ) from error


def check_model(name: str, model: ModelSettings) -> None:
    """Its key is set and a local base model has its files; one from the hub is looked for when its engine starts.

    Raises:
        ConfigurationError: a file or the key's variable is missing.
    """
    read_key(f"model {name!r}", model.api_key_env)
    if model.kind != "engine" or model.base is None or is_hub_id(model.base):
        return
    folder = _ROOT / "agents" / "nursery" if model.base == BUILTIN_BASE else Path(model.base).expanduser()
    missing = [part for part in ("config.json", "*.safetensors") if not list(folder.glob(part))]
    if missing:
        raise ConfigurationError(f"model {name!r}: {missing[0]} is missing in {folder}")


def check_models(settings: Settings) -> None:
    """Every configured model has its files and its key, and so has the embedding server.

    Raises:
        ConfigurationError: one has not.
    """
    for name, model in settings.models.items():
        check_model(name, model)
    check_embedder(settings)


def check_embedder(settings: Settings) -> None:
    """The embedding server's key is set.

    Raises:
        ConfigurationError: its variable is not.
    """
    read_key("embedding server", settings.embedding_api_key_env)


def free_port() -> int:
    """A loopback port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_hub_id(base: str | None) -> bool:
    """Whether a base names weights on the hub (`owner/name`) rather than a folder here."""
    if base is None or base == BUILTIN_BASE or Path(base).expanduser().is_dir():
        return False
    return base.count("/") == 1 and not base.startswith(("/", ".", "~"))
