"""The whole embedded profile as real processes: one start for all of these tests, on a tiny random-weight model."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from api import keys
from api.processes import Child
from api.running import read_running
from api.supervisor import Supervisor
from personal_data.settings import ModelSettings, Settings
from tests.api.conftest import user

CLI = [sys.executable, "-m", "api.cli"]


@dataclass(frozen=True)
class Running:
    """A Folkmoot that runs, seen from outside."""

    url: str
    data_dir: Path
    supervisor: Supervisor

    def cli(self, *arguments: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "FOLKMOOT_DATA_DIR": str(self.data_dir)}
        if key is not None:
            environment["FOLKMOOT_KEY"] = key
        return subprocess.run([*CLI, *arguments], capture_output=True, text=True, timeout=120, env=environment)

    def json(self, *arguments: str, key: str | None = None) -> Any:
        done = self.cli(*arguments, "--json", key=key)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    from tests.agents import tiny

    base = tiny.save_qwen3(tmp_path_factory.mktemp("tiny"), max_position_embeddings=1024)
    data_dir = tmp_path_factory.mktemp("platform")
    settings = Settings(
        data_dir=data_dir,
        port=0,
        models={"tiny": ModelSettings(kind="engine", base=str(base))},
        default_model="tiny",
        debate_deadline_s=30.0,
    )
    supervisor = Supervisor(settings)
    with supervisor.running() as url:
        yield Running(url, data_dir, supervisor)
        pids = [child.pid for child in supervisor.children]
    assert not [pid for pid in pids if pid is not None and _alive(pid)], "nothing outlives the supervisor"
    assert read_running(data_dir) is None


@pytest.fixture(scope="module")
def ada(running: Running) -> str:
    """Ada's key, from the command that people use first."""
    return str(running.json("user", "add", "ada", "--name", "Ada")["key"])


def test_what_runs_is_written_down_for_its_owner_only(running: Running) -> None:
    path = running.data_dir / "running.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = json.loads(path.read_text())
    assert told["url"] == running.url
    assert set(told["processes"]) == {"engine-tiny", "index", "api", "worker"}
    assert set(running.json("status")["parts"].values()) == {True}


def test_a_second_one_on_the_same_folder_is_refused_in_one_line(running: Running) -> None:
    done = running.cli("serve", "--port", "0")
    assert done.returncode == 1 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and running.url in done.stderr


def test_the_sdk_talks_to_a_real_model_in_both_modes(running: Running, ada: str) -> None:
    sdk = openai.OpenAI(base_url=f"{running.url}/v1", api_key=ada, max_retries=0)
    ask: dict[str, Any] = {"model": "agent:ada", "messages": user("What is the time?"), "max_tokens": 8, "seed": 1}
    whole = sdk.chat.completions.create(**ask)
    pieces = list(sdk.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces if chunk.choices)
    assert text == whole.choices[0].message.content
    assert pieces[-1].usage == whole.usage
    assert whole.usage is not None and 0 < whole.usage.completion_tokens <= 8
    scored = sdk.chat.completions.create(**ask, logprobs=True, top_logprobs=2)
    assert scored.choices[0].logprobs is not None
    tokens = scored.choices[0].logprobs.content or []
    assert len(tokens) > 0
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)


def test_the_command_line_from_memory_to_debate(running: Running, ada: str, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("- I live in Porto.\n- My harp is red.\n")
    assert len(running.json("import", str(tmp_path / "notes.md"), key=ada)["ids"]) == 2
    running.json("remember", "My cat is called Miro.", key=ada)
    assert running.json("recall", "What is my cat called?", "-k", "1", key=ada)[0]["text"] == "My cat is called Miro."
    said = running.cli("chat", "Hello, who are you?", "--max-tokens", "6", key=ada)
    assert said.returncode == 0, said.stderr
    running.json("society", "create", "moot", key=ada)
    report = running.json("debate", "moot", "What is 2 + 2?", key=ada)
    assert report["state"] == "done" and report["positions"][0]["agent"] == "ada"
    shown = running.cli("debate", "moot", "What is 2 + 2?", key=ada)
    assert shown.returncode == 0 and "who said what" in shown.stdout
    assert running.json("schedule", "24", key=ada)["improve_every_s"] == 86_400
    assert running.json("adapters", "list", key=ada) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chat", ""], "must not be empty"),
        (["debate", "nowhere", "Why?"], "no society"),
        (["import", "no-such-file.md"], "no-such-file.md"),
        (["schedule", "often"], "often"),
        (["adapters", "rollback", "7"], "no adapter version 7"),
        (["society", "accept", "nowhere"], "nowhere"),
        (["user", "add", "eve"], "no such URL"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(running: Running, ada: str, arguments: list[str], says: str) -> None:
    done = running.cli(*arguments, key=ada)
    assert done.returncode == 1
    assert says in done.stderr and len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr + done.stdout


def test_a_process_that_dies_is_started_again(running: Running, ada: str) -> None:
    engine = next(child for child in running.supervisor.children if child.name == "engine-tiny")
    before = engine.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    while engine.pid == before:
        time.sleep(0.05)
    while httpx.get(f"{running.url}/ready").status_code != 200:
        time.sleep(0.2)
    assert running.cli("chat", "Hello again?", "--max-tokens", "4", key=ada).returncode == 0


def test_the_first_key_is_not_shown_to_others(running: Running) -> None:
    path = running.data_dir / keys.BOOTSTRAP_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = path.read_text().strip()
    logs = "".join(log.read_text(errors="replace") for log in (running.data_dir / "logs").iterdir())
    assert secret not in logs and running.supervisor.settings.engine_token not in (None, logs)


def test_nothing_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from api.processes import Child\n"
        "child = Child('sleep', ['sleep', '600'], {'PATH': '/usr/bin:/bin'}, Path(sys.argv[1]))\n"
        "child.start(); print(child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "log"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        parent.kill()
    while _alive(grandchild):
        time.sleep(0.02)


def test_a_child_that_keeps_ending_waits_longer_each_time(tmp_path: Path) -> None:
    child = Child("false", ["sh", "-c", "echo no such luck; exit 1"], {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
    child.start()
    while child.failures < 2:
        child.tend()
        time.sleep(0.01)
    assert child.last_words() == "no such luck"
    child.stop(0)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
