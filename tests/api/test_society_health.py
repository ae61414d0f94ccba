"""The health of a society over HTTP and by the command line, from real debates of members that replay an answer."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api import keys
from api.client import Client
from api.commands import debating as commands
from personal_data.database import Database
from personal_data.errors import NotFound
from personal_data.settings import ModelSettings, Settings, prepare_data_dir
from tests.api.conftest import NOBODY, serving

NAMES = ("ada", "ben", "cleo", "eve")
ANSWERS = [
    {"ada": "1", "ben": "1", "cleo": "2"},
    {"ada": "1", "ben": "2", "cleo": "2"},
    {"ada": "1", "ben": "2", "cleo": "3"},
    {"ada": "1", "ben": "1", "cleo": "1"},
]
"""To questions whose answer is 1, save the last, whose outcome nobody tells."""


@dataclass(frozen=True)
class Moot:
    """Three members, a stranger, and the society `moot`, which has answered all questions."""

    url: str
    keys: dict[str, str]
    people: dict[str, Client]
    reports: list[dict[str, Any]]


@pytest.fixture(scope="module")
def moot(tmp_path_factory: pytest.TempPathFactory, _migrated_sqlite: Path) -> Iterator[Moot]:
    folder = tmp_path_factory.mktemp("health")
    questions = [f"Which is it, {number}?" for number in range(len(ANSWERS))]
    recorded = folder / "recorded.jsonl"
    recorded.write_text("\n".join(map(_line, questions, ANSWERS)))
    models = {name: ModelSettings(kind="recorded", file=recorded, model=name, base=f"base/{name}") for name in NAMES}
    settings = Settings(
        data_dir=folder / "data", models=models, default_model="ada", embedding_url=NOBODY, index_url=NOBODY
    )
    prepare_data_dir(settings)
    shutil.copy(_migrated_sqlite, settings.data_dir / "folkmoot.db")
    database = Database(settings.database)
    keys.bootstrap(database, settings.data_dir)
    with ExitStack() as stack:
        url = stack.enter_context(serving(settings))
        admin = stack.enter_context(Client(url, keys.read_bootstrap_key(settings.data_dir)))
        secrets = {name: admin.add_user(name, name.title(), model=name)["key"] for name in NAMES}
        people = {name: stack.enter_context(Client(url, key)) for name, key in secrets.items()}
        people["ada"].create_society("moot")
        people["ada"].change_society("moot", rounds=0)
        for name in ("ben", "cleo"):
            people["ada"].invite("moot", name)
            people[name].accept("moot")
        reports = []
        for number, question in enumerate(questions):
            asker = people[NAMES[number % 3]]
            reports.append(asker.debate_end(asker.ask("moot", question, seed=number)["id"]))
            if number < 3:
                asker.set_outcome(reports[-1]["id"], "1")
        yield Moot(url, secrets, people, reports)
    database.dispose()


def _line(question: str, answers: dict[str, str]) -> str:
    texts = {name: f"answer: {told}" for name, told in (answers | {"eve": "9"}).items()}
    return json.dumps({"question": question, "truth": "1", "answers": texts})


def test_members_see_how_their_society_is_doing(moot: Moot) -> None:
    told = moot.people["ben"].society_health("moot")
    assert told["drift"] == []
    found = told["health"]
    right = [report["verdict"]["answer_key"] == "1" for report in moot.reports[:3]]
    assert (found["debates"], found["resolved"]) == (4, 3)
    assert found["society"]["accuracy"]["value"] == pytest.approx(sum(right) / 3)
    confidences = [report["verdict"]["confidence"] for report in moot.reports[:3]]
    squares = [(claimed - hit) ** 2 for claimed, hit in zip(confidences, right, strict=True)]
    assert found["society"]["brier"] == pytest.approx(sum(squares) / 3)
    assert found["majority"]["accuracy"]["value"] == pytest.approx((1 + 0 + 1 / 3) / 3)
    # Nobody has a record at first, and two of three are right; then ada and ben share it, then ada has it alone.
    assert found["best_member"]["accuracy"]["value"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert (found["oracle"]["value"], found["nobody_right"]["value"]) == (1.0, 0.0)
    assert found["missed"]["value"] == pytest.approx(right.count(False) / 3)
    assert found["single_solver"]["value"] == pytest.approx(2 / 3)
    assert (found["calls_per_answer"], found["coverage"], found["degraded"]["value"]) == (3.0, 1.0, 0.0)
    assert found["variety"] == {"lineages": 3.0, "members": None, "between": None, "within": None}
    assert {share["value"] for share in found["talk"].values()} == {None}, "nobody was asked twice"


def test_whoever_may_not_ask_it_may_not_see_it_and_no_answer_is_named(moot: Moot) -> None:
    with pytest.raises(NotFound):
        moot.people["eve"].society_health("moot")
    with pytest.raises(NotFound):
        moot.people["ada"].society_health("nowhere")
    told = json.dumps(moot.people["cleo"].society_health("moot"))
    ids = [report["id"] for report in moot.reports]
    assert not any(word in told for word in ["Which is it", *ids, *NAMES])


def test_the_command_prints_a_table_or_json(
    moot: Moot, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLKMOOT_KEY", moot.keys["ada"])
    commands.health(Namespace(url=moot.url, json=False, slug="moot"))
    table = capsys.readouterr().out.splitlines()
    assert table[0] == "4 debates; the outcome of 3 is known"
    rows = {line[:32].strip(): line[32:] for line in table[5:]}
    assert rows["somebody was right"] == "100.0% (43.9% to 100.0%) of 3"
    assert (rows["calls per answer"], rows["independent members"]) == ("3.0", "?")
    assert table[-1] == "?: there is nothing yet to measure it from"
    commands.health(Namespace(url=moot.url, json=True, slug="moot"))
    assert json.loads(capsys.readouterr().out) == moot.people["ada"].society_health("moot")
