"""What all commands share: finding the server and the key, and printing."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from api.client import Client
from api.keys import read_bootstrap_key
from api.running import read_running
from personal_data.errors import BackendUnavailable
from personal_data.settings import load


def connect(arguments: Namespace) -> Client:
    """A client of the Folkmoot that was named, or of the one that runs on this data folder.

    Raises:
        BackendUnavailable: none does.
    """
    data_dir = load().data_dir
    return Client(_url(arguments, data_dir), os.environ.get("FOLKMOOT_KEY") or read_bootstrap_key(data_dir))


def show(arguments: Namespace, data: Any, text: str) -> None:
    """Print `data` as JSON where that was asked for, `text` otherwise."""
    print(json.dumps(data, indent=2, ensure_ascii=False) if arguments.json else text)


def _url(arguments: Namespace, data_dir: Path) -> str:
    given: str | None = arguments.url or os.environ.get("FOLKMOOT_URL")
    if given:
        return given
    running = read_running(data_dir)
    if running is None:
        raise BackendUnavailable(f"nothing runs on data folder {data_dir}: is `folkmoot serve` running?")
    return str(running["url"])
