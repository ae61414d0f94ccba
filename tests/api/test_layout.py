"""The house from the api's side: what starts without model libraries, and that our import names are ours alone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("agents", "society", "personal_data", "training", "api", "tests")
HEAVY = ("torch", "transformers", "litellm", "chromadb", "langgraph")

APP = "import api.main; api.main.create_app()"
HELP = """
from api.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
"""
SUPERVISOR = "import api.supervisor, api.doctor"
REPORT = "\nimport json, sys; print(); print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def modules_after(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code + REPORT], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("code", [APP, SUPERVISOR], ids=["api", "supervisor"])
def test_no_model_library_is_loaded(code: str) -> None:
    assert not modules_after(code) & set(HEAVY)


def test_help_needs_nothing_but_the_standard_library() -> None:
    loaded = modules_after(HELP) - modules_after("pass") - {"api"}
    assert loaded <= sys.stdlib_module_names


def test_no_other_distribution_owns_our_import_names() -> None:
    owners = packages_distributions()
    assert {name: owners[name] for name in NAMES if set(owners.get(name, [])) - {"folkmoot"}} == {}


def test_the_command_names_whoever_took_an_import_name(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("")
    first = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]"
    code = f"{first}; from api.cli import main; sys.exit(main(['status']))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "'agents'" in done.stderr and "Traceback" not in done.stderr


def test_layers_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
