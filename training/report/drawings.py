"""The drawings of a report by name, each as a file of its own; and what the gate compared, drawn. Door: `drawings`.

A name is the stage and what is drawn, as `environment-reward`, and for an attempt that is not the last one its number
behind it: it stays the same while the improvement goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.report.curves import panels
from training.report.plot import WIDTH, plot, svg, text_at
from training.report.record import Check, Report, Stage
from training.report.tables import figure

_LEFT, _RIGHT, _TOP, _ROW = 12, 12, 40, 44
_LONGEST = 40
"""Characters of a name."""


def drawings(report: Report) -> dict[str, str]:
    """Name → SVG file: the curves of every stage, and its gate."""
    found: dict[str, str] = {}
    last = max((stage.attempt for stage in report.stages), default=1)
    for stage in report.stages:
        behind = "" if stage.attempt == last else f"-attempt-{stage.attempt}"
        for title, drawn in _drawn(stage):
            name = f"{_name(stage.stage)}-{_name(title)}{behind}"
            number = sum(other == name or other.startswith(f"{name}--") for other in found)
            found[f"{name}--{number + 1}" if number else name] = drawn
    return found


def _drawn(stage: Stage) -> Iterator[tuple[str, str]]:
    for panel in panels(stage):
        yield panel.title, plot(panel, alone=True)
    if drawn := comparison(stage, alone=True):
        yield "gate", drawn


def _name(title: str) -> str:
    """What of a title may stand in a file's name and in a path."""
    return "-".join(re.findall(r"[a-z0-9]+", title.lower()))[:_LONGEST] or "other"


def comparison(stage: Stage, *, alone: bool = False) -> str | None:
    """What was live (a ring) and the candidate (a dot) by every check that has numbers; None where none has.

    Each check has a scale of its own, from 0, and to 1 where nothing exceeds it.
    """
    checks = [one for one in stage.checks if one.before is not None or one.after is not None]
    if not checks:
        return None
    said = "; ".join(f"{one.name}: {figure(one.before)} before, {figure(one.after)} after" for one in checks)
    title = text_at(_LEFT, 22, "Gate", "title") + text_at(WIDTH - _RIGHT, 22, "ring: before, dot: after", "tick end")
    rows = (_row(place, check) for place, check in enumerate(checks))
    return svg(f"Gate, {said}", _TOP + _ROW * len(checks), (title, *rows), alone=alone)


def mark(check: Check) -> str:
    """The class of how it ended."""
    return {True: "passed", False: "failed", None: "open"}[check.ok]


def _row(place: int, check: Check) -> str:
    top, kind = _TOP + _ROW * place, mark(check)
    values = [value for value in (check.before, check.after) if value is not None]
    low, high = min(0.0, *values), max(0.0, *values)
    high = 1.0 if low == 0.0 and high <= 1.0 else high
    name = check.name if len(check.name) <= _LONGEST else f"{check.name[: _LONGEST - 1]}…"
    y = top + 32.0

    def x(value: float) -> float:
        return _LEFT + 6 + (WIDTH - _LEFT - _RIGHT - 12) * (value - low) / (high - low)

    parts = [
        text_at(_LEFT, top + 16, name, ""),
        text_at(WIDTH - _RIGHT, top + 16, f"{figure(check.before)} → {figure(check.after)}", f"{kind} end"),
        f'<line x1="{_LEFT}" y1="{y}" x2="{WIDTH - _RIGHT}" y2="{y}" class="grid"/>',
    ]
    if check.before is not None and check.after is not None:
        parts.append(f'<polyline points="{x(check.before):.1f},{y} {x(check.after):.1f},{y}" class="curve {kind}"/>')
    if check.before is not None:
        parts.append(f'<circle cx="{x(check.before):.1f}" cy="{y}" r="5" class="dot before"/>')
    if check.after is not None:
        parts.append(f'<circle cx="{x(check.after):.1f}" cy="{y}" r="4" class="dot {kind}"/>')
    return "".join(parts)
