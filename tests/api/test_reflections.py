"""Reflections through the API and a real worker: drawn, shown, heeded, taken back; and a model that is not able to."""

from __future__ import annotations

import json
import os
import subprocess
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import pytest

from api.commands import reflecting as commands
from personal_data.errors import Conflict
from personal_data.records import Model
from personal_data.settings import ModelSettings, Settings
from tests.api.conftest import Person, Platform, user
from tests.api.scripted_server import ScriptedServer
from training.jobs import worker_command

Json = dict[str, Any]


@pytest.fixture(scope="module")
def api_settings(api_settings: Settings, model: ScriptedServer) -> Settings:
    """One more model: it reflects by a rule."""
    able = ModelSettings(
        kind="endpoint", url=f"{model.url}/v1", model="reflective", base="reflective/base", timeout_s=20
    )
    return api_settings.model_copy(update={"models": api_settings.models | {"reflective": able}})


@pytest.fixture(scope="module")
def worker(platform: Platform) -> Iterator[None]:
    """A worker beside the API."""
    settings = platform.settings
    told = {
        "FOLKMOOT_DATA_DIR": str(settings.data_dir),
        "FOLKMOOT_EMBEDDING_URL": str(settings.embedding_url),
        "FOLKMOOT_INDEX_URL": str(settings.index_url),
        "FOLKMOOT_MODELS": json.dumps({name: one.model_dump(mode="json") for name, one in settings.models.items()}),
        "FOLKMOOT_SWEEP_S": "0.2",
        "FOLKMOOT_LEASE_S": "3",
    }
    with (settings.logs_dir / "worker.log").open("ab") as log:
        process = subprocess.Popen(worker_command(), stdout=log, stderr=log, env=os.environ | told)
    yield
    process.terminate()
    process.wait()


@pytest.fixture
def ada(platform: Platform) -> Person:
    return platform.add("ada", model="reflective")


def reflected(person: Person) -> Json:
    *_, job = person.client.watch_reflection(person.client.reflect()["id"])
    assert (job["state"], job["error"]) == ("done", None)
    return dict(job["result"], id=job["id"])


def tell(person: Person, *texts: str) -> None:
    person.client.remember_all(texts, kind="turn")


def options(platform: Platform, **more: Any) -> Namespace:
    return Namespace(url=platform.url, **{"json": False, "no_wait": False, "undo": None, **more})


def test_what_was_said_is_drawn_listed_heeded_and_taken_back(platform: Platform, ada: Person, worker: None) -> None:
    ada.client.chat(user("I live in Oslo."))
    tell(ada, "Please always answer in French.", "My dog Rex is old.")
    result = reflected(ada)
    name = ada.client.me()["name"]
    assert (result["able"], result["turns"], len(result["added"]), result["kept_out"]) == (True, 3, 3, {})
    [oslo] = ada.client.memories(kind="fact", holds="Oslo")
    [turn] = ada.client.memories(kind="turn", holds="Oslo")
    assert (oslo["text"], oslo["sources"], oslo["scope"]) == (
        f"{name} lives in Oslo.",
        [f"memory:{turn['id']}"],
        "private",
    )
    assert 0 < oslo["confidence"] < 1 and oslo["valid_to"] is None
    wish = f"{name} wishes one to answer in French."
    assert [one["text"] for one in ada.client.profile()["preferences"]] == [wish]
    platform.model.requests.clear()
    ada.client.chat(user("Where does my dog live, and how old is it?"))
    system = platform.model.requests[-1]["messages"][0]["content"]
    assert system.startswith(f"You are {name}'s agent.\n{wish}\nMemories:")
    assert system.count(wish) == 1 and "lives in Oslo" in system
    tell(ada, "I live in Rome now.")
    assert reflected(ada)["ended"] == [oslo["id"]]
    [past] = ada.client.memories(kind="fact", holds="Oslo")
    assert past["valid_to"] is not None
    assert ada.client.recall("lives in", kind=["fact"])[0]["text"] == f"{name} lives in Rome now."
    then = ada.client.recall("lives in", kind=["fact"], as_of=past["valid_to"] - 1e-4)
    assert f"{name} lives in Oslo." in [hit["text"] for hit in then]
    assert ada.client.undo_reflection(result["id"])["count"] == 3
    assert [row["text"] for row in ada.client.memories(kind="fact")] == [f"{name} lives in Rome now."]
    assert ada.client.profile()["preferences"] == []
    assert reflected(ada)["turns"] == 0, "what was taken back is not drawn once more"


def test_a_fact_goes_with_its_turn_and_is_seen_by_nobody_else(platform: Platform, ada: Person, worker: None) -> None:
    ben = platform.add("ben", model="reflective")
    tell(ada, "My canary 7f3a is yellow.")
    tell(ben, "My boat is green.")
    reflected(ada)
    reflected(ben)
    assert not any("7f3a" in str(hit) for hit in ben.client.recall("canary 7f3a yellow"))
    [turn] = ada.client.memories(kind="turn")
    ada.client.forget(turn["id"])
    assert ada.client.memories() == []


def test_a_model_that_is_not_able_is_not_used_and_said_so(
    platform: Platform, worker: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cleo = platform.add("cleo")
    tell(cleo, "My boat is green.")
    result = reflected(cleo)
    assert (result["able"], result.get("turns")) == (False, None)
    assert cleo.client.memories(kind="fact") == []
    told = {model["name"]: model["abilities"] for model in cleo.client.models()}
    assert told["scripted"]["reflect"]["able"] is False
    monkeypatch.setenv("FOLKMOOT_KEY", cleo.key)
    assert commands.reflect(options(platform)) == 0
    assert "'scripted' is not able to: it passed" in capsys.readouterr().out


def test_the_command_shows_what_is_new_and_takes_it_back(
    platform: Platform, ada: Person, worker: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLKMOOT_KEY", ada.key)
    tell(ada, "My dog Rex is old.", "Please always answer in French.")
    assert commands.reflect(options(platform)) == 0
    shown = capsys.readouterr().out
    assert "'s dog Rex is old." in shown and "2 turns: 2 new, 0 told again, 0 ended" in shown
    commands.profile(options(platform))
    assert "wishes one to answer in French.  (mem_" in capsys.readouterr().out
    [job] = ada.client.reflections()
    assert commands.reflect(options(platform, undo=job["id"])) == 0
    assert "forgotten: 2" in capsys.readouterr().out


def test_nothing_can_be_taken_back_before_it_has_ended(platform: Platform) -> None:
    """No worker is needed for this one: the job waits, and is cancelled."""
    dan = platform.add("dan", model="gone")
    job = dan.client.reflect()
    assert dan.client.reflect()["id"] == job["id"], "one at a time"
    if job["state"] == "queued":
        with pytest.raises(Conflict, match="nothing to take back"):
            dan.client.undo_reflection(job["id"])


def test_an_agent_moved_to_another_model_is_tried_on_that_one(platform: Platform, worker: None) -> None:
    eve = platform.add("eve")
    tell(eve, "My boat is green.")
    assert reflected(eve)["able"] is False
    eve.client.change_agent(model="reflective")
    assert len(reflected(eve)["added"]) == 1
    with platform.database.reading() as session:
        tried = session.get_one(Model, "reflective").abilities
    assert tried is not None and tried["reflect"]["able"] is True
