"""grant, grants, withdraw, shown-to."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime
from typing import Any

from api.commands.session import connect, end_of, show

Json = dict[str, Any]


def grant(arguments: Namespace) -> None:
    """Let an audience see more."""
    with connect(arguments) as client:
        made = client.grant(
            arguments.audience,
            about=arguments.about or (),
            kinds=arguments.including or (),
            until=end_of(arguments.until),
        )
    show(arguments, made, f"{_told(made)}\nto see what that shows: `folkmoot shown-to {made['audience']}`")


def grants(arguments: Namespace) -> None:
    """All of them, newest first."""
    with connect(arguments) as client:
        found = client.grants()
    show(arguments, found, "\n".join(map(_told, found)) or "nothing was granted")


def withdraw(arguments: Namespace) -> None:
    """Take one back."""
    with connect(arguments) as client:
        found = client.withdraw(arguments.id)
    show(arguments, found, _told(found))


def shown_to(arguments: Namespace) -> None:
    """What an audience would see, newest first."""
    with connect(arguments) as client:
        shown = client.shown_to(arguments.audience, question=arguments.question)
    lines = [f"{arguments.audience} would see {shown['count']:,} of your memories"]
    lines += [f"  {memory['speaker']}: {memory['text']}" for memory in shown["memories"]]
    if shown["count"] > len(shown["memories"]):
        lines.append(f"  … {shown['count'] - len(shown['memories']):,} more")
    lines += [f"hidden: {count:,} ({reason})" for reason, count in sorted(shown["hidden"].items())]
    if arguments.question is not None:
        lines.append("recalled for the question:")
        lines += [f"  {hit['speaker']}: {hit['text']}" for hit in shown["recalled"]] or ["  nothing"]
    show(arguments, shown, "\n".join(lines))


def _told(found: Json) -> str:
    what = [f"about {', '.join(found['about'])}"] if found["about"] else []
    what += [f"including {', '.join(found['kinds'])}"] if found["kinds"] else []
    until = "" if found["until"] is None else f" until {datetime.fromtimestamp(found['until']).astimezone():%Y-%m-%d}"
    state = " (withdrawn)" if found["withdrawn_at"] is not None else ""
    return f"{found['id']}  {found['audience']}: {' '.join(what)}{until}{state}"
