"""Settings: FOLKMOOT_* variables, or folkmoot.toml in the data folder; variables win. Read at the edges only.

Door: `load()`. Rooms below the edges receive values, never read the environment themselves.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from personal_data.errors import ConfigurationError, StorageError

BUILTIN_BASE = "builtin:nursery"
DEFAULT_PORT = 8420


class ModelSettings(BaseModel, extra="forbid"):
    """One `[models.<name>]` table. `base` names weights to train on: builtin:nursery, a local folder or a hub id."""

    kind: Literal["engine", "endpoint", "provider"] = "engine"
    base: str | None = None
    url: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    timeout_s: float = 120.0

    @model_validator(mode="after")
    def _complete(self) -> ModelSettings:
        required = {"engine": ("base",), "endpoint": ("url",), "provider": ("model",)}[self.kind]
        missing = [name for name in required if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a model of kind {self.kind!r} needs {', '.join(missing)}")
        return self

    @property
    def trainable(self) -> bool:
        """Whether agents on this model carry adapters: we must hold the base weights and serve adapters by name."""
        return self.kind != "provider" and self.base is not None


def _default_data_dir() -> Path:
    root = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(root) / "folkmoot"


class Settings(BaseSettings):
    """All settings with the defaults of the embedded profile."""

    model_config = SettingsConfigDict(env_prefix="FOLKMOOT_", env_nested_delimiter="__", extra="forbid")

    data_dir: Path = Field(default_factory=_default_data_dir)
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    allow_remote: bool = False
    """Must be true to bind anything but loopback."""

    database_url: str | None = None
    broker_url: str | None = None
    engines: dict[str, str] = Field(default_factory=dict)
    """Model name → URL of the engine that serves it. The supervisor sets it for its children."""
    engine_token: str | None = None
    embedding_url: str | None = None
    """An OpenAI-compatible server with `/v1/embeddings`; the supervisor's engine by default."""
    embedding_model: str = "all-MiniLM-L6-v2"
    index_url: str | None = None
    """http://host:port of a Chroma server (the Rust one, `chroma run`)."""

    models: dict[Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")], ModelSettings] = Field(
        default_factory=dict
    )
    default_model: str = "nursery"

    recall_k: int = Field(default=8, ge=1, le=64)
    max_message_chars: int = Field(default=32_000, ge=1)
    debate_deadline_s: float = Field(default=60.0, gt=0)
    lease_s: float = Field(default=30.0, gt=0)
    sweep_s: float = Field(default=5.0, gt=0)
    training_threads: int = Field(default=1, ge=1)
    """Threads of the training process. One is safe beside others; on a quiet machine with a larger base, more pay."""

    @model_validator(mode="after")
    def _with_builtin_model(self) -> Settings:
        if not self.models:
            self.models["nursery"] = ModelSettings(kind="engine", base=BUILTIN_BASE)
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
        toml = TomlConfigSettingsSource(settings_cls, toml_file=Path(data_dir) / "folkmoot.toml")
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
    def logs_dir(self) -> Path:
        return self.data_dir / "logs"


def load(**overrides: Any) -> Settings:
    """Read settings; one clear line when something is wrong.

    Raises:
        ConfigurationError: a value does not fit, a variable or key is unknown.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise ConfigurationError(f"{where}: {first['msg']}") from error
    except ValueError as error:
        raise ConfigurationError(f"folkmoot.toml: {error}") from error


def prepare_data_dir(settings: Settings) -> None:
    """Create the data folder, private to its owner.

    Raises:
        StorageError: it cannot be created or written.
    """
    try:
        for folder in (settings.data_dir, settings.adapters_dir, settings.logs_dir, settings.broker_dir):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = settings.data_dir / ".probe"
        probe.write_bytes(b"folkmoot")
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"data folder {settings.data_dir}: {error.strerror or error}; set FOLKMOOT_DATA_DIR to a writable folder"
        ) from error
