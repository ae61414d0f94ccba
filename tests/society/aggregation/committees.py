"""Committees with a known nature, and the released answers of four models, for tests of what learns from history."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from society.aggregation.ballot import Ballot, Posterior, Resolved
from society.canonical import answer_key

ROOT = Path(__file__).resolve().parents[3]
PLACES = [ROOT.parent / "shared", ROOT / "shared"]
MODELS = ("175b_finetuning", "175b_verification", "6b_finetuning", "6b_verification")


def gsm8k(clones: int = 0) -> list[Resolved]:
    """The 1319 questions of 5.1, with copies of the weakest model. Skips the test where the data is not there."""
    found = [place / "data" / "gsm8k-4-models.jsonl" for place in PLACES]
    path = next((path for path in found if path.exists()), None)
    if path is None:
        pytest.skip("shared/data/gsm8k-4-models.jsonl is not there, beside this folder or in it")
    return [with_clones(resolved, "6b_finetuning", clones) for resolved in _released(path)]


@cache
def _released(path: Path) -> tuple[Resolved, ...]:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return tuple(
        Resolved(Ballot({model: number(row[model]["solution"]) for model in MODELS}), number(row["ground_truth"]))
        for row in rows
    )


def number(solution: str) -> str | None:
    """The key of the number after the last "A:"; anything else is no answer."""
    _, marked, answer = solution.rpartition("A:")
    key = answer_key(answer)
    return key if marked and key.lstrip("-").replace(".", "", 1).isdecimal() else None


def with_clones(resolved: Resolved, member: str, clones: int) -> Resolved:
    votes = dict(resolved.ballot.votes)
    votes |= {f"{member} clone {number}": votes[member] for number in range(clones)}
    return Resolved(replace(resolved.ballot, votes=votes), resolved.right)


def independent(accuracies: Sequence[float], questions: int, *, seed: int, ways: int = 6) -> list[Resolved]:
    """Members that err independently, each wrong answer one of `ways`."""
    draw = np.random.default_rng(seed)
    knows = draw.random((questions, len(accuracies))) < np.array(accuracies)
    wrong = draw.integers(ways, size=knows.shape)
    return [_resolved(q, knows[q], wrong[q]) for q in range(questions)]


def near_clones(
    expert: float, clone: float, clones: int, questions: int, *, seed: int, apart: float = 0.1, ways: int = 6
) -> list[Resolved]:
    """An expert (member-0) and clones that share one answer, except each with chance `apart` for itself."""
    draw = np.random.default_rng(seed)
    knows = draw.random((questions, clones + 1)) < np.array([expert] + [clone] * clones)
    wrong = draw.integers(ways, size=knows.shape)
    shared = draw.random((questions, clones)) >= apart
    knows[:, 1:] = np.where(shared, knows[:, 1:2], knows[:, 1:])
    wrong[:, 1:] = np.where(shared, wrong[:, 1:2], wrong[:, 1:])
    return [_resolved(q, knows[q], wrong[q]) for q in range(questions)]


def _resolved(question: int, knows: Sequence[bool], wrong: Sequence[int]) -> Resolved:
    """Keys differ from question to question, so that a lot does not favour what is right in all of them."""
    answers = [
        f"{question} right" if known else f"{question} wrong {way}" for known, way in zip(knows, wrong, strict=True)
    ]
    return Resolved(Ballot({f"member-{seat}": answer for seat, answer in enumerate(answers)}), f"{question} right")


Decide = Callable[[Ballot], Posterior]


def cross_validated(
    history: Sequence[Resolved], fit: Callable[[Sequence[Resolved]], Decide], *, folds: int = 5
) -> list[tuple[Resolved, Posterior]]:
    """What `fit` on the other folds decides on each question."""
    fold = np.random.default_rng(0).permutation(len(history)) % folds
    decided = []
    for held_out in range(folds):
        decide = fit([resolved for resolved, place in zip(history, fold, strict=True) if place != held_out])
        inside = [resolved for resolved, place in zip(history, fold, strict=True) if place == held_out]
        decided += [(resolved, decide(resolved.ballot)) for resolved in inside]
    return decided


def accuracy(decided: Sequence[tuple[Resolved, Posterior]]) -> float:
    return sum(belief.choice is not None and belief.choice == case.right for case, belief in decided) / len(decided)
