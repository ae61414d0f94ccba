"""A small rule for a model that reflects: it reads the prompts of both stages and answers in their form."""

from __future__ import annotations

import json
import re
from typing import Any

_LINE = re.compile(r"(\d+)\. (?:\([^)]*\) )?(.*)")
_WISH = re.compile(r"[Pp]lease always (.*)\.")


def is_asked(prompt: str) -> bool:
    """Whether this is the prompt of one of the two stages."""
    return prompt.startswith(("The numbered lines are what ", "Known of "))


def answer(prompt: str) -> str:
    """What such a model says to the prompt of either stage."""
    if prompt.startswith("The numbered lines"):
        owner = prompt.split(" said, each")[0].removeprefix("The numbered lines are what ")
        lines = [match for line in prompt.splitlines() if (match := _LINE.fullmatch(line))]
        found = [_drawn(owner, int(number), text) for number, text in (line.groups() for line in lines)]
        return f"Here it is: {json.dumps([one for one in found if one is not None])}"
    known, new = prompt.split("\nNew, quoted: ")
    lines = [match.groups() for line in known.splitlines() if (match := _LINE.fullmatch(line))]
    return json.dumps(_standing([(int(number), text) for number, text in lines], new.splitlines()[0]))


def _drawn(owner: str, number: int, text: str) -> dict[str, Any] | None:
    if (wish := _WISH.search(text)) is not None:
        told, kind = f"{owner} wishes one to {wish[1]}.", "preference"
    elif re.search(r"\b[Mm]y\b|^I ", text) and text.endswith(".") and '"' not in text:
        told, kind = re.sub(r"\b[Mm]y\b", f"{owner}'s", re.sub(r"^I (\w+)", rf"{owner} \1s", text)), "fact"
    else:
        return None
    return {"kind": kind, "text": told, "lines": [number], "confidence": 0.9}


def _standing(known: list[tuple[int, str]], new: str) -> dict[str, Any]:
    for number, text in known:
        if _gist(text) == _gist(new):
            return {"decision": "same", "of": number}
        if _subject(text) is not None and _subject(text) == _subject(new):
            return {"decision": "replaces", "of": number}
    return {"decision": "new", "of": None}


def _gist(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower().replace("'s", ""))) - {"has", "a", "is", "now", "the"}


def _subject(text: str) -> str | None:
    """What a sentence tells something of that can only be so or so."""
    match = re.match(r"(.* lives) in |(.*code.*) is ", text)
    return match and (match[1] or match[2])
