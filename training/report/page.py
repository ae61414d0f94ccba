"""A report as one HTML page that needs nothing else. Door: `page`.

It holds no script and loads nothing; every text of a model's or a person's stands in it as text, its direction its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from training.report import tables
from training.report.curves import panels
from training.report.drawings import comparison, mark
from training.report.plot import DARK, LIGHT, plot, rules
from training.report.record import Judged, Report, Scored, Stage, StepRollouts
from training.report.tables import Table

_LONGEST = 4000


def page(report: Report) -> str:
    """The whole report."""
    title = _safe(tables.title(report))
    ended = "passed" if report.published else "failed" if report.decision == "refused" or report.error else "open"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark"><title>{title}</title><style>{STYLE}</style></head><body>
<h1>{title}</h1><p class="verdict {ended}">{_safe(tables.verdict(report))}</p>{_table(tables.facts(report))}
{"".join(_stage(stage, report) for stage in report.stages)}
</body></html>
"""


def _stage(stage: Stage, report: Report) -> str:
    reasons = "".join(f"<li>{_safe(reason)}</li>" for reason in stage.reasons)
    plots = "".join(f"<figure>{plot(panel)}</figure>" for panel in panels(stage))
    samples = "".join(map(_sample, stage.samples))
    parts = [
        f"<h2>{_safe(tables.stage_title(stage, report))}</h2>",
        f"<ul>{reasons}</ul>" if reasons else "",
        _section("What the gate compared", _checks(stage)),
        _section("Step by step", f'<div class="plots">{plots}</div>' if plots else ""),
        _section("What thinking longer gains", _table(tables.gaps(stage))),
        _section("Before and after", samples),
        "".join(map(_rollouts, stage.rollouts)),
        _folded("What the judge was asked and said", "".join(map(_judged, stage.judgements))),
        _folded("The run", _table(tables.stage_facts(stage))),
        _folded("Also measured", _table(tables.settings(stage.measured))),
        _folded("Recipe", _table(tables.settings(stage.recipe))),
    ]
    return f"<section>{''.join(parts)}</section>"


def _section(title: str, body: str) -> str:
    return f"<h3>{_safe(title)}</h3>{body}" if body else ""


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{_safe(title)}</summary>{body}</details>" if body else ""


def _checks(stage: Stage) -> str:
    drawn = comparison(stage)
    figure = f'<div class="plots"><figure>{drawn}</figure></div>' if drawn else ""
    return figure + _table(tables.checks(stage), [mark(check) for check in stage.checks])


def _table(table: Table, marks: list[str] | None = None) -> str:
    """`marks` are classes of the rows."""
    if not table.rows:
        return ""
    head = "".join(f'<th scope="col">{_safe(cell)}</th>' for cell in table.heads)
    classes = marks or [""] * len(table.rows)
    rows = "".join(
        f'<tr class="{mark}">{_cells(row, named=not head)}</tr>' for row, mark in zip(table.rows, classes, strict=True)
    )
    return f'<div class="table"><table>{f"<tr>{head}</tr>" if head else ""}{rows}</table></div>'


def _cells(row: tuple[str, ...], *, named: bool) -> str:
    first = f'<th scope="row">{_safe(row[0])}</th>' if named else f"<td>{_safe(row[0])}</td>"
    return first + "".join(f"<td>{_safe(cell)}</td>" for cell in row[1:])


def _sample(sample: dict[str, str | None]) -> str:
    return f'<dl class="sample">{"".join(_quoted(name, said) for name, said in sample.items())}</dl>'


def _rollouts(step: StepRollouts) -> str:
    kinds = {"best": step.best, "worst": step.worst, "not scored": step.unscored}
    shown = "".join(_rollout(kind, one) for kind, rollouts in kinds.items() for one in rollouts)
    return _folded(f"Rollouts of step {step.step}", shown)


def _rollout(kind: str, rollout: Scored) -> str:
    told = f"{kind.capitalize()}, group {rollout.group}: {tables.scores(rollout)}"
    texts = _quoted("prompt", rollout.prompt) + _quoted("completion", rollout.completion)
    return f'<p class="scores">{_safe(told)}</p><dl class="sample">{texts}</dl>'


def _judged(judged: Judged) -> str:
    texts = _quoted("asked", judged.prompt) + _quoted("said", judged.said)
    return f'<p class="scores">{_safe(tables.judgement(judged))}</p><dl class="sample">{texts}</dl>'


def _quoted(name: str, said: str | None) -> str:
    """A text under its name; its own marks of direction are shown, not followed."""
    body = "–" if said is None else f'<pre dir="auto">{escape(tables.visible(tables.beginning(said, _LONGEST)))}</pre>'
    return f"<dt>{_safe(name)}</dt><dd>{body}</dd>"


def _safe(text: str) -> str:
    """On one line, with nothing in it that HTML would read."""
    return escape(tables.line(text))


def _variables(colours: Mapping[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())


STYLE = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}"
    f"@media(prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
    "body{font:16px/1.5 Georgia,serif;max-width:66rem;margin:2rem auto;padding:0 1rem;color:var(--ink);"
    "background:var(--paper);overflow-wrap:anywhere}"
    "h1{font-size:1.5rem}h2{font-size:1.25rem;margin-top:3rem;border-top:1px solid var(--line);padding-top:1rem}"
    "h3{font-size:1.05rem;margin:1.8rem 0 .5rem}.verdict{border-left:4px solid var(--soft);padding-left:1rem}"
    ".verdict.passed{border-color:var(--good)}.verdict.failed{border-color:var(--bad)}"
    ".plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:1rem}"
    "figure{margin:0}svg{display:block;width:100%;height:auto;background:var(--sheet);"
    "border:1px solid var(--line);border-radius:6px}"
    + rules(lambda name: f"var(--{name})")
    + ".table{overflow-x:auto}table{border-collapse:collapse}"
    "td,th{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);"
    "font:14px/1.4 sans-serif;overflow-wrap:break-word;min-width:3rem}th[scope=row]+td{overflow-wrap:anywhere}"
    "td:nth-child(n+5):last-child{min-width:14rem}th{color:var(--soft);font-weight:500}"
    "tr.failed td{color:var(--bad)}"
    "details{border-bottom:1px solid var(--line);padding:.4rem 0}summary{cursor:pointer;font:15px sans-serif}"
    "dl.sample{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1rem;margin:.5rem 0 1.2rem;"
    "background:var(--sheet);border:1px solid var(--line);border-radius:6px;padding:.6rem .8rem}"
    "dt{color:var(--soft);font:14px/1.5 sans-serif}dd{margin:0;min-width:0}"
    "pre{margin:0;font:14px/1.5 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere;max-height:18rem;"
    "overflow:auto}.scores{font:14px sans-serif;margin:.8rem 0 0}"
)
