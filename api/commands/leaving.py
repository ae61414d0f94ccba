"""export, restore, erase."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from api.client import Client
from api.commands.session import connect, show
from personal_data.errors import InvalidInput, StorageError

Json = dict[str, Any]


def export(arguments: Namespace) -> None:
    """All of the caller's data as one file that did not exist before."""
    try:
        arguments.file.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise StorageError(f"{arguments.file}: {error.strerror}") from error
    try:
        with connect(arguments) as client:
            client.export(arguments.file)
    except BaseException:
        arguments.file.unlink(missing_ok=True)
        raise
    size = arguments.file.stat().st_size
    show(arguments, {"file": str(arguments.file), "bytes": size}, f"{arguments.file} ({size:,} bytes)")


def restore(arguments: Namespace) -> None:
    """Bring an archive in, and say what is new and what was left out."""
    if not arguments.file.is_file():
        raise InvalidInput(f"{arguments.file}: no such file")
    with connect(arguments) as client:
        done = client.restore(arguments.file)
    added = ", ".join(f"{count} {kind}" for kind, count in done["added"].items())
    lines = [f"restored {added or 'nothing: all of it is here'}"]
    show(
        arguments, done, "\n".join([*lines, *(f"  left out {count}: {why}" for why, count in done["left_out"].items())])
    )


def erase(arguments: Namespace) -> int:
    """Erase what was named, once that was confirmed; 1 where some file still holds something of it."""
    with connect(arguments) as client:
        wish = _wish(client, arguments)
        receipt = client.erased(client.erase(**wish))
    show(arguments, receipt, "\n".join(_lines(receipt)))
    return 1 if receipt["residue"] else 0


def _wish(client: Client, arguments: Namespace) -> Json:
    handle = client.me()["handle"]
    what = arguments.memory or arguments.source or "everything"
    if arguments.everything:
        wish: Json = {"everything": True, "confirm": handle}
    else:
        wish = {"memory": arguments.memory} if arguments.memory else {"source": arguments.source}
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise InvalidInput("erasing cannot be undone: say --yes where nobody can be asked")
        asked = f"Erase {what} of {handle} for good? Type {handle}: "
        if input(asked).strip() != handle:
            raise InvalidInput("nothing was erased")
    return wish


def _lines(receipt: Json) -> list[str]:
    removed = ", ".join(f"{count} {kind}" for kind, count in sorted(receipt["removed"].items()))
    lines = [f"erased {removed or 'nothing'} ({receipt['id']})"]
    lines += [f"  STILL in {name}: {count} places" for name, count in sorted(receipt["residue"].items())]
    return lines + [f"  could not: {reason}" for reason in receipt["could_not"]]
