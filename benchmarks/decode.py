"""Claim: one batch decodes everybody's adapter at nearly the bare base's speed; the peers loop over adapters.

`python -m benchmarks.decode` lets N people, each with an adapter of their own, ask at once: 64 prompt tokens, 64 new
ones, greedy. Arms, interleaved: PEFT's `adapter_names` in one batch, PEFT switching with `set_adapter` one by one,
Hugging Face's `generate` on the bare base at the same batch, our engine with N adapters, our engine on the bare base.
In the same run, ours must say token for token what PEFT says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from agents.engine.allocator import keep_freed_memory
from agents.engine.base import Base
from agents.engine.generation import Batch, Prompt, generate
from agents.engine.lora import AdapterStack
from agents.messages import SamplingParams
from benchmarks.checkpoints import Size, endless, random_adapter, save_adapters, save_checkpoint
from benchmarks.figures import Figure, finish, machine
from benchmarks.roofline import Machine, measure

PROMPT, NEW, RANK = 64, 64, 8
Tokens = list[list[int]]


@dataclass
class Arm:
    """One way to answer N people; `tokens` is what it said last."""

    name: str
    run: Callable[[], Tokens]
    seconds: list[float]
    tokens: Tokens

    def time(self) -> None:
        started = time.perf_counter()
        self.tokens = self.run()
        self.seconds.append(time.perf_counter() - started)

    @property
    def typical(self) -> float:
        return median(self.seconds)


class Peers:
    """The checkpoint in Hugging Face's and PEFT's hands."""

    def __init__(self, folder: Path, adapters: list[Path]) -> None:
        self.bare = _plain(folder)
        self.model: Any = PeftModel.from_pretrained(_plain(folder), adapters[0], adapter_name="0")
        for number, path in enumerate(adapters[1:], start=1):
            self.model.load_adapter(path, adapter_name=str(number))
        self.model.eval()

    def mixed(self, ids: torch.Tensor) -> Tokens:
        return _new(self.model.generate(input_ids=ids, adapter_names=[str(row) for row in range(len(ids))], **_LIMITS))

    def switched(self, ids: torch.Tensor) -> Tokens:
        said: Tokens = []
        for row in range(len(ids)):
            self.model.set_adapter(str(row))
            said += _new(self.model.generate(input_ids=ids[row : row + 1], **_LIMITS))
        return said

    def base(self, ids: torch.Tensor) -> Tokens:
        return _new(self.bare.generate(input_ids=ids, **_LIMITS))


_LIMITS = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}


def _plain(folder: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    return model


def _new(ids: torch.Tensor) -> Tokens:
    return ids[:, PROMPT:].tolist()


class Ours:
    """The checkpoint in our engine's hands."""

    def __init__(self, base: Base, people: int, ranks: list[int]) -> None:
        self.base = base
        self.stack = AdapterStack(base, slots=people + 1, ranks=sorted(set(ranks)))
        self.slots = []
        taken = dict.fromkeys(range(len(self.stack.banks)), 0)
        for seed, rank in enumerate(ranks):
            bank = self.stack.bank_of(rank)
            taken[bank] += 1
            self.slots.append(bank * self.stack.slots + taken[bank])
            self.stack.load(self.slots[-1], random_adapter(base, rank=rank, seed=seed))

    def answer(self, ids: torch.Tensor, slots: list[int]) -> Tokens:
        params = SamplingParams(max_tokens=NEW)
        prompts = [
            Prompt(self.base, tuple(row), params, slot=slot, live=False)
            for row, slot in zip(ids.tolist(), slots, strict=True)
        ]
        generate(Batch(self.base, self.stack), prompts, max_rows=len(prompts))
        return [prompt.samples[0].token_ids for prompt in prompts]


def compare(folder: Path, size: Size, ranks: list[int], repeats: int) -> dict[str, Arm]:
    """Time every arm for as many people as there are ranks, alternating."""
    people = len(ranks)
    base = endless(folder)
    with TemporaryDirectory() as scratch:
        peers = Peers(folder, save_adapters(base, Path(scratch), ranks))
    ours = Ours(base, people, ranks)
    torch.manual_seed(1)
    ids = torch.randint(4, size.vocabulary, (people, PROMPT))
    arms = {
        "names": Arm("PEFT adapter_names, one batch", lambda: peers.mixed(ids), [], []),
        "switch": Arm("PEFT set_adapter, one by one", lambda: peers.switched(ids), [], []),
        "hf": Arm("Hugging Face generate, bare base", lambda: peers.base(ids), [], []),
        "ours": Arm("ours, everybody's adapter", lambda: ours.answer(ids, ours.slots), [], []),
        "bare": Arm("ours, bare base", lambda: ours.answer(ids, [0] * people), [], []),
    }
    with torch.no_grad():
        arms["hf"].run(), arms["ours"].run(), arms["bare"].run()
        for _ in range(repeats):
            for arm in arms.values():
                arm.time()
    return arms


def floor(machine: Machine, size: Size, ranks: list[int]) -> float:
    """Least seconds for the whole job: prefill at once, then NEW - 1 steps (performance: bytes or operations)."""
    weights = size.layers * (4 * size.hidden**2 + 3 * size.hidden * size.mlp)
    head = size.hidden * size.vocabulary
    widths = 4 * 2 * size.hidden + 3 * (size.hidden + size.mlp)
    adapters = sum(ranks) * size.layers * widths
    people = len(ranks)
    step = machine.seconds(read=4 * (weights + head + adapters), flop=2 * (people * (weights + head) + adapters))
    prefill = machine.seconds(
        read=4 * (weights + head + adapters), flop=2 * PROMPT * (people * weights + adapters) + 2 * people * head
    )
    return prefill + (NEW - 1) * step


def show(arms: dict[str, Arm], least: float, label: str) -> dict[str, float]:
    """Print one table; the ratios in it."""
    ours = arms["ours"].typical
    same = sum(a == b for a, b in zip(arms["ours"].tokens, arms["switch"].tokens, strict=True))
    people = len(arms["ours"].tokens)
    print(f"\n{label}")
    print(f"  {'':36}{'tokens/s':>10}{'spread':>16}{'ours is':>10}")
    for arm in arms.values():
        rates = [people * NEW / seconds for seconds in arm.seconds]
        spread = f"{min(rates):.0f}-{max(rates):.0f}"
        print(f"  {arm.name:36}{median(rates):10.0f}{spread:>16}{arm.typical / ours:9.2f}x")
    print(f"  {least / ours:.0%} of the roofline; {same} of {people} people get PEFT's tokens exactly")
    return {name: arm.typical / ours for name, arm in arms.items()} | {"same": same / people}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="*", default=[1, 8, 32, 64])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of every arm; default: all cores")
    options = parser.parse_args()
    disable_progress_bar()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    size, roof = Size(), measure()
    print(f"decode, {machine()}\n{size.name}, fp32; {PROMPT} + {NEW} tokens an adapter; {roof}")
    found: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as scratch:
        folder = save_checkpoint(Path(scratch), size)
        for people in options.people:
            ranks = [RANK] * people
            arms = compare(folder, size, ranks, options.repeats)
            label = f"N = {people}, rank {RANK}, n = {options.repeats} each, interleaved, greedy"
            found[str(people)] = show(arms, floor(roof, size, ranks), label)
        ranks = [(4, 8, 16)[person % 3] for person in range(max(options.people))]
        arms = compare(folder, size, ranks, options.repeats)
        found["mixed"] = show(arms, floor(roof, size, ranks), f"N = {len(ranks)}, ranks 4, 8 and 16 mixed")
    return finish(_figures(found))


def _figures(found: dict[str, dict[str, float]]) -> list[Figure]:
    figures = []
    if one := found.get("1"):
        figures.append(Figure("decode.n1.vs_hugging_face_base", one["hf"], ">=", 2))
    if many := found.get("32"):
        figures += [
            Figure("decode.n32.vs_adapter_names", many["names"], ">=", 8),
            Figure("decode.n32.vs_switching", many["switch"], ">=", 12),
            Figure("decode.n32.share_of_hugging_face_base", many["hf"], ">=", 0.9),
            Figure("decode.n32.share_of_our_base", many["bare"], ">=", 0.9),
        ]
    figures.append(Figure("decode.same_tokens_as_peft", min(one["same"] for one in found.values()), ">=", 1))
    return figures


if __name__ == "__main__":
    sys.exit(main())
