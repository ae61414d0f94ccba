"""Measure a nursery model: `python -m training.nursery.evaluate [--model FOLDER] [--n 200]`.

Prints the model card's table, then one line `figure nursery.CELL VALUE >=TARGET` a cell, and ends with status 1 when a
target is missed; stderr says which, and which hard floors. Every cell asks about held-out values and items only,
greedily, n prompts each. What a cell asks is in `probes.py`; the judge and the vote are measured here because they need
the model's own samples.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents import prompts
from agents.messages import Message
from society.canonical import answer_key
from training.nursery.probes import CELLS, Cell, Probe
from training.nursery.tokenizer import ChatEncoder
from training.tasks.environments import ENVIRONMENTS, Item, draw

BUILTIN = Path(__file__).parents[2] / "agents" / "nursery"
_BATCH = 64
_LONGEST = 160
_JUDGED = (("add", 1), ("order", 1), ("order", 2), ("sort_numbers", 2), ("count_letter", 2), ("weekday", 1))
_JUDGE_NEEDS = 0.9
_VOTES = 8
_VOTED = (*((name, level) for name in ("order", "sort_numbers") for level in (1, 2, 3)), ("reverse", 4))
_VOTED_RATES = (0.45, 0.7)
_WEIGHTS_TARGET, _WEIGHTS_FLOOR = 8.0, 16.0


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table. `value` is None where nothing could be measured; `upper` marks figures to stay under."""

    name: str
    title: str
    value: float | None
    n: int
    target: float | None
    floor: float | None
    upper: bool = False

    def holds(self, bound: float | None) -> bool:
        """Whether the value is on the right side of a bound; no bound always holds, no value never does."""
        if bound is None:
            return True
        return self.value is not None and (self.value <= bound if self.upper else self.value >= bound)


class NurseryModel:
    """A chat model folder that answers many prompts at once, prompts of similar length together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.encoder = ChatEncoder(self.tokenizer)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def answers(self, conversations: Sequence[Sequence[Message]], *, temperature: float = 0.0) -> list[str]:
        """One completion for each prompt: greedy at temperature 0, else sampled from torch's generator."""
        ids = [self.encoder.prompt(messages) for messages in conversations]
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        found = [""] * len(ids)
        for start in range(0, len(order), _BATCH):
            places = order[start : start + _BATCH]
            for place, text in zip(places, self._batch([ids[place] for place in places], temperature), strict=True):
                found[place] = text
        return found

    @torch.inference_mode()
    def _batch(self, rows: list[list[int]], temperature: float) -> list[str]:
        width = max(map(len, rows))
        ids = torch.tensor([[self.encoder.pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        out = self.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=_LONGEST, **how)
        return [str(text) for text in self.tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)]


def measure(model: NurseryModel, cell: Cell, n: int, seed: int = 0) -> Result:
    """Ask the n probes of a cell and count what it accepts."""
    probes: list[Probe] = cell.probes(Random(f"{cell.name} {seed}"), n)
    replies = model.answers([probe.prompt for probe in probes])
    right = sum(probe.accepts(reply) for probe, reply in zip(probes, replies, strict=True))
    return Result(cell.name, cell.title, right / n, n, cell.target, cell.floor)


def judge_auc(model: NurseryModel, n: int, seed: int = 0) -> Result:
    """How well blind re-derivation, compared in code, tells the model's own right answers from its wrong ones.

    The model answers at once at temperature 1; then it solves the bare question with work, greedily, and an answer
    scores 1 when both agree. Only families count whose work is right nine times in ten. For a binary score the area
    under the ROC curve is (true-positive rate + true-negative rate) / 2.
    """
    torch.manual_seed(seed)
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for family, difficulty in _JUDGED:
        rng = Random(f"judge {family} {difficulty} {seed}")
        items = [draw(ENVIRONMENTS[family], rng, difficulty, held_out_items=True) for _ in range(n)]
        for item, sampled, derived in _judged(model, items):
            truth = bool(ENVIRONMENTS[family].is_right(item, sampled))
            hits[truth].append(derived is not None and answer_key(derived) == answer_key(sampled))
    title = "judge: re-derive, compare in code (AUC)"
    count = len(hits[True]) + len(hits[False])
    if not hits[True] or not hits[False]:
        return Result("judge_auc", title, None, count, 0.9, 0.8)
    true_positive = sum(hits[True]) / len(hits[True])
    true_negative = 1 - sum(hits[False]) / len(hits[False])
    return Result("judge_auc", title, (true_positive + true_negative) / 2, count, 0.9, 0.8)


def _judged(model: NurseryModel, items: list[Item]) -> list[tuple[Item, str, str | None]]:
    """(item, sampled answer, re-derived answer), or nothing when the family's work is not good enough to judge."""
    worked = [prompts.final_answer(text) for text in model.answers([[prompts.propose(i.question)] for i in items])]
    right = [bool(ENVIRONMENTS[item.family].is_right(item, answer)) for item, answer in zip(items, worked, strict=True)]
    if sum(right) < _JUDGE_NEEDS * len(items):
        return []
    sampled = model.answers([[prompts.at_once(item.question)] for item in items], temperature=1.0)
    return list(zip(items, sampled, worked, strict=True))


def majority_gain(model: NurseryModel, n: int, seed: int = 0) -> Result:
    """How much more often the most frequent of 8 samples is right than one sample, n questions a family, at once.

    Samples are drawn at temperature 1; of equally frequent answers the first drawn wins. Only families count in which a
    sample is right .45 to .7 of the time: a vote cannot create what is hardly ever there.
    """
    torch.manual_seed(seed)
    single, voted = [], []
    for family, difficulty in _VOTED:
        rng = Random(f"majority {family} {difficulty} {seed}")
        items = [draw(ENVIRONMENTS[family], rng, difficulty, held_out_items=True) for _ in range(n)]
        asked = [[prompts.at_once(item.question)] for item in items for _ in range(_VOTES)]
        sampled = [answer_key(text) for text in model.answers(asked, temperature=1.0)]
        right = [text == answer_key(items[place // _VOTES].answer) for place, text in enumerate(sampled)]
        if not _VOTED_RATES[0] <= fmean(right) <= _VOTED_RATES[1]:
            continue
        ballots = [sampled[start : start + _VOTES] for start in range(0, len(sampled), _VOTES)]
        single += right
        voted += [
            Counter(ballot).most_common(1)[0][0] == answer_key(item.answer)
            for item, ballot in zip(items, ballots, strict=True)
        ]
    gain = fmean(voted) - fmean(single) if voted else None
    return Result("majority_of_8", "majority of 8 over one sample, at once (gain)", gain, len(voted), 0.05, 0.0)


def weights(folder: Path) -> Result:
    """Size of the weights file in megabytes."""
    size = (folder / "model.safetensors").stat().st_size / 1e6
    return Result("weights_mb", "weights (MB)", size, 1, _WEIGHTS_TARGET, _WEIGHTS_FLOOR, upper=True)


def evaluate(folder: Path, n: int) -> list[Result]:
    """Measure everything the card states."""
    model = NurseryModel(folder)
    rows = [weights(folder)]
    for place, cell in enumerate(CELLS, start=1):
        print(f"{place}/{len(CELLS)} {cell.title}", file=sys.stderr, flush=True)
        rows.append(measure(model, cell, n))
    return [*rows, judge_auc(model, max(1, n // 5)), majority_gain(model, max(1, n // 5))]


def table(rows: Sequence[Result]) -> str:
    """The card's table in Markdown."""
    lines = ["| skill | measured | n | target | hard floor |", "|---|---|---|---|---|"]
    for row in rows:
        sign = "<=" if row.upper else ">="
        bounds = [f"{sign}{bound:g}" if bound is not None else "none" for bound in (row.target, row.floor)]
        shown = "not measured" if row.value is None else f"{row.value:.3f}"
        lines.append(f"| {row.title} | {shown} | {row.n} | {bounds[0]} | {bounds[1]} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and the figures; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUILTIN, help="folder of the model")
    parser.add_argument("--n", type=int, default=200, help="prompts a cell")
    asked = parser.parse_args(arguments)
    rows = evaluate(asked.model, asked.n)
    print(table(rows))
    for row in rows:
        if row.target is not None:
            value = "none" if row.value is None else f"{row.value:.3f}"
            print(f"figure nursery.{row.name} {value} {'<=' if row.upper else '>='}{row.target:g}")
    return complain(rows)


def complain(rows: Sequence[Result]) -> int:
    """Say on stderr which targets and which hard floors were missed; 1 when any was."""
    short = [row.name for row in rows if not row.holds(row.target)]
    broken = [row.name for row in rows if not row.holds(row.floor)]
    if short:
        print(f"short of the target: {', '.join(short)}", file=sys.stderr)
    if broken:
        print(f"below the hard floor: {', '.join(broken)}", file=sys.stderr)
    return int(bool(short or broken))


if __name__ == "__main__":
    sys.exit(main())
