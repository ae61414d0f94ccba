"""Mail: mailboxes (mbox, as Thunderbird and Google Takeout write them) and single messages (eml).

Door: `claim`. A mailbox of any size is read message by message. What a message says is its text without quoted answers
and signatures (`mail_text.py`). Mail that machines send to many is left out, as are spam and what was thrown away.
Gmail's labels tell what its owner sent; elsewhere its owner says which of the senders is theirs.
"""

from __future__ import annotations

import email.policy
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from email.errors import MessageError
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

from personal_data.errors import InvalidInput
from personal_data.importers.mail_text import said
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from personal_data.importers.times import seconds

MAX_MESSAGE = 32 * 2**20
"""Bytes of a message with its attachments; those beyond are told, and not read."""
_MAX_LINE = 2**20
_HEADER = re.compile(rb"[!-9;-~]+:[ \t]")
_TELLING = (b"date:", b"message-id:", b"received:", b"subject:", b"mime-version:", b"to:")
_SENT = re.compile(
    r"(?i)\b(sent|gesendet|envoyés?|enviados?|inviat[aio]|posta inviata|verzonden|wysłane|отправленные)\b"
)
_UNWANTED = re.compile(r"(?i)\b(spam|junk|trash|bin|papierkorb|corbeille|papelera|cestino|prullenbak|chat|chats)\b")
_FROM = re.compile(rb">*From ")
_REPLY = re.compile(r"(?i)\s*(re|aw|sv|antw|odp|rv|ref|r|fwd?|wg|tr|i)(\[\d+\])?\s*:")
_BROKEN = (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What the standard library raises over headers and parts that no program should have written."""


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """The mailboxes, and the single messages of each folder together."""
    boxes, folders = [], defaultdict(list)
    for file in files:
        head = _head(file)
        if head.startswith(b"From ") and _begins(head.partition(b"\n")[2]):
            boxes.append(Unit("mail", file.name, (file.name,), partial(_box, file)))
        elif _begins(head):
            folders[str(PurePosixPath(file.name).parent)].append(file)
    return boxes + [_folder(folder, found) for folder, found in sorted(folders.items())]


def _folder(folder: str, files: list[File]) -> Unit:
    name = files[0].name if len(files) == 1 else "mail" if folder == "." else folder
    return Unit("mail", name, tuple(file.name for file in files), partial(_singles, files))


def _head(file: File) -> bytes:
    try:
        return file.head().removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    except InvalidInput:  # broken within its zip
        return b""


def _begins(head: bytes) -> bool:
    """It begins with headers of mail, a sender among them."""
    lines = head.replace(b"\r\n", b"\n").partition(b"\n\n")[0].split(b"\n")
    if not _HEADER.match(lines[0]):
        return False
    names = {line.lower()[: line.find(b":") + 1] for line in lines if _HEADER.match(line)}
    return b"from:" in names and any(name in names for name in _TELLING)


def _box(file: File) -> Iterator[Item | Skipped]:
    with file.open() as stream:
        for number, content in enumerate(_messages(stream), 1):
            yield from _message(f"{file.name}#{number}", content, file.name)


def _singles(files: Sequence[File]) -> Iterator[Item | Skipped]:
    for file in files:
        with file.open() as stream:
            content = stream.read(MAX_MESSAGE + 1)
        yield from _message(file.name, content if len(content) <= MAX_MESSAGE else None, file.name)


def _messages(stream: BinaryIO) -> Iterator[bytes | None]:
    """Each message of a mailbox, None for one that is too large: it begins with `From `, after an empty line."""
    taken: list[bytes] | None = None
    size, empty = 0, True
    while line := stream.readline(_MAX_LINE):
        if empty and line.startswith(b"From "):
            if taken is not None:
                yield b"".join(taken) if size <= MAX_MESSAGE else None
            taken, size, empty = [], 0, False
            continue
        empty = line in (b"\n", b"\r\n")
        size += len(line)
        if taken is None:
            taken = []
        if size > MAX_MESSAGE:
            taken.clear()
        else:
            taken.append(line[1:] if line.startswith(b">") and _FROM.match(line) else line)
    if taken is not None:
        yield b"".join(taken) if size <= MAX_MESSAGE else None


def _message(source: str, content: bytes | None, box: str) -> Iterator[Item | Skipped]:
    if content is None:
        yield Skipped(source, f"larger than {MAX_MESSAGE // 2**20} MiB with its attachments")
        return
    try:
        found = BytesParser(EmailMessage, policy=email.policy.default).parsebytes(content)
        assert isinstance(found, EmailMessage)
        yield _entry(source, found, box)
    except _BROKEN as error:
        yield Skipped(source, f"a broken message ({type(error).__name__})")


def _entry(source: str, message: EmailMessage, box: str) -> Item | Skipped:
    labels = _header(message, "X-Gmail-Labels")
    if (reason := _left_out(message, labels)) is not None:
        return Skipped(source, reason)
    text = said(message)
    if not text:
        return Skipped(source, "no words of its own in it (files, quotes)")
    subject = _header(message, "Subject")
    whole = f"{subject}\n{text}" if subject and not _REPLY.match(subject) else text
    own = None if not labels else _SENT.search(labels) is not None
    return Item(whole, _speaker(message), own, _at(message), source, _thread(message, box))


def _left_out(message: EmailMessage, labels: str) -> str | None:
    if _UNWANTED.search(labels):
        return "spam, thrown away, or a chat"
    automatic = _header(message, "Auto-Submitted").lower()
    bulk = _header(message, "Precedence").lower() in ("bulk", "list", "junk")
    if message["List-Unsubscribe"] is not None or bulk or automatic not in ("", "no"):
        return "sent to many by a machine"
    return None


def _header(message: EmailMessage, name: str) -> str:
    """A header as one line of text that any database takes; "" where there is none."""
    value = message.get(name)
    text = "" if value is None else str(value)
    return " ".join(text.encode(errors="replace").decode().replace("\0", "").split())


def _speaker(message: EmailMessage) -> str:
    """The sender's name, else the address; answers and sender fields may be written in any way."""
    written = _header(message, "From")
    name, _, address = written.partition("<")
    return (name.strip(" \"'") or address.strip("<> ") or written)[:200] or "nobody"


def _at(message: EmailMessage) -> float | None:
    """When it was sent, else when somebody's server took it."""
    for written in (_header(message, "Date"), _header(message, "Received").rpartition(";")[2]):
        try:
            return seconds(parsedate_to_datetime(written).timestamp())
        except (ValueError, TypeError, IndexError, OverflowError, OSError):
            continue
    return None


def _thread(message: EmailMessage, box: str) -> str:
    told = (_header(message, name) for name in ("X-GM-THRID", "References", "In-Reply-To", "Message-ID"))
    return next((value.split(" ")[0] for value in told if value), box)
