"""Settings come from variables or the data folder's file; what is wrong is said in one line."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from personal_data.errors import ConfigurationError, StorageError
from personal_data.settings import load, prepare_data_dir, read_key

NOBODY = 65_534


def write_toml(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "folkmoot.toml").write_text(text)


def test_the_default_is_the_builtin_model_on_loopback(data_dir: Path) -> None:
    settings = load()
    assert (settings.host, settings.default_model, settings.models["nursery"].base) == (
        "127.0.0.1",
        "nursery",
        "builtin:nursery",
    )
    assert settings.database == f"sqlite:///{data_dir / 'folkmoot.db'}"


def test_models_come_from_the_file_and_variables_win(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_toml(data_dir, 'port = 9000\ndefault_model = "big"\n[models.big]\nkind = "provider"\nmodel = "x/y"\n')
    monkeypatch.setenv("FOLKMOOT_PORT", "9001")
    settings = load()
    assert (settings.port, settings.default_model, settings.models["big"].trainable) == (9001, "big", False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prt = 1", "prt"),
        ("port = 'x'", "port"),
        ("port = 99999", "port"),
        ("index_url = '127.0.0.1:8000'", "index_url"),
        ("default_model = 'none'", "none"),
        ("[models.a]\nkind = 'endpoint'", "url"),
        ("[models.a]\nkind = 'magic'", "kind"),
        ("port = = 1", "folkmoot.toml"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(data_dir: Path, text: str, says: str) -> None:
    write_toml(data_dir, text)
    with pytest.raises(ConfigurationError, match=says) as caught:
        load()
    assert "\n" not in str(caught.value)


def test_the_builtin_model_stays_beside_others_unless_its_name_is_taken(data_dir: Path) -> None:
    write_toml(data_dir, '[models.big]\nkind = "endpoint"\nurl = "http://127.0.0.1:8000"\n')
    assert {name: model.kind for name, model in load().models.items()} == {"big": "endpoint", "nursery": "engine"}
    (data_dir / "folkmoot.toml").write_text('[models.nursery]\nkind = "provider"\nmodel = "x/y"\n')
    assert {name: model.kind for name, model in load().models.items()} == {"nursery": "provider"}


@pytest.mark.parametrize("name", ["FOLKMOOT_PRT", "folkmoot_modls", "FOLKMOOT_PORT__X", "FOLKMOOT_"])
def test_an_unknown_variable_is_named(data_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigurationError, match=name):
        load()


def test_known_variables_are_heeded_and_the_clients_own_left_alone(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLKMOOT_KEY", "fm_x")
    monkeypatch.setenv("FOLKMOOT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FOLKMOOT_ENGINES__BIG", "http://gpu:8000/v1/")
    monkeypatch.setenv("FOLKMOOT_EMBEDDING_URL", "https://embedder/v1")
    settings = load()
    assert (settings.engines, settings.embedding_url) == ({"big": "http://gpu:8000"}, "https://embedder")


def test_an_empty_variable_is_none(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLKMOOT_DATA_DIR", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(data_dir))
    write_toml(data_dir / "folkmoot", "port = 9000")
    assert (load().data_dir, load().port) == (data_dir / "folkmoot", 9000)


def test_a_variable_that_is_no_json_is_not_blamed_on_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLKMOOT_MODELS", "{")
    with pytest.raises(ConfigurationError, match="models") as caught:
        load()
    assert "folkmoot.toml" not in str(caught.value)


def test_home_is_expanded_wherever_the_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_toml(tmp_path / "x", "port = 9000")
    assert (load(data_dir="~/x").data_dir, load(data_dir="~/x").port) == (tmp_path / "x", 9000)
    monkeypatch.setenv("FOLKMOOT_DATA_DIR", "~/x")
    assert (load().data_dir, load().port) == (tmp_path / "x", 9000)
    monkeypatch.setenv("FOLKMOOT_DATA_DIR", "~no-such-person/x")
    with pytest.raises(ConfigurationError, match="no-such-person"):
        load()


@contextmanager
def shut(path: Path, top: Path) -> Iterator[None]:
    """A block for somebody who may enter `top`, but not read or enter `path`; the superuser becomes somebody else."""
    superuser = os.geteuid() == 0
    path.chmod(0)
    for folder in (top, *top.parents[:2]):
        folder.chmod(0o755)
    if superuser:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if superuser:
            os.seteuid(0)
        path.chmod(0o700)


@pytest.mark.parametrize("what", [".", "data/folkmoot.toml"])
def test_a_folder_that_may_not_be_entered_and_a_file_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    write_toml(tmp_path / "above" / "data", "")
    monkeypatch.setenv("FOLKMOOT_DATA_DIR", str(tmp_path / "above" / "data"))
    load()
    with (
        shut(tmp_path / "above" / what, tmp_path),
        pytest.raises(StorageError, match="Permission denied") as caught,
    ):
        load()
    assert "\n" not in str(caught.value)


def test_an_existing_folder_becomes_private_to_its_owner(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    for name, mode in (("data", 0o700), ("shared", 0o1777), ("new", 0o700)):
        prepare_data_dir(load(data_dir=tmp_path / name))
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


def test_processes_that_start_together_prepare_one_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from personal_data.settings import load, prepare_data_dir\n"
        "settings = load(data_dir=sys.argv[1])\n"
        "for _ in range(50): prepare_data_dir(settings)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    together = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in together:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"adapters", "broker", "logs", "uploads"}


def test_a_named_key_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIG_KEY", "k")
    assert (read_key("model 'big'", "BIG_KEY"), read_key("model 'big'", None)) == ("k", None)
    monkeypatch.setenv("BIG_KEY", "")
    with pytest.raises(ConfigurationError, match=r"'big'.*BIG_KEY"):
        read_key("model 'big'", "BIG_KEY")


def test_an_unusable_data_folder_is_said_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="FOLKMOOT_DATA_DIR"):
        prepare_data_dir(load(data_dir=tmp_path / "file" / "data"))
