"""An upload as a flat list of files, whatever it came in: one file, a folder, a zip, zips within a zip.

Door: `files_of`. Archives are not trusted: members are counted, their sizes are measured while they are read and not
believed, names that leave the archive and links are refused, and nothing is ever unpacked to disk.
"""

from __future__ import annotations

import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from personal_data.errors import InvalidInput
from personal_data.importers.parsed import Skipped

MAX_MEMBERS = 100_000
MAX_BYTES = 64 * 2**30
MAX_RATIO = 200
"""Unpacked bytes for each packed one, beyond the first MiB; text packs 3 to 20 times."""
MAX_NESTED_BYTES = 256 * 2**20
"""A zip within a zip is read into memory."""
HEAD_BYTES = 64 * 2**10
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, NotImplementedError)
"""What zipfile raises where bytes are damaged, or packed in a way that it does not know."""


@dataclass(frozen=True, slots=True)
class File:
    """One file: `name` is its path within the upload, `size` what is claimed for it."""

    name: str
    size: int
    open: Callable[[], BinaryIO]

    @property
    def base(self) -> str:
        return PurePosixPath(self.name).name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()

    def head(self, size: int = HEAD_BYTES) -> bytes:
        """The first bytes."""
        with self.open() as stream:
            return stream.read(size)


@dataclass(slots=True)
class Upload:
    """The files of an upload, and what was refused of it."""

    files: list[File] = field(default_factory=list)
    refused: list[Skipped] = field(default_factory=list)


def files_of(path: Path) -> Upload:
    """Every file of an upload.

    Raises:
        InvalidInput: it is not there, or an archive is broken or larger than any export.
    """
    upload = Upload()
    if path.is_dir():
        for found in sorted(path.rglob("*")):
            name = found.relative_to(path).as_posix()
            if found.is_symlink():
                upload.refused.append(Skipped(name, "a link; its target is not read"))
            elif found.is_file():
                _add(upload, File(name, found.stat().st_size, partial(_on_disk, found)), 0)
    elif path.is_file():
        _add(upload, File(path.name, path.stat().st_size, partial(_on_disk, path)), 0)
    else:
        raise InvalidInput(f"{path.name}: no such file or folder", param="file")
    return upload


def _on_disk(path: Path) -> BinaryIO:
    return path.open("rb")


def _add(upload: Upload, file: File, depth: int) -> None:
    try:
        packed = file.head(4) == b"PK\x03\x04" and not _is_document(file)
    except InvalidInput as error:  # a member; the others may be whole
        upload.refused.append(Skipped(file.name, str(error)))
        return
    if not packed:
        upload.files.append(file)
    elif depth == 2:
        upload.refused.append(Skipped(file.name, "a zip within a zip within a zip"))
    else:
        for member in _members(upload, file, depth):
            _add(upload, member, depth + 1)


def _is_document(file: File) -> bool:
    return file.suffix in {".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".epub", ".jar", ".apk"}


def _members(upload: Upload, file: File, depth: int) -> Iterator[File]:
    if depth and file.size > MAX_NESTED_BYTES:
        upload.refused.append(Skipped(file.name, "a zip within a zip, too large to open in there; unpack it first"))
        return
    try:
        stream = file.open()
        seekable = io.BytesIO(_Bounded(stream, MAX_NESTED_BYTES, file.name).read()) if depth else stream
        archive = zipfile.ZipFile(seekable)
    except _BROKEN as error:
        if not depth:
            raise InvalidInput(f"{file.name}: a broken zip ({error}); download it again", param="file") from error
        upload.refused.append(Skipped(file.name, f"a broken zip ({error})"))
        return
    infos = archive.infolist()
    if len(infos) + len(upload.files) > MAX_MEMBERS:
        raise InvalidInput(f"{file.name}: more than {MAX_MEMBERS:,} files; import it in parts", param="file")
    if sum(info.file_size for info in infos) > MAX_BYTES:
        raise InvalidInput(f"{file.name}: more than {MAX_BYTES // 2**30} GiB when unpacked", param="file")
    prefix = f"{file.name}/" if depth else ""
    for info in infos:
        if info.is_dir():
            continue
        if (reason := _refusal(info)) is not None:
            upload.refused.append(Skipped(prefix + info.filename, reason))
            continue
        yield File(prefix + info.filename, info.file_size, partial(_opened, archive, info))


def _refusal(info: zipfile.ZipInfo) -> str | None:
    path = PurePosixPath(info.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "its name leads out of the archive"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link; its target is not read"
    if info.flag_bits & 1:
        return "encrypted; unpack it with its password first"
    if info.file_size > 2**20 + MAX_RATIO * info.compress_size:
        return "unpacks to far more than any text does (a zip bomb?)"
    return None


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    try:
        return io.BufferedReader(_Bounded(archive.open(info), info.file_size, info.filename))
    except _BROKEN as error:
        raise InvalidInput(f"{info.filename}: broken inside its zip ({error})", param="file") from error


class _Bounded(io.RawIOBase):
    """A member's bytes, no more than it claims to have; a broken one is told in our words."""

    def __init__(self, stream: IO[bytes], limit: int, name: str) -> None:
        self._stream, self._left, self._name = stream, limit, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        try:
            data = self._stream.read(len(view))
        except _BROKEN as error:
            raise InvalidInput(f"{self._name}: broken inside its zip ({error})", param="file") from error
        self._left -= len(data)
        if self._left < 0:
            raise InvalidInput(f"{self._name}: larger than its zip says", param="file")
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()
