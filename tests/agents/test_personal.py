"""A person's agent over a scripted model: what its prompt holds, what it stores, and what it never stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from agents.backend import TOO_LONG, AdapterRef
from agents.conversations import Conversations
from agents.endpoint import EndpointBackend
from agents.messages import Completion, Delta, Message, SamplingParams
from agents.personal import PersonalAgent, Proposal, Turn
from personal_data.database import Database
from personal_data.errors import BackendUnavailable, Conflict, InvalidInput, NotFound, RequestRefused
from personal_data.records import ChatMessage, Conversation, User
from tests.agents.running import TOKEN, Running
from tests.village import Script, ScriptedModel, Village, says

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


def test_a_long_statement_is_stored_once_and_remembered_in_pieces(village: Village) -> None:
    """A chat takes longer messages than a memory holds."""
    _, agent = person(village, "ada", says("Noted."))
    lines = [f"My key number {number} hangs on hook {number * 7}." for number in range(600)]
    talk(agent, user_says("\n".join(lines)))
    assert stored(village.database) == 2
    memories = village.memory.entries(agent.user_id)
    assert len(memories) > 2
    assert sorted(line for memory in memories for line in memory.text.splitlines()) == sorted(lines)
    assert len({memory.sources[0] for memory in memories}) == 1


# -- in a debate ---------------------------------------------------------------------------------------------------


def think(agent: PersonalAgent, question: str = "Where is the key?") -> Proposal:
    [proposal] = asyncio.run(agent.propose(question, audience="society:moot", params=[PARAMS]))
    return proposal


def test_private_instructions_stay_out_of_debates(village: Village) -> None:
    ada, agent = person(village, "ada", says("Arr.\nanswer: 4"))
    agent.identity = replace(agent.identity, instructions=("Never mention my illness.",))
    think(agent)
    talk(agent, user_says("Hello."))
    debated, chatted = village.model_of(ada).prompts
    assert "illness" not in str(debated)
    assert "illness" in chatted[0].content


class CutOff(ScriptedModel):
    """Reaches max_tokens in the middle of its answer, and does not count tokens."""

    async def complete(
        self, messages: Sequence[Message], params: SamplingParams, *, adapter: AdapterRef | None = None
    ) -> Completion:
        whole = await super().complete(messages, params, adapter=adapter)
        return replace(whole, finish_reason="length", usage=None)


def test_an_answer_that_is_cut_off_is_none(village: Village) -> None:
    _, agent = person(village, "ada", says("600 + 634 is\nanswer: 12"))
    assert think(agent).answer == "12"
    village.models[agent.id] = CutOff(says("600 + 634 is\nanswer: 12"))
    cut = think(village.by_id(agent.id))
    assert (cut.answer, cut.parsed, cut.completion_tokens) == (None, False, None)


# -- a prompt that is too long -------------------------------------------------------------------------------------


def room_for(fits: Callable[[Sequence[Message]], bool], answer: str = "answer: 4") -> Script:
    """A model that refuses what does not fit, as a server does."""

    def script(messages: Sequence[Message]) -> str:
        if not fits(messages):
            raise RequestRefused("too long", code=TOO_LONG)
        return answer

    return script


def memory_lines(messages: Sequence[Message]) -> list[str]:
    return [line.removeprefix("- Ada: ") for line in messages[0].content.splitlines() if line.startswith("- ")]


def taught(village: Village, script: Script) -> tuple[PersonalAgent, list[list[Message]]]:
    """Ada, who knows of five keys, and what her model will be shown."""
    ada, agent = person(village, "ada", script)
    for place in ("barrel", "mat", "stove", "bench", "gutter"):
        village.teach(ada, f"The key {place} is under the {place}.")
    return agent, village.model_of(ada).prompts


def test_the_weakest_memories_are_left_out_first(village: Village) -> None:
    agent, prompts = taught(village, room_for(lambda messages: len(memory_lines(messages)) <= 1))
    turn, _ = talk(agent, [*user_says("Hello."), Message("assistant", "Hi"), *user_says("Where is the stove key?")])
    shown = [memory_lines(prompt) for prompt in prompts]
    assert [len(lines) for lines in shown] == [5, 2, 1]
    assert shown[1:] == [shown[0][:2], shown[0][:1]]
    assert [hit.text for hit in turn.hits] == shown[-1]
    assert all(len(prompt) == 4 for prompt in prompts)
    row = Conversations(village.database).messages(turn.conversation_id or "", agent.user_id)[-1]
    assert row.memory_ids == [hit.id for hit in turn.hits]
    proposal = think(agent, "Where is the stove key?")
    assert [len(memory_lines(prompt)) for prompt in prompts[3:]] == [5, 2, 1]
    assert proposal.memory_ids == tuple(hit.id for hit in turn.hits)


def test_then_the_older_turns_are_left_out(village: Village) -> None:
    agent, prompts = taught(village, room_for(lambda messages: len(messages) <= 2))
    earlier = [Message(role, str(at)) for at in range(5) for role in ("user", "assistant")]
    turn, _ = talk(agent, [Message("system", "Be kind."), *earlier, *user_says("Where is the stove key?")])
    assert [[message.content for message in prompt[1:-1]] for prompt in prompts[3:]] == [
        ["0", "0", "1", "1", "2", "2", "3", "3", "4", "4"],
        ["3", "3", "4", "4"],
        ["4", "4"],
        [],
    ]
    assert all(prompt[0].content.endswith("Be kind.") for prompt in prompts)
    assert all(prompt[-1].content == "Where is the stove key?" for prompt in prompts)
    assert turn.hits == []
    assert stored(village.database) == 2


def test_a_question_that_is_too_long_by_itself_is_refused(village: Village) -> None:
    agent, prompts = taught(village, room_for(lambda messages: False))
    for ask in (lambda: talk(agent, user_says("Where?")), lambda: think(agent)):
        with pytest.raises(RequestRefused) as caught:
            ask()
        assert caught.value.code == TOO_LONG
        assert len(prompts[-1]) == 2
        assert memory_lines(prompts[-1]) == []
    assert stored(village.database) == 0


def test_another_refusal_is_not_argued_with(village: Village) -> None:
    def picky(messages: Sequence[Message]) -> str:
        raise RequestRefused("no such value", code="invalid_value")

    agent, prompts = taught(village, picky)
    with pytest.raises(RequestRefused):
        talk(agent, user_says("Where is the key?"))
    with pytest.raises(RequestRefused):
        think(agent)
    assert len(prompts) == 2


def test_a_real_model_of_256_tokens(village: Village, server: Running) -> None:
    """Neither a memory of 5,000 characters nor a long talk ends a chat; an answer that cannot fit is told."""
    ada, agent = person(village, "ada", says(""))
    village.teach(ada, "The key of the hut is under the barrel. " + "It is heavy. " * 390, scope="private")
    backend = EndpointBackend(server.url, "tiny", api_key=TOKEN)
    agent._backend = backend

    async def chat() -> None:
        history: list[Message] = []
        for number in range(12):
            history += user_says(f"Where is the key of the hut, and of door {number}?")
            turn = await agent.reply(history, SamplingParams(max_tokens=24, temperature=1.0, seed=number))
            deltas = [delta async for delta in turn.deltas]
            assert deltas[-1].finish_reason is not None
            assert turn.hits == []
            history.append(Message("assistant", "".join(delta.text for delta in deltas)))
        turn = await agent.reply(history[-2:-1], SamplingParams(max_tokens=256))
        with pytest.raises(RequestRefused) as caught:
            await anext(turn.deltas)
        assert caught.value.code == TOO_LONG
        await backend.aclose()

    asyncio.run(chat())
    assert stored(village.database) == 24
