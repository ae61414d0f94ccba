"""reflect, profile: what the agent draws from its owner's words, and what it always heeds."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from api.commands.session import connect, follow, show
from personal_data.errors import BackendError


def reflect(arguments: Namespace) -> int:
    """Draw facts from what was said of late, with progress, or take what a reflection added back; 1 when it did not end
    well."""
    with connect(arguments) as client:
        if arguments.undo is not None:
            taken = client.undo_reflection(arguments.undo)
            show(arguments, taken, f"forgotten: {taken['count']:,}; what they had ended holds again")
            return 0
        job = client.reflect()
        if arguments.no_wait:
            show(arguments, job, f"{job['id']} is {job['state']}")
            return 0
        job = follow(arguments, client.watch_reflection(job["id"]))
        added = {row["id"]: row for row in client.memories(limit=500)} if not arguments.json else {}
    if arguments.json:
        show(arguments, job, "")
    elif job["state"] != "done":
        raise BackendError(f"the reflection {job['id']} is {job['state']}: {job['error'] or 'stopped by its owner'}")
    else:
        show(arguments, job, "\n".join(_told(job, added)))
    return 0 if job["state"] == "done" else 1


def profile(arguments: Namespace) -> None:
    """What every prompt shows, and the wishes that do not fit."""
    with connect(arguments) as client:
        found = client.profile()
    lines = [f"  {text}" for text in found["instructions"]]
    lines += [f"  {one['text']}  ({one['id']})" for one in found["preferences"]]
    lines.append(f"about {found['tokens']} of {found['budget']} tokens")
    lines += [f"  left to recall: {one['text']}  ({one['id']})" for one in found["left_out"]]
    show(arguments, found, "\n".join(lines))


def _told(job: dict[str, Any], memories: dict[str, Any]) -> list[str]:
    result = job["result"]
    if not result["able"]:
        return [
            f"{result['model']!r} is not able to: it passed {result['passed']} of {result['of']} trial tasks. Your "
            "turns are remembered word for word all the same; `folkmoot agent --model NAME` moves to another model."
        ]
    lines = [f"  + {memories[one]['text']}" for one in result["added"] if one in memories]
    lines.append(
        f"{result['turns']:,} turns: {len(result['added'])} new, {len(result['confirmed'])} told again, "
        f"{len(result['ended'])} ended; `folkmoot reflect --undo {job['id']}` takes the new ones back"
    )
    lines += [f"  kept out, {reason}: {count}" for reason, count in sorted(result["kept_out"].items())]
    return lines
