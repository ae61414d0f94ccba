"""A real `folkmoot serve` for tests: all of its processes, on a tiny random-weight model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.running import read_running

CLI = [sys.executable, "-m", "api.cli"]
SERVE = [Path(sys.executable).with_name("folkmoot"), "serve", "--port", "0"]
ENGINE = "engine-nursery"
OUTSIDE = "192.0.2.1"  # TEST-NET-1 (RFC 5737): routed nowhere


@dataclass(frozen=True)
class Running:
    """A Folkmoot that runs, seen from outside; `said` is what its terminal shows."""

    url: str
    data_dir: Path
    process: subprocess.Popen[str]
    said: str

    def cli(self, *arguments: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = own_environment(self.data_dir)
        if key is not None:
            environment["FOLKMOOT_KEY"] = key
        return subprocess.run([*CLI, *arguments], capture_output=True, text=True, timeout=120, env=environment)

    def json(self, *arguments: str, key: str | None = None) -> Any:
        done = self.cli(*arguments, "--json", key=key)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def pid(self, name: str) -> int | None:
        """The process of that name; None while it is being started again."""
        told = read_running(self.data_dir)
        assert told is not None
        found: int | None = told["processes"][name]
        return found


def own_environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """What a command sees: nothing of a Folkmoot outside these tests."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("FOLKMOOT_")}
    return {**outside, "FOLKMOOT_DATA_DIR": str(data_dir), **settings}


@contextmanager
def served(folder: Path, data_dir: Path, **settings: str) -> Iterator[Running]:
    """It runs until the block is left; `folder` takes the model."""
    from tests.agents import tiny

    base = tiny.save_qwen3(folder, max_position_embeddings=1024)
    models = {
        "nursery": {"kind": "engine", "base": str(base)},
        "outside": {"kind": "endpoint", "url": f"http://{OUTSIDE}:9"},
    }
    environment = own_environment(
        data_dir, FOLKMOOT_MODELS=json.dumps(models), FOLKMOOT_DEBATE_DEADLINE_S="30", **settings
    )
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("  Data"):
                break
        told = read_running(data_dir)
        assert told is not None, said
        yield Running(told["url"], data_dir, process, said)
        process.send_signal(signal.SIGINT)
