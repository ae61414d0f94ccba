"""Random checkpoints of a stated size and random adapters over them: what the speed benchmarks run on.

Speed does not depend on what the weights say, so none are fetched. The default has 4.2 million weights and LoRA on all
seven linear layers: small enough for a CPU, and overhead shows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agents.adapters import Adapter, tensor_name, write_adapter
from agents.engine.base import Base, linears, load_base

_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}<|assistant|>"
)
_SPECIAL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")


@dataclass(frozen=True, slots=True)
class Size:
    """A Llama's shape; `name` says it in a table."""

    hidden: int = 256
    layers: int = 4
    mlp: int = 688
    vocabulary: int = 4096
    heads: int = 8

    @property
    def name(self) -> str:
        return f"random Llama, hidden {self.hidden}, {self.layers} layers, MLP {self.mlp}, vocabulary {self.vocabulary}"


def save_checkpoint(folder: Path, size: Size, *, seed: int = 0) -> Path:
    """Save a random Llama with a byte-level tokenizer, as any real model is saved."""
    raw = Tokenizer(BPE(vocab={token: at for at, token in enumerate(_entries(size.vocabulary))}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    words = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|end|>", pad_token="<|end|>", additional_special_tokens=list(_SPECIAL[1:])
    )
    words.chat_template = _TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.mlp,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=4096,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[0].zero_()  # the end token is never the likeliest
    model.generation_config.do_sample = False
    model.save_pretrained(folder, safe_serialization=True)
    words.save_pretrained(folder)
    return folder


def _entries(size: int) -> list[str]:
    """Special tokens, the 256 bytes, and words that no text contains."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return [*_SPECIAL, *alphabet, *(f"unused{at}" for at in range(size - len(_SPECIAL) - len(alphabet)))]


def endless(folder: Path) -> Base:
    """The checkpoint as the engine loads it, without end tokens: every completion runs to its limit."""
    return dataclasses.replace(load_base(str(folder)), eos_ids=frozenset())


def random_adapter(base: Base, *, rank: int, seed: int) -> Adapter:
    """An adapter that changes what is said, on every linear layer but the output head."""
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, layer in _plain_linears(base).items():
        for part, shape in (("A", (rank, layer[0])), ("B", (layer[1], rank))):
            tensors[tensor_name(name, part)] = generator.normal(0, 0.05, shape).astype(np.float32)
    return Adapter(rank, 2.0 * rank, base.sha256, tensors)


def _plain_linears(base: Base) -> dict[str, tuple[int, int]]:
    """Names and (in, out) of the layers, whether a stack has wrapped them or not."""
    found = {name: (layer.in_features, layer.out_features) for name, layer in linears(base.model).items()}
    return {name.removesuffix(".linear"): shape for name, shape in found.items()}


def save_adapters(base: Base, folder: Path, ranks: list[int]) -> list[Path]:
    """Random adapters in PEFT's format, one folder each."""
    paths = []
    for seed, rank in enumerate(ranks):
        path = folder / f"adapter-{seed}"
        path.mkdir(parents=True)
        write_adapter(path, random_adapter(base, rank=rank, seed=seed))
        paths.append(path)
    return paths
