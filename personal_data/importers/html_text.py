"""The words of a page of HTML, as lines.

Door: `html_text`. Scripts, styles and heads are left out; a block begins a line, and lines of a quote begin with ">".
The time it takes is in proportion to the page, whatever is broken in it.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

_DROPPED = frozenset({"script", "style", "head", "title", "template", "svg", "noscript", "object", "select"})
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "br", "center", "dd", "div", "dl", "dt", "fieldset", "footer", "form",
     "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table",
     "tr", "ul"}
)  # fmt: skip
_CELLS = frozenset({"td", "th"})
_NOT_TAGS = re.compile(r"<!--.*?(?:-->|\Z)|<[!?][^<>]*>|<(?![a-zA-Z/][^<>]*>)", re.DOTALL)
"""Comments, declarations, and brackets that open nothing: the parser would fail at them, or look for their ends again
and again."""


def html_text(page: str) -> str:
    """What a reader of the page sees, without links and pictures."""
    reader = _Reader()
    reader.feed(_NOT_TAGS.sub(lambda found: "&lt;" if found[0] == "<" else "", page))
    reader.close()
    return reader.text()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[str] = []
        self._line: list[str] = []
        self._dropped = self._quotes = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "body":  # a head that nobody closed ends here
            self._dropped = 0
        elif tag in _DROPPED:
            self._dropped += 1
        elif tag in _BLOCKS:
            self._break()
            self._quotes += tag == "blockquote"
        elif tag in _CELLS:
            self._line.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _DROPPED:
            self._dropped = max(0, self._dropped - 1)
        elif tag in _BLOCKS:
            self._break()
            self._quotes = max(0, self._quotes - (tag == "blockquote"))

    def handle_data(self, data: str) -> None:
        if not self._dropped:
            self._line.append(data)

    def text(self) -> str:
        """All lines, without empty ones."""
        self._break()
        return "\n".join(self._lines)

    def _break(self) -> None:
        if line := " ".join("".join(self._line).split()):
            self._lines.append(f"> {line}" if self._quotes else line)
        self._line.clear()
