"""The stage that learns from the owner's own texts, token by token, gated on conversations that were never trained on.

A replay of the incumbent's own answers to general items stands beside every batch, so that nothing is forgotten; the
suite tells whether that held.
"""

from __future__ import annotations

from collections.abc import Sequence

from training import gate
from training.journal import Journal
from training.monitors import Monitors
from training.optim import StackedAdamW
from training.rollouts import TokenPair
from training.stages.bench import (
    INCUMBENT,
    POLICY,
    Bench,
    StageResult,
    Tell,
    broken,
    check_suite,
    judged,
    preferences_kept,
)
from training.suite import replay
from training.supervised import Supervised, TextsRecipe, nll_of
from training.tasks.texts import Texts


def run(bench: Bench, data: Texts, recipe: TextsRecipe, journal: Journal, tell: Tell) -> StageResult:
    """Train on the texts, then let the gate decide."""
    blocks, held = bench.train_texts, bench.gate_texts
    texts = sum(len(talk.texts) for talk in data.train)
    if texts < recipe.min_train or len(held) < recipe.min_gate:
        return StageResult("skipped", (_too_little(texts, len(held), recipe, data),))
    monitors = Monitors()
    trainer = Supervised(
        policy=bench.policy,
        optimizer=StackedAdamW(bench.parameters, slots=[POLICY], lr=recipe.lr),
        recipe=recipe,
        monitors=monitors,
        slot=POLICY,
        seed=bench.seed,
    )
    total = trainer.updates(len(blocks)) + 2
    tell(0, total, "texts: answering general questions, to be gone over beside them")
    kept = replay(bench.policy, bench.suite, bench.seed, recipe.replay_items, slot=INCUMBENT)

    def on_step(done: int, numbers: dict[str, float]) -> None:
        journal.step(numbers)
        tell(1 + done, total, f"texts: update {done} of {total - 2}, {numbers['text_nll']:.3f} nats a token")

    stopped = trainer.run(blocks, kept, on_step)
    if (reason := broken(bench, monitors, stopped)) is not None:
        return StageResult("refused", (reason,))

    def report(note: str) -> None:
        tell(total - 1, total, f"texts: {note}")

    report("gate on held-out conversations")
    before, after = (_nll_by_talk(bench, held, slot) for slot in (INCUMBENT, POLICY))
    measured, safety = check_suite(bench, report)
    if bench.gate_pairs:
        safety.append(preferences_kept(bench))
    verdict = gate.decide(gate.likelier("owner's texts", before, after), safety)
    return judged(verdict, measured, {"replayed": len(kept), "left_out": dict(data.left_out), "stopped_early": stopped})


def _nll_by_talk(bench: Bench, held: Sequence[Sequence[TokenPair]], slot: int) -> list[float]:
    """Nats a token of each conversation: one conversation is one piece of evidence."""
    return [nll_of(bench.policy, blocks, slot=slot) for blocks in held]


def _too_little(texts: int, held: int, recipe: TextsRecipe, data: Texts) -> str:
    found = f"{texts} texts of your own to learn from and {held} conversations held out for the gate"
    aside = "".join(f" ({count} left out: {why})" for why, count in data.left_out.items())
    return f"too little to learn from: {found}{aside}; it needs {recipe.min_train} and {recipe.min_gate}"
