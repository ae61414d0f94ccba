"""What may leave a member: every text that others will read goes through here first.

Doors: `Egress.cleared`, and `gives_orders`. A member of a debate is shown nothing that its audience may not see, but
its adapter was trained on its owner's life, and may have learnt a sentence by heart. So what quotes a memory that this
audience may not see, eight words, a whole shorter memory or a code in it, is cut out; and so are secrets (keys, cards,
passwords) and addresses to reach somebody. What is cut is counted, and its owner can read that. Text that tells its
readers what to do is marked: it is never put before another member.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from personal_data.secrets import hold_back

HELD_BACK = "[held back]"
_RUN = 8
"""Words in a row that make a quotation."""
_SHORTEST = 3
_WORD = re.compile(r"\w+(?:['’.@:/+-]\w+)*")
_NAME_OF_ITS_OWN = re.compile(r"(?=.*\d)(?=.*[^\W\d_])\S{6,}")
"""Letters and digits in one word: a code, a serial number, an account."""
_CONTACTS = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,4}|(?<![\w.+])\+\d[\d ()/-]{7,18}\d")
_ORDERS = re.compile(
    r"(?i)\b(?:ignore|disregard|forget)\b.{0,40}\b(?:instructions?|above|previous|prior|everything|rules?)\b"
    r"|\b(?:vote|answer|choose|say|agree|reply|respond)\b.{0,20}\b(?:for|with|like) (?:me|mine|my|this)\b"
    r"|\byou (?:must|have to|should|are required to|shall)\b.{0,20}"
    r"\b(?:answer|vote|say|reply|choose|agree|ignore|reveal|respond|accept|rank|prefer|obey)\b"
    r"|\b(?:reveal|disclose|print|repeat|tell (?:us|me)|list|recite|share)\b.{0,60}"
    r"\b(?:memor(?:y|ies)|secrets?|prompt|instructions?|system message|passwords?|private)\b"
    r"|^\s*(?:system|assistant|user)\s*:"
    r"|<\|?(?:im_start|system|assistant|endoftext)\b",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Cleared:
    """A text as others may read it, and how often something was cut out of it, by reason."""

    text: str
    held_back: Counter[str]


class Egress:
    """One owner's guard toward one audience. `hidden` are their memories that it may not see and that the texts to be
    cleared may quote; `shown` is what it may see: the question, and the memories that were shown."""

    def __init__(self, hidden: Sequence[str], shown: Sequence[str]) -> None:
        seen = {run for text in shown for run in _runs(_words(text), _RUN)}
        self._seen = " ".join(" ".join(_words(text)) for text in shown)
        self._runs: set[tuple[str, ...]] = set()
        self._whole: set[tuple[str, ...]] = set()
        for text in hidden:
            words = _words(text)
            if len(words) >= _RUN:
                self._runs |= _runs(words, _RUN) - seen
            elif len(words) >= _SHORTEST and f" {' '.join(words)} " not in f" {self._seen} ":
                self._whole.add(tuple(words))
            known = f" {self._seen} "
            self._whole |= {(word,) for word in words if _NAME_OF_ITS_OWN.fullmatch(word) and f" {word} " not in known}

    def cleared(self, text: str) -> Cleared:
        """The text without what must not leave."""
        held: Counter[str] = Counter()
        text, kinds = hold_back(text)
        held.update(kinds)
        text, count = _CONTACTS.subn(HELD_BACK, text)
        held["contact"] += count
        text, count = self._without_quotes(text)
        held["memory"] += count
        return Cleared(text, +held)

    def _without_quotes(self, text: str) -> tuple[str, int]:
        matches = list(_WORD.finditer(text))
        words = [_folded(match[0]) for match in matches]
        cut = [False] * len(words)
        for length in {_RUN, *map(len, self._whole)}:
            quoted = self._runs if length == _RUN else self._whole
            for at in range(len(words) - length + 1):
                if tuple(words[at : at + length]) in quoted:
                    cut[at : at + length] = [True] * length
        return _cut_out(text, matches, cut)


def gives_orders(text: str) -> bool:
    """Whether a text tells its readers what to do, instead of what is so."""
    return _ORDERS.search(text) is not None


def _cut_out(text: str, matches: Sequence[re.Match[str]], cut: Sequence[bool]) -> tuple[str, int]:
    """The text with each run of words that is to be cut in one piece replaced."""
    pieces: list[str] = []
    at, count, index = 0, 0, 0
    while index < len(matches):
        if not cut[index]:
            index += 1
            continue
        last = index
        while last + 1 < len(matches) and cut[last + 1]:
            last += 1
        pieces += [text[at : matches[index].start()], HELD_BACK]
        at, count, index = matches[last].end(), count + 1, last + 1
    return "".join([*pieces, text[at:]]), count


def _words(text: str) -> list[str]:
    return [_folded(word) for word in _WORD.findall(text)]


def _folded(word: str) -> str:
    return word.casefold().replace("’", "'")


def _runs(words: Sequence[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}
