"""A society as an object: its plan, roles, seats, trust and transcripts; by the API and the command line."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from api.client import Client
from api.commands import debating as commands
from personal_data.errors import InvalidInput, NotFound
from tests.api.conftest import Person, Platform


def options(platform: Platform, **more: Any) -> Namespace:
    plan = {"rounds": None, "samples": None, "thrifty": None, "panel_size": None}
    return Namespace(url=platform.url, **{"json": False, **plan, **more})


@pytest.fixture
def moot(platform: Platform, ada: Person, ben: Person) -> str:
    return platform.moot(ada, ben)


def test_a_society_debates_by_its_plan_and_a_question_by_its_own(platform: Platform, ada: Person, moot: str) -> None:
    assert ada.client.change_society(moot, rounds=0, samples=3)["plan"]["samples"] == 3
    assert ada.client.change_society(moot, thrifty=True)["plan"] | {"thrifty": None} == {
        "panel_size": 8, "samples": 3, "rounds": 0, "sure": 0.95, "max_calls": 64, "thrifty": None,
    }  # fmt: skip
    told = ada.client.debate_end(ada.client.ask(moot, "solve it", plan={"samples": 2})["id"])
    assert (told["plan"]["samples"], told["plan"]["rounds"], told["verdict"]["cost"]["calls"]) == (2, 0, 4)
    for wrong in ({"rounds": 9}, {"samples": 0}, {"secret": 1}):
        with pytest.raises(InvalidInput):
            ada.client.change_society(moot, **wrong)


def test_only_its_owner_changes_it_and_everybody_their_own_seat(ada: Person, ben: Person, moot: str) -> None:
    for act in (
        lambda: ben.client.change_society(moot, rounds=0),
        lambda: ben.client.give_role(moot, ada.handle, "observer"),
        lambda: ben.client.bring_outcomes(moot, [{"question": "?", "right": "1", "answers": {ben.handle: "1"}}]),
        lambda: ada.client.give_role(moot, "nobody", "observer"),
    ):
        with pytest.raises(NotFound):
            act()
    ben.client.set_seat(moot, shares_memories=False)
    ada.client.give_role(moot, ben.handle, "observer")
    [society] = [one for one in ada.client.societies() if one["slug"] == moot]
    seats = {member["handle"]: (member["role"], member["shares_memories"]) for member in society["members"]}
    assert seats == {ada.handle: ("member", True), ben.handle: ("observer", False)}
    assert ben.client.debate_end(ben.client.ask(moot, "solve it")["id"])["panel"] == [ada.handle]


def test_outcomes_of_elsewhere_teach_it_whom_to_trust(ada: Person, ben: Person, moot: str) -> None:
    questions = [
        {"question": f"Which is {number}?", "right": "1", "topic": "boats", "answers": answers}
        for number in range(40)
        for answers in [{ada.handle: "2", ben.handle: "1", "stranger": "1"}]
    ]
    assert ada.client.bring_outcomes(moot, questions)["count"] == 40
    assert ada.client.bring_outcomes(moot, questions)["count"] == 0
    told = ben.client.trust(moot)
    right = {member["handle"]: member["right"] for member in told["members"]}
    assert (told["resolved"], told["rule"]) == (40, "conditional logit")
    assert right[ben.handle] > 0.9 > 0.1 > right[ada.handle]
    assert set(told["members"][0]["topics"]) == {"boats"}


def test_a_debate_is_kept_in_three_forms(ada: Person, moot: str) -> None:
    asked = ada.client.ask(moot, "say <script>alert(1)</script>")["id"]
    ada.client.debate_end(asked)
    assert json.loads(ada.client.transcript(asked))["id"] == asked
    assert ada.client.transcript(asked, "md").startswith("# say <script>")
    page = ada.client.transcript(asked, "html")
    assert "<script" not in page and "&lt;script&gt;" in page and "default-src 'none'" in page
    with pytest.raises(InvalidInput):
        ada.client.transcript(asked, "exe")


def test_the_commands(
    platform: Platform, ada: Person, ben: Person, moot: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FOLKMOOT_KEY", ada.key)
    commands.plan(options(platform, slug=moot, rounds=0, panel_size=4))
    assert "rounds: 0" in capsys.readouterr().out
    commands.role(options(platform, slug=moot, handle=ben.handle, role="observer"))
    commands.role(options(platform, slug=moot, handle=ben.handle, role="member"))
    commands.seat(options(platform, slug=moot, memories="off"))
    assert "answers by what it knows alone" in capsys.readouterr().out
    page = tmp_path / "debate.html"
    asked = {"society": moot, "question": "solve it", "seed": 1, "kind": None, "topic": None, "save": page}
    assert commands.debate(options(platform, **asked)) == 0
    assert "42" in page.read_text()
    with pytest.raises(InvalidInput, match="a transcript is"):
        commands.debate(options(platform, **(asked | {"save": tmp_path / "debate.exe"})))
    commands.trust(options(platform, slug=moot))
    assert "nothing known" in capsys.readouterr().out


def test_what_a_stranger_brings_is_refused(platform: Platform, moot: str) -> None:
    with Client(platform.url, platform.add("eve").key) as eve, pytest.raises(NotFound):
        eve.trust(moot)
