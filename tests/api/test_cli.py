"""The command line against a running API: whose key goes where, and what it says. As a process: test_supervisor.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.cli import main
from api.commands.learning import _figure
from api.processes import Child
from api.running import command, forget_running, write_running
from tests.api.conftest import NOBODY, Person, Platform
from tests.api.scripted_server import ScriptedServer


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str


Cli = Callable[..., Done]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs a command with these FOLKMOOT_* variables on top of the test's."""

    def run(*arguments: str, **variables: str) -> Done:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(f"FOLKMOOT_{name.upper()}", value)
            status = main(list(arguments))
        return Done(status, *capfd.readouterr())

    return run


@pytest.fixture
def here(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The data folder that the platform runs on, as its supervisor would have written it down."""
    data_dir = platform.settings.data_dir
    monkeypatch.setenv("FOLKMOOT_DATA_DIR", str(data_dir))
    write_running(data_dir, platform.url, {"api": 11, "worker": None}, {"api": 0, "worker": 3})
    yield data_dir
    forget_running(data_dir)


def test_people_are_added_with_the_folders_key_whoever_types(
    cli: Cli, here: Path, ada: Person, platform: Platform
) -> None:
    handle = f"guest-of-{ada.handle}"
    added = cli("user", "add", handle, "--model", "scripted", "--json", key=ada.key)
    assert added.status == 0, added.err
    assert json.loads(added.out)["user"]["handle"] == handle


def test_the_folders_key_is_sent_to_no_other_address(cli: Cli, here: Path, ada: Person, platform: Platform) -> None:
    """The address named is the platform's own, where that key would open everything."""
    refused = [cli("user", "add", "eve", url=platform.url), cli("user", "add", "eve", "--url", platform.url)]
    for done in refused:
        assert done.status == 1
        assert done.err == "folkmoot: set FOLKMOOT_KEY to the key of its administrator\n"
    assert "no such URL" in cli("user", "add", "eve", url=platform.url, key=ada.key).err


@pytest.mark.parametrize(
    "arguments",
    [
        ("remember", "My cat is called Miro."),
        ("chat", "Hello?"),
        ("improve",),
        ("adapters", "list"),
        ("agent",),
        ("society", "list"),
    ],
)
def test_what_is_personal_needs_a_key_of_ones_own(
    cli: Cli, here: Path, platform: Platform, arguments: tuple[str, ...]
) -> None:
    done = cli(*arguments)
    assert done.status == 1 and done.out == ""
    typed = f"{sys.executable} -m api.cli user add"
    assert done.err == f"folkmoot: set FOLKMOOT_KEY to the key that `{typed}` printed\n"
    assert platform.admin.memories() == []


def test_status_shows_the_folder_the_models_and_what_was_started_again(
    cli: Cli, here: Path, platform: Platform
) -> None:
    done = cli("status")
    assert done.status == 1, "its worker has just ended"
    for line in (
        f"Folkmoot at {platform.url}",
        f"data     {here}",
        "model    nursery (builtin:nursery)",
        "answers  database",
        "process  api (11)",
        "process  worker (has just ended), started again 3 times",
    ):
        assert line in [shown.strip() for shown in done.out.splitlines()]
    told = json.loads(cli("status", "--json").out)
    assert told["data_dir"] == str(here) and told["restarts"] == {"api": 0, "worker": 3}
    elsewhere = json.loads(cli("status", "--json", url=platform.url).out)
    assert set(elsewhere) == {"url", "parts"}


def test_status_where_nothing_runs_still_shows_the_folder(cli: Cli, data_dir: Path) -> None:
    done = cli("status")
    assert done.status == 1
    assert f"nothing runs; start it: {sys.executable} -m api.cli serve" in done.out
    assert str(data_dir) in done.out
    away = cli("status", url=NOBODY)
    assert away.status == 1 and "SILENT   api" in away.out


def test_where_something_else_answers_that_is_said_in_one_line(cli: Cli, model: ScriptedServer) -> None:
    for arguments in (("agent",), ("status",)):
        done = cli(*arguments, url=f"{model.url}/page", key="fm_x")
        assert done.status == 1
        assert len(done.err.splitlines()) == 1 and "is that a Folkmoot?" in done.err


def test_how_often_a_child_was_started_again(tmp_path: Path) -> None:
    child = Child("false", ["false"], {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
    child.start()
    assert child.restarts == 0
    while not child.tend():
        pass
    assert child.restarts == 1
    child.stop(0)


def test_an_agent_is_shown_moved_and_instructed(cli: Cli, here: Path, ada: Person) -> None:
    shown = cli("agent", key=ada.key).out
    assert shown.startswith(f"agent:{ada.handle} on scripted (there are: gone, ")
    moved = cli("agent", "--model", "gone", "--instructions", "Be brief.", "Rhyme.", key=ada.key)
    assert moved.out.splitlines()[1:] == ["  heeds: Be brief.", "  heeds: Rhyme."]
    assert ada.client.agent()["model"] == "gone"
    assert json.loads(cli("agent", "--instructions", "--json", key=ada.key).out)["instructions"] == []


def test_a_question_of_opinion_is_asked_and_told_in_its_terms(
    cli: Cli, here: Path, platform: Platform, ada: Person, ben: Person, tmp_path: Path
) -> None:
    slug, kept = platform.moot(ada, ben, platform.add("cleo")), tmp_path / "tea.md"
    wish = ("--kind", "opinion", "--save", str(kept))
    done = cli("debate", slug, "opine: what shall we drink?", *wish, key=ada.key)
    assert done.status == 0, done.err
    assert "Most would accept: As Ada sees it, tea. (held by 1 of 3, schulze)" in done.out
    assert f"{ada.handle} has ranked them" in done.out and f"{ben.handle}: ranks 'As Ben sees it, tea.' > " in done.out
    assert "confidence" not in done.out
    assert "Most would accept" in kept.read_text()
    assert cli("debate", slug, "opine: or not?", "--kind", "open", key=ada.key).out.count("Ranked best") == 1


@pytest.mark.parametrize("hours", ["inf", "-inf", "nan", "often"])
def test_a_schedule_is_a_number_of_hours(cli: Cli, here: Path, ada: Person, hours: str) -> None:
    done = cli("schedule", "--", hours, key=ada.key)
    assert done.status == 1
    assert len(done.err.splitlines()) == 1 and repr(hours) in done.err


@pytest.mark.parametrize("group", [(), ("user",), ("society",), ("adapters",)])
def test_a_command_that_says_too_little_shows_what_there_is(cli: Cli, group: tuple[str, ...]) -> None:
    done = cli(*group)
    assert done.status == 2 and done.err == ""
    assert "commands:" in done.out


def test_the_evaluation_is_ours_wherever_it_is_typed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "training" / "nursery"
    package.mkdir(parents=True)
    (tmp_path / "training" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "evaluate.py").write_text("print('somebody else')")
    done = cli("evaluate", "nursery", "--help")
    assert done.status == 0, done.err
    assert "training.nursery.evaluate" in done.out
    assert cli("evaluate", "nursery", "--json", "--help").out == "[]\n"


def test_a_figure_as_data() -> None:
    assert _figure("figure nursery.add 0.995 >=0.99") == {"name": "nursery.add", "value": 0.995, "target": ">=0.99"}
    assert _figure("figure nursery.judge none >=0.9")["value"] is None


def test_a_command_is_named_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my bin"
    folder.mkdir()
    (folder / "folkmoot").touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(folder / "folkmoot"), "serve"])
    assert command() == f"'{folder}/folkmoot'"
    monkeypatch.setenv("PATH", str(folder))
    assert command() == "folkmoot"
    monkeypatch.setattr(sys, "argv", ["cli.py", "serve"])
    assert command() == f"{sys.executable} -m api.cli"
