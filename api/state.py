"""What the application holds while it runs: settings, database, memory, agents, the debate runner.

Built once by `open_state`, reached from routes by `AppState`. Opening it imports no model library and connects to
nothing but the database; the others connect at first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from agents.directory import AgentDirectory
from agents.models import sync_models
from api.debates import DebateRunner
from api.erasures import Eraser
from personal_data.database import Database
from personal_data.memory import Memory, open_memory
from personal_data.settings import Settings, prepare_data_dir
from society.learning import Learning


@dataclass(frozen=True, slots=True)
class State:
    """Everything that routes share."""

    settings: Settings
    database: Database
    memory: Memory
    directory: AgentDirectory
    debates: DebateRunner
    learning: Learning
    eraser: Eraser


def open_state(settings: Settings) -> State:
    """Bring the schema to head, write the configured models down, and wire the rooms together.

    Raises:
        ConfigurationError: the data folder, the database, or the addresses or key of embedder and index are not usable.
    """
    prepare_data_dir(settings)
    database = Database(settings.database)
    memory = open_memory(settings, database)
    database.migrate()
    with database.session() as session:
        sync_models(session, settings)
    directory = AgentDirectory(settings, database, memory)
    learning = Learning()
    debates = DebateRunner(database, directory, settings, learning)
    return State(settings, database, memory, directory, debates, learning, Eraser(settings, database, memory))


async def _state(request: Request) -> State:
    state = request.app.state.folkmoot
    assert isinstance(state, State)
    return state


AppState = Annotated[State, Depends(_state)]
