"""The lean forward and the plan of rows, against Hugging Face's own modules and against one row at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

from agents.engine.base import load_base
from agents.engine.cache import SlotCache
from agents.engine.decoder import LeanDecoder, ModuleDecoder, Sequences, decoder_of
from agents.engine.generation import Batch, Prompt, generate
from agents.engine.lora import AdapterStack
from agents.engine.plan import Block, plan_rows
from agents.messages import SamplingParams
from tests.agents import tiny
from tests.agents.test_lora import random_adapter

ROWS = [[5, 9, 30, 7, 11, 2, 40], [8, 8, 3, 50, 1, 60, 6], [90, 4, 2, 1, 17, 33, 21]]


def mistral(folder: Path) -> Path:
    words = tiny.tokenizer()
    torch.manual_seed(3)
    config = MistralConfig(**{**tiny.SIZES, "vocab_size": len(words), "sliding_window": None})
    return tiny.save(MistralForCausalLM(config), words, folder)


def qwen2(folder: Path) -> Path:
    """Its q, k and v have biases."""
    words = tiny.tokenizer()
    torch.manual_seed(6)
    model = Qwen2ForCausalLM(Qwen2Config(**{**tiny.SIZES, "vocab_size": len(words)}))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return tiny.save(model, words, folder)


def stretched(folder: Path) -> Path:
    """A Llama with stretched rotations, as Llama 3.1 has."""
    rope = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return tiny.save_llama(folder, rope_parameters={**rope, "original_max_position_embeddings": 64})


def one_head(folder: Path) -> Path:
    return tiny.save_qwen3(folder, num_attention_heads=4, num_key_value_heads=4, num_hidden_layers=3)


def test_a_model_that_forgets_is_not_taken_as_lean(tmp_path: Path) -> None:
    """Mistral has a window whatever its layers are said to be."""
    words = tiny.tokenizer()
    config = MistralConfig(**{**tiny.SIZES, "vocab_size": len(words), "sliding_window": 8})
    config.layer_types = ["full_attention"] * config.num_hidden_layers
    base = load_base(str(tiny.save(MistralForCausalLM(config), words, tmp_path)))
    assert isinstance(decoder_of(base, AdapterStack(base, slots=1, rank=1)), ModuleDecoder)


@pytest.mark.parametrize("save", [tiny.save_llama, tiny.save_qwen3, mistral, qwen2, stretched, one_head])
def test_logits_equal_hugging_faces(save: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = save(tmp_path)
    base = load_base(str(folder))
    decoder = decoder_of(base, AdapterStack(base, slots=1, rank=1))
    assert isinstance(decoder, LeanDecoder)
    ids = torch.tensor(ROWS)
    plan = AdapterStack.plan(decoder._stack, [0] * len(ROWS))
    with torch.no_grad():
        expected = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
        logits, hidden = decoder.read(Sequences(ids, torch.ones_like(ids, dtype=torch.bool)), plan)
        assert (logits - expected.flatten(0, 1)).abs().max() < 1e-4
        assert (base.model.get_output_embeddings()(hidden) - logits).abs().max() < 1e-4
        cache = SlotCache.for_prompts(base.model.config.num_hidden_layers, [4, 4, 4])
        pieces = [decoder.next_logits(ids[:, at : at + size], cache, plan) for at, size in ((0, 3), (3, 1))]
        grown = SlotCache(base.model.config.num_hidden_layers)
        grown.append(cache, [0, 1, 2])
        for column in range(4, 7):
            grown.make_room()
            pieces.append(decoder.next_logits(ids[:, column : column + 1], grown, plan))
        for column, ours in zip((2, 3, 4, 5, 6), pieces, strict=True):
            assert (ours - expected[:, column]).abs().max() < 1e-4


def test_long_rows_take_the_fused_kernel_and_agree(qwen3_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = load_base(str(qwen3_folder))
    stack = AdapterStack(base, slots=1, rank=1)
    rows = Sequences(torch.tensor(ROWS), torch.ones(3, 7, dtype=torch.bool))
    with torch.no_grad():
        plain = decoder_of(base, stack).read(rows, stack.plan([0, 0, 0]))[0]
        monkeypatch.setattr("agents.engine.decoder._SMALL_SCORES", 0)
        fused = decoder_of(base, stack).read(rows, stack.plan([0, 0, 0]))[0]
    assert (plain - fused).abs().max() < 1e-5


def test_gradients_equal_those_of_hugging_faces_modules(folder: Path) -> None:
    """The same stack, trained through the lean forward and through the modules."""
    base = load_base(str(folder))
    stack = AdapterStack(base, slots=4, rank=4)
    for slot, rank in ((1, 4), (2, 2), (3, 4)):
        stack.load(slot, random_adapter(stack, rank=rank, seed=slot))
    rows = Sequences(torch.tensor([*ROWS, ROWS[0]]), torch.ones(4, 7, dtype=torch.bool))
    found = []
    for decoder in (LeanDecoder(base, stack), ModuleDecoder(base, stack)):
        for parameter in stack.parameters():
            parameter.grad = None
        logits, _ = decoder.read(rows, stack.plan([3, 1, 0, 3]))
        torch.log_softmax(logits, dim=-1)[:, 5].sum().backward()
        found.append([parameter.grad for parameter in stack.parameters()])
    for lean, theirs in zip(*found, strict=True):
        torch.testing.assert_close(lean, theirs, atol=1e-4, rtol=1e-3)


def test_weights_are_shared_with_hugging_faces_modules(qwen3_folder: Path) -> None:
    base = load_base(str(qwen3_folder))
    stack = AdapterStack(base, slots=1, rank=1)
    decoder = LeanDecoder(base, stack)
    fused = decoder._layers[0].qkv.weight
    part = stack.layers["model.layers.0.self_attn.k_proj"].weight
    assert part.untyped_storage().data_ptr() == fused.untyped_storage().data_ptr()


# -- plans ---------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2, 3, 5, 11, 12, 13]), min_size=1, max_size=24))
def test_every_plan_adds_to_each_row_its_own_adapter(slots: list[int]) -> None:
    """Two banks of ten slots, ranks 2 and 3; weights that name the slot, so that sums are exact."""

    def block(wanted: object) -> Block:
        places = list(wanted)  # type: ignore[call-overload]
        rank = 2 if places[0] < 10 else 3
        a = torch.stack([torch.full((4, 2 * rank), float(slot)) for slot in places])
        bs = tuple(torch.stack([torch.ones(rank, out)] * len(places)) for out in (3, 5))
        return Block(rank, [(a, bs)], [1.0 + slot % 2 for slot in places])

    plan = plan_rows(slots, block, lambda slot: slot // 10, torch.device("cpu"))
    x = torch.arange(len(slots) * 8, dtype=torch.float32).view(len(slots), 2, 4)
    if not any(slots):
        assert not plan.blocks
        return
    first, second = map(plan.restore, plan.deltas(0, plan.arrange(x)))
    (one,) = map(plan.restore, plan.deltas(0, plan.arrange(x), member=1))
    for row, slot in enumerate(slots):
        rank = 2 if slot < 10 else 3
        expected = (1.0 + slot % 2) * rank * slot * x[row].sum(dim=-1)
        assert torch.equal(first[row], expected[:, None].expand(2, 3))
        assert torch.equal(second[row], expected[:, None].expand(2, 5))
        assert torch.equal(one[row], second[row])
    assert (plan.alone is None) == (len(set(slots)) > 1)
    if plan.alone is not None:
        ys = torch.split(torch.ones(len(slots) * 2, 8), [3, 5], dim=1)
        plan.alone.add_alone(0, x.view(-1, 4), ys)
        assert torch.equal(ys[0].view(first.shape), 1 + first)
        assert torch.equal(ys[1].view(second.shape), 1 + second)
    blocks = {(slot // 10, slots.count(slot)) for slot in slots if slot}
    assert len(plan.blocks) <= sum(count for _, count in blocks) + len(blocks)


def test_slots_that_follow_each_other_are_not_copied(qwen3_folder: Path) -> None:
    stack = AdapterStack(load_base(str(qwen3_folder)), slots=6, rank=4)
    storage = stack.banks[0].flat.untyped_storage().data_ptr()

    def copied(slots: list[int]) -> list[bool]:
        with torch.inference_mode():
            blocks = stack.plan(slots).blocks
        return [block.weights[0][0].untyped_storage().data_ptr() != storage for block in blocks]

    assert copied([3, 4, 2]) == [False]
    assert copied([2, 2, 3, 3, 0]) == [False]
    assert copied([2, 2, 3, 4]) == [False, False]
    assert copied([2, 4]) == [True]


def test_banks_of_several_ranks_in_one_batch(folder: Path) -> None:
    """Adapters of ranks 1 to 8 in three banks; joining, leaving and moved slots; against one row at a time."""
    base = load_base(str(folder))
    stack = AdapterStack(base, slots=4, ranks=(2, 4, 8))
    slots = [1, 3, 5, 6, 9, 10]
    for slot, rank in zip(slots, (1, 2, 3, 4, 7, 8), strict=True):
        stack.load(slot, random_adapter(stack, rank=rank, seed=slot))
    asked = [0, *slots, slots[2], slots[2], slots[5]]

    def prompts() -> list[Prompt]:
        made = enumerate(asked)
        params = [SamplingParams(max_tokens=4 + 3 * (row % 4)) for row in range(len(asked))]
        return [Prompt(base, tuple(ROWS[row % 3]), params[row], slot=slot) for row, slot in made]

    alone = prompts()
    for prompt in alone:
        generate(Batch(base, stack), [prompt])
    together = prompts()
    batch = Batch(base, stack)
    batch.join(together[:6])
    batch.step()
    batch.join(together[6:])
    stack.swap(9, 10)
    for prompt in together:
        prompt.slot = {9: 10, 10: 9}.get(prompt.slot, prompt.slot)
    batch.replan()
    while batch.rows:
        batch.step()
    assert [p.samples[0].token_ids for p in together] == [p.samples[0].token_ids for p in alone]
    assert len({tuple(p.samples[0].token_ids[:4]) for p in together}) > 5


def test_a_bank_costs_no_memory_before_it_is_used(qwen3_folder: Path) -> None:
    def resident() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024

    base = load_base(str(qwen3_folder))
    before = resident()
    stack = AdapterStack(base, slots=5000, ranks=(4, 64))
    reserved = sum(bank.flat.numel() * 4 for bank in stack.banks)
    assert reserved > 1 << 30
    assert resident() - before < reserved // 50
    stack.load(1, random_adapter(stack, rank=4, seed=1))
    assert stack.export(1).rank == 4


def test_a_prompt_in_pieces_says_what_it_says_whole(folder: Path) -> None:
    """Rows of different lengths in one prefill, some of them nothing but padding in the first pieces."""
    base = load_base(str(folder))
    stack = AdapterStack(base, slots=3, rank=4)
    stack.load(1, random_adapter(stack, rank=4, seed=1))
    lengths = (90, 7, 40)

    def prompts() -> list[Prompt]:
        params = SamplingParams(max_tokens=12)
        return [Prompt(base, tuple(range(3, 3 + n)), params, slot=slot) for slot, n in enumerate(lengths)]

    whole, pieces = prompts(), prompts()
    for slot, prompt in enumerate(whole):
        prompt.slot = slot % 2
        pieces[slot].slot = slot % 2
        generate(Batch(base, stack), [prompt])
    batch = Batch(base, stack)
    batch.admit(pieces)
    calls = 0
    while batch.promised:
        batch.prefill(30)
        calls += 1
    while batch.rows:
        batch.step()
    assert calls == 9
    assert [p.samples[0].token_ids for p in pieces] == [p.samples[0].token_ids for p in whole]
