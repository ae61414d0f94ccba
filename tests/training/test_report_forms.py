"""How a report is set: curves and their gaps as SVG, and texts of any kind that stay text in Markdown and HTML."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from training.report.curves import Curve, Panel, panels, sparkline
from training.report.drawings import comparison, drawings
from training.report.markdown import markdown
from training.report.page import page
from training.report.plot import bounds, plot, ticks
from training.report.record import Check, Judged, LevelGap, Report, Scored, Stage, StepRollouts, Version
from training.report.tables import beginning, duration, figure, line, moment, summary, visible

HOSTILE = (
    "<script>alert(1)</script>",
    "</pre></dd><img src=x onerror=alert(1)>",
    "```\n# owned\n<b>\n``````\n| a | b |",
    "a|b\\|c\\",
    "[x](javascript:alert(1)) ![y](http://x.example/z) <http://x.example>",
    "&lt;b&gt; &#60; _x_ **y** ~~z~~ `q`",
    "\u202eturned\u202c \u2066around\u2069 שלום \u200f",
    "\x1b[31mred\x07\0\r\x85\u2028",
    "- [ ] a\n1. b\n> c\n===\n---\n    code",
    "'\"`=/",
    '"><img src=x onerror=alert(1)>',
    '" onload="alert(1)',
    "w" * 9000,
    " ",
)
_MARKUP = "`*_{}[]()<>#|~&!\\\"'\n\t-+=.1 \u202e\x1b"
texts = st.text(st.one_of(st.sampled_from(_MARKUP), st.characters(exclude_categories=["Cs"])))
values = st.lists(st.one_of(st.none(), st.floats(-1e299, 1e299)), min_size=1, max_size=60)
_TAGS = set(
    re.findall(
        r"\w+",
        "html head meta title style body h1 h2 h3 p ul li section div table tr th td figure svg line text tspan "
        "polyline circle dl dt dd pre details summary",
    )
)


def stage(**changes: Any) -> Stage:
    plain: dict[str, Any] = {
        "run_id": "run_1", "attempt": 1, "stage": "environment", "decision": "refused", "reasons": ["why"],
        "recipe": {"lr": 0.001}, "taught_by": "blind", "data_sha256": None, "learned_from": None,
        "parent_version": None, "started_at": 0.0, "seconds": 1.5, "steps": [], "stopped_early": None,
        "passed": False, "checks": [], "gaps": [], "measured": {}, "samples": [], "rollouts_stored": 0,
        "rollouts": [], "judgements_stored": 0, "judgements_left_out": None, "judgements": [],
    }  # fmt: skip
    return Stage(**(plain | changes))


def whole(*stages: Stage, **changes: Any) -> Report:
    plain: dict[str, Any] = {
        "version": 1, "id": "job_1", "agent": "ada", "state": "done", "attempts": 1, "error": None,
        "decision": "refused", "published": None, "created_at": 0.0, "finished_at": 2.0, "seconds": 2.0,
        "stages": list(stages),
    }  # fmt: skip
    return Report(**(plain | changes))


def full_of(text: str) -> Report:
    """Every place that a text may come to holds this one."""
    scored = Scored("rol_1", 0, text, text, {text: 1.0}, None, text)
    told = stage(
        stage=text, decision=text, reasons=[text], recipe={text: text}, taught_by=text, data_sha256=text,
        learned_from={text: 1}, stopped_early=text, checks=[Check(text, False, None, 1.0, 3, text)],
        gaps=[LevelGap(text, {text: 0.5})], measured={text: [text]}, samples=[{"prompt": text, text: text}],
        steps=[{"step": 0, text: 1.0, f"reward_{text}": 0.5, "reward_truth": 0.5}], rollouts_stored=1,
        rollouts=[StepRollouts(0, [scored], [], [scored])], judgements_stored=1, judgements_left_out=2,
        judgements=[Judged("jud_1", None, text, text, text), Judged("jud_2", 0, text, None, None)],
    )  # fmt: skip
    return whole(told, agent=text, error=text, state="failed")


def drawn(panel: Panel) -> ElementTree.Element:
    return ElementTree.fromstring(plot(panel))


def points(svg: ElementTree.Element) -> list[list[tuple[float, float]]]:
    """The corners of each line."""
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in (line.get("points") or "").split())]
            for line in svg.iter("polyline")]  # fmt: skip


def panel(*curves: tuple[float | None, ...], low: float | None = None, high: float | None = None) -> Panel:
    steps = tuple(map(float, range(len(curves[0]))))
    return Panel("Reward", "share", steps, tuple(Curve(f"r{n}", one) for n, one in enumerate(curves)), low, high)


def test_a_value_lies_where_the_axes_say() -> None:
    """Axes from 0 to 1 over 148 units of height that end at 204; steps 0..4 over 322 units from 54."""
    (corners,) = points(drawn(panel((0.0, 0.25, 0.5, 0.75, 1.0))))
    assert corners == [(54 + 322 * n / 4, 204 - 148 * n / 4) for n in range(5)]


def test_axes_end_at_round_values_and_rounding_moves_none() -> None:
    assert bounds(panel((0.3, 0.93))) == pytest.approx((0.2, 1.0))
    assert bounds(panel((-3.7e-9, 0.0037), low=0.0)) == pytest.approx((0.0, 0.004))
    assert bounds(panel((-0.1, 0.0037), low=0.0)) == pytest.approx((-0.1, 0.05))
    assert bounds(panel((2.0, 2.0))) == pytest.approx((1.8, 2.2))
    assert bounds(panel((None,))) == (0.0, 1.0)


def test_what_is_missing_is_a_gap_and_never_zero() -> None:
    svg = drawn(panel((0.5, 0.6, None, 0.7, None, None, 0.8, 0.9), low=0.0, high=1.0))
    assert [len(line) for line in points(svg)] == [2, 2]
    assert [one.findtext("title") for one in svg.iter("circle") if one.find("title") is not None] == [
        "r0, step 0: 0.5", "r0, step 1: 0.6", "r0, step 3: 0.7", "r0, step 6: 0.8", "r0, step 7: 0.9",
    ]  # fmt: skip
    assert svg.get("aria-label") == "Reward, share: r0: 0.5 at first, 0.9 at last, between 0.5 and 0.9, 3 missing"
    lonely = list(drawn(panel((None,) * 50 + (0.5,) + (None,) * 50)).iter("circle"))
    assert len(lonely) == 1, "one value alone is a dot, however many steps there are"


@given(values, st.sampled_from([None, 0.0]))
@example([0.0, 5e-324], None)
@example([4e-323], None)
@example([1.0, 1.0 + 2**-52], None)
@example([-1e299, 1e299], 0.0)
@settings(deadline=None)
def test_every_value_is_drawn_once_within_the_frame(found: list[float | None], low: float | None) -> None:
    svg = drawn(panel(tuple(found), low=low))
    lines, present = points(svg), [value for value in found if value is not None]
    dots = [one for one in svg.iter("circle") if one.find("title") is None]
    assert sum(map(len, lines)) + len(dots) == len(present)
    for x, y in [point for corners in lines for point in corners]:
        assert 53.9 <= x <= 376.1 and 55.9 <= y <= 204.1
    lowest, highest = bounds(panel(tuple(found), low=low))
    assert math.isfinite(lowest) and lowest < highest


@given(st.floats(-1e299, 1e299), st.floats(1e-6, 1e299))
def test_ticks_are_few_round_and_within(low: float, span: float) -> None:
    high = low + max(span, abs(low) * 1e-6)
    found = ticks(low, high)
    assert 1 <= len(found) <= 6
    assert all(low - span * 1e-6 <= tick <= high + (high - low) * 1e-6 or math.isclose(tick, low) for tick in found)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0.0, 1.0, [0, 0.5, 1]), (0.0, 8.0, [0, 2, 4, 6, 8]), (-0.3, 0.1, [-0.3, -0.2, -0.1, 0, 0.1]), (3, 47, [20, 40])],
)
def test_ticks(low: float, high: float, wanted: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(wanted)


def test_the_reward_that_teaches_stands_beside_the_truth_and_nothing_recorded_is_left_out() -> None:
    steps = [
        {"step": 0, "reward_blind": 0.5, "reward_truth": 0.25, "reward_shaping": -0.1, "kl": None, "difficulty": 1.5,
         "info": {"blind": {"judged": 7, "said": "no"}}, "prime_loss": 2.0},
        {"step": 1, "reward_blind": None, "reward_truth": 0.75, "reward_shaping": 0.0, "kl": 0.5},
    ]  # fmt: skip
    found = {one.title: [(curve.label, curve.values) for curve in one.curves] for one in panels(stage(steps=steps))}
    assert found == {
        "Reward": [("blind (teaches)", (0.5, None)), ("truth (anchor)", (0.25, 0.75))],
        "KL from the start": [("KL", (None, 0.5))],
        "Difficulty": [("difficulty", (1.5, None))],
        "Reward shaping": [("Reward shaping", (-0.1, 0.0))],
        "Blind judged": [("Blind judged", (7, None))],
        "Prime loss": [("Prime loss", (2.0, None))],
    }
    (reward,) = [one for one in panels(stage(steps=steps, taught_by="truth")) if one.title == "Reward"]
    assert [curve.label for curve in reward.curves] == ["truth (teaches)"]


def test_accuracy_is_that_of_pairs_or_that_of_answers() -> None:
    found = {
        name: [one.title for one in panels(stage(stage=name, steps=[{"accuracy": 0.5}]))]
        for name in ("preferences", "environment")
    }
    assert found == {"preferences": ["Pairs in the right order"], "environment": ["Right answers"]}


COMPARED = [
    Check("accuracy", True, 0.25, 0.75, 4, ""),
    Check("length", False, 2.0, 8.0, 4, ""),
    Check("KL", None, None, -1.0, 1, ""),
    Check("unmeasured", True, None, None, 0, ""),
]


def test_what_the_gate_compared_lies_on_a_scale_of_each_checks_own() -> None:
    """From 18 to 372 across: shares from 0 to 1, others from 0 to the greater one, or from what is below 0."""
    assert comparison(stage()) is None
    svg = ElementTree.fromstring(comparison(stage(checks=COMPARED)) or "")
    assert svg.get("viewBox") == f"0 0 390 {40 + 44 * 3}", "what has no numbers has no row"
    placed = [(float(one.get("cx") or 0), one.get("class")) for one in svg.iter("circle")]
    assert placed == [
        (18 + 354 * 0.25, "dot before"), (18 + 354 * 0.75, "dot passed"), (18 + 354 * 0.25, "dot before"),
        (372, "dot failed"), (18, "dot open"),
    ]  # fmt: skip
    assert [one.text for one in svg.iter("text")][2:] == [
        "accuracy", "0.25 → 0.75", "length", "2 → 8", "KL", "– → -1",
    ]  # fmt: skip


def test_every_drawing_has_a_name_that_lasts_and_stands_alone() -> None:
    steps = [{"step": 0, "kl": 0.5, "a b": 1.0, "a-b": 2.0, "/../!": 3.0}, {"step": 1, "kl": 0.25}]
    told = whole(stage(steps=steps, checks=COMPARED), stage(steps=steps[:1], attempt=2), stage(stage="texts"))
    found = drawings(told)
    assert list(found) == [
        "environment-kl-from-the-start-attempt-1", "environment-a-b-attempt-1", "environment-a-b-attempt-1--2",
        "environment-other-attempt-1", "environment-gate-attempt-1",
        "environment-kl-from-the-start", "environment-a-b", "environment-a-b--2", "environment-other",
    ]  # fmt: skip
    for drawn in found.values():
        stands_alone(drawn)


def stands_alone(drawn: str) -> None:
    """Valid XML with a size and a sheet; every class that it uses is in its own style, in colours without variables."""
    svg, name = ElementTree.fromstring(drawn), "{http://www.w3.org/2000/svg}"
    assert svg.tag == f"{name}svg"
    _, _, width, height = (svg.get("viewBox") or "").split()
    assert (svg.get("width"), svg.get("height")) == (width, height)
    style = svg.findtext(f"{name}style") or ""
    assert "var(" not in style and "url(" not in style and style.count("{") == style.count("}")
    used = {kind for one in svg.iter() for kind in (one.get("class") or "").split()}
    assert used and all(f".{kind}" in style for kind in used)
    assert [one.tag.removeprefix(name) for one in svg][:2] == ["style", "rect"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_hostile_text_is_markup_in_a_drawing(text: str) -> None:
    found = drawings(full_of(text))
    assert found
    for name, drawn in found.items():
        assert re.fullmatch("[a-z0-9-]+", name)
        tags = {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(drawn).iter()}
        assert tags <= {"svg", "style", "rect", "line", "text", "tspan", "polyline", "circle", "title"}


def test_a_sparkline_shows_the_course_and_its_gaps() -> None:
    assert sparkline(Curve("x", (0.0, None, 0.5, 1.0))) == "▁·▅█"
    assert sparkline(Curve("x", (2.0, 2.0))) == "▁▁"
    assert sparkline(Curve("x", (None,))) == "·"
    assert sparkline(Curve("x", tuple(map(float, range(80))))) == sparkline(Curve("x", tuple(map(float, range(40)))))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_hostile_text_is_markup_in_markdown(text: str) -> None:
    check_markdown(text)


@given(texts)
@settings(deadline=None)
def test_no_text_is_markup_in_markdown(text: str) -> None:
    check_markdown(text)


def check_markdown(text: str) -> None:
    """It holds no markup but our own, and the text as it is."""
    told = full_of(text)
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown(told))
    kinds = {token.type for token in tokens}
    assert kinds <= {
        "heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline", "fence", "table_open",
        "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close", "tr_open", "tr_close", "th_open",
        "th_close", "td_open", "td_close", "bullet_list_open", "bullet_list_close", "list_item_open",
        "list_item_close",
    }  # fmt: skip
    inline = [child for token in tokens for child in token.children or []]
    assert {child.type for child in inline} <= {"text", "softbreak"}
    quoted = [token.content for token in tokens if token.type == "fence"]
    samples = len(told.stages[0].samples[0])
    assert quoted == [visible(beginning(text, 600)) + "\n"] * (samples + 2 * 2 + 3)
    assert [token.content for token in tokens if token.type == "inline"].count("Rollouts of step 0") == 1
    assert cells(tokens, "what was measured") == [line(text)]


def cells(tokens: list[Token], head: str) -> list[str]:
    """The column of the table that has this head."""
    rows = [["".join(one.content for one in cell.children or []) for cell in row] for row in _rows(tokens)]
    at = next(place for place, row in enumerate(rows) if head in row)
    return [row[rows[at].index(head)] for row in rows[at + 1 : at + 2]]


def _rows(tokens: list[Token]) -> list[list[Token]]:
    rows: list[list[Token]] = []
    for before, token in pairwise(tokens):
        if before.type == "tr_open":
            rows.append([])
        if before.type in ("th_open", "td_open"):
            rows[-1].append(token)
    return rows


class Read(HTMLParser):
    """What a browser finds: tags, attributes, and the text of each `pre`."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.quoted: list[str] = []
        self._in_pre = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "pre":
            self.quoted.append("")
        self._in_pre = tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        self._in_pre = False

    def handle_data(self, data: str) -> None:
        if self._in_pre:
            self.quoted[-1] += data


@pytest.mark.parametrize("text", HOSTILE)
def test_no_hostile_text_is_markup_in_the_page(text: str) -> None:
    check_page(text)


@given(texts)
@settings(deadline=None)
def test_no_text_is_markup_in_the_page(text: str) -> None:
    check_page(text)


def check_page(text: str) -> None:
    """It holds no markup but our own, and the text as it is."""
    told = full_of(text)
    found = Read()
    found.feed(page(told))
    assert found.tags <= _TAGS
    assert not {name for name in found.attributes if name.startswith("on") or name in ("href", "src", "style")}
    samples = len(told.stages[0].samples[0])
    assert found.quoted == [visible(beginning(text, 4000))] * (samples + 2 * 2 + 3)


def test_the_page_loads_nothing_and_names_its_directions() -> None:
    shown = page(whole(stage(samples=[{"prompt": "שלום", "after": None}], steps=[{"kl": 0.1}])))
    assert "default-src 'none'; style-src 'unsafe-inline'" in shown
    assert "http:" not in shown and "https:" not in shown and "url(" not in shown
    assert '<dd><pre dir="auto">שלום</pre></dd>' in shown and "<dt>after</dt><dd>–</dd>" in shown
    assert "prefers-color-scheme:dark" in shown


def test_a_very_long_text_is_begun_and_its_rest_counted() -> None:
    told = whole(stage(samples=[{"prompt": "x" * 10_000}], reasons=["y" * 10_000]))
    assert "(9,400 more characters in the JSON form)" in markdown(told) and len(markdown(told)) < 3000
    assert "(6,000 more characters in the JSON form)" in page(told)


def test_what_steers_a_terminal_or_turns_writing_around_is_shown_as_what_it_is() -> None:
    assert visible("a\tb\nc") == "a\tb\nc"
    assert visible("\x1b[2J \u202e \x00 \u2028 é 你 ע") == "\\u001b[2J \\u202e \\u0000 \\u2028 é 你 ע"


def test_numbers_and_times() -> None:
    assert [figure(one) for one in (None, 0.0, -0.0, 1234567, 0.123456, 60.0)] == [
        "–", "0", "0", "1,234,567", "0.1235", "60",
    ]  # fmt: skip
    assert [moment(one) for one in (None, 0.0, 1e300)] == ["–", "1970-01-01 00:00:00 UTC", "–"]
    assert [duration(one) for one in (None, 1.25, 90.0)] == ["–", "1.2 s", "1.5 min"]
    assert summary(Curve("x", (None, None))) == "x: no values"


def test_a_published_one_names_its_version_and_a_second_attempt_its_number() -> None:
    told = replace(whole(stage(attempt=2, decision=None)), published=Version("adv_1", 4, "5" * 64, True))
    for form in (markdown(told), page(told)):
        assert "Published as version 4, which is live." in form
        assert "Environment, attempt 2: not decided" in form
