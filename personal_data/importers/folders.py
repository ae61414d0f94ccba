"""Files that belong together because they lie in one folder, and what such a group is called.

Doors: `folder`, `by_folder` and `title`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from personal_data.importers.source import File


def folder(file: File) -> str:
    """The folder of a file within the upload, "" at its top."""
    parent = PurePosixPath(file.name).parent.as_posix()
    return "" if parent == "." else parent


def by_folder(files: Iterable[File]) -> dict[str, list[File]]:
    """The files of each folder, folders in the order of their first files."""
    found: dict[str, list[File]] = {}
    for file in files:
        found.setdefault(folder(file), []).append(file)
    return found


def title(files: Sequence[File]) -> str:
    """What the files of one folder are called: a single one by its own name, several by their folder's."""
    if len(files) == 1:
        return files[0].name
    return folder(files[0]) or f"{files[0].name} and {len(files) - 1:,} more"
