"""The files of one LoRA adapter, in PEFT's format, read as data that may be hostile.

Doors: `read_adapter`, `write_adapter`. Only lora_A and lora_B matrices of bounded size are read, and of
adapter_config.json only the fields that scale them; whatever else it holds is ignored, or refused where it would change
the mathematics. No torch here, and nothing about versions or agents (agents/adapters.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from personal_data.errors import AdapterError

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
MAX_RANK = 64
MAX_TENSORS = 4096
MAX_HEADER_BYTES = 1 << 20
MAX_CONFIG_BYTES = 1 << 20
MAX_BYTES = 256 << 20

_NAME = re.compile(r"base_model\.model\.([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+){0,31})\.lora_([AB])\.weight")
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
_INITS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
"""Ways to begin training that leave the base weight as it is. PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA change it."""
_OTHER_MATHS = (
    "use_dora",
    "use_rslora",
    "use_qalora",
    "use_bdlora",
    "kasa_config",
    "arrow_config",
    "monteclora_config",
    "rank_pattern",
    "alpha_pattern",
    "fan_in_fan_out",
    "lora_bias",
    "target_parameters",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
)


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: float32 arrays under PEFT's names, `lora_A` [rank, in] and `lora_B` [out, rank].

    Its effect is alpha / rank times B A. `base_sha256` is the digest of the only base it fits.
    """

    rank: int
    alpha: float
    base_sha256: str
    tensors: dict[str, np.ndarray]


def tensor_name(module: str, part: str) -> str:
    """PEFT's name of one side (`part` "A" or "B") of the adapter of a module."""
    return f"base_model.model.{module}.lora_{part}.weight"


def read_adapter(folder: Path, *, base_sha256: str | None = None) -> Adapter:
    """Read and check an adapter folder.

    Args:
        folder: holds adapter_model.safetensors and adapter_config.json, as we or PEFT write them.
        base_sha256: the base it must belong to. PEFT does not record one: then the caller's word is taken.

    Raises:
        AdapterError: missing, torn, hostile, of a kind we do not apply, or made for another base.
    """
    rank, alpha = _read_config(folder / CONFIG)
    metadata, tensors = _read_tensors(folder / WEIGHTS)
    _check_pairs(tensors, rank)
    recorded = metadata.get("base_sha256", base_sha256)
    if recorded is None:
        raise AdapterError(f"{folder.name} does not say which base it belongs to")
    if base_sha256 is not None and recorded != base_sha256:
        raise AdapterError(f"{folder.name} was made for base {recorded[:12]}, not for {base_sha256[:12]}")
    return Adapter(rank=rank, alpha=alpha, base_sha256=recorded, tensors=tensors)


def write_adapter(folder: Path, adapter: Adapter) -> str:
    """Write an adapter into an existing folder, so that PEFT can load it, and fsync it; return the weights' SHA-256.

    Raises:
        AdapterError: the adapter itself is not sound (not finite, odd names or shapes, too large).
        OSError: the disk refuses.
    """
    from safetensors.numpy import save

    _check_pairs(adapter.tensors, adapter.rank)
    tensors = {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in sorted(adapter.tensors.items())}
    data = save(tensors, metadata={"base_sha256": adapter.base_sha256})  # one key: several have no fixed order
    if len(data) > MAX_BYTES:
        raise AdapterError(f"the adapter has {len(data)} bytes, above the limit of {MAX_BYTES}")
    _write_synced(folder / WEIGHTS, data)
    _write_synced(folder / CONFIG, json.dumps(_peft_config(adapter), indent=2).encode())
    sync_folder(folder)
    return hashlib.sha256(data).hexdigest()


def _peft_config(adapter: Adapter) -> dict[str, Any]:
    modules = sorted({match[1] for name in adapter.tensors if (match := _NAME.fullmatch(name))})
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": modules,
        "inference_mode": True,
    }


def _read_config(path: Path) -> tuple[int, float]:
    """Rank and alpha; every other field is ignored unless it would change the mathematics."""
    try:
        config = json.loads(read_regular(path, MAX_CONFIG_BYTES))
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path.name} is not JSON") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise AdapterError(f"{path.name} does not describe a LoRA adapter")
    if odd := [name for name in _OTHER_MATHS if config.get(name)]:
        raise AdapterError(f"{path.name}: {odd[0]} is not supported")
    if (init := config.get("init_lora_weights")) not in _INITS:
        raise AdapterError(f"{path.name}: init_lora_weights {str(init)[:40]!r} alters the base, which is shared")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise AdapterError(f"{path.name}: r must be a whole number within 1..{MAX_RANK}, not {str(rank)[:40]}")
    if type(alpha) not in (int, float) or not 0 < alpha <= 1e4:  # type: ignore[operator]
        raise AdapterError(f"{path.name}: lora_alpha must be a number within 0..10000, not {str(alpha)[:40]}")
    return rank, float(alpha)  # type: ignore[arg-type]


def _read_tensors(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    from safetensors import SafetensorError, deserialize

    header = _header(path)
    _check_header(path, header)
    try:
        entries: list[tuple[str, dict[str, Any]]] = deserialize(  # type: ignore[no-untyped-call]
            read_regular(path, MAX_BYTES)
        )
    except SafetensorError as error:
        raise AdapterError(f"{path.name} is torn or malformed: {error}") from error
    tensors = {name: _array(entry) for name, entry in entries}
    if bad := [name for name, values in tensors.items() if not np.isfinite(values).all()]:
        raise AdapterError(f"{path.name}: {bad[0]} is not finite")
    return header.get("__metadata__") or {}, tensors


def _header(path: Path) -> dict[str, Any]:
    """The header alone, read before anything else so that a hostile one costs nothing."""
    with _open_regular(path) as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= MAX_HEADER_BYTES:
            raise AdapterError(f"{path.name}: a header of {size} bytes is not within 2..{MAX_HEADER_BYTES}")
        raw = file.read(size)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path.name}: the header is not JSON") from error
    if not isinstance(header, dict):
        raise AdapterError(f"{path.name}: the header is not an object")
    if path.stat().st_size > MAX_BYTES:
        raise AdapterError(f"{path.name} is larger than {MAX_BYTES} bytes")
    return header


def _check_header(path: Path, header: dict[str, Any]) -> None:
    """Whether the file can be an adapter at all, by its header alone."""
    header = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if not 2 <= len(header) <= MAX_TENSORS:
        raise AdapterError(f"{path.name}: {len(header)} tensors are not within 2..{MAX_TENSORS}")
    for name, entry in header.items():
        if not _NAME.fullmatch(name):
            raise AdapterError(f"{path.name}: {name[:80]!r} is no lora_A or lora_B weight")
        if not isinstance(entry, dict) or not isinstance(dtype := entry.get("dtype"), str) or dtype not in _DTYPES:
            raise AdapterError(f"{path.name}: {name[:80]} is not float32, float16 or bfloat16")
        if not isinstance(shape := entry.get("shape"), list) or len(shape) != 2:
            raise AdapterError(f"{path.name}: {name[:80]} is not a matrix")


def _array(entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:  # a header that names a tensor twice shows each reader another one
        raise AdapterError("the header contradicts itself")
    dtype: np.dtype[Any] = _DTYPES[entry["dtype"]]
    values = np.frombuffer(entry["data"], dtype=dtype).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        return np.left_shift(values.astype(np.uint32), 16).view(np.float32)
    return np.asarray(values, dtype=np.float32)


def _check_pairs(tensors: dict[str, np.ndarray], rank: int) -> None:
    """Each module has both sides, [rank, in] and [out, rank], finite."""
    if not 1 <= rank <= MAX_RANK or not tensors:
        raise AdapterError(f"an adapter needs tensors and a rank within 1..{MAX_RANK}, not {rank}")
    for name, values in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise AdapterError(f"{name[:80]!r} is no lora_A or lora_B weight")
        module, part = match.groups()
        other = tensors.get(tensor_name(module, "B" if part == "A" else "A"))
        if other is None:
            raise AdapterError(f"{module} has lora_{part} alone")
        if values.ndim != 2 or values.shape[0 if part == "A" else 1] != rank or not values.size:
            raise AdapterError(f"{name} has shape {values.shape}, which is not of rank {rank}")
        if not np.isfinite(values).all():
            raise AdapterError(f"{name} is not finite")


@contextmanager
def _open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a plain file, never a link, a pipe or a device.

    Raises:
        AdapterError: there is no such file.
    """
    try:
        if not path.is_file() or path.is_symlink():
            raise AdapterError(f"{path.name} is missing")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise AdapterError(f"{path.name} cannot be read: {error.strerror or error}") from error


def read_regular(path: Path, limit: int) -> bytes:
    """The bytes of a plain file, at most `limit` of them (else AdapterError)."""
    with _open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise AdapterError(f"{path.name} is larger than {limit} bytes")
    return data


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that a new name in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
