"""The configured models: their backends, their lineages, their rows.

Doors: `build_backend`, `lineage`, `sync_models`. No model library is imported here; a provider's loads on first use.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from agents.backend import ChatBackend
from agents.endpoint import EndpointBackend
from agents.provider import ProviderBackend
from agents.recorded import open_recorded
from personal_data.errors import ConfigurationError
from personal_data.records import Model
from personal_data.settings import ModelSettings, Settings, read_key


def build_backend(settings: Settings, name: str) -> ChatBackend:
    """The backend of a configured model.

    Raises:
        ConfigurationError: there is no such model, its engine was not started, or its key's variable is not set.
    """
    model = settings.models.get(name)
    if model is None:
        raise ConfigurationError(f"no model {name!r}; configured are {', '.join(sorted(settings.models))}")
    if model.kind == "engine":
        if (url := settings.engines.get(name)) is None:
            raise ConfigurationError(f"model {name!r}: its engine is not running; start it with `folkmoot serve`")
        return EndpointBackend(url, name, api_key=settings.engine_token, timeout_s=model.timeout_s)
    if model.kind == "recorded":
        assert model.file is not None and model.model is not None
        return open_recorded(model.file, model.model)
    key = read_key(f"model {name!r}", model.api_key_env)
    if model.kind == "endpoint":
        assert model.url is not None
        return EndpointBackend(model.url, model.model or name, api_key=key, timeout_s=model.timeout_s)
    assert model.model is not None
    return ProviderBackend(model.model, api_base=model.url, api_key=key, timeout_s=model.timeout_s)


def lineage(model: ModelSettings) -> str:
    """What makes agents near-clones in a vote: the base they share, or else the model that answers for them."""
    named = model.base or model.model or model.url
    assert named is not None
    return named


def sync_models(session: Session, settings: Settings) -> None:
    """Write the configured models as rows; a model that is configured no more keeps its row, for its agents' sake."""
    known = {row.name: row for row in session.scalars(sa.select(Model))}
    for name, model in settings.models.items():
        row = known.get(name)
        if row is None:
            session.add(Model(name=name, kind=model.kind, base=model.base, lineage=lineage(model)))
        else:
            row.kind, row.base, row.lineage = model.kind, model.base, lineage(model)
    session.flush()
