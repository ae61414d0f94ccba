"""Uploads on disk, from when they are sent until they are imported: a folder for each import with one file in it.

Doors: `receiving`, which leaves a whole file or nothing; `uploaded`; `remove_upload`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from personal_data.errors import InvalidInput, StorageError
from personal_data.settings import Settings

_NAME_BYTES, _STEM_BYTES, _ENDING_BYTES = 200, 150, 20


@contextmanager
def receiving(settings: Settings, import_id: str, name: str, size: int | None) -> Iterator[BinaryIO]:
    """The file to write an upload of `size` bytes (None: unknown) to; it is removed unless the block ends well.

    Raises:
        StorageError: the disk has no room for it.
    """
    folder = settings.uploads_dir / import_id
    free = shutil.disk_usage(settings.uploads_dir).free - settings.min_free_bytes
    if (size or 0) > free:
        raise StorageError(f"the disk of the data folder has no room for an upload of {size:,} bytes")
    folder.mkdir(mode=0o700)
    try:
        with (folder / safe_name(name)).open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        shutil.rmtree(folder)
        raise StorageError(f"the upload could not be written: {error.strerror}") from error
    except BaseException:
        shutil.rmtree(folder)
        raise


def safe_name(name: str) -> str:
    """The last part of a path that somebody sent, short enough for any disk; formats look at its ending."""
    base = PurePosixPath(name.replace("\\", "/")).name.replace("\0", "")
    if base in ("", ".", ".."):
        return "upload"
    whole = base.encode(errors="replace")
    if len(whole) <= _NAME_BYTES:
        return whole.decode()
    stem, dot, ending = whole.rpartition(b".")
    return (stem[:_STEM_BYTES] + dot + ending[:_ENDING_BYTES]).decode(errors="ignore")


def uploaded(settings: Settings, import_id: str) -> Path:
    """The file of an import.

    Raises:
        InvalidInput: it is not there any more.
    """
    folder = settings.uploads_dir / import_id
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        return path
    raise InvalidInput("the upload is not there any more; upload it again")


def remove_upload(settings: Settings, import_id: str) -> None:
    """Remove what was uploaded, if it is there."""
    shutil.rmtree(settings.uploads_dir / import_id, ignore_errors=True)
