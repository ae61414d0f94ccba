"""`folkmoot evaluate society`: recorded answers through the API, and by every rule beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.recorded import read_recorded
from api.commands.learning import _figure
from api.society_evaluation import main, rules
from personal_data.errors import InvalidInput
from society.aggregation.comparison import RULES

QUESTIONS = 20


def line(number: int, **more: Any) -> dict[str, Any]:
    """Ada is always right, Ben every second time, Cleo never."""
    said = {"ada": "1", "ben": str(1 + number % 2), "cleo": "3"}
    answers = {name: f"answer: {told}" for name, told in said.items()}
    return {"question": f"Which is it, {number}?", "truth": "1", "answers": answers, **more}


def recorded(folder: Path, **more: Any) -> Path:
    path = folder / "recorded.jsonl"
    path.write_text("\n".join(json.dumps(line(number, **more)) for number in range(QUESTIONS)))
    return path


def test_rules_stand_beside_what_the_society_itself_made_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate", str(recorded(tmp_path)), "--rules"])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    for name in RULES:
        assert sum(one.startswith(f"{name} ") for one in lines if one.strip()) >= 1, name
    figures = {one["name"]: one["value"] for one in map(_figure, (one for one in lines if one.startswith("figure ")))}
    of = {name: figures[f"society.rule.{name}.accuracy"] for name in ("oracle", "plurality_ties_by_lot", "reconcile")}
    assert of == {"oracle": 1.0, "plurality_ties_by_lot": pytest.approx((1 + 1 / 3) / 2, abs=1e-4), "reconcile": None}
    assert figures["society.accuracy"] == figures["society.rule.selector.accuracy"], "it decides by its selector"
    assert "society.rule.oracle.brier" not in figures


def test_confidences_of_a_file_reach_the_rules_that_need_them(tmp_path: Path) -> None:
    stated = {"ada": 0.95, "ben": 0.65, "cleo": 0.5}
    found = {one.rule: one for one in rules(recorded(tmp_path, confidences=stated))}
    for name in ("ReConcile", "log pool", "product of odds", "extremised mean"):
        score = found[name].score
        assert score is not None and (score.accuracy.value, score.accuracy.of) == (1.0, QUESTIONS)
    clones = {one.rule: one for one in rules(recorded(tmp_path, confidences=stated), clones=("cleo", 3))}
    assert clones["ReConcile"].score is not None, "a clone states what its member does"


def test_clones_are_declared_to_the_capped_plurality_alone(tmp_path: Path) -> None:
    found = {one.rule: one.score for one in rules(recorded(tmp_path), clones=("cleo", 4))}
    lot, capped = found["plurality, ties by lot"], found["plurality, lineages capped"]
    assert lot is not None and capped is not None
    assert (lot.accuracy.value, capped.accuracy.value) == (0.0, 0.5), (
        "where Ben is right it is two against two, by record"
    )


@pytest.mark.parametrize("wrong", [[0.5], {"ada": 1.5}, {"ada": -0.1}, {"ada": "sure"}, {"ada": True}, {"ada": None}])
def test_what_is_no_confidence_is_refused_with_its_line(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(InvalidInput, match=r"recorded.jsonl, line 1: `confidences`"):
        read_recorded(recorded(tmp_path, confidences=wrong))


def test_nan_is_no_confidence(tmp_path: Path) -> None:
    path = tmp_path / "recorded.jsonl"
    path.write_text(json.dumps(line(0, confidences={"ada": float("nan")})))
    with pytest.raises(InvalidInput, match="`confidences`"):
        read_recorded(path)
