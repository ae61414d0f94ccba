"""Python in questions and arguments: which of it claims something, and the process in which it is run.

Doors: `asked`, `claimed`, `run`. A question that asks what one program prints, or what one expression comes to, and for
nothing else, is answered by running it. An argument claims what it asserts in a fenced block, what stands below `>>>`,
and that "`call(...)` returns `value`" (or `==`, or evaluates to); the question's own code comes first, so that its
functions can be called. A block that asserts nothing only defines things. Code that is not on the whitelist, fails or
takes too long (`sandbox.py`) is not judged.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from society.checks.check import CUT

Step = list[str]
"""What the sandbox does, and with which texts: see `sandbox.Session`."""

_MOST_STEPS = 16
_LONGEST_JOB = 32_768
"""Bytes; a pipe holds twice that, so that writing one never waits."""
_LONGEST_RESULT = 65_536
_PATIENCE_S = 10.0
"""For a process that may compute for a second, on a machine that is busy."""
_POOL = ThreadPoolExecutor(2, thread_name_prefix="checks")
"""As many run at once; each debate runs one at a time, so that one that asks for much delays only itself."""
_COMMAND = (
    sys.executable,
    *("-s", "-P", "-S"),  # -I would not heed the seed of hashes, the only thing in its environment
    "-c",
    "import sys; sys.path.append(sys.argv[1]); from society.checks.sandbox import main; main()",
    str(Path(__file__).resolve().parents[2]),
)
_FENCE = re.compile(r" {0,3}```[ \t]*([\w+-]*)[ \t]*")
_PYTHON = frozenset({"python", "python3", "py"})
_CODE = r"(?:python )?(?:program|code|snippet|script|function|definition)s?"
_THIS = rf"(?:(?:this|the|the following|a) {_CODE}|it|this)"
_PREFACE = rf"(?:(?:consider|given|here is|take|look at) {_THIS}[:.,]? )?"
_ASKED_OUTPUT = re.compile(
    rf"(?i){_PREFACE}(?:what (?:does|will|would) {_THIS} (?:print|output)|what is (?:the|its) output(?: of {_THIS})?"
    rf"|what is printed(?: by {_THIS})?)(?: when (?:it is )?run)? ?[?:.]?"
)
_SPAN = r"(?<!`)`([^`\n]{1,300})`(?!`)"
_ASKED_VALUE = re.compile(
    rf"(?i){_PREFACE}(?:what (?:does|will|would) {_SPAN} (?:return|evaluate to|come to)"
    rf"|what is (?:the )?(?:value|result) of {_SPAN})(?: in python)? ?[?.]?"
)
_EQUAL = re.compile(
    rf"{_SPAN} (?:==|returns|evaluates to) {_SPAN}(?!\s*(?:is|was|would be)?\s*(?:false|wrong|not\b|\?))"
)
_SUPPOSED = re.compile(
    r"(?i)\b(?:if|when|while|until|unless|whether|where|suppose|assume|assuming|not|never)\W+(?:\w+\W+){0,3}$"
)
_PROMPT = re.compile(r"^\s*>>> ?(.+)$")
_GOES_ON = re.compile(r"^\s*\.\.\. ?(.*)$")


def asked(question: str) -> list[Step] | None:
    """What is to be run to answer a question, the answer being the last step's result; None of every other one."""
    parts = _parts(question)
    blocks = [["output", text] for is_code, text in parts if is_code]
    words = " ".join(" ".join(text for is_code, text in parts if not is_code).split())
    if len(blocks) == 1 and _ASKED_OUTPUT.fullmatch(words):
        return blocks
    value = _ASKED_VALUE.fullmatch(words)
    return None if value is None else [*blocks, ["value", value[1] or value[2]]]


def claimed(question: str, argument: str) -> list[Step]:
    """What is to be run to judge an argument; empty where it claims nothing of code."""
    steps: list[Step] = []
    for is_code, text in _parts(argument):
        if is_code and ">>>" not in text:
            steps.append(["claims", text])
        else:
            steps += _prompts(text) if is_code else _in_prose(text)
    if CUT in argument or not any(kind in ("equal", "shows") or "assert" in texts[0] for kind, *texts in steps):
        return []
    given: list[Step] = [["output", text] for is_code, text in _parts(question) if is_code]
    return [*given, *steps][:_MOST_STEPS]


def _parts(text: str) -> list[tuple[bool, str]]:
    """Prose and Python, in turn; what another language is fenced for, or nothing closes, is left out."""
    parts: list[tuple[bool, str]] = []
    lines: list[str] = []
    language: str | None = None
    for line in text[:_LONGEST_JOB].splitlines():
        fence = _FENCE.fullmatch(line)
        if fence is None or (language is not None and fence[1]):
            lines.append(line)
            continue
        if language is None or language in _PYTHON:
            parts.append((language is not None, "\n".join(lines)))
        language, lines = (fence[1].lower() if language is None else None), []
    return parts if language is not None else [*parts, (False, "\n".join(lines))]


def _in_prose(text: str) -> list[Step]:
    equal = [
        ["equal", match[1], match[2]]
        for match in _EQUAL.finditer(text)
        if not _SUPPOSED.search(text[max(0, match.start() - 100) : match.start()])
    ]
    return [*equal, *_prompts(text)]


def _prompts(text: str) -> Iterator[Step]:
    """What stands at interpreter prompts, each with what is shown below it; "..." in that stands for anything."""
    source: list[str] = []
    shown: list[str] = []
    for line in [*text.splitlines(), ">>> pass"]:
        if begins := _PROMPT.match(line):
            if source:
                yield _shown("\n".join(source), "\n".join(shown))
            source, shown = [begins[1]], []
        elif source and not shown and (goes_on := _GOES_ON.match(line)):
            source.append(goes_on[1])
        elif source and line.strip():
            shown.append(line)
        elif source:
            yield _shown("\n".join(source), "\n".join(shown))
            source, shown = [], []


def _shown(source: str, shown: str) -> Step:
    told = shown.strip() and "..." not in shown and not shown.lstrip().startswith("Traceback")
    return ["shows", source, shown] if told else ["output", source]


async def run(steps: Sequence[Step]) -> list[Any]:
    """What came of each step, in one process of their own; None of those that cannot be told, of all where it takes too
    long. The event loop is free meanwhile."""
    job = json.dumps(list(steps)).encode()
    said = None
    if len(job) <= _LONGEST_JOB:
        said = await asyncio.get_running_loop().run_in_executor(_POOL, _run, job)
    return said if isinstance(said, list) and len(said) == len(steps) else [None] * len(steps)


def _run(job: bytes) -> Any:
    """In a process without environment, of its own session; hashes are those of one seed in each."""
    pipe, none = subprocess.PIPE, subprocess.DEVNULL
    how: dict[str, Any] = {"stdin": pipe, "stdout": pipe, "stderr": none, "cwd": "/", "start_new_session": True}
    with subprocess.Popen(_COMMAND, env={"PYTHONHASHSEED": "0"}, **how) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(job)
            process.stdin.close()
            process.wait(_PATIENCE_S)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            process.kill()
            return None
        said = process.stdout.read(_LONGEST_RESULT)
    try:
        return json.loads(said)
    except ValueError:
        return None
