"""Tiny checkpoints and one engine, made once for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.running import Running, engine


@pytest.fixture(scope="session")
def qwen3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny Qwen3."""
    from tests.agents import tiny

    return tiny.save_qwen3(tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny Llama."""
    from tests.agents import tiny

    return tiny.save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(params=["qwen3", "llama"])
def folder(request: pytest.FixtureRequest, qwen3_folder: Path, llama_folder: Path) -> Path:
    """Both, one after the other."""
    return {"qwen3": qwen3_folder, "llama": llama_folder}[request.param]


@pytest.fixture(scope="session")
def server(qwen3_folder: Path) -> Iterator[Running]:
    """An engine with small limits: 8 rows, 8 waiting prompts, 2 adapter slots, and the embedder."""
    limits = ("--max-num-seqs", "8", "--max-loras", "2", "--max-waiting", "8")
    with engine("--model", "tiny", "--base", str(qwen3_folder), "--embedder", *limits) as running:
        yield running


@pytest.fixture(scope="session")
def adapters(qwen3_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three adapters of different ranks: one more than the engine has slots."""
    from agents.adapters import write_adapter
    from agents.engine.base import load_base
    from agents.engine.lora import AdapterStack
    from tests.agents.test_lora import random_adapter

    stack = AdapterStack(load_base(str(qwen3_folder)), slots=2, rank=8)
    folders = {}
    for seed, rank in enumerate((2, 4, 8), start=1):
        folder = tmp_path_factory.mktemp(f"adapter{seed}")
        write_adapter(folder, random_adapter(stack, rank=rank, seed=seed))
        folders[f"adapter-{seed}"] = folder
    return folders
