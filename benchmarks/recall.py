"""Claim: recall finds what answers a question in conversations of hundreds of turns.

`python -m benchmarks.recall` asks the questions of `benchmarks/dialogues`: written by hand, paraphrased, some about
times, some that need several turns. The half `tuned` was looked at while recall was made, `held_out` never; the figures
are the latter's. `folkmoot evaluate recall FILE` does the same on any labelled file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from agents.recall_evaluation import OURS, evaluate, show
from benchmarks.figures import Figure, finish, machine
from personal_data.labelled import read, summary

HALVES = Path(__file__).parent / "dialogues"


def main() -> int:
    print(f"recall of turns, {machine()}")
    for half in ("tuned", "held_out"):
        conversations = [one for path in sorted((HALVES / half).glob("*.json")) for one in read(path)]
        turns = [sum(len(session.turns) for session in one.sessions) for one in conversations]
        print(f"\n{half}: {len(conversations)} conversations of {min(turns)} to {max(turns)} turns")
        asked = evaluate(conversations)
        show(asked)
    measured = summary(asked[OURS], (5, 10)).recall
    return finish(
        [
            Figure("recall.held_out_r10", measured[10][0], ">=", 0.70),
            Figure("recall.held_out_r5", measured[5][0], ">=", 0.58),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
