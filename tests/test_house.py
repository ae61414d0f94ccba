"""The repository keeps its own promises: pinned installs, a true README, nothing that names a machine or a registry."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = re.compile(
    r"index[-]url|(?:pip|uv|extra|default)_index|--find[-]links|pip_find_?links"  # options, variables, settings
    r"|index_?url\W{1,4}https?://(?!127\.|localhost)|-i\s*[\"']?https?:|tool\.uv[.]index|\[\[index[]]"
    r"|python[h]osted|pypi[.]org|/(?:root|work)/",
    re.IGNORECASE,
)
"""Registries, and places on somebody's machine. No line here matches itself."""


def texts() -> list[Path]:
    """Every text file of the repository, those not yet committed too."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    files = [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    return [path for path in files if b"\0" not in path.read_bytes()]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_everything_installed_is_pinned_in_the_constraints() -> None:
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        reason = f"not running from the environment that `make` installs, but from {sys.prefix}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {canonical(name): version for name, version in pins.items()}
    installed = {canonical(dist.metadata["Name"]): dist.version.split("+")[0] for dist in distributions()}
    strangers = {
        f"{name}=={version} (pinned: {pinned.get(name)})"
        for name, version in installed.items()
        if name != "folkmoot" and pinned.get(name) != version
    }
    assert not strangers


def test_no_file_names_a_registry_or_a_place_on_somebodys_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in texts()
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1)
        if FORBIDDEN.search(line)
    ]
    assert not found


@pytest.mark.parametrize(
    "line",
    [
        "--{}-url X",
        "--extra-{}-url=X",
        "{}-url = X",
        "PIP_{}_URL=X",
        "UV_DEFAULT_{}=X",
        "extra_{}_url = X",
        "{}_url = 'http://mirror.example/simple'",
        "pip install -i https" + "://mirror.example x",
        "[[tool.uv.{}]]",
        "[[{}]]",
        "PIP_FIND_" + "LINKS=X",
        "cd /" + "work/x",
    ],
)
def test_ways_to_name_a_registry_are_known(line: str) -> None:
    assert FORBIDDEN.search(line.format("index"))


@pytest.mark.parametrize("line", ["FOLKMOOT_INDEX_URL=http://127.0.0.1:1", "index_url: str | None", "grep -i http"])
def test_our_own_index_is_no_registry(line: str) -> None:
    assert not FORBIDDEN.search(line)


def test_the_readme_names_only_what_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z]+)", readme, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for module in re.findall(r"python -m ((?:benchmarks|training)[\w.]*)", readme):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), module
    for link in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / link).exists(), link


def test_the_file_tree_of_the_readme_is_the_file_tree() -> None:
    listed = set(re.findall(r"^\s*([\w/]+\.py)\b", (ROOT / "README.md").read_text(), re.MULTILINE))
    folders = ("agents", "society", "personal_data", "training", "api", "benchmarks")
    existing = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py" and "migrations" not in path.parts
    }
    assert listed == existing


def test_ci_runs_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_first_run_that_was_interrupted_starts_again_and_needs_no_network(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=60)
    done = make(f"VENV={tmp_path / 'venv'}", f"PYTHON={sys.executable}", str(tmp_path / "venv" / ".pip"))
    assert done.returncode == 0, done.stderr
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "--version"], check=True, capture_output=True, timeout=60)


def test_every_claim_is_measured_though_one_falls_short(tmp_path: Path) -> None:
    python, log = tmp_path / "python", tmp_path / "log"
    python.write_text(f'#!/bin/sh\necho "$@" >> {log}\n[ "$2" != benchmarks.demo ]\n')
    python.chmod(0o755)
    assert make("-o", ".venv/.develop", "-o", ".bench/.ready", f"BIN={tmp_path}", "bench").returncode != 0
    measured = [line.removeprefix("-m ") for line in log.read_text().splitlines()]
    claims = ["startup", "demo", "decode", "cohort", "serving", "recall", "memory_scale"]
    claims += ["society", "debate_speed", "live_society"]
    evaluations = [
        "training.nursery.evaluate --n 500",
        *(f"benchmarks.{one}" for one in ("improvement", "hacking", "learning", "curriculum")),
    ]
    assert measured == [*(f"benchmarks.{claim}" for claim in claims), *evaluations]
