"""The repository keeps its own promises: pinned installs, a true README, nothing that names a machine or a registry."""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".jsonl", ".mako", ""}
SKIPPED = {".venv", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache"}


def texts() -> list[Path]:
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and path.suffix in TEXT and not SKIPPED & set(path.relative_to(ROOT).parts)
    ]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_everything_installed_is_pinned_in_the_constraints() -> None:
    if Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("not running from the environment that `make` installs")
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {canonical(name): version for name, version in pins.items()}
    installed = {canonical(dist.metadata["Name"]): dist.version.split("+")[0] for dist in distributions()}
    strangers = {
        f"{name}=={version} (pinned: {pinned.get(name)})"
        for name, version in installed.items()
        if name != "folkmoot" and not name.startswith("nvidia-") and pinned.get(name) != version
    }
    assert not strangers


def test_no_file_names_a_registry_or_a_place_on_somebodys_machine() -> None:
    forbidden = re.compile(r"--(?:extra-)?index-url|--find.links|pythonhosted|pypi[.]org|/(?:root|work)/")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in texts()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1)
        if forbidden.search(line)
    ]
    assert not found


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
