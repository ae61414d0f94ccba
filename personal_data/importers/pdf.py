"""PDF documents: an item for each paragraph of each page's text, as pypdf reads it.

Door: `claim`. Nothing tells who wrote a document, so it is not taken for its owner's words. A page without a text layer
is a scan, and is told as one: what is drawn is not read.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from personal_data.errors import InvalidInput
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File

MAX_BYTES = 100 * 2**20
"""A document is read from memory."""
_MAX_PAGES = 5_000
_MAX_PAGE = 200_000
"""Characters of a page; a page of print has 5,000. pypdf takes time with their square."""
_SHOWING = (b"Tj", b"TJ", b"'", b'"')
"""The operators that show text."""
_AIM = 1_000
"""About as long as an item should be: paragraphs are not marked in a PDF, so lines are joined up to here."""
_BROKEN = (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError, ArithmeticError, LookupError)
"""What pypdf raises over damaged documents beside its own errors and RuntimeErrors (recursion, not implemented)."""


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """The documents."""
    return [Unit("pdf", file.name, (file.name,), partial(_read, file)) for file in files if _is_ours(file)]


def _is_ours(file: File) -> bool:
    try:
        return b"%PDF-" in file.head(1024)
    except InvalidInput:  # broken within its zip
        return False


class _LongPage(Exception):
    """More text on a page than is read."""


def _read(file: File) -> Iterator[Item | Skipped]:
    import pypdf
    from pypdf.errors import DependencyError, DeprecationError, PyPdfError

    broken = (PyPdfError, DeprecationError, RuntimeError, OSError, MemoryError, *_BROKEN)
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns of every fault that it can bear
    with file.open() as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InvalidInput(f"{file.name}: larger than {MAX_BYTES // 2**20} MiB; split it", param="file")
    try:
        document = pypdf.PdfReader(io.BytesIO(content), strict=False)
        if document.is_encrypted and not document.decrypt(""):
            raise InvalidInput(f"{file.name}: locked with a password; save it without one", param="file")
        pages = min(len(document.pages), _MAX_PAGES)
        at = _made(document)
    except DependencyError as error:  # AES, which needs a library that we do without
        raise InvalidInput(
            f"{file.name}: locked in a way that we cannot open; save it unlocked", param="file"
        ) from error
    except broken as error:
        raise InvalidInput(f"{file.name}: a broken PDF ({_told(error)})", param="file") from error
    for number in range(pages):
        try:
            text = document.pages[number].extract_text(visitor_operand_before=_counting())
        except _LongPage:
            yield Skipped(f"{file.name}#p{number + 1}", f"a page with more than {_MAX_PAGE:,} characters")
            continue
        except (DependencyError, *broken) as error:
            yield Skipped(f"{file.name}#p{number + 1}", f"a broken page ({type(error).__name__})")
            continue
        yield from _page(file.name, number + 1, text, at)
    if len(document.pages) > pages:
        yield Skipped(f"{file.name}#p{pages + 1}", f"pages beyond the first {_MAX_PAGES:,}; split the document")


def _counting() -> Callable[[Any, Any, Any, Any], None]:
    """Looks at each operation before it is carried out, and ends a page that shows too much."""
    shown = 0

    def count(operator: bytes, operands: Sequence[Any], *_: Any) -> None:
        nonlocal shown
        if operator in _SHOWING:
            strings = operands[0] if operator == b"TJ" and operands else operands
            shown += 1 + sum(len(one) for one in strings if isinstance(one, str | bytes))
            if shown > _MAX_PAGE:
                raise _LongPage

    return count


def _made(document: Any) -> float | None:
    made = document.metadata.creation_date if document.metadata is not None else None
    return None if made is None else float(made.timestamp())


def _page(name: str, number: int, text: str, at: float | None) -> Iterator[Item | Skipped]:
    source = f"{name}#p{number}"
    clean = text.replace("\0", "").encode(errors="replace").decode()
    if not clean.strip():
        yield Skipped(source, "a page without text: a picture or a scan")
    for part in _parts(clean):
        yield Item(part, "", None, at, source, name, "document")


def _parts(text: str) -> Iterator[str]:
    """Lines joined up to about as many characters as a paragraph has, and up to an empty line."""
    for paragraph in re.split(r"\n\s*\n", text):
        taken = ""
        for line in filter(None, (line.strip() for line in paragraph.splitlines())):
            if taken and len(taken) + len(line) > _AIM:
                yield taken
                taken = ""
            taken = f"{taken[:-1]}{line}" if taken.endswith("-") and line[:1].islower() else f"{taken} {line}".strip()
        if taken:
            yield taken


def _told(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
