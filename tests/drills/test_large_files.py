"""Files of every format, far larger than memory should be: read to the end, in bounded memory.

2 MB in `make test`, 200 MB in `make drills`, each in a process of its own whose peak is measured. The bound is 300 MB
over what the process takes before it opens the file; nothing of the file's own size is allowed on top.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.personal_data import test_claude, test_mail, test_slack, test_takeout, test_telegram, test_whatsapp
from tests.personal_data.test_importing import chatgpt

BOUND = 300 * 2**20
READER = """
import resource, sys
from pathlib import Path
from personal_data.importers.parsed import Item, Options
from personal_data.importers.source import files_of
from personal_data.importing import FORMATS

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before, items = peak(), 0
files = files_of(Path(sys.argv[1])).files
for claim in FORMATS.values():
    units = claim(files, Options("dmy", "UTC"))
    for unit in units:
        items += sum(isinstance(found, Item) for found in unit.read())
    if units:
        break
print(unit.format, items, peak() - before)
"""


def listed(first: bytes, one: bytes, last: bytes) -> Callable[[int], Iterator[bytes]]:
    """A list with as many of one entry as it takes."""

    def write(size: int) -> Iterator[bytes]:
        yield first + one
        block = (b"," + one) * 100
        for _ in range(size // len(block)):
            yield block
        yield last

    return write


def repeated(one: bytes) -> Callable[[int], Iterator[bytes]]:
    block = one * max(1, 50_000 // len(one))
    return lambda size: (block for _ in range(size // len(block) + 1))


def inside(whole: object) -> bytes:
    """The entries of a list, without its brackets."""
    return json.dumps(whole).encode()[1:-1]


TELEGRAM = json.dumps(test_telegram.chat(*test_telegram.MESSAGES)).encode()
MESSAGES = inside(test_telegram.MESSAGES)
FILES = {
    "chatgpt": ("conversations.json", listed(b"[", chatgpt(("user", "I sail."), ("assistant", "Nice."))[1:-1], b"]")),
    "claude": ("conversations.json", listed(b"[", inside(test_claude.EXPORT), b"]")),
    "telegram": ("result.json", listed(TELEGRAM.partition(MESSAGES)[0], MESSAGES, TELEGRAM.partition(MESSAGES)[2])),
    "slack": ("general/2023-05-13.json", listed(b"[", inside(test_slack.MESSAGES), b"]")),
    "takeout": ("messages.json", listed(b'{"messages": [', inside(test_takeout.MESSAGES), b"]}")),
    "whatsapp": ("_chat.txt", repeated(test_whatsapp.ANDROID.encode())),
    "mail": ("All mail.mbox", repeated(test_mail.MBOX + b"\n\n")),
    "markdown": ("notes.md", repeated(b"## A heading\n\n- We sailed to Riga that day.\n\nIt rained.\n\n")),
    "csv": ("table.csv", repeated(b"2023-05-01,Riga,It rained.\n")),
    "text": ("diary.txt", repeated(b"We sailed to Riga.\nIt rained.\n\n")),
}


@pytest.mark.parametrize("format_", FILES)
def test_a_large_file_is_read_in_bounded_memory(format_: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    size = (200 if request.config.getoption("--long") else 2) * 2**20
    name, write = FILES[format_]
    path = tmp_path / "upload" / name
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.writelines(write(size))
    assert path.stat().st_size > 0.9 * size
    done = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path / "upload")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found, items, grown = done.stdout.split()
    assert found == format_
    assert int(items) > 1000
    assert int(grown) < BOUND, f"{int(grown) // 2**20} MiB"
