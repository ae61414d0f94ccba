"""Starts an engine as its users do: a process of its own, on a free port of loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "correct horse"


@dataclass(frozen=True)
class Running:
    """A started engine."""

    url: str
    process: subprocess.Popen[str]
    client: openai.OpenAI

    def metric(self, name: str) -> int:
        """One number of /metrics."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"folkmoot_engine_{name} "))


@contextmanager
def engine(*options: str) -> Iterator[Running]:
    """A started engine; stopped at the end of the block."""
    command = [sys.executable, "-m", "agents.engine.server", *options]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        assert ready[:1] == ["ready"], process.stderr.read() if process.stderr else ""
        client = openai.OpenAI(base_url=f"{ready[1]}/v1", api_key=TOKEN, max_retries=0, timeout=60)
        yield Running(ready[1], process, client)
    finally:
        process.terminate()
        process.wait(20)


def environment() -> dict[str, str]:
    """What the engine's process sees of ours."""
    return {**os.environ, "FOLKMOOT_ENGINE_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
