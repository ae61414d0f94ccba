"""Makers of tiny random-weight checkpoints, saved as any real model is: config, safetensors, tokenizer, chat template.

Weights are drawn wide (0.2 and more), so that neighbouring logits differ and a changed adapter changes what is said.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>")
_TEXTS = (
    "You are Ada's agent. Memories: Ada: I keep bees in Ghent. Show your work, then end with answer: 42.",
    "What is the time? I do not know. The quick brown fox jumps over the lazy dog, naïve café, 東京 😀.",
    "system user assistant proposed because check it solve it again verdict yes no brief formal smile",
)
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 2,
}


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 400 entries in the ChatML format."""
    raw = Tokenizer(BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        _TEXTS, BpeTrainer(vocab_size=400, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False)
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|pad|>", additional_special_tokens=["<|im_start|>"]
    )
    made.chat_template = TEMPLATE
    return made


def save_qwen3(folder: Path, *, seed: int = 0, **overrides: object) -> Path:
    """A Qwen3 of about 30 thousand parameters with tied embeddings."""
    words = tokenizer()
    torch.manual_seed(seed)
    config = Qwen3Config(**{**SIZES, "vocab_size": len(words), "tie_word_embeddings": True, **overrides})
    return save(Qwen3ForCausalLM(config), words, folder)


def save_llama(folder: Path, *, seed: int = 1, **overrides: object) -> Path:
    """A Llama of about 45 thousand parameters with an output head of its own."""
    words = tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(**{**SIZES, "vocab_size": len(words), "tie_word_embeddings": False, **overrides})
    return save(LlamaForCausalLM(config), words, folder)


def save(model: PreTrainedModel, words: PreTrainedTokenizerFast, folder: Path) -> Path:
    """Save a model and its tokenizer into a folder, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config.do_sample = False
    model.eval().save_pretrained(folder, safe_serialization=True)
    words.save_pretrained(folder)
    return folder
