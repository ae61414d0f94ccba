"""`folkmoot serve` as people run it: one start of real processes for all tests, on a tiny random-weight model."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from api import keys
from api.processes import Child
from api.running import read_running
from tests.api.conftest import user
from tests.api.served import ENGINE, OUTSIDE, SERVE, Running, own_environment, served


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with served(tmp_path_factory.mktemp("tiny"), tmp_path_factory.mktemp("platform")) as started:
        yield started


@pytest.fixture(scope="module")
def ada(running: Running) -> str:
    """Ada's key, from the command that people use first."""
    return str(running.json("user", "add", "ada", "--name", "Ada")["key"])


def test_the_terminal_says_where_it_is_and_how_to_get_a_first_key(running: Running) -> None:
    assert "ready" in running.said and f"{running.url}/v1" in running.said and str(running.data_dir) in running.said
    assert f"{SERVE[0]} user add ada --name Ada" in running.said


def test_what_runs_is_written_down_for_its_owner_only(running: Running) -> None:
    path = running.data_dir / "running.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = json.loads(path.read_text())
    assert told["url"] == running.url
    assert set(told["processes"]) == {ENGINE, "index", "api", "worker"}
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
    assert running.json("import", str(tmp_path / "notes.md"), key=ada)[0]["state"] == "done"
    assert {memory["text"] for memory in running.json("recall", "harp Porto", key=ada)} >= {"I live in Porto."}
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
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(running: Running, ada: str, arguments: list[str], says: str) -> None:
    done = running.cli(*arguments, key=ada)
    assert done.returncode == 1
    assert says in done.stderr and len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr + done.stdout


def test_an_improvement_from_the_command_to_its_record(running: Running, ada: str) -> None:
    job = running.json("improve", "--stage", "preferences", "--seed", "1", key=ada)
    assert job["state"] == "done" and job["attempts"] == 1
    assert "too little to learn from" in job["result"]["reasons"][0]
    assert running.json("adapters", "rollback", "0", key=ada)["live_version_id"] is None


def test_doctor_finds_a_running_folkmoot_sound(running: Running) -> None:
    found = running.json("doctor")
    assert {"database", "index"} <= {finding["what"] for finding in found}
    assert [finding for finding in found if not finding["ok"]] == []


def test_the_api_process_cannot_leave_unseen(running: Running, ada: str, socket_attempts: Path) -> None:
    """People are added with the data folder's key, whoever's key the terminal has."""
    eve = running.json("user", "add", "eve", "--model", "outside", key=ada)["key"]
    done = running.cli("chat", "Hello, is anybody there?", key=eve)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert OUTSIDE in socket_attempts.read_text()
    socket_attempts.write_text("")


def test_what_is_erased_is_in_no_file_of_the_folder_and_the_rest_is_recalled(running: Running, ada: str) -> None:
    """The index keeps the bytes of what it deletes: its folder is removed and filled again from SQL, while all runs."""
    canary = "My lighthouse keeper hides eleven amber buttons under the stair."
    kept = "My other neighbour plays the hurdy-gurdy on Sundays."
    memory_id = running.json("remember", canary, key=ada)["ids"][0]
    running.json("remember", kept, key=ada)
    asked = running.cli("chat", "Where does the keeper hide his amber buttons?", "--max-tokens", "6", key=ada)
    assert asked.returncode == 0, asked.stderr
    before = running.pid("index")
    vectors = vectors_of(running.data_dir, memory_id)
    assert holding(running.data_dir, [canary.encode()]) and holding(running.data_dir / "index", vectors)
    receipt = running.json("erase", "--memory", memory_id, "--yes", key=ada)
    assert receipt["state"] == "done" and receipt["residue"] == {}, receipt
    assert receipt["removed"]["memories"] == 1 and receipt["removed"]["messages"] >= 1
    assert not [reason for reason in receipt["could_not"] if "index" in reason]
    assert holding(running.data_dir, [canary.encode(), *vectors]) == []
    assert running.pid("index") not in (before, None)
    assert running.json("recall", "Who plays the hurdy-gurdy?", "-k", "1", key=ada)[0]["text"] == kept
    assert not [hit for hit in running.json("recall", "amber buttons", key=ada) if "amber" in hit["text"]]
    while set(running.json("status")["parts"].values()) != {True}:
        time.sleep(0.2)


def vectors_of(data_dir: Path, memory_id: str) -> list[bytes]:
    """A stretch of the memory's vector, as SQL and the index keep it."""
    with sqlite3.connect(data_dir / "folkmoot.db") as connection:
        (blob,) = connection.execute("SELECT embedding FROM memories WHERE id = ?", [memory_id]).fetchone()
    return [blob[-256:-128]]


def holding(data_dir: Path, needles: list[bytes]) -> list[Path]:
    """The files that hold one of these, looked at in the plainest way."""
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    return [path for path in files if any(needle in path.read_bytes() for needle in needles)]


def test_a_process_that_dies_is_started_again(running: Running, ada: str) -> None:
    before = running.pid(ENGINE)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    while running.pid(ENGINE) in (before, None):
        time.sleep(0.05)
    while httpx.get(f"{running.url}/ready").status_code != 200:
        time.sleep(0.2)
    assert running.cli("chat", "Hello again?", "--max-tokens", "4", key=ada).returncode == 0


def test_secrets_are_not_shown_to_others(running: Running) -> None:
    path = running.data_dir / keys.BOOTSTRAP_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    environment = Path(f"/proc/{running.pid('api')}/environ").read_text().split("\0")
    token = next(line for line in environment if line.startswith("FOLKMOOT_ENGINE_TOKEN=")).partition("=")[2]
    logs = "".join(log.read_text(errors="replace") for log in (running.data_dir / "logs").iterdir())
    assert len(token) > 20 and token not in logs
    assert path.read_text().strip() not in logs


def test_only_the_engine_has_loaded_a_model_library(running: Running) -> None:
    """Seen after all of the above: chats, debates, an improvement."""
    mapped = {name: Path(f"/proc/{running.pid(name)}/maps").read_text() for name in (ENGINE, "api", "worker")}
    assert {name for name, libraries in mapped.items() if "libtorch" in libraries} == {ENGINE}
    assert "uvloop" not in mapped["api"]


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


def test_sigterm_stops_it_while_it_starts(tmp_path: Path) -> None:
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True, env=own_environment(tmp_path)) as process:
        assert process.stdout is not None and "starting" in process.stdout.readline()
        process.terminate()
        assert "stopped" in process.stdout.read()
    assert process.returncode == 0 and of_folder(tmp_path) == []


def test_sigint_stops_everything(running: Running) -> None:
    """The last one: nothing runs afterwards."""
    assert len(of_folder(running.data_dir)) >= 5
    running.process.send_signal(signal.SIGINT)
    assert running.process.stdout is not None and "stopped" in running.process.stdout.read()
    assert running.process.wait(60) == 0
    assert of_folder(running.data_dir) == [] and read_running(running.data_dir) is None


def of_folder(data_dir: Path) -> list[int]:
    """Every process that was given this data folder and still runs."""
    mark = f"FOLKMOOT_DATA_DIR={data_dir}\0"
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_text(errors="replace"):
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if _alive(pid)]


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
