"""Mail: mailboxes (mbox, Gmail's in a Takeout among them) and single messages (eml), under whatever names.

Door: `claim`. A mailbox is a unit (`mbox.py`), and so are all single messages of a folder. What is read of a message is
told in `mail_message.py`.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from functools import partial

from personal_data.errors import InvalidInput
from personal_data.importers.folders import by_folder, title
from personal_data.importers.mail_message import read_message
from personal_data.importers.mbox import MAX_MESSAGE, fields, messages
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import HEAD_BYTES, File
from personal_data.importers.times import zone

_OFTEN = frozenset({b"date", b"message-id", b"received", b"subject", b"mime-version"})
_KNOWN = _OFTEN | {b"from", b"to", b"return-path", b"delivered-to", b"x-gm-thrid"}
_TOO_LARGE = f"larger than {MAX_MESSAGE // 2**20} MiB"


def claim(files: Sequence[File], options: Options) -> list[Unit]:
    """A unit for each mailbox, and one for the single messages of each folder."""
    boxes, singles = [], []
    for file in files:
        head = _head(file)
        if head.startswith(b"From "):
            if not _KNOWN.isdisjoint(fields(head.partition(b"\n")[2])):
                boxes.append(file)
        elif b"from" in (found := fields(head)) and not _OFTEN.isdisjoint(found):
            singles.append(file)
    return [Unit("mail", file.name, (file.name,), partial(_mailbox, file, options)) for file in boxes] + [
        Unit("mail", title(group), tuple(file.name for file in group), partial(_singles, group, options))
        for group in by_folder(singles).values()
    ]


def _head(file: File) -> bytes:
    """The first lines, as far as they are whole."""
    try:
        head = file.head()
    except InvalidInput:  # broken within its zip
        return b""
    if len(head) == HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1]
    return head.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")


def _mailbox(file: File, options: Options) -> Iterator[Item | Skipped]:
    where = zone(options)
    for number, raw in enumerate(messages(file), 1):
        source = f"{file.name}#{number}"
        yield Skipped(source, _TOO_LARGE) if raw is None else read_message(raw, source, where)


def _singles(files: Sequence[File], options: Options) -> Iterator[Item | Skipped]:
    where = zone(options)
    for file in files:
        try:
            raw = file.head(MAX_MESSAGE + 1)
        except InvalidInput as error:  # broken within its zip; the others may be whole
            yield Skipped(file.name, str(error))
            continue
        if len(raw) > MAX_MESSAGE:
            yield Skipped(file.name, _TOO_LARGE)
        else:
            yield read_message(raw.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n"), file.name, where)
