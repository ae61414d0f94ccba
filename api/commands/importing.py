"""import, imports: send an export, look at what is in it, ask which speaker is its owner, follow it, undo it."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from agents.messages import well_formed
from api.client import Client
from api.commands.session import connect, follow, show
from personal_data.errors import BackendError, InvalidInput

Json = dict[str, Any]
_ROWS = 30
"""Parts and speakers that a table lists."""


def bring(arguments: Namespace) -> int:
    """Import files, archives and folders, one after another; 1 when one of them could not be read."""
    for path in arguments.paths:
        if not path.exists():
            raise InvalidInput(f"{path}: no such file or folder")
    with connect(arguments) as client:
        ended = [_bring(client, path, arguments) for path in arguments.paths]
    if arguments.json:
        show(arguments, ended, "")
    return 0 if all(one["state"] != "failed" for one in ended) else 1


def listing(arguments: Namespace) -> None:
    """The imports, newest first."""
    with connect(arguments) as client:
        found = client.imports()
    lines = [f"{one['id']}  {one['state']:<8}  {one['totals']['items']:>7,} items  {one['name']}" for one in found]
    show(arguments, found, "\n".join(lines) or "nothing was brought in yet: `folkmoot import PATH`")


def report(arguments: Namespace) -> None:
    """How each part of an import fared."""
    with connect(arguments) as client:
        found = client.import_(arguments.id)
    if arguments.json:
        show(arguments, found, "")
    else:
        _show(found)


def undo(arguments: Namespace) -> None:
    """Forget what an import brought."""
    with connect(arguments) as client:
        undone = client.undo_import(arguments.id)
    show(arguments, undone, f"forgotten: {undone['forgotten']:,} memories")


def _bring(client: Client, path: Path, arguments: Namespace) -> Json:
    options = {"timezone": arguments.timezone, "date_order": arguments.date_order}
    with _opened(path) as (name, content):
        begun = client.upload(name, content, **options)
    looked = follow(arguments, client.watch_import(begun["id"]))
    if not arguments.json:
        _show(looked)
    if looked["state"] == "failed" or arguments.dry_run:
        client.undo_import(begun["id"])  # what was sent is removed
        return looked
    me = _who(looked, arguments)
    if not _agreed(looked, arguments):
        client.undo_import(begun["id"])
        return looked
    client.run_import(begun["id"], me=me, scope=arguments.scope, **options)
    done = follow(arguments, client.watch_import(begun["id"]))
    if not arguments.json:
        _show(done)
        if done["state"] == "done":
            print(f"to forget it again: `folkmoot imports undo {done['id']}`")
    return done


@contextmanager
def _opened(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """What is sent: the file as it is, or a folder as a zip."""
    try:
        if path.is_dir():
            with tempfile.TemporaryFile() as packed:
                _pack(path, packed)
                packed.seek(0)
                yield well_formed(f"{path.resolve().name}.zip"), packed
        else:
            with path.open("rb") as file:
                yield well_formed(path.name), file
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error


def _pack(folder: Path, target: BinaryIO) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                archive.write(path, well_formed(path.relative_to(folder).as_posix()))


def _who(looked: Json, arguments: Namespace) -> list[str]:
    """Which speakers are the owner: as told, or as asked where somebody can answer."""
    speakers = list(looked["totals"]["speakers"])
    told = list(arguments.me or ())
    if strange := [name for name in told if speakers and name not in speakers]:
        raise InvalidInput(f"nobody in it is called {strange[0]!r}; there are {', '.join(speakers[:_ROWS])}")
    if told or not speakers or arguments.yes or arguments.json or not sys.stdin.isatty():
        return told
    for number, name in enumerate(speakers[:_ROWS], 1):
        print(f"  {number:>2}  {name} ({looked['totals']['speakers'][name]:,})")
    answer = input("Which of these is you? (numbers, or nothing if none) ")
    try:
        return [speakers[:_ROWS][int(number) - 1] for number in answer.replace(",", " ").split()]
    except (ValueError, IndexError) as error:
        raise InvalidInput(f"{answer!r}: say numbers of the list, like 1 or 1 3") from error


def _agreed(looked: Json, arguments: Namespace) -> bool:
    items = looked["totals"]["items"]
    if not items:
        raise InvalidInput(f"{looked['name']}: there is nothing in it to import; the parts above say why")
    if arguments.yes or arguments.json or not sys.stdin.isatty():
        return True
    return input(f"Import {items:,} items? [Y/n] ").strip().lower() in ("", "y", "yes")


def _show(found: Json) -> None:
    """The parts of an import and what they come to, for people."""
    from rich.console import Console
    from rich.table import Table

    if found["state"] == "failed":
        raise BackendError(f"{found['name']}: {found['error']}")
    table = Table("part", "format", "", "items", "from", "to", title=f"{found['name']}: {found['state']}")
    parts = sorted(found["parts"], key=lambda part: part["status"] != "failed")
    for part in parts[:_ROWS]:
        why = part["error"] or part["status"]
        row = (part["name"], part["format"] or "", why, f"{part['items']:,}", _day(part["first"]), _day(part["last"]))
        table.add_row(*row)
    totals = found["totals"]
    if totals["parts"] > _ROWS:
        table.add_row(f"… {totals['parts'] - _ROWS:,} more", "", "", "", "", "")
    table.add_section()
    told = ", ".join(f"{count:,} {status}" for status, count in totals["statuses"].items())
    parts_told = f"{totals['parts']:,} part{'' if totals['parts'] == 1 else 's'}"
    table.add_row(parts_told, "", told, f"{totals['items']:,}", _day(totals["first"]),
                  _day(totals["last"]))  # fmt: skip
    console = Console()
    console.print(table, markup=False)
    for reason, count in list(totals["left_out"].items())[:_ROWS]:
        console.print(f"  left out: {count:,} × {reason}", markup=False)


def _day(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at).astimezone().date().isoformat()
