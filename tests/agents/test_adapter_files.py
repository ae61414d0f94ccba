"""Fields of hostile or foreign adapter files that other readers take for granted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.adapter_files import CONFIG, WEIGHTS, read_adapter, write_adapter
from personal_data.errors import AdapterError
from tests.agents.test_adapters import BASE, NAMES, adapter, entry, header


@pytest.mark.parametrize("dtype", [[], {}, None, 7, "F64"], ids=str)
def test_a_type_that_is_none_is_refused(tmp_path: Path, dtype: object) -> None:
    write_adapter(tmp_path, adapter())
    entries = {NAMES[0]: {**entry(), "dtype": dtype}, NAMES[1]: entry(16, 32)}
    (tmp_path / WEIGHTS).write_bytes(header(entries, data=bytes(32)))
    with pytest.raises(AdapterError, match="not float32"):
        read_adapter(tmp_path)


def with_config(folder: Path, **fields: object) -> Path:
    write_adapter(folder, adapter())
    (folder / CONFIG).write_text(json.dumps(json.loads((folder / CONFIG).read_text()) | fields))
    return folder


@pytest.mark.parametrize(
    "init", ["pissa", "pissa_niter_4", "olora", "OLoRA", "corda", "loftq", "lora_ga", ["x"]], ids=str
)
def test_an_init_that_alters_the_base_is_refused(tmp_path: Path, init: object) -> None:
    with pytest.raises(AdapterError, match="init_lora_weights"):
        read_adapter(with_config(tmp_path, init_lora_weights=init), base_sha256=BASE)


@pytest.mark.parametrize("init", [None, True, False, "gaussian", "eva", "orthogonal"], ids=str)
def test_an_init_that_leaves_the_base_alone_is_read(tmp_path: Path, init: object) -> None:
    assert read_adapter(with_config(tmp_path, init_lora_weights=init), base_sha256=BASE).rank == 4
