"""What must be put right before starting is one clear line and a non-zero exit status, and nothing is left running."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from api import doctor, preflight
from personal_data.database import Database
from personal_data.settings import BUILTIN_BASE, ModelSettings, Settings

KEYLESS = '{"cloud": {"kind": "provider", "model": "x/y", "api_key_env": "NO_SUCH_KEY"}}'
MISSING = '{"mine": {"kind": "engine", "base": "./no-such-model"}}'


def serve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api.cli", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def refused(done: subprocess.CompletedProcess[str], says: str) -> None:
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and says in done.stderr, done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_a_taken_port(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(serve("--port", str(port)), f"port {port}")


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    refused(serve(FOLKMOOT_DATA_DIR=str(tmp_path / "file" / "data")), "data folder")
    refused(serve(FOLKMOOT_DATA_DIR="/proc/nowhere"), "data folder /proc/nowhere")


def test_a_model_whose_files_are_missing(settings: Settings) -> None:
    refused(serve("--port", "0", FOLKMOOT_MODELS=MISSING, FOLKMOOT_DEFAULT_MODEL="mine"), "no-such-model")


def test_settings_that_make_no_sense(settings: Settings) -> None:
    refused(serve(FOLKMOOT_LEASE_S="soon"), "lease_s")
    refused(serve("--host", "0.0.0.0", "--port", "0"), "allow_remote")
    refused(serve("--port", "99999"), "port")
    refused(serve(FOLKMOOT_PRT="1"), "FOLKMOOT_PRT")


def test_a_disk_without_room(settings: Settings) -> None:
    refused(serve("--port", "0", FOLKMOOT_MIN_FREE_BYTES=str(2**60)), "MiB free on its disk")
    found = doctor.examine(settings.model_copy(update={"port": 0, "min_free_bytes": 2**60}))
    assert [finding.what for finding in found if not finding.ok] == ["free disk"]


def test_a_damaged_database(settings: Settings) -> None:
    (settings.data_dir / "folkmoot.db").write_bytes(b"torn" * 2000)
    refused(serve("--port", "0"), "restore a backup")


def test_a_key_that_is_not_set(settings: Settings) -> None:
    refused(serve("--port", "0", FOLKMOOT_MODELS=KEYLESS), "NO_SUCH_KEY")
    refused(serve("--port", "0", FOLKMOOT_EMBEDDING_API_KEY_ENV="NO_EMBEDDING_KEY"), "NO_EMBEDDING_KEY")
    cloud = ModelSettings(kind="provider", model="x/y", api_key_env="NO_SUCH_KEY")
    changed = {"models": {"cloud": cloud}, "embedding_url": "http://e", "embedding_api_key_env": "NO_EMBEDDING_KEY"}
    found = doctor.examine(settings.model_copy(update={"port": 0, **changed}))
    assert [finding.what for finding in found if not finding.ok] == ["model cloud", "embedding server"]


def test_what_names_the_hub_and_what_names_a_folder(tmp_path: Path) -> None:
    assert preflight.is_hub_id("owner/model")
    assert not any(preflight.is_hub_id(base) for base in (None, BUILTIN_BASE, "./a/b", "/a/b", "a", str(tmp_path)))
    preflight.check_model("far", ModelSettings(kind="engine", base="owner/model"))


def test_doctor_finds_a_sound_installation_sound(settings: Settings, database: Database) -> None:
    found = {finding.what: finding for finding in doctor.examine(settings.model_copy(update={"port": 0}))}
    assert [finding for finding in found.values() if not finding.ok] == []
    assert "pages sound" in found["database"].found


def test_doctor_finds_what_is_broken(settings: Settings) -> None:
    (settings.data_dir / "folkmoot.db").write_bytes(b"SQLite format 3\0" + b"torn" * 2000)
    models = {"mine": ModelSettings(kind="engine", base="./no-such-model")}
    found = doctor.examine(settings.model_copy(update={"port": 0, "models": models}))
    assert {finding.what for finding in found if not finding.ok} == {"database", "model mine"}


def test_doctor_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    def data_folder(path: Path) -> doctor.Finding:
        found = doctor.examine(settings.model_copy(update={"port": 0, "data_dir": path}))
        return next(finding for finding in found if finding.what == "data folder")

    assert data_folder(tmp_path / "a" / "b").ok and not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("in the way")
    assert not data_folder(tmp_path / "file").ok and not data_folder(tmp_path / "file" / "data").ok


def test_nothing_runs_is_one_line_for_every_client_command(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", "recall", "cat"], capture_output=True, text=True, timeout=60, env=os.environ
    )
    refused(done, f"nothing runs on data folder {settings.data_dir}")
