"""What a stage recorded step by step, put together into panels of curves. Doors: `panels`, `sparkline`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from training.report.reading import leaves, number
from training.report.record import Stage

_ANCHOR = "truth"
_BARS = "▁▂▃▄▅▆▇█"
_GAP = "·"
_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Curve:
    """One number at each step; None where it was not recorded."""

    label: str
    values: tuple[float | None, ...]

    @property
    def present(self) -> list[float]:
        return [value for value in self.values if value is not None]


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves on one pair of axes; `low` and `high` are values that the vertical axis reaches at least."""

    title: str
    unit: str
    steps: tuple[float, ...]
    curves: tuple[Curve, ...]
    low: float | None = None
    high: float | None = None
    along: str = "step"
    """What the horizontal axis counts."""


@dataclass(frozen=True, slots=True)
class _Known:
    title: str
    unit: str
    keys: Mapping[str, str]
    low: float | None = None
    high: float | None = None


_KNOWN = (
    _Known("KL from the start", "nats a token", {"kl": "KL"}, 0.0),
    _Known("Entropy", "nats a token", {"entropy": "entropy"}, 0.0),
    _Known("Length", "tokens, mean", {"length": "length"}, 0.0),
    _Known("Groups that teach", "share", {"informative": "groups that teach"}, 0.0, 1.0),
    _Known("Difficulty", "level", {"difficulty": "difficulty"}),
    _Known("Loss", "", {"loss": "loss"}),
    _Known("Gradient norm", "", {"gradient_norm": "gradient norm"}, 0.0),
    _Known("Clipped", "share of tokens", {"clipped_low": "below", "clipped_high": "above"}, 0.0),
    _Known("Margin", "nats, beyond the reference's", {"margin": "margin"}),
    _Known("Chosen answers", "nats a token", {"chosen_nll": "negative log-likelihood"}, 0.0),
)


_PAIRS = _Known("Pairs in the right order", "share of the batch", {"accuracy": "in the right order"}, 0.0, 1.0)
_ANCHORED = (
    _Known("Right answers", "share, by the truth", {"accuracy": "right"}, 0.0, 1.0),
    _Known("Agreement with the truth", "Spearman's rho of the advantages", {"agreement": "agreement"}, 0.0, 1.0),
)
"""What `accuracy` means depends on what was learned."""


def panels(stage: Stage) -> list[Panel]:
    """All that the steps hold: the reward that teaches beside the truth, what is known, and what else there is."""
    numbers = [dict(_numbers(step)) for step in stage.steps]
    left = list(dict.fromkeys(key for step in numbers for key in step if key != "step"))
    steps = tuple(float(place if (at := step.get("step")) is None else at) for place, step in enumerate(numbers))
    found = []
    meant = (_PAIRS,) if stage.stage == "preferences" else _ANCHORED
    for known in (_reward(stage), *meant, *_KNOWN, *(_Known(_worded(key), "", {key: _worded(key)}) for key in left)):
        keys = [key for key in known.keys if key in left]
        left = [key for key in left if key not in keys]
        if keys:
            curves = tuple(Curve(known.keys[key], tuple(step.get(key) for step in numbers)) for key in keys)
            found.append(Panel(known.title, known.unit, steps, curves, known.low, known.high))
    return found


def sparkline(curve: Curve) -> str:
    """The curve in at most 40 characters, several steps to a character where there are more; a dot is a gap."""
    width = min(_WIDTH, len(curve.values))
    parts = [curve.values[len(curve.values) * n // width : len(curve.values) * (n + 1) // width] for n in range(width)]
    means = [fmean(present) if (present := [value for value in part if value is not None]) else None for part in parts]
    known = [mean for mean in means if mean is not None]
    low, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    return "".join(_GAP if mean is None else _BARS[round(7 * (mean - low) / span) if span else 0] for mean in means)


def _reward(stage: Stage) -> _Known:
    names = {f"reward_{stage.taught_by}": f"{stage.taught_by} (teaches)", f"reward_{_ANCHOR}": f"{_ANCHOR} (anchor)"}
    if stage.taught_by == _ANCHOR:
        names = {f"reward_{_ANCHOR}": f"{_ANCHOR} (teaches)"}
    return _Known("Reward", "mean of the rollouts", names, 0.0, 1.0)


def _numbers(step: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """What can be drawn of one step by name; what a reward told of itself has the reward's name before it."""
    for name, value in step.items():
        if name == "info":
            yield from ((path, number(leaf)) for path, leaf in leaves(value) if not isinstance(leaf, str))
        elif value is None or number(value) is not None:
            yield name, number(value)


def _worded(key: str) -> str:
    words = key.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
