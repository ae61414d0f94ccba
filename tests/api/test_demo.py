"""The demo without its training: what it takes for right, and that its preferences hide what is asked later."""

from __future__ import annotations

import json
import os
import re
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agents.messages import Message
from api import demo, keys
from personal_data.database import Database
from personal_data.errors import InvalidInput
from tests.api.conftest import Person, Platform
from training import ledger
from training.nursery.language import Fact
from training.nursery.relations import PATTERNS
from training.nursery.smalltalk import SMALL_TALK
from training.tasks.interactions import Preference, Preferences, split

ADA = demo.PEOPLE / "ada"
REFUSED: dict[str, Any] = {
    "decision": "refused",
    "reasons": ["recall: lost"],
    "version": None,
    "stages": [
        {
            "stage": "preferences",
            "decision": "refused",
            "reasons": ["recall: lost"],
            "gate": {"checks": [], "nearer_to_chosen": {"before": 0.25, "after": 1.0, "n": 24}},
        }
    ],
}


def transcript() -> tuple[demo.Transcript, StringIO]:
    written = StringIO()
    return demo.Transcript(Console(file=written, width=400)), written


def rows() -> list[dict[str, str]]:
    return [json.loads(line) for line in (ADA / "preferences.jsonl").read_text().splitlines()]


def told() -> list[str]:
    lines = [line for name in ("private.md", "shared.md") for line in (ADA / name).read_text().splitlines()]
    return [line.removeprefix("- ") for line in lines if line.startswith("- ")]


def divided() -> Preferences:
    return split([Preference((Message("user", row["prompt"]),), row["chosen"], row["rejected"]) for row in rows()])


# What is right


@contextmanager
def worker(database: Database, result: dict[str, Any]) -> Iterator[None]:
    """Claims the first improvement and ends it with this result, without training anything."""
    done = threading.Event()

    def work() -> None:
        while (lease := ledger.claim(database, lease_s=60, kinds=["improve"])) is None:
            if done.wait(0.05):
                return
        with database.session() as session:
            ledger.finish(session, lease, result)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    done.set()
    thread.join()


def test_a_model_that_is_wrong_everywhere_is_found_out(platform: Platform) -> None:
    show, written = transcript()
    with worker(platform.database, REFUSED):
        demo.play(show, platform.url, keys.read_bootstrap_key(platform.settings.data_dir))
    asked = [ask.text for asks in (*demo.CHATS.values(), demo.DEBATES, demo.AFTERWARDS) for ask in asks if ask.expected]
    for text in asked:
        assert any(text in wrong for wrong in show.wrong), text
    assert "Ada's preferences were not published: recall: lost" in show.wrong
    assert len(show.wrong) == len(asked) + 1
    assert "held-out prompts answered in her style: 6 -> 24 of 24" in written.getvalue()


def test_a_debate_that_did_not_end_is_told_and_counted(platform: Platform, ada: Person) -> None:
    slug = platform.moot(ada)
    asked = ada.client.ask(slug, "never say so")
    ada.client.cancel_debate(asked["id"])
    report = ada.client.debate_end(asked["id"])
    assert report["verdict"] is None
    show, written = transcript()
    demo.conclude(show, demo.Ask("never say so", "so"), report)
    assert len(show.wrong) == 1
    assert f"the debate {report['state']}" in written.getvalue()


def test_a_debates_answer_counts_by_its_meaning() -> None:
    show, _ = transcript()
    verdict = {"answer": "The harp.", "confidence": 1.0, "rule": "plurality", "dissent": []}
    report = {"state": "done", "error": None, "positions": [], "verdict": verdict}
    demo.conclude(show, demo.Ask("?", "harp"), report)
    assert show.wrong == []
    demo.conclude(show, demo.Ask("?", "a flute"), report)
    assert show.wrong == ["'?' was answered 'The harp.' instead of 'a flute'"]


def test_a_published_improvement_is_right_and_a_dead_one_is_not() -> None:
    stage = REFUSED["stages"][0] | {"decision": "published"}
    result = {"stages": [stage], "version": {"id": "v", "number": 1}, "reasons": []}
    show, _ = transcript()
    demo.learned(show, {"state": "done", "error": None, "result": result})
    assert show.wrong == []
    demo.learned(show, {"state": "dead", "error": "out of memory", "result": None})
    assert show.wrong == ["the improvement ended as dead: out of memory"]


def test_what_went_wrong_is_one_line_and_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    show, written = transcript()
    assert demo.end(show, 1.0) == 0 and written.getvalue().startswith("Done in 1 s")
    show.mark("Where?", "here", False, "there\nor not")
    show.mark("When?", "now", True, "now")
    assert demo.end(show, 1.0) == 1
    assert capsys.readouterr().err == (
        "folkmoot: the demo went wrong: 'Where?' was answered 'there\\nor not' instead of 'here'\n"
    )


# Nobody's real records


def test_what_is_configured_here_is_not_the_demos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "BROKER_URL", "INDEX_URL", "EMBEDDING_URL"):
        monkeypatch.setenv(f"FOLKMOOT_{name}", "postgresql://127.0.0.1:1/real")
    monkeypatch.setenv("FOLKMOOT_ENGINES", '{"nursery": "http://127.0.0.1:1"}')
    settings = demo.own_settings(tmp_path)
    assert settings.data_dir == tmp_path and settings.database == f"sqlite:///{tmp_path / 'folkmoot.db'}"
    assert (settings.host, settings.broker_url, settings.index_url, settings.embedding_url) == (
        "127.0.0.1",
        *[None] * 3,
    )
    assert settings.engines == {} and not [name for name in os.environ if name.startswith("FOLKMOOT_")]


def test_a_folder_in_use_is_not_the_demos(tmp_path: Path) -> None:
    (tmp_path / "folkmoot.toml").write_text("")
    with pytest.raises(InvalidInput, match="not empty"):
        demo.main(Namespace(keep=str(tmp_path)))


# The preferences


def test_no_answer_of_the_gate_was_trained_on() -> None:
    pairs = divided()
    assert len(pairs.train) >= 56 and len(pairs.gate) >= 20
    assert {len({row[part] for row in rows()}) for part in ("prompt", "chosen")} == {len(rows())}


def test_what_is_asked_afterwards_is_not_among_the_preferences() -> None:
    for ask in demo.AFTERWARDS:
        fact = next(fact for fact in map(parsed, told()) if ask.text in fact.questions(by_owner=True))
        assert ask.expected == f"{fact.value}. :)"
        assert not [
            row for row in rows() if fact.value in row["chosen"] or row["prompt"] in fact.questions(by_owner=True)
        ]


def test_each_preference_is_an_answer_of_the_built_in_model_with_a_smile() -> None:
    said: dict[str, tuple[str, ...]] = {}
    for fact in map(parsed, told()):
        said |= dict.fromkeys(fact.questions(by_owner=True), (f"{fact.value}.", fact.second_person()))
    for exchange in SMALL_TALK:
        said |= dict.fromkeys(exchange.phrasings, (exchange.full.replace("{o}", "Ada"),))
    for row in rows():
        prompt, plain = row["prompt"], row["rejected"]
        assert row["chosen"] == f"{plain} :)"
        if not prompt.startswith("My "):
            assert plain in said[prompt]
        else:
            assert prompt not in told()
            assert plain == f"I will remember that y{parsed(prompt).second_person().removeprefix('Y')}"


def parsed(line: str) -> Fact:
    """The fact that a sentence of the closed grammar tells."""
    for pattern in PATTERNS:
        for noun in pattern.nouns:
            shape = re.escape(Fact(pattern, "Ada", noun, "VALUE").first_person()).replace("VALUE", r"([\w :]+)")
            if found := re.fullmatch(shape, line):
                fits = found[1].startswith(("in ", "under ", "behind ", "on ", "next ")) == (pattern.value == "place")
                if fits or not pattern.first.endswith("is {v}."):
                    return Fact(pattern, "Ada", noun, found[1])
    raise AssertionError(f"not in the grammar: {line}")
