"""The words of a mail, from whichever of its parts holds them.

Door: `body`. Attachments and attached mails are not read; HTML is read where there is no plain text beside it.
"""

from __future__ import annotations

import re
from email.message import Message

from personal_data.importers.html_text import html_text
from personal_data.importers.mail_decode import clean, decode

_CHARSET = re.compile(r"""charset\*?\d*\*?\s*=\s*["']?(?:[\w.:-]*'[\w-]*')?([\w.:+-]+)""", re.IGNORECASE)
_ATTACHED = re.compile(r"\s*attachment\b|.*\bfilename\*?\d*\*?\s*=", re.IGNORECASE | re.DOTALL)


def body(part: Message) -> str:
    """What a message, or a part of one, says."""
    kind = part.get_content_type()
    if _ATTACHED.match(str(part.get("content-disposition", ""))):
        return ""
    if kind == "text/plain":
        return _decoded(part)
    if kind == "text/html":
        return html_text(_decoded(part))
    parts = part.get_payload() if part.get_content_maintype() == "multipart" else None
    if not isinstance(parts, list):
        return ""
    inner = [one for one in parts if isinstance(one, Message)]
    if kind == "multipart/alternative":
        plain_first = sorted(inner, key=lambda one: one.get_content_type() != "text/plain")
        return next((text for one in plain_first if (text := body(one)).strip()), "")
    return "\n".join(text for one in inner if (text := body(one)).strip())


def _decoded(part: Message) -> str:
    try:
        data = part.get_payload(decode=True)
    except ValueError:  # uuencoded, and not well
        return ""
    named = _CHARSET.search(str(part.get("content-type", "")))
    return clean(decode(data, named[1] if named else None)) if isinstance(data, bytes) else ""
