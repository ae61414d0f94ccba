"""What a Slack message says, without its markup: mentions and links become words.

Door: `plain`. Formatting that people type themselves (*bold*, :smile:) stays as they typed it.
"""

from __future__ import annotations

import re

from personal_data.importers.slack_names import Names

_MARKUP = re.compile(r"<([^<>\n]*)>")
_UPLOADED = re.compile(r"<@[^<>]*> (?:uploaded|shared) a file: <[^<>]*>(?: and commented: )?")
"""What Slack itself wrote before the comment, in exports of old."""


def plain(text: object, names: Names) -> str:
    """A message's text as people read it."""
    if not isinstance(text, str):
        return ""
    said, written = [], True
    # What stands between angle brackets is markup; a bracket that people type is escaped.
    for part in _MARKUP.split(_UPLOADED.sub("", text, count=1)):
        said.append(_unescaped(part) if written else _meant(part, names))
        written = not written
    return "".join(said).strip()


def _meant(markup: str, names: Names) -> str:
    target, _, label = markup.partition("|")
    label = _unescaped(label)
    kind, key = target[:1], target[1:]
    if kind == "@":
        return "@" + (names.people.get(key) or label.removeprefix("@") or key)
    if kind == "#":
        return "#" + (label.removeprefix("#") or names.channels.get(key) or key)
    if kind == "!":
        return label or "@" + _unescaped(key)
    return label or _unescaped(target).removeprefix("mailto:")


def _unescaped(text: str) -> str:
    """Slack escapes three characters, and no others."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
