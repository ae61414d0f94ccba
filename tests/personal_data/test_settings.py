"""Settings come from variables or the data folder's file; what is wrong is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from personal_data.errors import ConfigurationError, StorageError
from personal_data.settings import load, prepare_data_dir


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


def test_an_unusable_data_folder_is_said_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="FOLKMOOT_DATA_DIR"):
        prepare_data_dir(load(data_dir=tmp_path / "file" / "data"))
