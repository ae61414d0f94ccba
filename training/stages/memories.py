"""The stage that practises questions about the owner's own texts, to be answered without them.

The cycle-start snapshot asks; whether a question can be learnt from decides what the agent answers now. Such a question
is practised the more often the more its challenger earns for it. The gate asks about conversations that were never
trained on.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from random import Random
from statistics import fmean
from typing import Any

from agents import prompts
from agents.messages import SamplingParams
from training.journal import Journal
from training.plan import MemoriesRecipe
from training.rewards.proposer import PROPOSERS
from training.stages import practice
from training.stages.bench import INCUMBENT, START, Bench, StageResult, Tell
from training.tasks.challenger import WRITING
from training.tasks.memories import MEMORIES, OwnTexts, memory_tasks

_LEAST = 0.05
"""What weighs nothing could never be drawn."""
_TOO_LONG = "longer than the model's context"


def run(bench: Bench, own: OwnTexts, recipe: MemoriesRecipe, journal: Journal, tell: Tell) -> StageResult:
    """Have questions asked, practise those that can be learnt, then let the gate decide."""
    tell(0, recipe.steps + 2, "memories: which questions do your texts answer?")
    params = SamplingParams(recipe.max_tokens, recipe.temperature, seed=bench.seed)
    found = memory_tasks(_readable(bench, own), bench.policy, params, frozen=START, solver=INCUMBENT)
    trial = None if found.trial is None else dataclasses.asdict(found.trial)
    known: dict[str, Any] = {"rejected": dict(found.rejected), "trial": trial, "missing": list(found.missing)}
    if not found.enough:
        return StageResult("skipped", found.missing, known, asked_about=())
    earned = PROPOSERS[recipe.proposer]([task.question for task in found.train], found.rates)
    known |= {"proposer": recipe.proposer, "earned": fmean(earned)}
    weighted = [(task, max(weight, _LEAST)) for task, weight in zip(found.train, earned, strict=True)]
    deck = practice.Deck(weighted, Random(f"memories {bench.seed}"))
    ended = practice.on_truth(bench, MEMORIES, deck, found.gate, recipe, journal, tell, known)
    return dataclasses.replace(ended, asked_about=found.memory_ids)


def _readable(bench: Bench, own: OwnTexts) -> OwnTexts:
    """Those that leave room for a question about them, and for its answer with the text in view."""
    room = 2 * WRITING.max_tokens
    kept = [one for one in own.texts if bench.room([prompts.challenge(own.owner, one.text)]) >= room]
    left_out = Counter(own.left_out) + Counter({_TOO_LONG: len(own.texts) - len(kept)})
    return dataclasses.replace(own, texts=tuple(kept), left_out=left_out)
