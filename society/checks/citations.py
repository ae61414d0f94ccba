"""Whether a member's memories hold what its argument quotes from them. Door: `checked`.

What the guard let through is compared with the question and the memories that the member was shown, which its audience
may see anyway: so a result tells nothing of any other. A quotation stands when one of them holds it word for word. One
in quotation marks that is said to be from one's memory and stands in none is made up, and refutes the argument that
rests on it; a line "Ada said: ..." may put it in other words, so where it does not stand nothing is said. Whether a
memory is true, and whether what follows from it does follow, is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from society.checks.check import CUT, Check

_SHORTEST = 3
"""Words of a quotation; fewer stand anywhere."""
_QUOTED = re.compile(
    r"(?i)\bmy memor(?:y|ies)(?: (?:says?|tells?|reads?|holds?|states?|notes?))?(?: that)?[:,]?\s*"
    r"[\"“]([^\"“”\n]{1,500})[\"”]"
)
_SAID = re.compile(r"(?m)^[-\s]*[^\s:][^:\n]{0,80} said: (.{1,2000})$")
_GAPS = ("...", "…", CUT)
"""What stands for words that are not there."""
_WORD = re.compile(r"\w+")


def checked(argument: str, memories: Sequence[str]) -> list[Check]:
    """The quotations of an argument, by what the member was shown."""
    shown = [_run(text) for text in memories]
    found = []
    for quoted, marked in _quotations(argument):
        words = _run(quoted)
        if words.count(" ") <= _SHORTEST or any(gap in quoted for gap in _GAPS):
            continue
        stands = any(words in text for text in shown)
        if stands or marked:
            found.append(Check("memory", quoted.strip(), stands))
    return found


def _quotations(argument: str) -> Iterator[tuple[str, bool]]:
    """What is quoted, and whether in quotation marks."""
    yield from ((match[1], True) for match in _QUOTED.finditer(argument))
    yield from ((match[1], False) for match in _SAID.finditer(argument))


def _run(text: str) -> str:
    """Its words, so that one text's can be looked for in another's."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "
