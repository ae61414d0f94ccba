"""The stage that learns what the owner prefers, gated on preferences whose prompts were never trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from statistics import fmean
from typing import Any

from training import gate, preference
from training.journal import Journal
from training.monitors import Monitors
from training.optim import StackedAdamW
from training.preference import EncodedAnswer, Given, PreferenceRecipe
from training.rollouts import TrainablePolicy
from training.stages import safeguards
from training.stages.bench import INCUMBENT, POLICY, Bench, StageResult, Tell, broken, check_suite, judged
from training.suite import answer_greedily
from training.tasks.interactions import Preference, Preferences

_SHOWN = 3
_LONGEST = 256


def run(bench: Bench, data: Preferences, recipe: PreferenceRecipe, journal: Journal, tell: Tell) -> StageResult:
    """Train on what the owner preferred, then let the gate decide."""
    given: list[Given] = [*bench.train_pairs, *bench.train_liked, *bench.train_disliked]
    held: list[Given] = [*bench.gate_pairs, *bench.gate_liked, *bench.gate_disliked]
    left_out = _left_out(data, len(given) + len(held))
    if len(given) < recipe.min_train or preference.prompts_of(held) < recipe.min_gate:
        return StageResult("skipped", (_too_few(given, held, recipe, left_out),))
    monitors = Monitors()
    learner = preference.LOSSES[recipe.loss](
        policy=bench.policy,
        optimizer=StackedAdamW(bench.parameters, slots=[POLICY], lr=recipe.lr),
        recipe=recipe,
        monitors=monitors,
        slot=POLICY,
        reference=INCUMBENT,
        seed=bench.seed,
    )
    total = learner.updates(given) + 1

    def on_step(done: int, numbers: dict[str, float]) -> None:
        journal.step(numbers)
        tell(done, total, f"preferences: update {done} of {total - 1}, loss {numbers['loss']:.3f}")

    stopped = learner.run(given, on_step)
    if (reason := broken(bench, monitors, stopped)) is not None:
        return StageResult("refused", (reason,))
    return _gate(bench, held, left_out, lambda note: tell(total - 1, total, f"preferences: {note}"))


def _left_out(data: Preferences, encoded: int) -> dict[str, int]:
    """Why how many preferences teach nothing; only what occurred."""
    counts = {
        "feedback entries name no different rejected answer": data.unpaired,
        "dislikes name no better answer": data.disliked,
        "pairs show a memory that was forgotten since": data.forgotten,
        "pairs say the opposite of each other": data.contradicting,
        "are longer than the model's context": len(data.train) + len(data.gate) - encoded,
    }
    return {why: count for why, count in counts.items() if count}


def _too_few(given: Sequence[Given], held: Sequence[Given], recipe: PreferenceRecipe, left_out: dict[str, int]) -> str:
    prompts = preference.prompts_of(held)
    found = f"{len(given)} preferences to learn from and {prompts} prompts held out for the gate"
    aside = "".join(f" ({count} {why})" for why, count in left_out.items())
    return f"too little to learn from: {found}{aside}; it needs {recipe.min_train} and {recipe.min_gate}"


def _gate(bench: Bench, given: Sequence[Given], left_out: dict[str, int], report: Callable[[str], None]) -> StageResult:
    report("gate on held-out preferences")
    held = [one.preference for one in given]
    before, after = (_answers(bench.policy, held, slot) for slot in (INCUMBENT, POLICY))
    margins = [preference.margins_by_prompt(bench.policy, given, slot=slot) for slot in (INCUMBENT, POLICY)]
    liked = [one for one in given if isinstance(one, EncodedAnswer)]
    measured, safety = check_suite(bench, report)
    asked = [pair.messages[-1].content for pair in held]
    manner = safeguards.manner_checks(asked, before, after, [pair.chosen for pair in held])
    safety = [_length_check(held, before, after), *manner, *safety]
    if liked:
        likelihoods = [preference.chosen_nll(bench.policy, liked, slot=slot) for slot in (INCUMBENT, POLICY)]
        safety.insert(0, gate.not_less_likely("likelihood of preferred answers", *likelihoods))
    verdict = gate.decide(gate.preferred_more("owner's preferences", *margins), safety)
    more: dict[str, Any] = {"samples": _samples(held, before, after), "left_out": left_out}
    nearer = [_nearer(held, texts) for texts in (before, after)]
    if compared := len(nearer[0]):
        more["nearer_to_chosen"] = {"before": fmean(nearer[0]), "after": fmean(nearer[1]), "n": compared}
    return judged(verdict, measured, more)


def _answers(policy: TrainablePolicy, held: Sequence[Preference], slot: int) -> list[str]:
    """Greedy answers, with room for twice the longest that the owner spoke of."""
    room = min(2 * max(len(text) for pair in held for text in (pair.chosen, pair.rejected) if text), _LONGEST)
    return [one.text for one in answer_greedily(policy, [pair.messages for pair in held], slot=slot, max_tokens=room)]


def _length_check(held: Sequence[Preference], before: Sequence[str], after: Sequence[str]) -> gate.Check:
    """The owner may well want another length than the incumbent's: the chosen answers say which."""
    lengths = [[len(text) for text in texts] for texts in (before, after)]
    chosen = [len(pair.chosen) for pair in held if pair.chosen is not None]
    wanted = fmean(chosen) / max(fmean(lengths[0]), 1.0) if chosen else 1.0
    return gate.length_kept("answer length", *lengths, unit="characters", wanted=wanted)


def _nearer(held: Sequence[Preference], texts: Sequence[str]) -> list[bool]:
    """Whether an answer's text is nearer to the chosen than to the rejected one: shown, never decisive."""
    return [
        _likeness(text, pair.chosen) > _likeness(text, pair.rejected)
        for pair, text in zip(held, texts, strict=True)
        if pair.rejected is not None and pair.chosen is not None
    ]


def _likeness(first: str, second: str) -> float:
    return SequenceMatcher(None, first, second, autojunk=False).ratio()


def _samples(held: Sequence[Preference], before: Sequence[str], after: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"prompt": pair.messages[-1].content, "before": early, "after": late, "chosen": pair.chosen}
        for pair, early, late in zip(held[:_SHOWN], before, after, strict=False)
    ]
