"""What all commands share: finding the server and the key, and printing.

A key goes to the Folkmoot it belongs to and nowhere else. FOLKMOOT_KEY is whoever types; the administrator's key of the
data folder is used for administration only, and sent only to the Folkmoot that runs on that folder.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from api.client import Client
from api.keys import read_bootstrap_key
from api.running import read_running
from personal_data.errors import BackendUnavailable, InvalidInput, Unauthorized
from personal_data.settings import load


def connect(arguments: Namespace) -> Client:
    """The caller's own view of the Folkmoot that was named, or of the one that runs on this data folder.

    Raises:
        Unauthorized: FOLKMOOT_KEY is not set.
        BackendUnavailable: no Folkmoot runs here.
    """
    url = find(arguments)
    return Client(url, _own_key("set FOLKMOOT_KEY to the key that `folkmoot user add` printed"))


def connect_as_administrator(arguments: Namespace) -> Client:
    """The administrator's view of it; of a Folkmoot that was named, FOLKMOOT_KEY must be its administrator's.

    Raises:
        Unauthorized: there is no key for it.
        BackendUnavailable: no Folkmoot runs here.
    """
    url = find(arguments)
    key = None if named(arguments) else read_bootstrap_key(load().data_dir)
    return Client(url, key or _own_key("set FOLKMOOT_KEY to the key of its administrator"))


def find(arguments: Namespace) -> str:
    """The URL of the Folkmoot that was named, or of the one that runs on this data folder.

    Raises:
        BackendUnavailable: none does.
    """
    if (given := named(arguments)) is not None:
        return given
    data_dir = load().data_dir
    running = read_running(data_dir)
    if running is None:
        raise BackendUnavailable(f"nothing runs on data folder {data_dir}: start it with `folkmoot serve`")
    return str(running["url"])


def named(arguments: Namespace) -> str | None:
    """The URL that the caller gave."""
    given: str | None = arguments.url or os.environ.get("FOLKMOOT_URL")
    return given or None


def show(arguments: Namespace, data: Any, text: str) -> None:
    """Print `data` as JSON where that was asked for, `text` otherwise."""
    print(json.dumps(data, indent=2, ensure_ascii=False) if arguments.json else text)


def follow(arguments: Namespace, jobs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Read a job of the ledger until it waits or has ended, with a bar where somebody watches; as it was at last."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    job: dict[str, Any] = {}
    quiet = arguments.json or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("waiting for a worker", total=None, note="")
        for job in jobs:
            if progress := job["progress"]:
                bar.update(
                    task,
                    description=progress["stage"],
                    completed=progress["done"],
                    total=progress["total"],
                    note=progress["note"],
                )
    return job


def form_of(path: Path, what: str) -> str:
    """In which form a file is saved, by its name.

    Raises:
        InvalidInput: in none that there is.
    """
    if path.suffix not in (".json", ".md", ".html"):
        raise InvalidInput(f"{path.name}: {what} is .json, .md or .html")
    return path.suffix[1:]


def end_of(day: str | None) -> float | None:
    """The end of a day on this machine's clock, in seconds since the epoch.

    Raises:
        InvalidInput: it is no day.
    """
    if day is None:
        return None
    try:
        last = date.fromisoformat(day)
    except ValueError as error:
        raise InvalidInput(f"{day!r} is no day; say 2027-01-31") from error
    return datetime.combine(last + timedelta(days=1), datetime.min.time()).timestamp()


def _own_key(how: str) -> str:
    if not (key := os.environ.get("FOLKMOOT_KEY")):
        raise Unauthorized(how)
    return key
