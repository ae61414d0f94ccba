"""Turns stored by two requests at a time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from agents.conversations import Conversations, NewTurn
from personal_data.database import Database
from personal_data.errors import Conflict
from personal_data.records import Agent, ChatMessage, Conversation
from tests.village import Village, says

_WAITING = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'messages'::regclass")


def new_turn(village: Village, question: str, conversation_id: str | None) -> NewTurn:
    with village.database.reading() as session:
        agent = session.scalars(sa.select(Agent)).one()
        return NewTurn(agent.user_id, agent.id, conversation_id, question, "Hi", "stop", "r1", (), None)


@pytest.mark.parametrize("opened", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("questions", [("Hello.", "Hello."), ("Hello.", "Bye.")], ids=["same", "other"])
def test_a_retry_beside_its_first_attempt(postgresql: Database, questions: tuple[str, str], opened: bool) -> None:
    """Both find nothing stored, and both wait to write: the table is locked until they do."""
    village = Village(postgresql)
    user = village.add("ada", says("Hi"))
    conversation_id = None
    if opened:
        with postgresql.session() as session:
            agent_id = session.scalars(sa.select(Agent.id)).one()
            session.add(conversation := Conversation(user_id=user.id, agent_id=agent_id))
            session.flush()
            conversation_id = conversation.id
    turns = [new_turn(village, question, conversation_id) for question in questions]
    conversations = Conversations(postgresql)
    with ThreadPoolExecutor(2) as pool:
        with postgresql.engine.begin() as holder:
            holder.execute(sa.text("LOCK TABLE messages IN EXCLUSIVE MODE"))
            stored = [pool.submit(conversations.append, turn) for turn in turns]
            _await_writers(postgresql, 1 if opened else 2)
        errors = [future.exception(timeout=60) for future in stored]
    if len(set(questions)) == 1:
        assert stored[0].result() == stored[1].result()
    else:
        assert sorted(type(error) for error in errors if error) == [Conflict]
    with postgresql.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(ChatMessage)) == 2
        assert session.scalar(sa.select(sa.func.count()).select_from(Conversation)) == 1


def _await_writers(database: Database, number: int) -> None:
    for _ in range(1200):
        with database.engine.connect() as connection:
            if connection.scalar(_WAITING) == number:
                return
        time.sleep(0.05)
    pytest.fail("the writers never came")
