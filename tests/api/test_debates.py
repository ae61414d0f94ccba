"""Debates over HTTP: accepted at once, followed by events that replay, resumed after a crash, stopped on request."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from api.client import Client
from personal_data.errors import Conflict, NotFound
from personal_data.records import Debate, Job, Position
from tests.api.conftest import Person, Platform, serving


def test_a_debate_from_question_to_outcome(platform: Platform, ada: Person, ben: Person) -> None:
    slug = platform.moot(ada, ben)
    asked = ada.client.ask(slug, "solve 6 x 7", seed=1)
    assert asked["state"] == "queued" and asked["verdict"] is None
    names = [name for name, _ in ada.client.debate_events(asked["id"])]
    assert names == ["opened", "position", "position", "done"]
    told = ada.client.debate(asked["id"])
    assert told["verdict"]["answer"] == "42" and not told["verdict"]["degraded"]
    assert "42" in told["text"]
    assert {position["agent"] for position in told["positions"]} == {ada.handle, ben.handle}
    assert ada.client.set_outcome(asked["id"], "42")["outcome"] == "42"
    assert [line["id"] for line in ada.client.debates()] == [asked["id"]]
    with pytest.raises(Conflict):
        ada.client.cancel_debate(asked["id"])
    with pytest.raises(NotFound):
        ben.client.debate(asked["id"])


def test_the_best_of_free_texts_is_chosen_by_the_others(platform: Platform, ada: Person, ben: Person) -> None:
    slug = platform.moot(ada, ben, platform.add("cleo"))
    asked = ada.client.ask(slug, "opine: what shall we drink?", seed=1, kind="open")
    names = [name for name, _ in ada.client.debate_events(asked["id"])]
    assert names == ["opened", *["position"] * 6, "done"]
    told = ada.client.debate(asked["id"])
    assert (told["kind"], told["verdict"]["rule"]) == ("open", "borda")
    assert told["verdict"]["answer"] == "As Ada sees it, tea."
    assert told["text"].startswith("Ranked best: As Ada sees it, tea. (67% of the points, borda)")
    assert ada.client.set_outcome(asked["id"], "As Ben sees it, tea.")["outcome"] == "As Ben sees it, tea."
    assert {one["handle"]: one["right"] for one in ada.client.trust(slug)["members"]}[ben.handle] > 0.5


def test_of_opinions_none_is_right(platform: Platform, ada: Person, ben: Person) -> None:
    slug = platform.moot(ada, ben, platform.add("cleo"))
    told = ada.client.debate_end(ada.client.ask(slug, "opine: what shall we drink?", seed=1, kind="opinion")["id"])
    assert (told["verdict"]["rule"], told["verdict"]["confidence"]) == ("schulze", None)
    assert told["text"].startswith("Most would accept: As Ada sees it, tea. (held by 1 of 3, schulze)")
    assert list(told["verdict"]["distribution"].values()) == pytest.approx([1 / 3] * 3)
    for form in ("md", "html"):
        assert "Most would accept: As Ada sees it, tea." in ada.client.transcript(told["id"], form)
    with pytest.raises(Conflict, match="no right answer"):
        ada.client.set_outcome(told["id"], "As Ada sees it, tea.")
    assert ada.client.debate(told["id"])["outcome"] is None


def test_the_same_request_is_one_debate(platform: Platform, ada: Person) -> None:
    slug = platform.moot(ada)
    first = ada.client.ask(slug, "solve it", request_id="q1")
    assert ada.client.ask(slug, "solve it", request_id="q1")["id"] == first["id"]
    assert ada.client.ask(slug, "solve it", request_id="q2")["id"] != first["id"]


def test_events_replay_from_any_point_at_any_time(platform: Platform, ada: Person) -> None:
    debate_id = ada.client.ask(platform.moot(ada), "solve it")["id"]
    ada.client.debate_end(debate_id)

    def ids_after(last: str | None) -> list[str]:
        headers = {"api-key": ada.key} | ({"Last-Event-ID": last} if last else {})
        text = platform.http.get(f"/api/debates/{debate_id}/events", headers=headers).text
        return [line[4:] for line in text.splitlines() if line.startswith("id: ")]

    every = ids_after(None)
    assert len(every) == 3 and len(set(every)) == 3
    for position, event_id in enumerate(every):
        assert ids_after(event_id) == every[position + 1 :]
    assert ids_after("evt_unknown") == every


def test_a_member_whose_model_is_away_is_absent_and_the_report_says_so(platform: Platform, ada: Person) -> None:
    eve = platform.add("eve", model="gone")
    told = ada.client.debate_end(ada.client.ask(platform.moot(ada, eve), "solve it")["id"])
    absent = next(position for position in told["positions"] if position["agent"] == eve.handle)
    assert absent["status"] == "absent"
    assert told["verdict"]["degraded"] and told["text"].startswith("Degraded")


def test_a_running_debate_can_be_stopped(platform: Platform, ada: Person) -> None:
    asked = ada.client.ask(platform.moot(ada), "never answer this")
    _wait_until_leased(platform, asked["id"])
    ada.client.cancel_debate(asked["id"])
    assert [name for name, _ in ada.client.debate_events(asked["id"])][-1] == "failed"
    assert ada.client.debate(asked["id"])["state"] == "failed"
    assert ada.client.cancel_debate(asked["id"])["state"] == "failed", "stopping twice is fine"
    with pytest.raises(Conflict):
        ada.client.set_outcome(asked["id"], "42")


def test_a_revoked_key_cuts_an_open_stream(platform: Platform, ada: Person) -> None:
    phone = ada.client.add_key("phone")
    asked = ada.client.ask(platform.moot(ada), "never answer this")
    open_now = threading.Event()
    seen: list[str] = []

    def follow() -> None:
        with Client(platform.url, phone["key"]) as client:
            for name, _ in client.debate_events(asked["id"]):
                seen.append(name)
                open_now.set()

    with ThreadPoolExecutor() as pool:
        reader = pool.submit(follow)
        reader.add_done_callback(lambda _: open_now.set())
        open_now.wait()
        ada.client.revoke_key(phone["id"])
        reader.result()
    assert seen == ["opened"]
    ada.client.cancel_debate(asked["id"])


def test_another_process_finishes_what_a_dead_one_began_without_repeating_calls(
    platform: Platform, ada: Person, ben: Person
) -> None:
    debate_id = ada.client.ask(platform.moot(ada, ben), "solve it")["id"]
    told = ada.client.debate_end(debate_id)
    _undo_the_end(platform, debate_id, keep=ada.handle)
    calls = len(platform.model.requests)
    with serving(platform.settings) as url, Client(url, ada.key) as client:
        again = client.debate_end(debate_id)
    assert again["verdict"]["answer"] == told["verdict"]["answer"] == "42"
    assert len(platform.model.requests) == calls + 1, "only the answer that was lost is asked for again"


def _undo_the_end(platform: Platform, debate_id: str, *, keep: str) -> None:
    """Put the records back to where a process died: one position stored, the lease expired."""
    from personal_data.records import Agent, Hypothesis, Verdict

    with platform.database.session() as session:
        kept = session.scalars(select(Agent.id).where(Agent.handle == keep)).one()
        for table in (Verdict, Hypothesis, Position):
            for row in session.scalars(select(table).where(table.debate_id == debate_id)):
                if not isinstance(row, Position) or row.agent_id != kept:
                    session.delete(row)
        session.execute(update(Debate).where(Debate.id == debate_id).values(state="queued", finished_at=None))
        job = update(Job).where(Job.subject_id == debate_id)
        session.execute(job.values(state="leased", lease_until=1.0, finished_at=None, result=None))


def _wait_until_leased(platform: Platform, debate_id: str) -> None:
    job = select(Job.state).where(Job.subject_id == debate_id)
    while True:
        with platform.database.reading() as session:
            if session.scalars(job).one() == "leased":
                return
        time.sleep(0.02)


def test_the_wire_form_of_an_event(platform: Platform, ada: Person) -> None:
    debate_id = ada.client.ask(platform.moot(ada), "solve it")["id"]
    ada.client.debate_end(debate_id)
    answer = platform.http.get(f"/api/debates/{debate_id}/events", headers={"api-key": ada.key})
    assert answer.headers["content-type"].startswith("text/event-stream")
    first = answer.text.split("\n\n")[0].splitlines()
    assert first[:2] == [f"id: {debate_id}", "event: opened"]
    assert json.loads(first[2].removeprefix("data: "))["question"] == "solve it"
