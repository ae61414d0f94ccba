"""Claim: training many adapters in one pass costs far less than a loop over them, where each learns from little.

`python -m benchmarks.cohort` times one optimiser step of N adapters: PEFT in a loop (`set_adapter`, forward, backward,
clip, AdamW for each) against one forward, one backward and one stacked AdamW for all; interleaved, and the losses of
the first step must agree. Where the environment of `make bench-env` is there, it also times a whole GRPO step
(rollouts, reward, update) of N = 8 adapters against TRL's GRPOTrainer run N times, start-up excluded. Last,
on the built-in model, what a step of 16 agents takes an agent in one pass and in turn, from one short text to the
practice of a real job; that both end in the same weights is shown by `tests/training/test_cohort.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from agents.engine.allocator import keep_freed_memory
from agents.engine.base import Base, load_base
from agents.engine.generation import Batch, Prompt, generate
from agents.engine.lora import AdapterStack
from agents.messages import SamplingParams
from benchmarks.checkpoints import Size, endless, random_adapter, save_adapters, save_checkpoint
from benchmarks.figures import KEEP_FREED, Figure, finish, machine
from benchmarks.roofline import Machine, measure
from personal_data.settings import BUILTIN_BASE
from training.grpo import micro_batches
from training.losses import group_advantages, policy_loss
from training.optim import StackedAdamW
from training.packing import SharedPromptPolicy
from training.rollouts import Rollout, at_once_tasks
from training.tasks.environments import ENVIRONMENTS

RANK, LR = 8, 1e-4
GRPO_PEOPLE, GROUP, PROMPT, NEW, GRPO_STEPS = 8, 4, 64, 64, 3
NURSERY_PEOPLE = 16
NURSERY_STEPS = {"2 questions, 4 answers each": (2, 4), "24 questions, 8 answers each (a job's)": (24, 8)}
BENCH_PYTHON = Path(".bench") / "bin" / "python"


class Loop:
    """PEFT's way: one adapter after the other."""

    def __init__(self, folder: Path, adapters: list[Path]) -> None:
        plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.model = PeftModel.from_pretrained(plain, adapters[0], adapter_name="0", is_trainable=True)
        for number, path in enumerate(adapters[1:], start=1):
            self.model.load_adapter(path, adapter_name=str(number), is_trainable=True)
        self.model.train()
        self.optimizers = []
        for number in range(len(adapters)):
            self.model.set_adapter(str(number))
            mine = [p for name, p in self.model.named_parameters() if f".{number}." in name and "lora_" in name]
            self.optimizers.append((mine, torch.optim.AdamW(mine, lr=LR, weight_decay=0.0)))

    def step(self, ids: Tensor) -> list[float]:
        """ids [adapters, sequences, tokens]; the loss of each."""
        losses = []
        for number, (mine, optimizer) in enumerate(self.optimizers):
            self.model.set_adapter(str(number))
            logits = self.model(input_ids=ids[number]).logits[:, :-1]
            loss = functional.cross_entropy(logits.flatten(0, 1), ids[number, :, 1:].flatten())
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(mine, 1.0)
            optimizer.step()
            losses.append(loss.item())
        return losses


class Cohort:
    """Ours: everybody in one pass."""

    def __init__(self, base: Base, people: int) -> None:
        self.stack = AdapterStack(base, slots=people + 1, rank=RANK)
        self.slots = list(range(1, people + 1))
        for slot in self.slots:
            self.stack.load(slot, random_adapter(base, rank=RANK, seed=slot - 1))
        self.policy = SharedPromptPolicy(base, self.stack)
        self.optimizer = StackedAdamW(self.stack.parameters(), slots=self.slots, lr=LR)

    def step(self, ids: Tensor) -> list[float]:
        rows = ids.flatten(0, 1).tolist()
        owners = [slot for slot in self.slots for _ in range(ids.shape[1])]
        logp, mask = self.policy.logprobs([(row[:1], row[1:]) for row in rows], slot=owners)
        losses = -(logp.view(len(self.slots), -1).sum(dim=1) / mask.view(len(self.slots), -1).sum(dim=1))
        self.optimizer.zero_grad()
        torch.autograd.backward(losses.sum())
        self.optimizer.step()
        return losses.tolist()

    def grpo_step(self, prompts: Tensor, seed: int) -> None:
        """Rollouts of every adapter at once, a reward that code gives, one update. prompts [adapters, PROMPT]."""
        params = SamplingParams(max_tokens=NEW, temperature=1.0, seed=seed)
        asked = [
            Prompt(self.policy.base, tuple(row), params, slot=slot, n=GROUP, place=(slot,), live=False)
            for row, slot in zip(prompts.tolist(), self.slots, strict=True)
        ]
        generate(Batch(self.policy.base, self.stack), asked, max_rows=len(asked) * GROUP)
        samples = [(prompt, sample) for prompt in asked for sample in prompt.samples]
        rewards = torch.tensor([even_share(sample.token_ids) for _, sample in samples]).view(-1, GROUP)
        advantages = group_advantages(rewards.double(), eps=1e-4, std_floor=0.0).flatten()
        logp, mask = self.policy.logprobs(
            [(prompt.ids, sample.token_ids) for prompt, sample in samples], slot=[prompt.slot for prompt, _ in samples]
        )
        old = torch.tensor([sample.logprobs for _, sample in samples])
        self.optimizer.zero_grad()
        total = torch.zeros(())
        for first in range(0, len(samples), GROUP):  # each adapter's loss is normalised over its own tokens
            rows = slice(first, first + GROUP)
            total = total + policy_loss(logp[rows], old[rows], advantages[rows].to(logp), mask[rows]).value
        torch.autograd.backward(total)
        self.optimizer.step()


def even_share(tokens: list[int]) -> float:
    """A reward that costs nothing: the share of even token ids."""
    return sum(token % 2 == 0 for token in tokens) / len(tokens)


def compare(folder: Path, size: Size, people: int, shape: tuple[int, int], repeats: int) -> tuple[list[float], ...]:
    """Seconds of both ways' steps, interleaved; the losses of the first must agree."""
    base = endless(folder)
    with TemporaryDirectory() as scratch:
        loop = Loop(folder, save_adapters(base, Path(scratch), [RANK] * people))
    cohort = Cohort(base, people)
    torch.manual_seed(2)
    ids = torch.randint(4, size.vocabulary, (people, *shape))
    theirs, ours = loop.step(ids), cohort.step(ids)
    worst = max(abs(a - b) for a, b in zip(theirs, ours, strict=True))
    if worst > 1e-3:
        raise SystemExit(f"the losses of the first step differ by {worst}: the two ways do not do the same")
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for taken, way in zip(seconds, (loop.step, cohort.step), strict=True):
            taken.append(timed(lambda way=way: way(ids)))  # type: ignore[misc]
    return seconds


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def floor(machine: Machine, size: Size, people: int, tokens: int) -> float:
    """Least seconds of a step: 4 P a token for the frozen base, 6 for the adapters; bytes twice."""
    weights = size.layers * (4 * size.hidden**2 + 3 * size.hidden * size.mlp) + size.hidden * size.vocabulary
    adapter = RANK * size.layers * (8 * size.hidden + 3 * (size.hidden + size.mlp))
    return machine.seconds(read=8 * (weights + people * adapter), flop=people * tokens * (4 * weights + 6 * adapter))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    disable_progress_bar()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    size, roof = Size(), measure()
    print(f"cohort training, {machine()}\n{size.name}, fp32, rank {RANK}; {roof}")
    print(f"one optimiser step of N adapters, n = {options.repeats} each, interleaved; same losses in the first\n")
    print("   N  tokens an adapter   PEFT loop      ours   ratio (spread)      roofline")
    ratios: dict[tuple[int, int], float] = {}
    with TemporaryDirectory() as scratch:
        folder = save_checkpoint(Path(scratch), size)
        for shape in ((1, 24), (2, 48), (4, 48)):
            for people in (1, 8, 32):
                theirs, ours = compare(folder, size, people, shape, options.repeats)
                tokens = shape[0] * shape[1]
                each = [a / b for a, b in zip(theirs, ours, strict=True)]
                ratios[people, tokens] = median(theirs) / median(ours)
                share = floor(roof, size, people, tokens) / median(ours)
                print(
                    f"{people:4}  {tokens:17}  {median(theirs) * 1e3:7.0f} ms {median(ours) * 1e3:6.0f} ms"
                    f"  {ratios[people, tokens]:5.2f} ({min(each):.2f}-{max(each):.2f}) {share:10.0%}"
                )
        grpo = full_step(folder, size, options.threads)
    built_in = nursery(options.repeats)
    return finish(
        [
            Figure("cohort.nursery.n16.t24", built_in, ">=", 5),
            Figure("cohort.n32.t24.vs_peft_loop", ratios[32, 24], ">=", 6),
            Figure("cohort.n32.t192.vs_peft_loop", ratios[32, 192], ">=", 1.4),
            Figure("cohort.grpo.n8.vs_trl", grpo, ">=", 8),
        ]
    )


def full_step(folder: Path, size: Size, threads: int) -> float | None:
    """How many times longer TRL takes for one GRPO step of every adapter; None where it is not installed."""
    if not BENCH_PYTHON.exists():
        print("\nTRL is not here: `make bench-env` installs it, apart from our own environment")
        return None
    cohort = Cohort(endless(folder), GRPO_PEOPLE)
    torch.manual_seed(3)
    prompts = torch.randint(4, size.vocabulary, (GRPO_PEOPLE, PROMPT))
    cohort.grpo_step(prompts, seed=0)
    ours = [timed(lambda seed=seed: cohort.grpo_step(prompts, seed)) for seed in range(1, GRPO_STEPS + 1)]  # type: ignore[misc]
    task = {"folder": str(folder), "people": GRPO_PEOPLE, "group": GROUP, "prompt": PROMPT, "new": NEW, "rank": RANK}
    task |= {"steps": GRPO_STEPS, "threads": threads}
    command = [str(BENCH_PYTHON), "-m", "benchmarks.trl_grpo", json.dumps(task)]
    environment = os.environ | KEEP_FREED | {"HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if ended.returncode:
        raise SystemExit(f"TRL failed:\n{ended.stderr[-3000:]}")
    answer = json.loads(ended.stdout.splitlines()[-1])
    theirs = sum(answer["seconds"])
    print(
        f"\nGRPO step of {GRPO_PEOPLE} adapters, G = {GROUP}, {PROMPT} + {NEW} tokens, rank {RANK}, start-up excluded:"
        f"\n  TRL {answer['version']}, {GRPO_PEOPLE} trainers in turn, checkpointing off: {theirs:.2f} s"
        f"\n  ours, one pass: {median(ours):.2f} s ({min(ours):.2f}-{max(ours):.2f}), n = {GRPO_STEPS}"
        f"\n  ratio {theirs / median(ours):.1f}"
    )
    return float(theirs / median(ours))


def nursery(repeats: int) -> float:
    """How many times longer an agent's step takes alone than among 16, on the built-in model, one text of 24 tokens."""
    cohort = Cohort(load_base(BUILTIN_BASE), NURSERY_PEOPLE)
    torch.manual_seed(4)
    text = torch.randint(4, 512, (NURSERY_PEOPLE, 1, 24))
    steps: dict[str, Callable[[Sequence[int]], None]] = {"a text of 24 tokens": partial(read, cohort, text)}
    for name, (questions, answers) in NURSERY_STEPS.items():
        steps[name] = partial(practise, cohort, questions, answers)
    print(
        f"\nthe built-in model, {NURSERY_PEOPLE} agents: a step of an agent, in turn and in one pass; n = {repeats}\n"
    )
    ratios = []
    for name, step in steps.items():
        alone, together = [], []
        for _ in range(repeats):
            alone.append(timed(lambda step=step: [step([slot]) for slot in cohort.slots]))  # type: ignore[misc]
            together.append(timed(lambda step=step: step(cohort.slots)))  # type: ignore[misc]
        ratios.append(median(alone) / median(together))
        each = [a / b for a, b in zip(alone, together, strict=True)]
        in_turn, at_once = (median(taken) / NURSERY_PEOPLE * 1e3 for taken in (alone, together))
        print(f"{name:38} {in_turn:6.1f} ms {at_once:6.1f} ms  {ratios[-1]:.1f} ({min(each):.1f}-{max(each):.1f})")
    return ratios[0]


def read(cohort: Cohort, ids: Tensor, slots: Sequence[int]) -> None:
    """One step of these agents on a text each; ids [people, 1, tokens]."""
    pairs = [(row[:1], row[1:]) for row in ids[[slot - 1 for slot in slots], 0].tolist()]
    optimizer = StackedAdamW(cohort.stack.parameters(), slots=slots, lr=LR)
    logp, mask = cohort.policy.logprobs(pairs, slot=slots)
    optimizer.zero_grad()
    torch.autograd.backward(-(logp.sum(dim=1) / mask.sum(dim=1)).sum())
    optimizer.step()


def practise(cohort: Cohort, questions: int, answers: int, slots: Sequence[int]) -> None:
    """Rollouts of these agents and one update, with an advantage that code gives."""
    drawn = at_once_tasks(ENVIRONMENTS["order"], Random(5), 3, questions, held_out=False)
    tasks = [(slot, task) for slot in slots for task in drawn]
    owners = [slot for slot, _ in tasks]
    params = SamplingParams(max_tokens=16, temperature=1.0, seed=6)
    sampled = cohort.policy.sample([task.messages for _, task in tasks], answers, params, slot=owners)
    rollouts = [
        Rollout(place, task, one)
        for place, ((_, task), group) in enumerate(zip(tasks, sampled, strict=True))
        for one in group
    ]
    optimizer = StackedAdamW(cohort.stack.parameters(), slots=slots, lr=LR)
    optimizer.zero_grad()
    for rows in micro_batches(range(len(rollouts)), rollouts):
        logp, mask = cohort.policy.logprobs(
            [rollouts[row].pair for row in rows], slot=[owners[rollouts[row].group] for row in rows]
        )
        torch.autograd.backward(-(logp * mask).sum() / len(rollouts))
    optimizer.step()


if __name__ == "__main__":
    sys.exit(main())
