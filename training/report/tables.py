"""What both written forms of a report show as tables, as plain text: they differ in how they set it, not in what.

Every cell is text that may come from anywhere; whoever sets it escapes it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agents.messages import shortened
from training.report.curves import Curve, Panel, sparkline
from training.report.reading import leaves
from training.report.record import Judged, Report, Scored, Stage

_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NONE = "–"
_LINE = 400


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under their heads; without heads the first cell of each row names the others."""

    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def title(report: Report) -> str:
    return f"Improvement of {f'agent:{report.agent}' if report.agent else 'an agent that is gone'}"


def verdict(report: Report) -> str:
    """How it ended, in a line."""
    if report.state == "done":
        version = report.published
        if version is None:
            return f"Nothing was published: {report.decision or 'no decision was recorded'}."
        return f"Published as version {version.number}{', which is live' if version.live else ''}."
    return f"No result: {report.state}{f', {report.error}' if report.error else ''}."


def facts(report: Report) -> Table:
    rows = [
        ("improvement", report.id),
        ("asked", moment(report.created_at)),
        ("ended", moment(report.finished_at)),
        ("time from asking to end", duration(report.seconds)),
        ("attempts", figure(report.attempts)),
    ]
    if report.published is not None:
        rows.append(("SHA-256 of the adapter", report.published.sha256))
    return Table((), rows)


def stage_title(stage: Stage, report: Report) -> str:
    again = f", attempt {stage.attempt}" if report.attempts > 1 or stage.attempt > 1 else ""
    return f"{stage.stage.capitalize()}{again}: {stage.decision or 'not decided'}"


def stage_facts(stage: Stage) -> Table:
    made_from = ", ".join(f"{count:,} {what}" for what, count in (stage.learned_from or {}).items() if count)
    rows = [
        ("run", stage.run_id),
        ("began", moment(stage.started_at)),
        ("time used", duration(stage.seconds)),
        ("live before", "the bare model" if stage.parent_version is None else f"version {stage.parent_version}"),
        ("made from", made_from or _NONE),
        ("SHA-256 of the data", stage.data_sha256 or _NONE),
        ("steps", figure(len(stage.steps))),
        ("rollouts stored", figure(stage.rollouts_stored)),
    ]
    if stage.judgements_stored or stage.judgements_left_out is not None:
        left_out = f" ({figure(stage.judgements_left_out)} more left out)" if stage.judgements_left_out else ""
        rows.append(("judgements stored", f"{figure(stage.judgements_stored)}{left_out}"))
    if stage.taught_by is not None:
        rows.append(("taught by", stage.taught_by))
    if stage.stopped_early is not None:
        rows.append(("stopped early", stage.stopped_early))
    return Table((), rows)


def checks(stage: Stage) -> Table:
    rows = [
        (one.name, figure(one.before), figure(one.after), figure(one.n), _passed(one.ok), one.note)
        for one in stage.checks
    ]
    return Table(("check", "before", "after", "n", "result", "what was measured"), rows)


def gaps(stage: Stage) -> Table:
    names = list(dict.fromkeys(name for gap in stage.gaps for name in gap.numbers))
    rows = [(gap.difficulty or _NONE, *(figure(gap.numbers.get(name)) for name in names)) for gap in stage.gaps]
    return Table(("difficulty", *(name.replace("_", " ") for name in names)), rows)


def settings(told: dict[str, Any]) -> Table:
    """Any settings or measurements, one a row under its path."""
    return Table((), [(path.replace("_", " "), _leaf(value)) for path, value in leaves(told)])


def courses(found: Sequence[Panel]) -> Table:
    """What the plots draw, in a line a curve."""
    rows = [_course(panel, curve) for panel in found for curve in panel.curves]
    return Table(("curve", "unit", "first", "last", "lowest", "highest", "steps with a value", "course"), rows)


def scores(rollout: Scored) -> str:
    """Every score of a rollout, in a line."""
    values = [f"{name} {figure(value)}" for name, value in rollout.rewards.items()]
    return ", ".join([*values, f"advantage {figure(rollout.advantage)}", f"ended by {rollout.finish_reason}"])


def judgement(judged: Judged) -> str:
    """When it was made and what was read in it, in a line."""
    when = "Outside of any step" if judged.step is None else f"Step {judged.step}"
    return f"{when}, verdict {judged.verdict or _NONE}"


def summary(curve: Curve) -> str:
    """A curve in words, for whoever cannot see it."""
    present = curve.present
    if not present:
        return f"{curve.label}: no values"
    missing = f", {len(curve.values) - len(present)} missing" if len(present) < len(curve.values) else ""
    return (
        f"{curve.label}: {figure(present[0])} at first, {figure(present[-1])} at last, "
        f"between {figure(min(present))} and {figure(max(present))}{missing}"
    )


def figure(value: float | None) -> str:
    """A number to four digits; a dash where there is none."""
    if value is None:
        return _NONE
    return f"{value:,}" if isinstance(value, int) else f"{value + 0.0:.4g}"  # no minus before a zero


def moment(seconds: float | None) -> str:
    """A time since the epoch, in UTC."""
    if seconds is None or not 0 <= seconds < 1e11:
        return _NONE
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float | None) -> str:
    if seconds is None:
        return _NONE
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:,.1f} min"


def visible(text: str) -> str:
    """The text with what would steer a terminal or turn the writing around shown as what it is."""
    return "".join(f"\\u{ord(one):04x}" if _steers(one) else one for one in text)


def line(text: str) -> str:
    """The text, or its beginning, on one line."""
    return visible(shortened(text, _LINE))


def beginning(text: str, most: int) -> str:
    """The text, or its beginning and how much more there is."""
    return text if len(text) <= most else f"{text[:most]}…\n({len(text) - most:,} more characters in the JSON form)"


def _steers(one: str) -> bool:
    return one in _REORDERING or (unicodedata.category(one) in ("Cc", "Zl", "Zp") and one not in "\n\t")


def _course(panel: Panel, curve: Curve) -> tuple[str, ...]:
    present, label = curve.present, panel.title if len(panel.curves) == 1 else f"{panel.title}: {curve.label}"
    ends = (present[0], present[-1], min(present), max(present)) if present else (None,) * 4
    return (label, panel.unit, *map(figure, ends), f"{len(present)} of {len(curve.values)}", sparkline(curve))


def _passed(ok: bool | None) -> str:
    return _NONE if ok is None else "passed" if ok else "failed"


def _leaf(value: str | float | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else figure(value)
