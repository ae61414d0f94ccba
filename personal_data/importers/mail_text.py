"""What a message says: its text, or its HTML as text, without quoted answers and signatures.

Door: `said`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from email.message import EmailMessage, Message

_MAX_TEXT = 400_000
_MAX_PARTS = 1_000
_SILENT = {"script", "style", "head", "title", "template", "noscript"}
_QUOTES = {"blockquote"}
_BREAKS = {
    "p",
    "div",
    "br",
    "li",
    "tr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "table",
    "ul",
    "ol",
    "pre",
    "blockquote",
}
_TAG = re.compile(r"(<[^<>]*>)")
_NAME = re.compile(r"<(/?)\s*([A-Za-z][A-Za-z0-9]*)")
_WROTE = re.compile(
    r"(?i)\s*(?:on|am|le|el|il|op|em|den|w dniu|dnia)\b.{4,300}"
    r"\b(?:wrote|schrieb|a écrit|escribió|ha scritto|schreef|escreveu|skrev|napisał\(?a?\)?|writes)\b[^:]{0,200}:\s*"
)
_ORIGINAL = re.compile(
    r"(?i)\s*(?:-{2,}\s*(?:original message|ursprüngliche nachricht|message d'origine|mensaje original|"
    r"messaggio originale|oorspronkelijk bericht|mensagem original|forwarded message|weitergeleitete nachricht)"
    r"\s*-{2,}|_{20,})\s*"
)
_SIGNATURE = re.compile(r"-- ?")


def said(message: EmailMessage) -> str:
    """The words of a message; "" where it has none of its own."""
    plain, rich = "", ""
    for part in _texts(message):
        if part.get_content_type() == "text/html":
            rich = rich or _of_html(_decoded(part))
        else:
            plain = plain or _decoded(part)
    own = _own(plain) if plain.strip() else ""
    return (own or _own(rich)).replace("\0", "")[:_MAX_TEXT].strip()


def _texts(message: Message) -> Iterator[Message]:
    """The parts that are text and no attachments, in order; those of a forwarded message are not its sender's words."""
    waiting, seen = [message], 0
    while waiting and seen < _MAX_PARTS:
        part = waiting.pop(0)
        seen += 1
        if part.get_content_type() == "message/rfc822":
            continue
        if part.is_multipart():
            children = part.get_payload()
            waiting[:0] = (
                [child for child in children if isinstance(child, Message)] if isinstance(children, list) else []
            )
        elif (
            part.get_content_maintype() == "text"
            and "attachment" not in str(part.get("Content-Disposition", "")).lower()
        ):
            yield part


def _decoded(part: Message) -> str:
    """In the charset that it names, else in UTF-8, else as Western Windows writes."""
    payload = part.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    for charset in (part.get_content_charset() or "utf-8", "utf-8"):
        try:
            return content.decode(charset).encode(errors="replace").decode()
        except (LookupError, UnicodeError, ValueError):
            continue
    return content.decode("cp1252", "replace")


def _own(text: str) -> str:
    """Up to the answer that it quotes or the signature, without quoted lines."""
    lines = text.replace("\r\n", "\n").split("\n")
    kept: list[str] = []
    for number, line in enumerate(lines):
        folded = f"{line} {lines[number + 1]}" if number + 1 < len(lines) else line
        if _ORIGINAL.fullmatch(line) or _SIGNATURE.fullmatch(line) or _is_introduction(line, folded):
            break
        if not line.lstrip().startswith(">"):
            kept.append(line.rstrip())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def _is_introduction(line: str, folded: str) -> bool:
    """`On Monday, Ada wrote:`, on one line or folded over two."""
    return any(len(one) < 400 and _WROTE.fullmatch(one) is not None for one in (line, folded))


def _of_html(markup: str) -> str:
    """Text of a page, a line for each block; what is quoted or not shown is passed over.

    The standard library's parser takes time quadratic in what a hostile page leaves open; this takes one look at each
    character.
    """
    found: list[str] = []
    hidden: list[str] = []
    for piece in _TAG.split(_without_comments(markup[: 4 * _MAX_TEXT])):
        tag = _NAME.match(piece) if piece[:1] == "<" and piece[-1:] == ">" else None
        if tag is None:
            if not hidden and not piece.startswith(("<!", "<?")):
                found.append(html.unescape(piece.replace("\n", " ")))
            continue
        name = tag[2].lower()
        if name in _BREAKS:
            found.append("\n")
        _enter(hidden, name, piece, ends=bool(tag[1]))
    return "\n".join(" ".join(line.split()) for line in "".join(found).split("\n"))


def _enter(hidden: list[str], name: str, tag: str, *, ends: bool) -> None:
    """Keep `hidden`, what is open of the outermost thing that is not read: its name, as often as it is open."""
    if name == "body":  # whoever wrote it may have left the head open
        hidden.clear()
    elif hidden:
        if name == hidden[0]:
            hidden.pop() if ends else hidden.append(name)
    elif not ends and not tag.endswith("/>") and (name in _SILENT or name in _QUOTES or "gmail_quote" in tag):
        hidden.append(name)


def _without_comments(markup: str) -> str:
    kept, at = [], 0
    while (start := markup.find("<!--", at)) >= 0:
        kept.append(markup[at:start])
        end = markup.find("-->", start)
        if end < 0:
            return "".join(kept)
        at = end + 3
    return "".join([*kept, markup[at:]])
