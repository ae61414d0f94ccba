"""Settings: FOLKMOOT_* variables, or folkmoot.toml in the data folder; variables win. Read at the edges only.

Door: `load()`. Rooms below the edges receive values, never read the environment themselves; what a named variable holds
they ask `read_key` for.
"""

from __future__ import annotations

import os
import stat
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from personal_data.errors import ConfigurationError, StorageError

BUILTIN_BASE = "builtin:nursery"
DEFAULT_PORT = 8420
_PREFIX = "FOLKMOOT_"
_CLIENT_VARIABLES = frozenset({"FOLKMOOT_KEY", "FOLKMOOT_URL"})
"""Variables of the command line, which is a client: not settings of what runs here."""


class ModelSettings(BaseModel, extra="forbid"):
    """One `[models.<name>]` table. `base` names weights to train on: builtin:nursery, a local folder or a hub id.

    `model` is what an endpoint's server calls it (by default as the table is called), a provider's litellm name, or the
    member of a committee whose recorded answers stand in `file`.
    """

    kind: Literal["engine", "endpoint", "provider", "recorded"] = "engine"
    base: str | None = None
    url: str | None = None
    model: str | None = None
    file: Path | None = None
    api_key_env: str | None = None
    timeout_s: float = 120.0

    @model_validator(mode="after")
    def _complete(self) -> ModelSettings:
        required = _REQUIRED[self.kind]
        missing = [name for name in required if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a model of kind {self.kind!r} needs {', '.join(missing)}")
        return self

    @property
    def trainable(self) -> bool:
        """Whether agents on this model carry adapters: we must hold the base weights and serve adapters by name."""
        return self.kind in ("engine", "endpoint") and self.base is not None


_REQUIRED = {"engine": ("base",), "endpoint": ("url",), "provider": ("model",), "recorded": ("file", "model")}


def _default_data_dir() -> Path:
    return _expanded(Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "folkmoot")


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ConfigurationError(f"data folder {path}: {error}") from error


def _server(url: str) -> str:
    """The address of a server as we use it: scheme and host, without /v1 or a slash at its end."""
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ValueError(f"{url!r} is not http://HOST:PORT")
    return url.rstrip("/").removesuffix("/v1")


DataDir = Annotated[Path, AfterValidator(_expanded)]
ServerUrl = Annotated[str, AfterValidator(_server)]


class Settings(BaseSettings):
    """All settings with the defaults of the embedded profile."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", env_ignore_empty=True, extra="forbid"
    )

    data_dir: DataDir = Field(default_factory=_default_data_dir)
    min_free_bytes: int = Field(default=200 * 2**20, ge=0)
    """What the data folder's disk must have free before anything is started."""
    host: str = "127.0.0.1"
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65_535)
    allow_remote: bool = False
    """Must be true to bind anything but loopback."""

    database_url: str | None = None
    broker_url: str | None = None
    engines: dict[str, ServerUrl] = Field(default_factory=dict)
    """Model name → URL of the engine that serves it. The supervisor sets it for its children."""
    engine_token: str | None = None
    embedding_url: ServerUrl | None = None
    """An OpenAI-compatible server with `/v1/embeddings`; the supervisor's engine by default."""
    embedding_model: str = "all-MiniLM-L6-v2"
    reranker_url: ServerUrl | None = None
    """A server with `/v1/rerank`, whose cross-encoder looks at what recall found; none by default."""
    reranker_model: str = "BAAI/bge-reranker-v2-m3"
    reranker_api_key_env: str | None = None
    embedding_api_key_env: str | None = None
    """The variable that holds the embedding server's key, where it wants one. The supervisor names `engine_token`'s for
    an engine of its own; no other embedding server is sent that."""
    index_url: ServerUrl | None = None
    """http://host:port of a Chroma server (the Rust one, `chroma run`)."""

    models: dict[Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")], ModelSettings] = Field(
        default_factory=dict
    )
    default_model: str = "nursery"

    max_upload_bytes: int = Field(default=20 * 2**30, ge=1)
    """The largest export that somebody may bring."""
    recall_k: int = Field(default=8, ge=1, le=64)
    profile_tokens: int = Field(default=300, ge=0)
    """What instructions and standing preferences may take of each prompt; instructions are never cut."""
    max_message_chars: int = Field(default=32_000, ge=1)
    debate_deadline_s: float = Field(default=60.0, gt=0)
    lease_s: float = Field(default=30.0, gt=0)
    sweep_s: float = Field(default=5.0, gt=0)
    training_threads: int = Field(default=1, ge=1)
    """Threads of the training process. One is safe beside others; on a quiet machine with a larger base, more pay."""

    @model_validator(mode="after")
    def _with_builtin_model(self) -> Settings:
        """Agents that were made before another model was configured stay on the built-in one."""
        self.models.setdefault("nursery", ModelSettings(kind="engine", base=BUILTIN_BASE))
        if self.default_model not in self.models:
            raise ValueError(f"default_model {self.default_model!r} is not one of {sorted(self.models)}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        data_dir = init_settings().get("data_dir") or os.environ.get("FOLKMOOT_DATA_DIR") or _default_data_dir()
        toml = TomlConfigSettingsSource(settings_cls, toml_file=_expanded(Path(data_dir)) / "folkmoot.toml")
        return init_settings, env_settings, toml

    @cached_property
    def database(self) -> str:
        """SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{self.data_dir / 'folkmoot.db'}"

    @property
    def broker_dir(self) -> Path:
        return self.data_dir / "broker"

    @property
    def adapters_dir(self) -> Path:
        return self.data_dir / "adapters"

    @property
    def uploads_dir(self) -> Path:
        """A folder for each import, with the file in it until it is done."""
        return self.data_dir / "uploads"

    @property
    def logs_dir(self) -> Path:
        return self.data_dir / "logs"


def load(**overrides: Any) -> Settings:
    """Read settings; one clear line when something is wrong.

    Raises:
        ConfigurationError: a value does not fit, a variable or key is unknown.
        StorageError: the data folder's file cannot be read.
    """
    if unknown := next((name for name in sorted(os.environ) if not _is_known(name)), None):
        raise ConfigurationError(f"there is no setting {unknown}; correct its name or unset it")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise ConfigurationError(f"{where}: {first['msg']}") from error
    except SettingsError as error:
        raise ConfigurationError(str(error)) from error
    except ValueError as error:
        raise ConfigurationError(f"folkmoot.toml: {error}") from error
    except OSError as error:
        raise _storage_error(Path(error.filename or "data folder"), error) from error


def _is_known(name: str) -> bool:
    """Whether an environment variable is none of our business, or one that we read."""
    if not name.upper().startswith(_PREFIX) or name in _CLIENT_VARIABLES:
        return True
    field, nested, _ = name.upper().removeprefix(_PREFIX).lower().partition("__")
    info = Settings.model_fields.get(field)
    return info is not None and (not nested or get_origin(info.annotation) is dict)


def read_key(what: str, variable: str | None) -> str | None:
    """The key that an environment variable holds; None where no variable is named.

    Raises:
        ConfigurationError: it is not set. `what` says whose key it is.
    """
    if variable is None:
        return None
    if not (key := os.environ.get(variable)):
        raise ConfigurationError(f"{what}: the variable {variable} that holds its key is not set")
    return key


def prepare_data_dir(settings: Settings) -> None:
    """Create the data folder, private to its owner.

    Raises:
        StorageError: it cannot be created or written.
    """
    try:
        rooms = (settings.adapters_dir, settings.logs_dir, settings.broker_dir, settings.uploads_dir)
        for folder in (settings.data_dir, *rooms):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_private(settings.data_dir)
        with tempfile.TemporaryFile(dir=settings.data_dir) as probe:
            probe.write(b"folkmoot")
    except OSError as error:
        raise _storage_error(settings.data_dir, error) from error


def _make_private(folder: Path) -> None:
    """Shut others out of a folder that is ours, unless it is meant for everybody (/tmp)."""
    found = folder.stat()
    if found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX and found.st_mode & 0o077:
        folder.chmod(0o700)


def _storage_error(path: Path, error: OSError) -> StorageError:
    reason = error.strerror or str(error)
    return StorageError(f"data folder {path}: {reason}; set FOLKMOOT_DATA_DIR to a folder that you may write to")
