"""The native routes: memories, imports, conversations, feedback, agents, societies, health."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import sqlalchemy as sa

from api.commands.talking import _Talk
from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.records import Agent, Model
from tests.api.conftest import Person, Platform, user


def test_what_is_remembered_is_recalled_and_forgotten(ada: Person) -> None:
    [cat] = ada.client.remember("My cat is called Miro.")
    ada.client.remember("My bike lock opens with 4071.")
    assert ada.client.recall("What is my cat called?", k=1)[0]["id"] == cat
    assert ada.client.remember("My cat is called Miro.") == [cat]
    assert len(ada.client.memories()) == 2
    assert [row["id"] for row in ada.client.memories(limit=1, before=ada.client.memories()[0]["id"])] == [cat]
    ada.client.share(cat, "public")
    assert ada.client.memories()[1]["scope"] == "public"
    ada.client.forget(cat)
    assert "Miro" not in str(ada.client.recall("What is my cat called?"))
    with pytest.raises(NotFound):
        ada.client.forget(cat)


@pytest.mark.parametrize("text", ["", "   ", "x" * 40_000])
def test_nothing_and_too_much_are_not_remembered(ada: Person, text: str) -> None:
    with pytest.raises(InvalidInput):
        ada.client.remember(text)
    assert ada.client.memories() == []


def test_the_scope_that_was_asked_for_is_the_one_that_is_stored(ada: Person) -> None:
    text = "My cat is called Miro."
    assert ada.client.remember(text).scopes == ["private"]
    assert ada.client.remember_all([text, "My boat is green."], scope="public").scopes == ["public"] * 2
    assert ada.client.remember(text).scopes == ["public"], "nobody asked for another one"
    assert ada.client.remember_all([text, "My owl is grey."]).scopes == ["public", "private"]
    assert ada.client.remember(text, scope="private").scopes == ["private"]
    told = {memory["text"]: memory["scope"] for memory in ada.client.memories()}
    assert told == {text: "private", "My boat is green.": "public", "My owl is grey.": "private"}


def test_a_scope_is_one_of_three_kinds(ada: Person) -> None:
    with pytest.raises(InvalidInput, match="scope"):
        ada.client.remember("My cat is called Miro.", scope="everybody")


def test_many_are_remembered_together_or_not_at_all(ada: Person) -> None:
    good = ["My cat is called Miro.", "I live in Porto."]
    with pytest.raises(InvalidInput):
        ada.client.remember_all([*good, " "])
    assert ada.client.memories() == []
    assert len(ada.client.remember_all(good)) == 2
    assert {row["speaker"] for row in ada.client.memories()} == {"Ada"}


def test_instructions_reach_the_model(ada: Person, platform: Platform) -> None:
    ada.client.change_agent(instructions=["Answer like a pirate."])
    ada.client.chat(user("say ahoy"))
    assert "Answer like a pirate." in platform.model.requests[-1]["messages"][0]["content"]
    with pytest.raises(InvalidInput):
        ada.client.change_agent(model="no-such-model")
    assert ada.client.change_agent(model="gone")["model"] == "gone"
    assert {model["name"] for model in ada.client.models()} >= {"scripted", "gone"}


def test_the_administrator_has_no_agent_and_is_told_so(platform: Platform) -> None:
    with pytest.raises(NotFound, match="no agent"):
        platform.admin.agent()
    with pytest.raises(NotFound):
        platform.admin.chat(user("hello"))


def test_a_better_answer_becomes_a_preference(ada: Person) -> None:
    ada.client.remember("My cat is called Miro.")
    answer = ada.client.chat(user("say no idea about my cat"))["folkmoot"]
    given = ada.client.prefer("Miro!", message_id=answer["message_id"])
    assert given["rejected"] == "no idea about my cat"
    assert given["prompt"][-1] == {"role": "user", "content": "say no idea about my cat"}
    assert given["prompt"][0]["role"] == "system" and "Miro" in given["prompt"][0]["content"]


def test_a_preference_for_a_prompt_is_stored_as_the_model_would_see_it(ada: Person) -> None:
    ada.client.remember("My cat is called Miro.")
    ada.client.change_agent(instructions=["Be brief."])
    given = ada.client.prefer("Miro.", prompt="What is my cat called?", rejected="I do not know.")
    system = given["prompt"][0]["content"]
    assert "Ada" in system and "Be brief." in system and "Miro" in system


def test_an_answer_can_be_disliked_without_a_better_one(ada: Person) -> None:
    answer = ada.client.chat(user("say no idea about my cat"))["folkmoot"]
    given = ada.client.prefer(rejected="no idea about my cat", message_id=answer["message_id"])
    assert (given["chosen"], given["rejected"]) == (None, "no idea about my cat")
    assert given["prompt"][-1] == {"role": "user", "content": "say no idea about my cat"}
    ada.client.prefer(rejected="No.", prompt="What is my cat called?")
    assert [(one["chosen"], one["rejected"]) for one in ada.client.feedback()] == [
        (None, "No."), (None, "no idea about my cat"),
    ]  # fmt: skip


def test_the_last_answer_of_a_talk_is_disliked_in_a_word(ada: Person, capsys: pytest.CaptureFixture[str]) -> None:
    talk = _Talk(ada.client, Namespace(conversation=None, json=False, max_tokens=None))
    with pytest.raises(InvalidInput, match="no answer yet"):
        talk.worse()
    talk.say("say no idea about my cat")
    talk.worse()
    assert "noted for an improvement" in capsys.readouterr().out
    (given,) = ada.client.feedback()
    assert (given["chosen"], given["rejected"]) == (None, "no idea about my cat")


@pytest.mark.parametrize(
    "wrong",
    [
        {"chosen": "a"},
        {"chosen": "a", "prompt": "p", "message_id": "msg_x"},
        {"chosen": "a", "prompt": "p", "rejected": "a"},
        {"chosen": "", "prompt": "p"},
        {"prompt": "p"},
        {"message_id": "msg_x"},
        {"rejected": "", "prompt": "p"},
        {"rejected": "a"},
    ],
)
def test_a_preference_that_says_nothing_is_refused(ada: Person, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        ada.client.prefer(**wrong)


def test_a_seat_is_taken_by_its_owner_only(platform: Platform, ada: Person, ben: Person) -> None:
    ada.client.create_society("readers", "The readers")
    with pytest.raises(Conflict):
        ben.client.create_society("readers")
    ada.client.invite("readers", ben.handle)
    with pytest.raises(NotFound):
        ben.client.ask("readers", "May I?")
    assert ben.client.societies()[0]["state"] == "invited"
    ben.client.accept("readers")
    assert {member["state"] for member in ada.client.societies()[0]["members"]} == {"accepted"}
    with pytest.raises(NotFound):
        ben.client.invite("readers", ada.handle)
    ben.client.leave("readers")
    assert ben.client.societies() == []


def test_an_improvement_waits_for_a_worker_and_can_be_cancelled(ada: Person) -> None:
    first = ada.client.improve(stages=["preferences"])
    assert first["state"] == "queued" and first["runs"] == []
    assert ada.client.improve()["id"] == first["id"], "asking again while one waits is the same improvement"
    assert ada.client.cancel_improvement(first["id"])["state"] == "cancelled"
    second = ada.client.improve(request_id="tonight")
    assert second["id"] != first["id"]
    assert [job["id"] for job in ada.client.improvements()] == [second["id"], first["id"]]
    with pytest.raises(InvalidInput):
        ada.client.improve(stages=["sleep"])
    ada.client.cancel_improvement(second["id"])
    own = ada.client.improve(stages=["texts", "preferences"], texts={"epochs": 2}, preferences={"loss": "kto"})
    assert own["state"] == "queued"
    ada.client.cancel_improvement(own["id"])
    tasks = ada.client.improve(stages=["memories", "debates"], memories={"steps": 4}, debates={"max_tokens": 64})
    assert tasks["state"] == "queued"


def test_what_has_no_weights_cannot_be_improved(platform: Platform) -> None:
    eve = platform.add("eve", model="gone")
    with pytest.raises(InvalidInput, match="cannot be trained"):
        eve.client.improve()


def test_an_agent_whose_model_is_configured_no_more_is_told_to_move(platform: Platform, ada: Person) -> None:
    with platform.database.session() as session:
        session.merge(Model(name="sold", kind="engine", base="a/b", lineage="a/b"))
        session.flush()
        session.execute(sa.update(Agent).where(Agent.handle == ada.handle).values(model="sold"))
    with pytest.raises(InvalidInput, match=r"'sold' is not configured .* `folkmoot agent --model NAME`"):
        ada.client.improve()
    ada.client.change_agent(model="scripted")
    assert ada.client.improve()["state"] == "queued"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/memories", b'{"text": "My cat is called Miro.", "event_at": Infinity}'),
        ("/api/improvements", b'{"environment": {"lr": NaN}}'),
        ("/v1/chat/completions", b'{"model": "x", "messages": [], "temperature": NaN}'),
    ],
)
def test_numbers_are_finite(platform: Platform, ada: Person, path: str, body: bytes) -> None:
    headers = {"api-key": ada.key, "Content-Type": "application/json"}
    assert platform.http.post(path, content=body, headers=headers).status_code == 400


def test_a_schedule_is_set_and_switched_off(ada: Person) -> None:
    assert ada.client.schedule(24)["improve_every_s"] == 86_400
    assert ada.client.schedule(None)["improve_every_s"] is None
    with pytest.raises(InvalidInput):
        ada.client.schedule(0)


def test_without_adapters_the_bare_model_stays_live(ada: Person) -> None:
    assert ada.client.adapters() == []
    assert ada.client.roll_back(0)["live_version_id"] is None
    with pytest.raises(NotFound):
        ada.client.roll_back(7)


def test_health_readiness_and_metrics(platform: Platform, ada: Person) -> None:
    assert platform.http.get("/health").json() == {"status": "ok"}
    ready = platform.http.get("/ready")
    assert ready.status_code == 200
    assert ready.json() == {"database": True, "embedder": True, "index": True}
    ada.client.improve()
    metrics = platform.http.get("/metrics").text
    assert 'folkmoot_jobs{kind="improve",state="queued"}' in metrics
    for name in ("folkmoot_queue_depth", "folkmoot_oldest_queued_seconds", "folkmoot_memory_outbox"):
        [line] = [line for line in metrics.splitlines() if line.startswith(f"{name} ")]
        assert float(line.split()[1]) >= 0
