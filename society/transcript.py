"""A debate to keep or to show: as Markdown, and as one HTML page that needs nothing else. Doors: `markdown`, `page`.

Both are made of a report (`report.report`) and of nothing else. The page draws who held what in each round and where it
went, as an SVG; it holds no script, loads nothing, and every text of a member's stands in it as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from agents.messages import shortened
from society.report import conclusion
from society.standing import RANKING
from society.state import CLOSED

Json = dict[str, Any]
_COLOURS = ("#2f6f4f", "#b3541e", "#3b5b92", "#8a3b74", "#7a6a1f", "#555555")
_ROW, _LEFT, _COLUMN, _TOP = 46, 150, 260, 60
_SILENT = "#b8b3aa"


def markdown(told: Json) -> str:
    """The whole transcript as Markdown; what members wrote stands in it as indented text."""
    verdict = told["verdict"]
    lines = [f"# {_line(told['question'])}", ""]
    if verdict is None:
        lines += [f"Not finished: {told['error'] or told['state']}.", ""]
    else:
        lines += [*_verdict(told), ""]
    lines += ["## Hypotheses", ""]
    for one in told["hypotheses"]:
        holders = ", ".join(one["supporters"]) or "nobody any more"
        lines.append(f"- **{_line(one['answer'])}** ({one['posterior']:.0%}, {_became(told, one)}): {holders}")
    for number, title in ((0, "Blind round"), (1, "Solved again")):
        said = [row for row in told["positions"] if row["round"] == number]
        if number == 1 and told["reviews"] and told["kind"] == CLOSED:
            lines += ["", "## Cross-examination", ""]
            for row in told["reviews"]:
                lines += [f"- {row['agent']} on **{_line(row['hypothesis'] or '')}**: {row['verdict']}{_tally(row)}"]
                lines += _quoted(_argued(row))
        if said:
            lines += ["", f"## {title}", ""]
            for row in said:
                reason = f" ({row['reason'].replace('_', ' ')})" if row["reason"] else ""
                lines += [f"- {row['agent']}: {_line(_position(row))}{reason}{_tally(row)}", *_quoted(_argued(row))]
    if told["kind"] != CLOSED:
        lines += _ranked(told)
    return "\n".join(lines) + "\n"


def page(told: Json) -> str:
    """The whole transcript as a page of HTML."""
    verdict = told["verdict"]
    head = _line(told["question"])
    summary = "".join(f"<p>{_inline(line)}</p>" for line in (_verdict(told) if verdict else ["Not finished."]))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(head)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(head)}</h1><section class="verdict">{summary}</section>
<h2>Who held what</h2>{_flow(told)}
<h2>Hypotheses</h2>{_hypotheses(told)}
<h2>Who said what</h2>{_said(told)}
</body></html>
"""


def _verdict(told: Json) -> list[str]:
    verdict, lines = told["verdict"], []
    if verdict["degraded"]:
        lines.append("**Degraded**: too few of those it trusts were heard.")
    if verdict["answer"] is None:
        lines.append("Nobody gave an answer.")
    elif told["kind"] != CLOSED:
        lines.append(f"**{_line(conclusion(told))}**")
        lines.append(f"It ended because {_ended(verdict['stopped'])}.")
    else:
        tie = f" ({verdict['tie']})" if verdict["tie"] else ""
        lines.append(f"**{_line(verdict['answer'])}**, {verdict['confidence']:.0%} sure, by {verdict['rule']}{tie}.")
    none, cost = verdict["none_of_these"], verdict["cost"] or {}
    if none is not None and told["kind"] == CLOSED:
        lines.append(f"None of these: {none:.0%}. It ended because {_ended(verdict['stopped'])}.")
    coverage = verdict["coverage"]
    lines.append(
        f"{coverage['answered']} of {coverage['invited']} answered, {coverage['abstained']} did not know, "
        f"{coverage['absent']} were absent; {cost.get('calls', '?')} calls of models."
    )
    return lines


def _ranked(told: Json) -> list[str]:
    """What members said of each other's texts: which are one, and in which order they put them."""
    lines: list[str] = []
    if told["reviews"]:
        lines += ["", "## Do they say the same?", ""]
        for row in told["reviews"]:
            lines += [f"- {_likeness(told, row)}", *_quoted(row["argument"])]
    ranked = [row for row in told["positions"] if row["round"] == RANKING]
    if ranked:
        lines += ["", "## Rankings", ""]
        for row in ranked:
            lines += [f"- {row['agent']}: {_ranking(told, row)}", *_quoted(row["argument"])]
    return lines


def _likeness(told: Json, row: Json) -> str:
    said = {"verified": "the same", "refuted": "not the same"}.get(row["verdict"], row["cause"] or "undecided")
    return f"{row['agent']} on “{_worded(told, row['hypothesis'])}” and “{_worded(told, row['answer'])}”: {said}"


def _ranking(told: Json, row: Json) -> str:
    if row["status"] != "answered":
        return str(row["cause"] or "does not say")
    return " > ".join(_worded(told, key) for key in row["alternatives"])


def _worded(told: Json, key: str | None) -> str:
    text = next((one["answer"] for one in told["hypotheses"] if one["key"] == key), key)
    return shortened(text or "?", 60)


def _became(told: Json, one: Json) -> str:
    if one["merged_into"] is not None:
        return f"says the same as “{_worded(told, one['merged_into'])}”"
    check = one["check"]
    return str(one["status"]) if check is None else f"{one['status']}, by {check['kind']} {_comes(check)}"


def _comes(check: Json) -> str:
    return "it is so" if check["passed"] else f"it comes to {shortened(check['comes_to'], 60)}"


def _tally(row: Json) -> str:
    """How many of its claims hold, of those that a machine could judge."""
    checks = row["checks"]
    return f", {sum(one['passed'] for one in checks)} of {len(checks)} claims hold" if checks else ""


def _argued(row: Json) -> str | None:
    """An argument, and below it what became of its claims."""
    found = [
        f"{'holds' if one['passed'] else 'does not hold'} ({one['kind']}): {one['claim']}" for one in row["checks"]
    ]
    return "\n".join([row["argument"] or "", "", *found]) if found else row["argument"]


def _ended(stopped: str | None) -> str:
    return {"sure": "it was sure enough"}.get(stopped or "", stopped or "all had spoken")


def _position(row: Json) -> str:
    return str(row["answer"] or row["cause"] or "does not know")


def _line(text: str) -> str:
    return " ".join(text.split())


def _quoted(text: str | None) -> list[str]:
    return ["", *(f"      {line}" for line in text.splitlines()), ""] if text else []


def _inline(line: str) -> str:
    """Escaped, with what is between double stars in bold."""
    pieces = escape(line).split("**")
    return "".join(f"<b>{piece}</b>" if number % 2 else piece for number, piece in enumerate(pieces))


def _flow(told: Json) -> str:
    """Rows are members, columns are rounds; a dot is what a member held, in its hypothesis's colour."""
    agents = told["panel"]
    colours = _colours(told)
    positions = [row for row in told["positions"] if row["round"] != RANKING]
    rounds = sorted({row["round"] for row in positions})
    held = {(row["agent"], row["round"]): row for row in positions}
    width, height = _LEFT + _COLUMN * max(1, len(rounds)) + 40, _TOP + _ROW * len(agents)
    parts = [_text(_LEFT + _COLUMN * place, 28, _title(number), "title") for place, number in enumerate(rounds)]
    for line, agent in enumerate(agents):
        y = _TOP + _ROW * line + 10
        parts.append(_text(10, y + 5, agent, "agent"))
        before: tuple[int, str] | None = None
        for place, number in enumerate(rounds):
            row = held.get((agent, number))
            if row is None:
                continue
            x, colour = _LEFT + _COLUMN * place, colours.get(row["answer_key"] or "", _SILENT)
            if before is not None:
                parts.append(f'<line x1="{before[0]}" y1="{y}" x2="{x}" y2="{y}" stroke="{before[1]}" class="flow"/>')
            parts.append(f'<circle cx="{x}" cy="{y}" r="9" fill="{colour}"/>')
            parts.append(_text(x + 14, y - 8, shortened(_position(row), 26), "held"))
            before = x, colour
    size = f'viewBox="0 0 {width} {height}" width="{width}"'
    return f'<svg {size} role="img" aria-label="rounds and positions">{"".join(parts)}</svg>'


def _title(number: int) -> str:
    return {0: "blind", RANKING: "ranks"}.get(number, "solved again")


def _colours(told: Json) -> dict[str, str]:
    return {one["key"]: _COLOURS[min(place, len(_COLOURS) - 1)] for place, one in enumerate(told["hypotheses"])}


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>'


def _hypotheses(told: Json) -> str:
    colours = _colours(told)
    rows = "".join(_row(told, one, colours[one["key"]]) for one in told["hypotheses"])
    share = "probable" if told["kind"] == CLOSED else "share"
    return f"<table><tr><th>answer</th><th>{share}</th><th>became</th><th>held by</th></tr>{rows}</table>"


def _row(told: Json, one: Json, colour: str) -> str:
    held = escape(", ".join(one["supporters"]))
    return (
        f'<tr><td><span class="dot" style="background:{colour}"></span>{escape(_line(one["answer"]))}</td>'
        f"<td>{one['posterior']:.0%}</td><td>{escape(_became(told, one))}</td><td>{held}</td></tr>"
    )


def _said(told: Json) -> str:
    said: list[tuple[float, str]] = []
    for row in told["positions"]:
        reason = f", {row['reason'].replace('_', ' ')}" if row["reason"] else ""
        said_so = _ranking(told, row) if row["round"] == RANKING else _line(_position(row))
        title = f"{row['agent']}, {_title(row['round'])}: {said_so}{reason}{_tally(row)}"
        said.append((row["at"], _entry(title, _argued(row), row["flags"])))
    for row in told["reviews"]:
        title = f"{row['agent']} checks “{_line(row['hypothesis'] or '')}”: {row['verdict']}{_tally(row)}"
        if told["kind"] != CLOSED:
            title = _likeness(told, row)
        said.append((row["at"], _entry(title, _argued(row), {})))
    return "".join(text for _, text in sorted(said, key=lambda one: one[0]))


def _entry(title: str, argument: str | None, flags: Json) -> str:
    marks = "".join(f'<span class="flag">{escape(mark)}</span>' for mark in _marks(flags))
    body = f"<pre>{escape(argument)}</pre>" if argument else ""
    return f"<details><summary>{escape(title)}{marks}</summary>{body}</details>"


def _marks(flags: Json) -> Sequence[str]:
    held = sum(flags.get("held_back", {}).values())
    return [*(["gives orders"] if flags.get("orders") else []), *([f"{held} held back"] if held else [])]


_STYLE = (
    "body{font:16px/1.5 Georgia,serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fbfaf7}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}.verdict{border-left:4px solid #2f6f4f;padding-left:1rem}"
    "svg{max-width:100%;height:auto;background:#fff;border:1px solid #e3dfd6;border-radius:6px}"
    "text{font:15px sans-serif;fill:#333}text.title{fill:#777}text.agent{font-weight:600}"
    ".flow{stroke-width:4;opacity:.45}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #e3dfd6;font:15px sans-serif}"
    ".dot{display:inline-block;width:.8em;height:.8em;border-radius:50%;margin-right:.5em}"
    "details{border-bottom:1px solid #e3dfd6;padding:.3rem 0}summary{cursor:pointer;font:15px sans-serif}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#fff;padding:.6rem;border-radius:6px}"
    ".flag{background:#b3541e;color:#fff;border-radius:4px;padding:0 .4em;margin-left:.6em;font-size:.8em}"
)
