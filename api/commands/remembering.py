"""memory: listed, corrected, forgotten; and its health."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime

from api.commands.session import connect, show


def listing(arguments: Namespace) -> None:
    """Memories, newest first."""
    with connect(arguments) as client:
        found = client.memories(
            limit=arguments.limit, kind=arguments.kind, speaker=arguments.speaker, holds=arguments.holds
        )
    lines = [f"{row['id']}  [{row['scope']}]  {row['speaker']}: {row['text']}" for row in found]
    show(arguments, found, "\n".join(lines) or "nothing is remembered that fits")


def correct(arguments: Namespace) -> None:
    """Let a memory say something else."""
    with connect(arguments) as client:
        client.correct(arguments.id, arguments.text)
    show(arguments, {"id": arguments.id}, f"corrected; `folkmoot memory undo {arguments.id}` takes it back")


def undo(arguments: Namespace) -> None:
    """Take the last correction back."""
    with connect(arguments) as client:
        client.undo_correction(arguments.id)
    show(arguments, {"id": arguments.id}, "it says again what it said before")


def history(arguments: Namespace) -> None:
    """What a memory said before, oldest first."""
    with connect(arguments) as client:
        found = client.memory_history(arguments.id)
    lines = [f"{datetime.fromtimestamp(row['replaced_at']).astimezone():%Y-%m-%d}  {row['text']}" for row in found]
    show(arguments, found, "\n".join(lines) or "it was never corrected")


def forget(arguments: Namespace) -> None:
    """Forget a memory."""
    with connect(arguments) as client:
        client.forget(arguments.id)
    show(arguments, {"id": arguments.id}, "forgotten")


def verify(arguments: Namespace) -> int:
    """Compare the index with what is remembered; 1 when they differ."""
    with connect(arguments) as client:
        found = client.verify_memory()
    lines = [
        f"{found['memories']:,} memories, {found['waiting']:,} wait for the index",
        f"{found['astray']:,} astray; {found['lost']:,} of {found['probes']:,} not found by their own vectors",
    ]
    if found["broken"]:
        lines.append(f"the index is broken: {found['broken']}")
    lines.append("healthy" if found["healthy"] else "not healthy: `folkmoot memory rebuild` fills the index anew")
    show(arguments, found, "\n".join(lines))
    return 0 if found["healthy"] else 1


def rebuild(arguments: Namespace) -> None:
    """Fill the index anew."""
    with connect(arguments) as client:
        queued = client.rebuild_memory()
    show(arguments, queued, f"queued: {queued['queued']:,} memories; recall works meanwhile")
