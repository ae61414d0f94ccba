"""Whether what is said can be checked by a machine, and whether it holds. Doors: `computed`, `checks_of`.

Arithmetic, calendar, code, and quotations of one's own memories: each has its room, which says what it does not judge.
An argument with a claim that does not hold is refuted with it; where a question comes to one value, every other answer
is. What cannot be told is never a refutation. A debate runs the question's code once when it begins, and what a row
claims once when it is stored: one process at a time, of a second of CPU each, and none after its deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from agents.messages import shortened
from society.checks import arithmetic, citations, dates, programs
from society.checks.check import Check
from society.checks.computed import Computed

_LONGEST = 200
"""Characters of a claim as it is told."""
_WITHIN_S = 10.0


def calculated(question: str) -> Computed | None:
    """What a question comes to, where it asks for nothing but arithmetic or a date: no code is run for it."""
    number = arithmetic.computed(question)
    if number is not None:
        return Computed("arithmetic", str(number), number=number)
    return dates.computed(question)


async def computed(question: str, *, within_s: float = _WITHIN_S) -> Computed | None:
    """What a question comes to, where it asks for nothing but arithmetic, a date or the result of code."""
    if (known := calculated(question)) is not None:
        return known
    steps = programs.asked(question)
    if steps is None:
        return None
    *_, result = await _run(steps, asyncio.Lock(), min(within_s, _WITHIN_S))
    return None if result is None else _of_code(result)


async def checks_of(
    argument: str, *, question: str, memories: Sequence[str], turn: asyncio.Lock, within_s: float
) -> list[Check]:
    """What an argument claims that can be judged, and whether it holds. `memories`: what its member was shown. Code
    waits for its `turn`, and is not judged where turn and run take longer than `within_s`."""
    found, steps = await asyncio.to_thread(_read, argument, question, memories)
    results = await _run(steps, turn, min(within_s, _WITHIN_S)) if steps else []
    found += [check for step, result in zip(steps, results, strict=True) for check in _claims(step, result)]
    return [Check(one.kind, shortened(one.written, _LONGEST), one.passed) for one in found]


def _read(argument: str, question: str, memories: Sequence[str]) -> tuple[list[Check], list[programs.Step]]:
    """What is checked by reading, and what has to be run."""
    cited = citations.checked(argument, [question, *memories])
    return [*arithmetic.checked(argument), *dates.checked(argument), *cited], programs.claimed(question, argument)


async def _run(steps: Sequence[programs.Step], turn: asyncio.Lock, within_s: float) -> list[Any]:
    try:
        async with asyncio.timeout(within_s), turn:
            return await programs.run(steps)
    except TimeoutError:
        return [None] * len(steps)


def _claims(step: programs.Step, result: object) -> list[Check]:
    kind, *texts = step
    if kind == "claims" and isinstance(result, list):
        return [Check("code", written, passed) for written, passed in result]
    if kind in ("equal", "shows") and isinstance(result, bool):
        written = f"{texts[0]} == {texts[1]}" if kind == "equal" else f">>> {texts[0]} {texts[1].strip()}"
        return [Check("code", written, result)]
    return []


def _of_code(result: str) -> Computed:
    number = arithmetic.number(result)
    truths = frozenset({"true", "false"})
    return Computed("code", result, number=number, words=truths if result in ("True", "False") else frozenset())
