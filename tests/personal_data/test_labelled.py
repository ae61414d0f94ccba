"""Recall on labelled files: places and means by hand, intervals, and files that are not of the form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.errors import InvalidInput
from personal_data.index import ChromaIndex
from personal_data.labelled import Asked, by_kind, read, recalls, remember, summary
from personal_data.memory import Memory, NewMemory
from tests.personal_data.test_memory import AWAY, person

SAID = [("D1:1", "Ana", "My cat is called Miro."), ("D1:2", "Ben", "A fine name."), ("D1:3", "Ana", "The boat is red.")]
CONVERSATION: dict[str, Any] = {
    "id": "c",
    "sessions": [
        {
            "at": "2023-05-08T13:56",
            "turns": [{"id": turn, "speaker": speaker, "text": text} for turn, speaker, text in SAID],
        }
    ],
    "questions": [
        {"question": "What is the cat called?", "evidence": ["D1:1"]},
        {"question": "Which boat or cat?", "evidence": ["D1:3", "D1:1"], "kind": "multi-hop"},
        {"question": "Who sails to the moon?", "evidence": [], "kind": "adversarial"},
    ],
}


def file(folder: Path, **changes: Any) -> Path:
    path = folder / "labelled.json"
    path.write_text(json.dumps({"conversations": [CONVERSATION | changes]}))
    return path


def test_places_are_those_of_recall(database: Database, tmp_path: Path) -> None:
    [conversation] = read(file(tmp_path))
    memory, ada = Memory(database, HashingEmbedder(), ChromaIndex(AWAY)), person(database, "ada")
    remember(memory, ada, conversation)
    single, both = recalls(memory, ada, conversation)
    assert (single.kind, single.places) == ("single", (1,))
    assert (both.kind, both.evidence, sorted(both.places)) == ("multi-hop", 2, [1, 2])


def test_what_was_made_of_turns_counts_as_them(database: Database, tmp_path: Path) -> None:
    [conversation] = read(file(tmp_path))
    memory, ada = Memory(database, HashingEmbedder(), ChromaIndex(AWAY)), person(database, "ada")
    memory.remember(ada, [NewMemory("The cat is called Miro.", "Ada", sources=("labelled:D1:1",))])
    [single, _] = recalls(memory, ada, conversation)
    assert single.places == (1,)


def test_figures_by_hand() -> None:
    asked = [Asked("single", 1, (3,)), Asked("single", 1, ()), Asked("multi-hop", 4, (1, 5, 6))]
    row = summary(asked, (5, 10))
    assert row.n == 3
    assert row.recall[5][0] == pytest.approx((1 + 0 + 2 / 4) / 3)
    assert row.recall[10][0] == pytest.approx((1 + 0 + 3 / 4) / 3)
    assert row.recall[5][1] < row.recall[5][0] < row.recall[5][2]
    assert summary([Asked("single", 1, (1,))] * 9).recall[5] == (1.0, 1.0, 1.0)
    assert {kind: found.n for kind, found in by_kind(asked).items()} == {"multi-hop": 1, "single": 2}
    coins = [Asked("single", 1, (1,) if number % 2 else ()) for number in range(400)]
    _, low, high = summary(coins).recall[5]
    assert (low, high) == (pytest.approx(0.451, abs=0.01), pytest.approx(0.549, abs=0.01))  # ± 1.96 / sqrt(4 n)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sessions": []}, "sessions"),
        ({"sessions": [{"at": "yesterday", "turns": []}]}, "yesterday"),
        ({"sessions": CONVERSATION["sessions"] * 2}, "two turns have one id"),
        ({"questions": [{"question": "Who?", "evidence": ["D9:9"]}]}, "no turn D9:9"),
        ({"questions": [{"question": "Who?", "evidence": ["D1:1"], "asked_at": "soon"}]}, "soon"),
        ({"questions": [{"evidence": []}]}, "questions.0.question"),
    ],
)
def test_a_file_of_another_form_is_told_where(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as told:
        read(file(tmp_path, **changes))
    assert "labelled.json" in str(told.value) and "\n" not in str(told.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        read(tmp_path / "missing.json")
