"""One mail: who wrote it, when, what of it is their own words, and why it may be left out.

Door: `read_message`. The owner's mails are known where Gmail labelled them as sent. Newsletters, lists, automated
mails, spam, drafts and what lies in the trash are left out.
"""

from __future__ import annotations

import email
import email.policy
import re
from datetime import UTC, tzinfo
from email.message import Message
from email.utils import parsedate_to_datetime

from personal_data.importers.mail_decode import Headers, words
from personal_data.importers.mail_quotes import own_words
from personal_data.importers.mail_text import body
from personal_data.importers.parsed import Item, Skipped
from personal_data.importers.times import local, seconds

_SENT = frozenset(
    {"sent", "sent mail", "sent messages", "gesendet", "messages envoyés", "envoyés", "enviados", "mensajes enviados",
     "correo enviado", "posta inviata", "inviati", "inviata", "verzonden", "verzonden berichten", "e-mails enviados",
     "enviadas", "itens enviados"}
)  # fmt: skip
_LEFT_OUT = {
    "spam": {"spam", "junk", "correo no deseado", "indésirables", "ongewenst"},
    "in the trash": {"trash", "bin", "papierkorb", "corbeille", "papelera", "cestino", "prullenbak", "lixeira", "lixo"},
    "a chat, not a mail": {"chat", "chats"},
    "a draft": {"draft", "drafts", "entwurf", "entwürfe", "brouillons", "borradores", "bozze", "concepten",
                "rascunhos"},
}  # fmt: skip
"""Reason → Gmail's labels, in the languages that it writes for most."""
_REPLY = re.compile(r"(?:re|aw|antw|antwort|ré|rép|res|rif|r|sv|vs)\s*(?:\[\d+\]|\(\d+\))?\s?:", re.IGNORECASE)
_ID = re.compile(r"<([^<>\s]+)>")
_NAMED = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([^<"]*))\s?<([^<>]*)>')
_BARE = re.compile(r"([^\s()<>,]+@[^\s()<>,]+)\s?(?:\(([^()]*)\))?")
_NOBODY = "unknown sender"
_EARLIEST = 366 * 86400
"""Clocks that were never set say 1970."""
_CONTAINERS = re.compile(rb"content-type:\s*(?:multipart|message)/", re.IGNORECASE)
_MAX_CONTAINERS = 100
"""The parser goes down into each by calling itself."""
_MALFORMED = (ValueError, TypeError, LookupError, RecursionError)
"""What the parser raises at a boundary that is malformed, or in a charset of its own."""


def read_message(raw: bytes, source: str, where: tzinfo | None) -> Item | Skipped:
    """A message, or why it is left out; `where` is the zone of a date that names none."""
    message = _parsed(raw)
    if message is None:
        return Skipped(source, "too broken, or nested too deeply, to be read")
    headers = Headers(message)
    labels = {label.strip(' "').casefold() for label in headers.text("x-gmail-labels").split(",")}
    if (reason := _left_out(message, headers, labels)) is not None:
        return Skipped(source, reason)
    text, subject = own_words(body(message)), headers.text("subject")
    if subject and not _REPLY.match(subject):
        text = f"{subject}\n{text}".strip()
    if not text:
        return Skipped(source, "no words of its own (files, quotes)")
    own = True if labels & _SENT else None
    return Item(text, _speaker(headers), own, _at(headers, where), source, _thread(headers) or source)


def _parsed(raw: bytes) -> Message | None:
    if len(_CONTAINERS.findall(raw)) > _MAX_CONTAINERS:
        return None
    try:
        return email.message_from_bytes(raw.replace(b"\0", b""), policy=email.policy.compat32)
    except _MALFORMED:
        return None


def _left_out(message: Message, headers: Headers, labels: set[str]) -> str | None:
    for reason, known in _LEFT_OUT.items():
        if labels & known:
            return reason
    if re.fullmatch("[0-9a-f]{3}[89a-f]", headers.raw("x-mozilla-status").lower()):
        return "deleted"
    if "list-unsubscribe" in headers or headers.raw("precedence").lower() in {"bulk", "junk"}:
        return "sent to many (a newsletter, a list)"
    if headers.raw("auto-submitted").lower() not in {"", "no"} or message.get_content_type() == "multipart/report":
        return "written by a machine"
    return None


def _speaker(headers: Headers) -> str:
    """The name of whoever wrote it, their address where they have none."""
    value = headers.raw("from") or headers.raw("sender")
    if (found := _NAMED.match(value)) is not None:
        name, address = re.sub(r"\\(.)", r"\1", found[1] or found[2] or ""), found[3]
    elif (found := _BARE.match(value)) is not None:
        name, address = found[2] or "", found[1]
    else:
        name, address = value, ""
    return words(name).strip("'\" ") or address.strip().lower() or _NOBODY


def _at(headers: Headers, where: tzinfo | None) -> float | None:
    """When it was written; when it arrived, if it does not tell."""
    for date in (headers.raw("date"), headers.raw("received").rpartition(";")[2]):
        at = _moment(date, where)
        if at is not None and at >= _EARLIEST:
            return at
    return None


def _moment(date: str, where: tzinfo | None) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        if moment.tzinfo is not None:
            return seconds(moment.timestamp())
    except (ValueError, IndexError, TypeError, OverflowError):  # numbers that are no date
        return None
    return local(moment, UTC if "-0000" in date else where)  # -0000 is UTC, told by who knows no zone


def _thread(headers: Headers) -> str:
    if thread := headers.raw("x-gm-thrid"):
        return thread
    for name in ("references", "in-reply-to", "message-id"):
        if (found := _ID.search(headers.raw(name))) is not None:
            return found[1]
    return headers.raw("message-id")
