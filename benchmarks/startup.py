"""Claim: the command line answers at once and the api process carries no model library.

`python -m benchmarks.startup` times `folkmoot --help` against a bare interpreter, interleaved in one run, and imports
the API in a fresh process to look at what it loaded.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, finish, machine

REPEATS = 15
HEAVY = ("torch", "transformers", "peft", "litellm", "chromadb", "langgraph")
_LOADED = "import sys, api.main; print(' '.join(sys.modules))"


def main() -> int:
    command = Path(sys.executable).with_name("folkmoot")
    bare, help_ = [], []
    for _ in range(REPEATS):
        bare.append(_seconds([sys.executable, "-c", "pass"]))
        help_.append(_seconds([command, "--help"]))
    loaded = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    heavy = sorted(set(HEAVY) & set(loaded.stdout.split()))
    print(f"start-up, {machine()}, n={REPEATS} interleaved")
    print(f"  python -c pass    median {median(bare):.3f} s ({min(bare):.3f} to {max(bare):.3f})")
    print(f"  folkmoot --help   median {median(help_):.3f} s ({min(help_):.3f} to {max(help_):.3f})")
    print(f"  ratio {median(help_) / median(bare):.1f}; heavy modules in the api process: {heavy or 'none'}")
    return finish(
        [
            Figure("startup.help_seconds", median(help_), "<=", 0.3),
            Figure("startup.heavy_modules_in_api", len(heavy), "<=", 0),
        ]
    )


def _seconds(command: list[str | Path]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
