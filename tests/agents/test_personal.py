"""A person's agent over a scripted model: what its prompt holds, what it stores, and what it never stores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import func, select

from agents.conversations import Conversations
from agents.messages import Delta, Message, SamplingParams
from agents.personal import PersonalAgent, Turn
from personal_data.database import Database
from personal_data.errors import BackendUnavailable, Conflict, InvalidInput, NotFound
from personal_data.records import ChatMessage, Conversation, User
from tests.village import Script, Village, says

PARAMS = SamplingParams()


def user_says(text: str) -> list[Message]:
    return [Message("user", text)]


def person(village: Village, handle: str, script: Script) -> tuple[User, PersonalAgent]:
    user = village.add(handle, script)
    agent_id = next(reversed(village.models))
    return user, village.by_id(agent_id)


def talk(
    agent: PersonalAgent,
    history: Sequence[Message],
    *,
    conversation_id: str | None = None,
    request_id: str | None = None,
) -> tuple[Turn, list[Delta]]:
    async def go() -> tuple[Turn, list[Delta]]:
        turn = await agent.reply(history, PARAMS, conversation_id=conversation_id, request_id=request_id)
        return turn, [delta async for delta in turn.deltas]

    return asyncio.run(go())


def stored(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(ChatMessage)) or 0


def test_the_prompt_holds_what_was_recalled_and_nothing_of_others(village: Village) -> None:
    ada, agent = person(village, "ada", says("Miro."))
    ben, _ = person(village, "ben", says("?"))
    village.teach(ada, "My cat is called Miro.", scope="private")
    village.teach(ben, "My cat is called Tofu.", scope="public")
    turn, _ = talk(agent, user_says("What is my cat called?"))
    [prompt] = village.model_of(ada).prompts
    assert prompt[0].content == "You are Ada's agent.\nMemories:\n- Ada: My cat is called Miro."
    assert prompt[1:] == user_says("What is my cat called?")
    assert [hit.text for hit in turn.hits] == ["My cat is called Miro."]


def test_a_callers_system_message_comes_after_the_agents_own(village: Village) -> None:
    ada, agent = person(village, "ada", says("Hello."))
    talk(agent, [Message("system", "Answer briefly."), *user_says("Hello.")])
    assert village.model_of(ada).prompts[0][0].content == "You are Ada's agent.\nAnswer briefly."


def test_both_turns_are_durable_before_the_finish_is_seen(village: Village) -> None:
    _, agent = person(village, "ada", says("Hi"))

    async def watch() -> list[tuple[str | None, int]]:
        turn = await agent.reply(user_says("Hello."), PARAMS)
        return [(delta.finish_reason, stored(village.database)) async for delta in turn.deltas]

    assert asyncio.run(watch()) == [(None, 0), (None, 0), ("stop", 2)]


def test_a_conversation_goes_on_in_order(village: Village) -> None:
    _, agent = person(village, "ada", says("Hi"))
    first, _ = talk(agent, user_says("Hello."))
    second, _ = talk(agent, user_says("And again?"), conversation_id=first.conversation_id)
    assert second.conversation_id == first.conversation_id is not None
    rows = Conversations(village.database).messages(first.conversation_id, agent.user_id)
    assert [(row.seq, row.role, row.content) for row in rows] == [
        (0, "user", "Hello."),
        (1, "assistant", "Hi"),
        (2, "user", "And again?"),
        (3, "assistant", "Hi"),
    ]


def test_a_model_that_breaks_off_leaves_nothing_behind(village: Village) -> None:
    def broken(messages: Sequence[Message]) -> str:
        raise BackendUnavailable("gone")

    _, agent = person(village, "ada", broken)
    with pytest.raises(BackendUnavailable):
        talk(agent, user_says("My cat is called Miro."))
    assert stored(village.database) == 0
    assert village.memory.entries(agent.user_id) == []
    with village.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Conversation)) == 0


def test_a_retried_request_is_stored_once_and_its_key_serves_one_question(village: Village) -> None:
    _, agent = person(village, "ada", says("Hi"))
    first, _ = talk(agent, user_says("Hello."), request_id="r1")
    again, _ = talk(agent, user_says("Hello."), request_id="r1")
    assert (again.conversation_id, again.message_id) == (first.conversation_id, first.message_id)
    assert stored(village.database) == 2
    with pytest.raises(Conflict):
        talk(agent, user_says("Something else."), request_id="r1")
    assert stored(village.database) == 2


def test_two_people_may_use_the_same_request_id(village: Village) -> None:
    _, ada = person(village, "ada", says("Hi"))
    _, ben = person(village, "ben", says("Hi"))
    talk(ada, user_says("Hello."), request_id="r1")
    talk(ben, user_says("Hello."), request_id="r1")
    assert stored(village.database) == 4


def test_somebody_elses_conversation_does_not_exist(village: Village) -> None:
    _, ada = person(village, "ada", says("Hi"))
    _, ben = person(village, "ben", says("Hi"))
    turn, _ = talk(ada, user_says("Hello."))
    with pytest.raises(NotFound):
        talk(ben, user_says("Hello."), conversation_id=turn.conversation_id)
    assert stored(village.database) == 2


@pytest.mark.parametrize("history", [[], [Message("assistant", "Hi")], user_says("  \n")])
def test_there_must_be_something_to_answer(village: Village, history: list[Message]) -> None:
    _, agent = person(village, "ada", says("Hi"))
    with pytest.raises(InvalidInput):
        talk(agent, history)


def test_statements_are_remembered_and_questions_are_not(village: Village) -> None:
    _, agent = person(village, "ada", says("Noted."))
    for text in ("My drill is under the stairs.", "Where is my drill?", "Thanks."):
        talk(agent, user_says(text))
    [memory] = village.memory.entries(agent.user_id)
    assert (memory.text, memory.speaker, memory.kind) == ("My drill is under the stairs.", "Ada", "turn")
    assert memory.sources[0].startswith("message:msg_")
