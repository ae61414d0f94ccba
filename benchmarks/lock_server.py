"""The peer of `benchmarks.serving`: FastAPI, a lock, and PEFT's `set_adapter`; what most teams begin with.

`python -m benchmarks.lock_server FOLDER ADAPTERS PORT` serves POST /v1/completions with token ids, one at a time.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from peft import PeftModel
from transformers import AutoModelForCausalLM


def create_app(folder: Path, adapters: list[Path]) -> FastAPI:
    """The server over a checkpoint and its adapters, which are called by the names of their folders."""
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    plain.generation_config.eos_token_id = None
    model = PeftModel.from_pretrained(plain, adapters[0], adapter_name=adapters[0].name)
    for path in adapters[1:]:
        model.load_adapter(path, adapter_name=path.name)
    model.eval()
    lock = threading.Lock()
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/completions")
    def complete(body: dict[str, Any]) -> dict[str, Any]:
        ids = torch.tensor([body["prompt"]])
        new = body["max_tokens"]
        with lock, torch.no_grad():
            model.set_adapter(body["model"])
            out = model.generate(input_ids=ids, max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0)
        return {"choices": [{"token_ids": out[0, ids.shape[1] :].tolist()}]}

    return app


def main() -> None:
    folder, adapters, port = sys.argv[1:]
    torch.set_num_threads(1)
    paths = sorted(Path(adapters).iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    uvicorn.run(create_app(Path(folder), paths), host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
