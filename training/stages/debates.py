"""The stage that practises questions that the agent has debated and whose outcome is known, as it was asked them then.

Where its part was worth little there is most to learn: such a debate comes more often. The gate asks what the agent has
debated and never practised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from training.grpo import GrpoRecipe
from training.journal import Journal
from training.stages import practice
from training.stages.bench import Bench, StageResult, Tell
from training.tasks.debates import DEBATES, DebateTask, DebateTasks

FEWEST = 20
"""So many debates training needs, and so many the gate."""


def run(bench: Bench, found: DebateTasks, recipe: GrpoRecipe, journal: Journal, tell: Tell) -> StageResult:
    """Practise what was debated, then let the gate decide."""
    room = recipe.max_tokens
    train, held = ([one for one in side if bench.room(one.task.messages) >= room] for side in (found.train, found.gate))
    too_long = len(found.train) + len(found.gate) - len(train) - len(held)
    left_out = found.left_out | ({"longer than the model's context": too_long} if too_long else {})
    known = {"rejected": left_out}
    if min(len(train), len(held)) < FEWEST:
        return StageResult("skipped", (_too_few(train, held, left_out),), known)
    deck = practice.Deck([(one.task, one.weight) for one in train], Random(f"debates {bench.seed}"))
    return practice.on_truth(bench, DEBATES, deck, [one.task for one in held], recipe, journal, tell, known)


def _too_few(train: Sequence[DebateTask], held: Sequence[DebateTask], left_out: Mapping[str, int]) -> str:
    found = f"{len(train)} debates with a known outcome to learn from and {len(held)} held out for the gate"
    aside = "".join(f" ({count} left out: {why})" for why, count in left_out.items())
    return f"too little to learn from: {found}{aside}; it needs {FEWEST} of each"
