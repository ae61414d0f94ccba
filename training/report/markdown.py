"""A report as Markdown (CommonMark with tables). Door: `markdown`.

What models or people wrote stands in fenced blocks, whose fence is longer than any in it; all else is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.report import tables
from training.report.curves import panels
from training.report.record import Judged, Report, Scored, Stage, StepRollouts
from training.report.tables import Table

_MARKUP = re.compile(r"[\\`*\[\]<#|~&]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])")
"""An underscore within a word is none."""
_FENCE = re.compile("`{3,}")
_LONGEST = 600


def markdown(report: Report) -> str:
    """The whole report."""
    lines = [
        f"# {_inline(tables.title(report))}",
        "",
        _inline(tables.verdict(report)),
        "",
        *_table(tables.facts(report)),
    ]
    for stage in report.stages:
        lines += [f"## {_inline(tables.stage_title(stage, report))}", "", *_stage(stage)]
    return "\n".join(lines).rstrip() + "\n"


def _stage(stage: Stage) -> Iterator[str]:
    yield from (f"- Why: {_inline(reason)}" for reason in stage.reasons)
    yield ""
    yield from _table(tables.stage_facts(stage))
    yield from _section("What the gate compared", tables.checks(stage))
    yield from _section("What thinking longer gains", tables.gaps(stage))
    yield from _section("Step by step", tables.courses(panels(stage)))
    if stage.samples:
        yield from ("### Before and after", "")
    for number, sample in enumerate(stage.samples, 1):
        for name, said in sample.items():
            yield from _quoted(f"Sample {number}, {name}", said)
    for step in stage.rollouts:
        yield from _rollouts(step)
    if stage.judgements:
        yield from ("### What the judge was asked and said", "")
    for judged in stage.judgements:
        yield from _judged(judged)
    yield from _section("Also measured", tables.settings(stage.measured))
    yield from _section("Recipe", tables.settings(stage.recipe))


def _section(title: str, table: Table) -> Iterator[str]:
    if table.rows:
        yield from (f"### {title}", "", *_table(table))


def _rollouts(step: StepRollouts) -> Iterator[str]:
    yield from (f"### Rollouts of step {step.step}", "")
    kinds = {"best": step.best, "worst": step.worst, "not scored": step.unscored}
    for kind, rollouts in kinds.items():
        for rollout in rollouts:
            yield from _rollout(kind, rollout)


def _rollout(kind: str, rollout: Scored) -> Iterator[str]:
    yield f"{kind.capitalize()} (group {rollout.group}): {_inline(tables.scores(rollout))}"
    yield ""
    yield from _quoted("Prompt", rollout.prompt)
    yield from _quoted("Completion", rollout.completion)


def _judged(judged: Judged) -> Iterator[str]:
    yield f"{_inline(tables.judgement(judged))}:"
    yield ""
    yield from _quoted("Asked", judged.prompt)
    yield from _quoted("Said", judged.said)


def _quoted(name: str, said: str | None) -> Iterator[str]:
    """A text in a block of its own."""
    if said is None:
        yield from (f"{_inline(name)}: –", "")
        return
    shown = tables.visible(tables.beginning(said, _LONGEST))
    fence = "`" * max(3, 1 + max(map(len, _FENCE.findall(shown)), default=0))
    yield from (f"{_inline(name)}:", "", fence, shown, fence, "")


def _table(table: Table) -> list[str]:
    width = len(table.heads) or max(map(len, table.rows), default=2)
    rows = [table.heads or ("",) * width, ("---",) * width]
    lines = [_row(tuple(map(_inline, rows[0]))), _row(rows[1])]
    return [*lines, *(_row(tuple(map(_inline, cells))) for cells in table.rows), ""]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _inline(text: str) -> str:
    """On one line, with nothing in it that Markdown would read."""
    return _MARKUP.sub(r"\\\g<0>", tables.line(text))
