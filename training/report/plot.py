"""Line plots as SVG, drawn by hand: axes, ticks, lines with gaps, a legend. Doors: `plot`, and `svg`, its frame.

No text in it is anybody's markup, and it loads nothing. Colours are classes (`c0`, `c1`, ...) that the page defines by
`rules`, so that one drawing does for light and dark; a drawing that stands alone brings them along. Lines differ in
their dashes too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import groupby

from training.report.curves import Curve, Panel
from training.report.tables import figure, line, summary

WIDTH = 390
_HEIGHT = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 56, 36
_TICKS = 4
_DOTTED = 40
"""Up to so many steps every value is a dot that tells its number."""
_COLOURS = 6
_NEAR = 1e-3
"""So much of a tick's distance beyond a round value needs no room of its own: a KL of -1e-9 is rounding."""

LIGHT: Mapping[str, str] = {
    "ink": "#222", "soft": "#6b6760", "paper": "#fbfaf7", "sheet": "#fff", "line": "#e3dfd6", "good": "#2f6f4f",
    "bad": "#b3541e", "c0": "#2f6f4f", "c1": "#b3541e", "c2": "#3b5b92", "c3": "#8a3b74", "c4": "#7a6a1f", "c5": "#555",
}  # fmt: skip
DARK: Mapping[str, str] = {
    "ink": "#e6e2da", "soft": "#a29c90", "paper": "#191a1b", "sheet": "#222426", "line": "#3a3c3e", "good": "#7cc7a0",
    "bad": "#f0a070", "c0": "#7cc7a0", "c1": "#f0a070", "c2": "#93b4ee", "c3": "#dd97c6", "c4": "#d3c06a",
    "c5": "#b5b5b5",
}  # fmt: skip

Point = tuple[float, float]


def rules(colour: Callable[[str], str]) -> str:
    """The style sheet of all drawings; `colour` says how a colour of `LIGHT` and `DARK` is written."""
    return (
        f"text{{font-family:sans-serif;font-size:13px;fill:{colour('ink')}}}text.title{{font-size:15px;font-weight:600}}"
        f".tick{{font-size:13px;font-weight:400;fill:{colour('soft')}}}"
        f"text.end{{text-anchor:end}}text.middle{{text-anchor:middle}}.grid{{stroke:{colour('line')}}}"
        ".curve{fill:none;stroke-width:2;stroke-linejoin:round}"
        + "".join(
            f".curve.c{n}{{stroke:{colour(f'c{n}')}}}.dot.c{n}{{fill:{colour(f'c{n}')}}}" for n in range(_COLOURS)
        )
        + ".curve.c1{stroke-dasharray:6 3}.curve.c2{stroke-dasharray:2 3}.curve.c3{stroke-dasharray:9 3 2 3}"
        + "".join(
            f".curve.{mark}{{stroke:{colour(name)}}}.dot.{mark}{{fill:{colour(name)}}}text.{mark}{{fill:{colour(name)}}}"
            for mark, name in (("passed", "good"), ("failed", "bad"), ("open", "soft"))
        )
        + f".dot.before{{fill:{colour('sheet')};stroke:{colour('soft')};stroke-width:2}}"
    )


def svg(label: str, height: int, parts: Iterable[str], *, alone: bool) -> str:
    """A drawing of this height that is read out as `label`; `alone`: a file of its own, on white."""
    box = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(line(label))}"'
    if not alone:
        return f"<svg {box}>{''.join(parts)}</svg>"
    sheet = f'<rect width="{WIDTH}" height="{height}" fill="{LIGHT["sheet"]}"/>'
    style = f"<style>{rules(LIGHT.__getitem__)}</style>{sheet}"
    size = f'xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
    return f"<svg {size} {box}>{style}{''.join(parts)}</svg>\n"


def plot(panel: Panel, *, alone: bool = False) -> str:
    """The panel as an SVG element, or as a file of its own; a value that is missing is a gap in its line."""
    axes = _Axes(panel)
    said = f"{panel.title}, {panel.unit}: " + "; ".join(map(summary, panel.curves))
    parts = [
        _title(panel),
        *(_vertical_tick(axes, value) for value in ticks(axes.low, axes.high)),
        *(_step_tick(axes, step) for step in step_ticks(panel.steps)),
        text_at(_LEFT + axes.width / 2, _HEIGHT - 4, panel.along, "tick middle"),
        *_legend(panel),
        *(part for place, curve in enumerate(panel.curves) for part in _line(axes, panel, curve, place % _COLOURS)),
    ]
    return svg(said, _HEIGHT, parts, alone=alone)


def ticks(low: float, high: float) -> list[float]:
    """Round values within low..high, at most five of them."""
    apart = _apart(low, high)
    return [number * apart for number in range(math.ceil(low / apart - 1e-9), math.floor(high / apart + 1e-9) + 1)]


def step_ticks(steps: Sequence[float]) -> list[float]:
    """Whole steps to label."""
    low, high = min(steps, default=0.0), max(steps, default=0.0)
    return [low] if low == high else sorted({float(round(value)) for value in ticks(low, high)})


def bounds(panel: Panel) -> tuple[float, float]:
    """Round values below and above all that is drawn, never the same: the ends of the vertical axis."""
    wanted = [value for value in (panel.low, panel.high) if value is not None]
    values = wanted + [value for curve in panel.curves for value in curve.present] or [0.0, 1.0]
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-200):
        room = abs(high) / 10 if abs(high) > 1e-200 else 1.0
        low, high = low if low == panel.low else low - room, high + room
    apart = _apart(low, high)
    return math.floor(low / apart + _NEAR) * apart, math.ceil(high / apart - _NEAR) * apart


def _apart(low: float, high: float) -> float:
    """1, 2 or 5 times a power of ten, by Heckbert (Nice numbers for graph labels, Graphics Gems, 1990)."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(nice * power for nice in (1, 2, 5, 10) if nice * power >= rough * 0.999)


class _Axes:
    """Where values lie in the drawing."""

    def __init__(self, panel: Panel) -> None:
        self.low, self.high = bounds(panel)
        self.first, self.last = min(panel.steps, default=0.0), max(panel.steps, default=0.0)
        self.width, self.height = WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(self, step: float) -> float:
        along = 0.5 if self.first == self.last else (step - self.first) / (self.last - self.first)
        return _LEFT + self.width * along

    def y(self, value: float) -> float:
        return _TOP + self.height * (1 - (value - self.low) / (self.high - self.low))


def _vertical_tick(axes: _Axes, value: float) -> str:
    y = axes.y(value)
    line = f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}" class="grid"/>'
    return line + text_at(_LEFT - 6, y + 4, f"{value:.4g}", "tick end")


def _step_tick(axes: _Axes, step: float) -> str:
    return text_at(axes.x(step), _HEIGHT - _BOTTOM + 16, f"{step:.10g}", "tick middle")


def _title(panel: Panel) -> str:
    unit = f'<tspan class="tick" dx="8">{escape(line(panel.unit))}</tspan>'
    return f'<text x="12" y="22" class="title">{escape(line(panel.title))}{unit if panel.unit else ""}</text>'


def _legend(panel: Panel) -> Iterator[str]:
    """What each line is, where there are several."""
    x = 12.0
    for place, curve in enumerate(panel.curves if len(panel.curves) > 1 else ()):
        yield f'<line x1="{x:.0f}" y1="36" x2="{x + 22:.0f}" y2="36" class="curve c{place % _COLOURS}"/>'
        yield text_at(x + 28, 40, curve.label, "tick")
        x += 44 + 6.2 * len(curve.label)


def _line(axes: _Axes, panel: Panel, curve: Curve, colour: int) -> Iterator[str]:
    placed = list(zip(panel.steps, curve.values, strict=True))
    for segment in _segments(axes, placed):
        if len(segment) == 1:
            yield f'<circle cx="{segment[0][0]:.1f}" cy="{segment[0][1]:.1f}" r="2" class="dot c{colour}"/>'
        else:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in segment)
            yield f'<polyline points="{path}" class="curve c{colour}"/>'
    if len(placed) <= _DOTTED:
        for step, value in placed:
            if value is not None:
                told = escape(f"{line(curve.label)}, step {step:.10g}: {figure(value)}")
                place = f'cx="{axes.x(step):.1f}" cy="{axes.y(value):.1f}" r="3"'
                yield f'<circle {place} class="dot c{colour}"><title>{told}</title></circle>'


def _segments(axes: _Axes, placed: Sequence[tuple[float, float | None]]) -> Iterator[list[Point]]:
    """Runs of steps that have values."""
    for known, run in groupby(placed, key=lambda one: one[1] is not None):
        if known:
            yield [(axes.x(step), axes.y(value)) for step, value in run if value is not None]


def text_at(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(line(text))}</text>'
