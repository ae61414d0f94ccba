"""memory: its health."""

from __future__ import annotations

from argparse import Namespace

from api.commands.session import connect, show


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
