"""Finding agents: who owns which, and everything one needs to speak. Door: `AgentDirectory`."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from agents.adapters import AdapterStore
from agents.backend import AdapterRef, ChatBackend
from agents.conversations import Conversations
from agents.messages import Completion, Delta, Message, SamplingParams
from agents.models import build_backend
from agents.personal import Identity, PersonalAgent
from personal_data.database import Database
from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.memory import Memory
from personal_data.profile import profile_of
from personal_data.records import AdapterVersion, Agent, Model, User
from personal_data.settings import Settings

_HANDLE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class _Deferred:
    """A model's backend, looked up when it is asked: who an agent is can be read though its model is not set up."""

    find: Callable[[], ChatBackend]

    def stream(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> AsyncGenerator[Delta, None]:
        return self.find().stream(messages, params, adapter=adapter)

    async def complete(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> Completion:
        return await self.find().complete(messages, params, adapter=adapter)

    async def aclose(self) -> None:
        """The directory closes what it has built."""


class AgentDirectory:
    """Builds `PersonalAgent`s from the records of the moment, over one shared backend a model."""

    def __init__(self, settings: Settings, database: Database, memory: Memory) -> None:
        self._settings = settings
        self._adapters = AdapterStore(settings.adapters_dir)
        self._database = database
        self._memory = memory
        self._conversations = Conversations(database)
        self._backends: dict[str, ChatBackend] = {}
        self._lock = threading.Lock()

    def of_user(self, user_id: str) -> PersonalAgent:
        """The agent of one owner.

        Raises:
            NotFound: this person has no agent.
        """
        return self._build(Agent.user_id == user_id, f"user {user_id} has no agent")

    def by_id(self, agent_id: str) -> PersonalAgent:
        """An agent by id, for the panel of a debate.

        Raises:
            NotFound: it does not exist (any more).
        """
        return self._build(Agent.id == agent_id, f"no agent {agent_id}")

    def backend(self, model: str) -> ChatBackend:
        """The shared client of one configured model.

        Raises:
            ConfigurationError: it is not configured, or its engine or its key is missing.
        """
        with self._lock:
            if model not in self._backends:
                self._backends[model] = build_backend(self._settings, model)
            return self._backends[model]

    async def aclose(self) -> None:
        """Close all clients."""
        for backend in self._backends.values():
            await backend.aclose()

    def _build(self, condition: object, missing: str) -> PersonalAgent:
        with self._database.reading() as session:
            row = session.execute(
                select(Agent, User, Model, AdapterVersion)
                .join(User, Agent.user_id == User.id)
                .join(Model, Agent.model == Model.name)
                .outerjoin(AdapterVersion, Agent.live_version_id == AdapterVersion.id)
                .where(condition)  # type: ignore[arg-type]
            ).one_or_none()
            if row is None:
                raise NotFound(missing)
            agent, user, model, version = row
            profile = profile_of(session, user.id, agent.instructions, self._settings.profile_tokens)
        identity = Identity(
            agent_id=agent.id,
            user_id=user.id,
            handle=agent.handle,
            owner_name=user.name,
            lineage=model.lineage,
            instructions=profile.instructions,
            preferences=profile.preferences,
            adapter=None if version is None else AdapterRef(version.id, self._adapters.path(version)),
        )
        return PersonalAgent(
            identity,
            backend=_Deferred(partial(self.backend, agent.model)),
            memory=self._memory,
            conversations=self._conversations,
            recall_k=self._settings.recall_k,
        )


def create_user(session: Session, *, handle: str, name: str, model: str, admin: bool = False) -> User:
    """Add a person and their agent, in the caller's transaction.

    Raises:
        InvalidInput: a handle that is not lower-case letters, digits and dashes; an unknown model.
        Conflict: the handle is taken.
    """
    if not _HANDLE.fullmatch(handle):
        raise InvalidInput(f"handle {handle!r}: use 1-63 lower-case letters, digits and dashes", param="handle")
    if session.scalar(select(User.id).where(User.handle == handle)) is not None:
        raise Conflict(f"handle {handle!r} is taken")
    if session.get(Model, model) is None:
        raise InvalidInput(f"unknown model {model!r}: see `folkmoot status` for the configured ones", param="model")
    user = User(handle=handle, name=name.strip() or handle, admin=admin)
    session.add(user)
    session.flush()
    session.add(Agent(user_id=user.id, handle=handle, model=model))
    session.flush()
    return user
