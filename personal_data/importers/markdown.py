"""Markdown notes and Obsidian vaults: an item for each paragraph, list item and quote, below its headings.

Door: `claim`. Notes are their owner's own words; what stands in a block quote is somebody else's. The headings above a
paragraph (from the second level on: the first is the note's title) are put before it, so that it can be found by them.
A list of short words stays together. The cards of a canvas that hold text are notes too. Code, comments, embedded files
and the vault's own machinery are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Literal

from personal_data.importers.decoding import is_text, lines
from personal_data.importers.jsonstream import TOO_LARGE, outline, values
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from personal_data.importers.times import iso, local, named_day, zone

_CANVAS = ".canvas"
SUFFIXES = (".md", ".markdown", ".mdown")
_MACHINERY = (".obsidian", ".trash", ".git", "templates", "_templates")
_MAX_FRONT = 500
"""Lines of front matter; what is longer is text."""
_MAX_YAML = 20_000
"""Characters of front matter that are read as YAML."""
_NO_YAML = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What PyYAML raises beside its own errors, over a date of month 13 or a value that is not of the type it names."""
_DATES = ("date", "created", "created_at", "creation date", "updated", "modified")
_SHORT = 4
"""A list whose items have fewer words is one thing: what to buy, who was there."""
_MAX_BLOCK = 100_000
Kind = Literal["text", "list", "quote", "code"]

_HEADING = re.compile(r"(#{1,6})\s+")
_BULLET = re.compile(r"(\s*)(?:[-*+]|\d{1,3}[.)])\s+(?:\[[ xX/-]\]\s+)?(.*)")
_RULE = re.compile(r"\s*([-*_=])(?:\s*\1){2,}\s*")
_FENCE = re.compile(r"\s*(```+|~~~+)")
_CALLOUT = re.compile(r"\[![\w-]+\][+-]?\s*")
_MARKUP = (
    (re.compile(r"%%[^%]*%%|<!--(?:[^<-]|-(?!->)|<(?!!--))*-->"), ""),
    (re.compile(r"!\[\[[^\[\]]*\]\]"), ""),
    (re.compile(r"!\[[^\[\]]*\]\([^()]*\)"), ""),
    (re.compile(r"\[\[[^\[\]|]*\|([^\[\]|]*)\]\]"), r"\1"),
    (re.compile(r"\[\[([^\[\]|]*)\]\]"), r"\1"),
    (re.compile(r"\[([^\[\]]*)\]\([^()\s]*(?:\s+\"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"\s\^[\w-]+\s*$"), ""),
)


@dataclass(slots=True)
class _Block:
    """Lines that belong together; in a list, the lines of each item by themselves."""

    kind: Kind
    line: int
    trail: tuple[str, ...]
    parts: list[list[str]] = field(default_factory=lambda: [[]])
    size: int = 0

    def add(self, line: str) -> None:
        self.size += len(line)
        self.parts[-1].append(line)


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """The notes."""
    return [
        Unit("markdown", file.name, (file.name,), partial(_read, file, options))
        for file in files
        if (file.suffix in SUFFIXES and is_text(file)) or (file.suffix == _CANVAS and "nodes" in outline(file))
    ]


def _read(file: File, options: Options) -> Iterator[Item | Skipped]:
    if machinery := set(PurePosixPath(file.name.lower()).parts[:-1]) & set(_MACHINERY):
        yield Skipped(file.name, f"in a folder that holds no notes ({min(machinery)})")
        return
    if file.suffix == _CANVAS:
        yield from _cards(file, _dated({}, file, options))
        return
    front, body = _front(lines(file))
    at = _dated(front, file, options)
    if known := _known_as(front):
        yield Item(known, "", True, at, f"{file.name}#front", file.name, "document")
    for block in _blocks(body):
        yield from _items(block, at, f"{file.name}#L{block.line}", file.name)


def _items(block: _Block, at: float | None, source: str, thread: str) -> Iterator[Item | Skipped]:
    if block.kind == "code":
        yield Skipped(source, "code")
        return
    for text in _texts(block):
        yield Item(text, "", block.kind != "quote", at, source, thread, "document")


def _cards(file: File, at: float | None) -> Iterator[Item | Skipped]:
    """The texts on a canvas (JSON Canvas 1.0); its other cards show files and pages, which it has no words of."""
    for place, (_, card) in enumerate(values(file, {"nodes.item"}), 1):
        if card is TOO_LARGE:
            yield Skipped(f"{file.name}#{place}", "a card larger than any text")
        elif isinstance(card, dict) and card.get("type") == "text" and isinstance(card.get("text"), str):
            for block in _blocks(enumerate(_storable(card["text"]).splitlines(), 1)):
                yield from _items(block, at, f"{file.name}#{place}", file.name)


def _front(found: Iterator[tuple[int, str]]) -> tuple[dict[str, Any], Iterator[tuple[int, str]]]:
    """The front matter, and all lines after it; where it is none, or no YAML, it is text like the rest."""
    taken: list[tuple[int, str]] = []
    for number, line in found:
        taken.append((number, line))
        if number == 1 and line.strip() != "---":
            break
        if number > 1 and line.strip() in ("---", "..."):
            front = _yaml("\n".join(text for _, text in taken[1:-1]))
            return (front, found) if front is not None else ({}, _chained(taken, found))
        if number > _MAX_FRONT:
            break
    return {}, _chained(taken, found)


def _chained(taken: list[tuple[int, str]], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield from taken
    yield from rest


def _yaml(text: str) -> dict[str, Any] | None:
    """What front matter says; None where it is no YAML. One with references is none: they unfold without end."""
    import yaml

    if len(text) > _MAX_YAML:
        return None
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            return None
        front = yaml.safe_load(text)
    except (yaml.YAMLError, *_NO_YAML):
        return None
    return front if isinstance(front, dict) else {} if front is None else None


def _dated(front: dict[str, Any], file: File, options: Options) -> float | None:
    for name in _DATES:
        if (at := iso(_word(front.get(name)))) is not None:
            return at
    day = named_day(file.base)
    return None if day is None else local(day, zone(options))


def _known_as(front: dict[str, Any]) -> str:
    """Other names of a note, with its tags; tags alone tell nothing."""
    told: list[str] = []
    for name in ("title", "aliases", *(("tags",) if front.get("title") or front.get("aliases") else ())):
        value = front.get(name)
        if words := [word for one in (value if isinstance(value, list) else [value]) if (word := _word(one))]:
            told.append(f"{name}: {', '.join(words)}")
    return "; ".join(told)[:_MAX_BLOCK]


def _word(value: object) -> str:
    """A value of front matter as text that can be stored; "" for what is none, or a number beyond any name's."""
    if not isinstance(value, str | int | float | date) or (isinstance(value, int) and value.bit_length() > 64):
        return ""
    return _storable(str(value)).strip()


def _storable(text: str) -> str:
    """Without what UTF-8 or a database cannot hold."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _blocks(found: Iterator[tuple[int, str]]) -> Iterator[_Block]:
    trail: tuple[str, ...] = ()
    depths: tuple[int, ...] = ()
    block: _Block | None = None
    fence = ""
    for number, line in found:
        if fence:
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        kind, text = _kind(line, block)
        if block is not None and (kind != block.kind or block.size > _MAX_BLOCK):
            yield block
            block = None
        if kind == "code":
            fence = text
            yield _Block("code", number, trail)
        elif kind == "heading":
            level, _, title = text.partition(" ")
            kept = sum(depth < int(level) for depth in depths)
            trail, depths = (*trail[:kept], _plain(title)), (*depths[:kept], int(level))
        elif kind != "blank":
            block = block or _Block(kind, number, tuple(t for t, d in zip(trail, depths, strict=True) if d > 1))
            if kind == "list" and (bullet := _BULLET.fullmatch(line)) and _is_top(bullet[1]):
                block.parts.append([])
            block.add(text)
    if block is not None:
        yield block


def _kind(line: str, block: _Block | None) -> tuple[Any, str]:
    """What a line is, and its text; a line after a list item belongs to it unless it begins something else."""
    if not line.strip() or _RULE.fullmatch(line):
        return "blank", ""
    if fence := _FENCE.match(line):
        return "code", fence[1]
    if heading := _HEADING.match(line.lstrip()):
        return "heading", f"{len(heading[1])} {line.lstrip()[heading.end() :].strip().rstrip('#').rstrip()}"
    if line.lstrip().startswith(">"):
        text = line.lstrip().lstrip("> ")
        callout = _CALLOUT.match(text)
        return ("text", text[callout.end() :]) if callout else (_quote_kind(block), text)
    if bullet := _BULLET.fullmatch(line):
        return "list", bullet[2]
    if block is not None and block.kind == "list":
        return "list", line.strip()
    return "text", line.strip()


def _quote_kind(block: _Block | None) -> Kind:
    """A quoted line belongs to the callout that it follows."""
    return "text" if block is not None and block.kind == "text" else "quote"


def _is_top(indent: str) -> bool:
    return len(indent.expandtabs(4)) < 2


def _texts(block: _Block) -> Iterator[str]:
    """What a block says: an item of a list each, unless all are short."""
    said = [text for part in block.parts if (text := _plain("\n".join(part)))]
    if block.kind == "list" and all(len(text.split()) < _SHORT for text in said):
        said = [", ".join(said)] if said else []
    above = " > ".join(filter(None, block.trail))
    for text in said:
        yield f"{above}: {text}" if above else text


def _plain(text: str) -> str:
    for pattern, plain in _MARKUP:
        text = pattern.sub(plain, text)
    return text.strip()
