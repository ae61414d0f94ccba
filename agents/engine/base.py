"""A base model as the engine holds it: frozen weights, its tokenizer, its chat format, its digest.

Door: `load_base`. A base is `builtin:nursery` (the folder agents/nursery), a local folder in Hugging Face's layout, or
a hub id, which Hugging Face's own cache and download find. Weights are read from safetensors only and no code that
comes with a model is ever run. This room knows nothing of adapters or of generation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.messages import Message, well_formed
from personal_data.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    import torch
    from torch import nn

_NURSERY = Path(__file__).resolve().parents[1] / "nursery"
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_DESCRIPTION = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
_ATTENTION_LAYERS = {"full_attention", "sliding_attention"}
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Base:
    """A loaded base model: `model` in eval mode and frozen; float32 on CPU, bfloat16 on CUDA.

    `sha256` covers weights, configuration, tokenizer and chat template: an adapter belongs to exactly one digest.
    `eos_ids` end an answer; `max_positions` bounds prompt and answer together, in tokens.
    """

    name: str
    model: Any
    tokenizer: Any
    sha256: str
    eos_ids: frozenset[int]
    max_positions: int

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.model.device
        return device

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation in the model's chat format, ready for an answer.

        Only the template itself writes special tokens: the same characters inside a message become ordinary text.

        Raises:
            InvalidInput: the template refuses this conversation (for instance its order of roles).
        """
        from jinja2 import TemplateError

        conversation = [{"role": message.role, "content": well_formed(message.content)} for message in messages]
        try:
            ids: list[int] = self.tokenizer.apply_chat_template(
                conversation,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
                sanitize_control_tokens=True,
            )
        except (TemplateError, ValueError) as error:
            raise InvalidInput(
                f"the chat template of {self.name} refuses these messages: {error}", param="messages"
            ) from error
        return ids

    def encode_text(self, text: str) -> list[int]:
        """Token ids of raw text, special tokens included: for a caller that writes the model's format itself."""
        ids: list[int] = self.tokenizer.encode(well_formed(text))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, without special tokens."""
        text: str
        if (fast := getattr(self.tokenizer, "backend_tokenizer", None)) is not None:
            text = fast.decode(list(ids), skip_special_tokens=True)  # a tenth of the wrapper's time
            return text
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def base_digest(base: str) -> str:
    """SHA-256 over the weights, configuration and tokenizer files of a base, without loading them.

    Raises:
        ConfigurationError: the base cannot be found.
    """
    folder = base_folder(base)
    digest = hashlib.sha256()
    for path in sorted({found for pattern in (*_WEIGHTS, *_DESCRIPTION) for found in folder.glob(pattern)}):
        digest.update(f"{path.name}\0{_file_sha256(path)}\n".encode())
    return digest.hexdigest()


def load_base(base: str) -> Base:
    """Load a base model and its tokenizer.

    Args:
        base: `builtin:nursery`, a local folder, or a hub id.

    Raises:
        ConfigurationError: it cannot be found or read, is not a decoder of attention layers with a known context
            length, has no chat template, or no linear layer that an adapter could stand beside.
    """
    import torch

    folder = base_folder(base)
    max_positions = _check_config(base, folder)
    cuda = torch.cuda.is_available()
    tokenizer = _load_tokenizer(base, folder)
    model = _load_model(base, folder, torch.bfloat16 if cuda else torch.float32)
    if not linears(model):
        raise ConfigurationError(f"base {base!r} has no nn.Linear layers, which is what adapters stand beside")
    model.requires_grad_(False).eval().to("cuda" if cuda else "cpu")
    return Base(
        name=base,
        model=model,
        tokenizer=tokenizer,
        sha256=base_digest(base),
        eos_ids=_eos_ids(model, tokenizer),
        max_positions=max_positions,
    )


def linears(model: Any) -> dict[str, nn.Linear]:
    """Every linear layer of a model by name, but for the output head."""
    from torch import nn

    head = model.get_output_embeddings()
    found = model.named_modules()
    return {name: module for name, module in found if isinstance(module, nn.Linear) and module is not head}


def base_folder(base: str) -> Path:
    """The folder that holds the files of a base; a hub id is looked up in, or fetched into, the hub's own cache.

    Raises:
        ConfigurationError: the base cannot be found.
    """
    if base.startswith("builtin:"):
        if base != "builtin:nursery":
            raise ConfigurationError(f"base {base!r}: the only built-in model is builtin:nursery")
        return _existing(base, _NURSERY)
    if Path(base).is_absolute() or base.startswith((".", "~")) or Path(base).is_dir():
        return _existing(base, Path(base).expanduser())
    return _hub_folder(base)


def _existing(base: str, folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"base {base!r}: no model in {folder} (config.json is missing)")
    return folder


def _hub_folder(base: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base, allow_patterns=[*_WEIGHTS, *_DESCRIPTION]))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise ConfigurationError(
            f"base {base!r} is no local folder and the hub gave nothing: {_first_line(error)}"
        ) from error


def _check_config(base: str, folder: Path) -> int:
    """How many tokens prompt and answer may have; refuses, before any weight is read, what the engine cannot serve."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, StrictDataclassError) as error:
        raise ConfigurationError(f"base {base!r}: config.json cannot be read: {_first_line(error)}") from error
    decoder = config.get_text_config()
    if set(getattr(decoder, "layer_types", None) or ()) - _ATTENTION_LAYERS or config.is_encoder_decoder:
        raise ConfigurationError(f"base {base!r} is not a decoder of attention layers, which is what the engine serves")
    if not any(folder.glob("*.safetensors")):
        raise ConfigurationError(f"base {base!r}: no weights in {folder} (*.safetensors; other formats are not read)")
    if (positions := getattr(decoder, "max_position_embeddings", None)) is None:
        raise ConfigurationError(f"base {base!r}: config.json gives no max_position_embeddings, the longest context")
    return int(positions)


def _load_tokenizer(base: str, folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"base {base!r}: the tokenizer cannot be loaded: {_first_line(error)}") from error
    if not tokenizer.chat_template:
        raise ConfigurationError(f"base {base!r} has no chat template; take an instruction-tuned model")
    return tokenizer


def _load_model(base: str, folder: Path, dtype: torch.dtype) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigurationError(f"base {base!r}: the weights cannot be loaded: {_first_line(error)}") from error
    if missing := sorted(report["missing_keys"]) or sorted(map(str, report["mismatched_keys"])):
        raise ConfigurationError(f"base {base!r}: the weights are incomplete, for instance {missing[0]}")
    return model


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    found: set[int] = set()
    for value in (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id):
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    return frozenset(found)


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
