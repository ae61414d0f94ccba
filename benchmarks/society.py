"""Claim: a society is as good as its best member, whoever sits in it, and says how sure it is.

`python -m benchmarks.society [FILE]` replays the released answers of four models to GSM8K's 1319 test questions through
the public API in five folds; again with seven clones of the weakest member under other names; and again thriftily. The
file is not ours to ship: it is looked for as `../shared/data/gsm8k-4-models.jsonl` beside the repository, or made from
OpenAI's repository grade-school-math (`grade_school_math/data/example_model_solutions.jsonl`). About a quarter of an
hour on two cores.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from api.society_evaluation import Measured, evaluate, scores, show
from benchmarks.figures import Figure, finish, machine

FILE = Path(__file__).resolve().parents[2] / "shared" / "data" / "gsm8k-4-models.jsonl"
WEAKEST, CLONES = "6b_finetuning", 7


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    if not path.exists():
        print(f"{path.name} is not there: say where it is, `python -m benchmarks.society FILE`")
        return finish([Figure("society.accuracy", None, ">=", 0.5625)])
    logging.getLogger("personal_data").setLevel(logging.ERROR)
    print(f"recorded societies, {machine()}; {path.name}, five folds, seed 0")
    measured: dict[str, list[Measured]] = {}
    for name, how in (("as it is", {}), (f"{CLONES} clones of {WEAKEST}", {"clones": (WEAKEST, CLONES)})):
        print(f"\n{name}")
        measured[name] = evaluate(path, **how)  # type: ignore[arg-type]
        show(measured[name])
    print("\nthrifty")
    thrifty = evaluate(path, thrifty=True)
    show(thrifty)
    whole, cloned = measured.values()
    calls = sum(one.calls for one in thrifty) / sum(one.calls for one in whole)
    return finish(
        [
            Figure("society.accuracy", accuracy(whole), ">=", 0.5625),
            Figure("society.lead_over_majority", accuracy(whole) - majority(whole), ">=", 0.05),
            Figure("society.clones_cost", accuracy(whole) - accuracy(cloned), "<=", 0.01),
            Figure("society.ece", scores(whole)[1], "<=", 0.05),
            Figure("society.thrift_saves", 1 - calls, ">=", 0.25),
            Figure("society.thrift_costs", accuracy(whole) - accuracy(thrifty), "<=", 0.003),
        ]
    )


def accuracy(measured: Sequence[Measured]) -> float:
    return sum(one.society for one in measured) / len(measured)


def majority(measured: Sequence[Measured]) -> float:
    return sum(one.majority for one in measured) / len(measured)


if __name__ == "__main__":
    sys.exit(main())
