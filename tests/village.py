"""A society of people whose models are written down: each agent answers as its script says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from agents.backend import AdapterRef
from agents.conversations import Conversations
from agents.directory import create_user
from agents.messages import Completion, Delta, Message, SamplingParams, Usage
from agents.personal import Identity, PersonalAgent
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.records import Agent, Model, User
from society.membership import accept, create_society, invite

Script = Callable[[Sequence[Message]], str]


@dataclass
class ScriptedModel:
    """A ChatBackend that answers by a function of the prompt, after a delay; a script may raise what a server would."""

    script: Script
    delay_s: float = 0.0
    prompts: list[list[Message]] = field(default_factory=list)

    async def stream(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> AsyncGenerator[Delta, None]:
        completion = await self.complete(messages, params, adapter=adapter)
        for character in completion.text:
            yield Delta(character)
        yield Delta(finish_reason=completion.finish_reason, usage=completion.usage)

    async def complete(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> Completion:
        self.prompts.append(list(messages))
        await asyncio.sleep(self.delay_s)
        text = self.script(messages)
        return Completion(text, "stop", Usage(len(messages), len(text)), "scripted")

    async def aclose(self) -> None:
        return None


class Village:
    """People with scripted agents, and the society `moot` that seats all of them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.memory = Memory(database, HashingEmbedder(), ChromaIndex("http://127.0.0.1:1"))
        self.models: dict[str, ScriptedModel] = {}
        with database.session() as session:
            session.add(Model(name="scripted", kind="endpoint", base=None, lineage="scripted"))

    def add(self, handle: str, script: Script, *, delay_s: float = 0.0, lineage: str = "scripted") -> User:
        with self.database.session() as session:
            if session.get(Model, lineage) is None:
                session.add(Model(name=lineage, kind="endpoint", base=None, lineage=lineage))
                session.flush()
            user = create_user(session, handle=handle, name=handle.title(), model=lineage)
            agent_id = session.query(Agent.id).filter_by(user_id=user.id).scalar()
        self.models[agent_id] = ScriptedModel(script, delay_s)
        return user

    def found(self, owner: User, *others: User) -> None:
        with self.database.session() as session:
            create_society(session, owner=owner, slug="moot", name="Moot")
            for user in others:
                invite(session, owner_id=owner.id, slug="moot", handle=user.handle)
                accept(session, user_id=user.id, slug="moot")

    def teach(self, user: User, text: str, *, scope: str = "society:moot") -> str:
        return self.memory.remember(user.id, [NewMemory(text, speaker=user.name, scope=scope, named=True)])[0]

    def by_id(self, agent_id: str) -> PersonalAgent:
        with self.database.reading() as session:
            agent = session.get_one(Agent, agent_id)
            user = session.get_one(User, agent.user_id)
            identity = Identity(agent.id, user.id, agent.handle, user.name, lineage=agent.model)
        return PersonalAgent(
            identity,
            backend=self.models[agent_id],
            memory=self.memory,
            conversations=Conversations(self.database),
            recall_k=8,
        )

    def agent_id(self, user: User) -> str:
        with self.database.reading() as session:
            return str(session.query(Agent.id).filter_by(user_id=user.id).scalar())

    def model_of(self, user: User) -> ScriptedModel:
        with self.database.reading() as session:
            return self.models[session.query(Agent.id).filter_by(user_id=user.id).scalar()]


def says(text: str) -> Script:
    return lambda messages: text


def from_memory(messages: Sequence[Message]) -> str:
    """Answers with the memory lines of its prompt, or says that it does not know."""
    lines = [line for line in messages[0].content.splitlines() if line.startswith("- ")]
    return f"{lines[0]}\nanswer: {lines[0].split()[-1]}" if lines else "No memory tells.\nanswer: I do not know"
