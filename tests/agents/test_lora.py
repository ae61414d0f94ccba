"""The stack of adapters, against PEFT on the same checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, OPTConfig, OPTForCausalLM, Qwen2MoeConfig, Qwen2MoeForCausalLM

from agents.adapters import Adapter, read_adapter, tensor_name, write_adapter
from agents.engine.base import Base, load_base
from agents.engine.generation import Batch, Prompt, generate
from agents.engine.lora import AdapterStack
from agents.messages import SamplingParams
from personal_data.errors import AdapterError
from tests.agents import tiny

RANKS = (4, 8, 3, 1)
PROMPTS = [list(range(3, 3 + size)) for size in (5, 11, 2, 7, 19)]


def random_adapter(stack: AdapterStack, *, rank: int, seed: int) -> Adapter:
    """An adapter with both sides drawn at random, so that it changes what is said."""
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, layer in stack.layers.items():
        shapes = {"A": (rank, layer.in_features), "B": (layer.out_features, rank)}
        for part, shape in shapes.items():
            tensors[tensor_name(name, part)] = generator.normal(0, 0.1, shape).astype(np.float32)
    return Adapter(rank, 2.0 * rank, stack.base.sha256, tensors)


def loaded(folder: Path, *, slots: int = 5, rank: int = 8) -> tuple[Base, AdapterStack]:
    base = load_base(str(folder))
    return base, AdapterStack(base, slots=slots, rank=rank)


def greedy(base: Base, stack: AdapterStack, slots: list[int], tokens: int = 12) -> list[list[int]]:
    params = SamplingParams(max_tokens=tokens)
    prompts = [Prompt(base, tuple(ids), params, slot=slot) for ids, slot in zip(PROMPTS, slots, strict=True)]
    generate(Batch(base, stack), prompts)
    return [prompt.samples[0].token_ids for prompt in prompts]


def logits(base: Base, stack: AdapterStack, slots: list[int], rows: list[list[int]]) -> torch.Tensor:
    with torch.no_grad(), stack.rows(torch.tensor(slots)):
        return base.model(torch.tensor(rows)).logits


def test_mixed_batch_says_what_peft_says_one_by_one(folder: Path, tmp_path: Path) -> None:
    base, stack = loaded(folder)
    adapters = [random_adapter(stack, rank=rank, seed=seed) for seed, rank in enumerate(RANKS)]
    for slot, adapter in enumerate(adapters, start=1):
        stack.load(slot, adapter)
    ours = greedy(base, stack, [0, 1, 2, 3, 4])
    for slot, ids in enumerate(PROMPTS):
        plain = AutoModelForCausalLM.from_pretrained(folder)
        if slot:
            (tmp_path / str(slot)).mkdir()
            write_adapter(tmp_path / str(slot), adapters[slot - 1])
            plain = PeftModel.from_pretrained(plain, tmp_path / str(slot))
        theirs = plain.generate(input_ids=torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, len(ids) :]
        assert ours[slot] == theirs.tolist()
    assert len({tuple(tokens) for tokens in ours}) == 5


@pytest.mark.parametrize("people", [1, 8, 64])
def test_any_number_of_adapters_in_one_batch_says_what_peft_says(
    people: int, qwen3_folder: Path, tmp_path: Path
) -> None:
    """Ranks 1 to 8, in three banks; PEFT answers one person after the other."""
    base = load_base(str(qwen3_folder))
    stack = AdapterStack(base, slots=people + 1, ranks=(2, 4, 8))
    plain = AutoModelForCausalLM.from_pretrained(qwen3_folder)
    params, prompts, peft = SamplingParams(max_tokens=6), list[Prompt](), None
    for person in range(people):
        adapter = random_adapter(stack, rank=1 + person % 8, seed=person)
        slot = stack.bank_of(adapter.rank) * stack.slots + 1 + person
        stack.load(slot, adapter)
        prompts.append(Prompt(base, tuple(PROMPTS[person % 5]), params, slot=slot))
        path = tmp_path / str(person)
        path.mkdir()
        write_adapter(path, adapter)
        if peft is None:
            peft = PeftModel.from_pretrained(plain, path, adapter_name="0")
        else:
            peft.load_adapter(path, adapter_name=str(person))
    assert peft is not None
    generate(Batch(base, stack), prompts)
    for person, prompt in enumerate(prompts):
        peft.set_adapter(str(person))
        ids = torch.tensor([prompt.ids])
        theirs = peft.generate(input_ids=ids, max_new_tokens=6, do_sample=False)[0, len(prompt.ids) :]
        assert prompt.samples[0].token_ids == theirs.tolist()


def test_logits_equal_peft(folder: Path, tmp_path: Path) -> None:
    """PEFT loads what we write, and we load what PEFT writes."""
    base, stack = loaded(folder)
    adapter = random_adapter(stack, rank=4, seed=7)
    stack.load(1, adapter)
    write_adapter(tmp_path, adapter)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    rows = [PROMPTS[1], PROMPTS[1][::-1]]
    with torch.no_grad():
        theirs = PeftModel.from_pretrained(plain, tmp_path)(torch.tensor(rows)).logits
    assert (logits(base, stack, [1, 1], rows) - theirs).abs().max() < 1e-5
    assert (logits(base, stack, [1, 0], rows)[0] - theirs[0]).abs().max() < 1e-5


def flattening(kind: str, folder: Path) -> Path:
    """A saved tiny model some of whose linear layers see rows and tokens as one dimension."""
    words = tiny.tokenizer()
    torch.manual_seed(4)
    if kind == "opt":
        narrow = {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 48, "max_position_embeddings": 64}
        deep = {"num_hidden_layers": 2, "num_attention_heads": 4, "init_std": 0.2, "vocab_size": len(words)}
        return tiny.save(OPTForCausalLM(OPTConfig(**narrow, **deep)), words, folder)
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    more = {"shared_expert_intermediate_size": 24, "tie_word_embeddings": True, "vocab_size": len(words)}
    return tiny.save(Qwen2MoeForCausalLM(Qwen2MoeConfig(**{**tiny.SIZES, **experts, **more})), words, folder)


@pytest.mark.parametrize("kind", ["opt", "mixture-of-experts"])
def test_rows_stay_apart_where_a_model_flattens_them(kind: str, tmp_path: Path) -> None:
    base, stack = loaded(flattening(kind, tmp_path / "base"))
    adapters = [random_adapter(stack, rank=rank, seed=rank) for rank in (2, 5)]
    rows = [PROMPTS[1], PROMPTS[1][::-1], PROMPTS[1]]
    for slot, adapter in enumerate(adapters, start=1):
        stack.load(slot, adapter)
    mixed = logits(base, stack, [2, 0, 1], rows)
    assert (mixed[1] - logits(base, stack, [0, 0, 0], rows)[1]).abs().max() < 1e-4
    for row, slot in ((0, 2), (2, 1)):
        write_adapter(tmp_path, adapters[slot - 1])
        peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path)
        with torch.no_grad():
            theirs = peft(torch.tensor([rows[row]])).logits[0]
        assert (mixed[row] - theirs).abs().max() < 1e-4


def test_reads_what_peft_saves(folder: Path, tmp_path: Path) -> None:
    config = LoraConfig(r=6, lora_alpha=9, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    peft = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).eval()
    for name, parameter in peft.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    peft.save_pretrained(tmp_path)
    base, stack = loaded(folder)
    adapter = read_adapter(tmp_path, base_sha256=base.sha256)
    assert (adapter.rank, adapter.alpha) == (6, 9.0)
    stack.load(2, adapter)
    with torch.no_grad():
        theirs = peft(torch.tensor([PROMPTS[4]])).logits
    assert (logits(base, stack, [2], [PROMPTS[4]]) - theirs).abs().max() < 1e-5


def test_an_adapter_that_needs_another_base_weight_is_refused(qwen3_folder: Path, tmp_path: Path) -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights="pissa")
    get_peft_model(AutoModelForCausalLM.from_pretrained(qwen3_folder), config).save_pretrained(tmp_path)
    with pytest.raises(AdapterError, match="init_lora_weights 'pissa'"):
        read_adapter(tmp_path, base_sha256=load_base(str(qwen3_folder)).sha256)


def test_base_rows_are_the_bare_base(folder: Path) -> None:
    base, stack = loaded(folder)
    stack.load(1, random_adapter(stack, rank=8, seed=3))
    rows = [PROMPTS[1], PROMPTS[1]]
    bare = logits(base, stack, [0, 0], rows)
    assert torch.equal(logits(base, stack, [0, 1], rows)[0], bare[0])
    stack.clear(1)
    assert torch.equal(logits(base, stack, [0, 1], rows), bare)


def test_a_changed_adapter_changes_its_own_rows_only(folder: Path) -> None:
    base, stack = loaded(folder)
    for slot, rank in enumerate(RANKS, start=1):
        stack.load(slot, random_adapter(stack, rank=rank, seed=slot))
    rows = [PROMPTS[1]] * 5
    before = logits(base, stack, [0, 1, 2, 3, 4], rows)
    changed = stack.export(3)
    for values in changed.tensors.values():
        values += 0.5
    stack.load(3, changed)
    after = logits(base, stack, [0, 1, 2, 3, 4], rows)
    assert torch.equal(before[[0, 1, 2, 4]], after[[0, 1, 2, 4]])
    assert not torch.allclose(before[3], after[3])


def test_gradient_reaches_the_used_slot_only(folder: Path) -> None:
    base, stack = loaded(folder)
    for slot in (1, 2, 3):
        stack.load(slot, random_adapter(stack, rank=4, seed=slot))
    with stack.rows(torch.tensor([2, 2, 0])):
        base.model(torch.tensor([PROMPTS[1]] * 3)).logits.square().mean().backward()
    for a, bs in stack.banks[0].weights:
        assert a.grad is not None
        ranks = a.grad.unflatten(1, (-1, 8))
        assert not ranks[2, :, 4:].any()  # the pad of rank 4 in a bank of 8
        for grad in (ranks, *(b.grad for b in bs)):
            assert grad is not None
            assert grad[2].any()
            assert not grad[[0, 1, 3, 4]].any()
        assert not any(b.grad[2, 4:].any() for b in bs if b.grad is not None)
    assert all(parameter.grad is None for parameter in base.model.parameters() if not parameter.requires_grad)


def test_export_returns_what_was_loaded(qwen3_folder: Path) -> None:
    _, stack = loaded(qwen3_folder)
    adapter = random_adapter(stack, rank=3, seed=5)
    stack.load(4, adapter)
    exported = stack.export(4)
    assert (exported.rank, exported.alpha) == (3, 6.0)
    assert all(np.array_equal(exported.tensors[name], values) for name, values in adapter.tensors.items())


def test_fresh_changes_nothing_and_is_seeded(qwen3_folder: Path) -> None:
    base, stack = loaded(qwen3_folder)
    stack.fresh(1, rank=4, alpha=8, seed=11)
    stack.fresh(2, rank=4, alpha=8, seed=11)
    rows = [PROMPTS[1]] * 2
    assert torch.equal(logits(base, stack, [1, 0], rows), logits(base, stack, [0, 0], rows))
    first, second = stack.export(1), stack.export(2)
    assert all(np.array_equal(values, second.tensors[name]) for name, values in first.tensors.items())
    assert any(values.any() for values in first.tensors.values())


def test_an_adapter_that_does_not_fit_leaves_the_slot_alone(qwen3_folder: Path) -> None:
    _, stack = loaded(qwen3_folder)
    good = random_adapter(stack, rank=2, seed=1)
    stack.load(1, good)
    other_base = Adapter(2, 4.0, "0" * 64, good.tensors)
    unknown = Adapter(
        2, 4.0, good.base_sha256, {name.replace("q_proj", "x_proj"): v for name, v in good.tensors.items()}
    )
    misshapen = Adapter(
        2, 4.0, good.base_sha256, {name: v[:, :-1] for name, v in good.tensors.items() if "lora_A" in name}
    )
    too_wide = Adapter(16, 4.0, good.base_sha256, {})
    for bad in (other_base, unknown, misshapen, too_wide):
        with pytest.raises(AdapterError):
            stack.load(1, bad)
    kept = stack.export(1)
    assert all(np.array_equal(kept.tensors[name], values) for name, values in good.tensors.items())


def test_slots_and_ranks_have_limits(qwen3_folder: Path) -> None:
    base, stack = loaded(qwen3_folder)
    for slot in (0, 5):
        with pytest.raises(ValueError, match="slot"):
            stack.clear(slot)
    with pytest.raises(ValueError, match="rank"):
        stack.fresh(1, rank=9, alpha=1, seed=0)
    with pytest.raises(AdapterError, match="no adapter"):
        stack.export(2)
    with pytest.raises(ValueError, match="carries a stack"):
        AdapterStack(base, slots=2, rank=2)
