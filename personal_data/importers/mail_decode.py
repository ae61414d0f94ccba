"""Bytes and headers of mails as text, whatever charset they claim; what is broken is read as well as it can be.

Doors: `decode`, `clean`, `words` and `Headers`. Headers are read here and not by `email.policy.default`, whose parser
raises errors of many kinds at the headers that real mailboxes hold, and takes long over them.
"""

from __future__ import annotations

import binascii
import codecs
import re
from email.message import Message

_MAX_HEADER = 10_000
_UNFIT = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"})
"""Python's own; no mail is written in them, and some take time that grows with the square of the text."""
_WORD = re.compile(r"=\?([^?\s]{1,80})\?([bq])\?([^?]*)\?=", re.IGNORECASE)


def decode(data: bytes, charset: str | None) -> str:
    """Text in the charset that it claims, in UTF-8 if it is not, in Windows-1252 if it is neither."""
    for codec in (_codec(charset), "utf-8"):
        if codec is not None:
            try:
                return data.decode(codec)
            except (ValueError, LookupError):  # not in it, or no charset of texts
                pass
    return data.decode("windows-1252", "replace")


def _codec(charset: str | None) -> str | None:
    if not charset or len(charset) > 40:
        return None
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):  # unknown, or no name at all
        return None
    if name.replace("-", "_") in _UNFIT:
        return None
    return "windows-1252" if name == "iso8859-1" else name  # what is claimed to be the one is the other, its superset


def clean(text: str) -> str:
    """Text that can be stored: no NUL, no half of a pair of surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


class Headers:
    """The headers of a message, each on one line; of several with a name the first counts, as in a reader."""

    def __init__(self, message: Message) -> None:
        self._raw: dict[str, str] = {}
        for name, value in message.raw_items():
            self._raw.setdefault(name.lower(), str(value))

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def raw(self, name: str) -> str:
        """A header with its encoded words as they are."""
        value = self._raw.get(name, "")[:_MAX_HEADER].encode("utf-8", "surrogateescape")
        return " ".join(clean(decode(value, None)).split())

    def text(self, name: str) -> str:
        """A header as people read it."""
        return words(self.raw(name))


def words(value: str) -> str:
    """A header's encoded words (=?utf-8?q?...?=) decoded. Neighbours of one charset are one text: a character may be
    cut between them."""
    said: list[str] = []
    held, charset, end = b"", "", 0
    for word in _WORD.finditer(value):
        between, data = value[end : word.start()], _word(word)
        named = word[1].partition("*")[0].lower()
        if charset and not between.strip() and named == charset:
            held += data
        else:
            said += [decode(held, charset), between if between.strip() or not charset else ""]
            held, charset = data, named
        end = word.end()
    return " ".join(clean("".join([*said, decode(held, charset), value[end:]])).split())


def _word(word: re.Match[str]) -> bytes:
    data = word[3].encode("utf-8", "replace")
    if word[2] in "qQ":
        return binascii.a2b_qp(data, header=True)
    try:
        return binascii.a2b_base64(data + b"==")
    except binascii.Error:
        return word[0].encode("utf-8", "replace")
