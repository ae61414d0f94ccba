"""Make the built-in base model from nothing: `python -m training.nursery.train --minutes 45 --out FOLDER`.

Two processes of one thread each share one flat gradient (gloo); every batch is generated on the spot. Progress is the
share of the wall-clock budget, or of `--steps` when given, and decides everything: first the copy primer, then easy
conversations, then all, then long ones (`recipe`). The result is an ordinary Hugging Face folder; `--checkpoints` saves
earlier ones beside it. What the model can do afterwards is measured by `training.nursery.evaluate`.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torch.nn import functional
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from agents.engine.allocator import keep_freed_memory
from training.nursery.corpus import EASY, FULL, LONG, Corpus, Stage
from training.nursery.muon import MuonAdamW
from training.nursery.primer import Primer
from training.nursery.tokenizer import ChatEncoder, train_tokenizer

_POOL = 300
_WARM_UP = 30
_CLIP = 1.0
_IGNORED = -100

_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 28),
}
"""glibc then keeps the megabyte-sized activations instead of returning each to the kernel: 8 % faster steps."""

Example = tuple[list[int], list[bool]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asked for. `batch_tokens` are padded tokens a process and step.

    `start` is the progress at which a resumed run takes up curriculum and learning rate.
    """

    minutes: float
    out: Path
    steps: int | None = None
    processes: int = 2
    batch_tokens: int = 2000
    hidden: int = 128
    layers: int = 6
    seed: int = 1
    checkpoints: tuple[float, ...] = ()
    resume: Path | None = None
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """The curriculum at one moment: the corpus stage, the primer's share, whether the primer is narrow."""

    stage: Stage
    primer: float
    narrow: bool = False


def recipe(progress: float) -> Recipe:
    """The curriculum, by the share of the budget that is spent."""
    if progress < 0.06:
        return Recipe(EASY, 1.0, narrow=progress < 0.025)
    if progress < 0.25:
        return Recipe(EASY, 0.33 - 0.27 * (progress - 0.06) / 0.19)
    return Recipe(FULL if progress < 0.8 else LONG, 0.03)


def learning_rate_scale(progress: float, step: int) -> float:
    """Warm-up, constant to the middle of the budget, then linear to one hundredth."""
    decay = 1.0 if progress < 0.5 else max(0.01, 1 - 0.99 * (progress - 0.5) / 0.5)
    return min(1.0, (step + 1) / _WARM_UP) * decay


def build_model(encoder: ChatEncoder, hidden: int, layers: int) -> Qwen3ForCausalLM:
    """A small Qwen3: its QK-norm is what lets copying form early, and heads of twice the usual width what lets a key
    hold whose it is, of what, and which relation all at once."""
    config = Qwen3Config(
        vocab_size=encoder.size,
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        head_dim=64,
        max_position_embeddings=1024,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=encoder.end,
        pad_token_id=encoder.pad,
        attn_implementation="eager",  # short rows: a third faster a step than the fused kernel on a CPU
    )
    return Qwen3ForCausalLM(config)


class Batches:
    """An endless stream of padded (ids, labels) batches [rows, columns] of similar lengths."""

    def __init__(self, encoder: ChatEncoder, rng: Random, batch_tokens: int) -> None:
        self._encoder, self._rng, self._batch_tokens = encoder, rng, batch_tokens
        self._primer = Primer(rng, encoder)
        self._ready: list[tuple[Tensor, Tensor]] = []
        self._recipe: Recipe | None = None

    def next(self, now: Recipe) -> tuple[Tensor, Tensor]:
        """The next batch; a change of stage throws away what was drawn before."""
        if not self._ready or self._recipe is None or self._recipe.stage is not now.stage:
            self._ready = list(self._cut(sorted(self._draw(now), key=lambda example: len(example[0]))))
            self._rng.shuffle(self._ready)
            self._recipe = now
        return self._ready.pop()

    def _draw(self, now: Recipe) -> list[Example]:
        corpus = Corpus(self._rng, now.stage)
        return [
            self._primer.puzzle(narrow=now.narrow)
            if self._rng.random() < now.primer
            else self._encoder.conversation(corpus.conversation())
            for _ in range(_POOL)
        ]

    def _cut(self, examples: list[Example]) -> Iterator[tuple[Tensor, Tensor]]:
        rows: list[Example] = []
        for example in examples:
            if rows and (len(rows) + 1) * len(example[0]) > self._batch_tokens:
                yield self._padded(rows)
                rows = []
            rows.append(example)
        yield self._padded(rows)

    def _padded(self, rows: list[Example]) -> tuple[Tensor, Tensor]:
        width = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), width), self._encoder.pad)
        labels = torch.full((len(rows), width), _IGNORED)
        for row, (tokens, trained) in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            labels[row, : len(tokens)] = torch.where(torch.tensor(trained), ids[row, : len(tokens)], _IGNORED)
        return ids, labels


def summed_loss(model: Qwen3ForCausalLM, ids: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Cross-entropy summed over the trained positions, and their number; the head runs on those positions only."""
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    here = wanted != _IGNORED
    logits = model.lm_head(hidden[here])
    return functional.cross_entropy(logits, wanted[here], reduction="sum"), int(here.sum())


@dataclass(slots=True)
class Clock:
    """How far the run is. Wall time is averaged over processes, so that all of them take the same decisions."""

    plan: Plan
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    step: int = 0
    tokens: float = 0.0

    @property
    def progress(self) -> float:
        spent = self.seconds / (60 * self.plan.minutes) if self.plan.steps is None else self.step / self.plan.steps
        return self.plan.start + (1 - self.plan.start) * spent


def train(rank: int, plan: Plan, rendezvous: str) -> None:
    """One process of the run; rank 0 also prints and saves."""
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")  # products in bf16 where the CPU has them, sums in fp32: twice as fast
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=plan.processes)
    torch.manual_seed(plan.seed)
    if plan.resume is None:
        tokenizer = train_tokenizer(seed=plan.seed)
        model = build_model(ChatEncoder(tokenizer), plan.hidden, plan.layers)
    else:
        tokenizer = AutoTokenizer.from_pretrained(plan.resume)
        model = Qwen3ForCausalLM.from_pretrained(plan.resume, dtype=torch.float32)
    encoder = ChatEncoder(tokenizer)
    if rank == 0:
        print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {encoder.size} tokens", flush=True)
    _steps(model, tokenizer, encoder, plan, rank)
    if rank == 0:
        save(model, tokenizer, plan.out)
    dist.destroy_process_group()


def _steps(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, encoder: ChatEncoder, plan: Plan, rank: int
) -> None:
    parameters = list(model.parameters())
    flat = _flat_gradient(parameters)
    optimiser = MuonAdamW(model)
    batches = Batches(encoder, Random(plan.seed * 1000 + rank), plan.batch_tokens)
    clock, report, due = Clock(plan), Report(), sorted(plan.checkpoints)
    while clock.progress < 1:
        ids, labels = batches.next(recipe(clock.progress))
        flat.zero_()
        loss, targets = summed_loss(model, ids, labels)
        torch.autograd.backward(loss)
        flat[-4:] = torch.tensor([loss.item(), targets, ids.numel(), time.monotonic() - clock.began])
        dist.all_reduce(flat)
        total, targets_all, tokens, seconds = flat[-4:].tolist()
        gradient = flat[:-4].div_(targets_all)
        gradient.mul_(min(1.0, _CLIP / (float(gradient.norm()) + 1e-6)))
        optimiser.step(learning_rate_scale(clock.progress, clock.step))
        clock.step, clock.tokens, clock.seconds = clock.step + 1, clock.tokens + tokens, seconds / plan.processes
        if rank == 0:
            report.add(clock, total / targets_all)
            if due and clock.seconds >= 60 * due[0]:
                save(model, tokenizer, plan.out / f"minute-{due.pop(0):g}")


def _flat_gradient(parameters: list[torch.nn.Parameter]) -> Tensor:
    """One buffer that all gradients are views of, with four places for (loss, targets, tokens, seconds)."""
    flat = torch.zeros(sum(parameter.numel() for parameter in parameters) + 4)
    place = 0
    for parameter in parameters:
        parameter.grad = flat[place : place + parameter.numel()].view_as(parameter)
        place += parameter.numel()
    return flat


@dataclass(slots=True)
class Report:
    """Prints the mean loss about three times a minute."""

    losses: list[float] = field(default_factory=list)
    last: float = 0.0

    def add(self, clock: Clock, loss: float) -> None:
        self.losses.append(loss)
        if clock.seconds - self.last < 20 and clock.progress < 1:
            return
        mean, rate = sum(self.losses) / len(self.losses), clock.tokens / max(clock.seconds, 1e-9)
        print(
            f"{clock.seconds / 60:6.1f} min  {clock.progress:4.0%}  step {clock.step:6d}  loss {mean:6.3f}"
            f"  {clock.tokens / 1e6:6.2f}M padded tokens  {rate:6.0f}/s",
            flush=True,
        )
        self.losses, self.last = [], clock.seconds


def save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write an ordinary Hugging Face folder, weights in fp16 safetensors."""
    half = copy.deepcopy(model).to(torch.float16)
    half.config.dtype = torch.float16
    half.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=256,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    half.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    print(f"saved {folder}", flush=True)


def main() -> None:
    """Parse the command line and start the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45.0, help="wall-clock budget")
    parser.add_argument("--steps", type=int, help="budget in steps instead of minutes")
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished model")
    parser.add_argument("--processes", type=int, default=2, help="one a core")
    parser.add_argument("--batch-tokens", type=int, default=2000, help="padded tokens a process and step")
    parser.add_argument("--hidden", type=int, default=128, help="a multiple of 32")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoints", type=float, nargs="*", default=[], help="minutes at which to save as well")
    parser.add_argument("--resume", type=Path, help="folder of a model to go on from, its optimiser starting afresh")
    parser.add_argument(
        "--start", type=float, default=0.0, help="progress at which a resumed run takes up the curriculum"
    )
    asked = vars(parser.parse_args())
    plan = Plan(**{**asked, "checkpoints": tuple(asked["checkpoints"])})
    os.environ.update({"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **_MALLOC})
    with tempfile.TemporaryDirectory() as folder:
        spawn(train, args=(plan, f"{folder}/rendezvous"), nprocs=plan.processes)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
