"""An archive that somebody brings in, read as data that may be hostile.

Door: `opened`. Only names that we write ourselves are read, each once; every size and digest is compared with the
manifest while it is read, and all of that before anything of it is used. Nothing is ever unpacked to disk.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from personal_data.errors import InvalidInput
from personal_data.portability.export import FORMAT, MANIFEST, SETTINGS, VERSION, adapter_folder
from personal_data.portability.tables import PARTS

MAX_BYTES = 64 * 2**30
MAX_LINE_BYTES = 16 * 2**20
MAX_MEMBERS = 10_000
_MAX_JSON_BYTES = 4 * 2**20
_MAX_ADAPTER_BYTES = 256 * 2**20
_CHUNK = 2**20
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, NotImplementedError, RuntimeError)
"""What zipfile raises where bytes are damaged, encrypted, or packed in a way that it does not know."""
_ADAPTER = re.compile(r"adapters/[1-9][0-9]{0,8}/(adapter_model\.safetensors|adapter_config\.json)")
_LISTS = {f"{part.name}.jsonl" for part in PARTS}


class Archive:
    """An archive whose manifest holds."""

    def __init__(self, packed: zipfile.ZipFile) -> None:
        self._zip = packed
        self.sizes = self._checked_names()
        self.manifest = self._checked_manifest()

    def settings(self) -> dict[str, Any]:
        """What settings.json says."""
        return _object(self._whole(SETTINGS, _MAX_JSON_BYTES), SETTINGS)

    def lines(self, part: str) -> Iterator[dict[str, Any]]:
        """The rows of one part; none where the archive has no such file."""
        name = f"{part}.jsonl"
        if name not in self.sizes:
            return
        with self._opened(name) as member:
            while line := member.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise _refused(f"{name}: a line is longer than {MAX_LINE_BYTES // 2**20} MiB")
                yield _object(line, name)

    def adapter(self, number: int) -> dict[str, bytes]:
        """The files of one adapter version, by name; empty where the archive has none."""
        folder = adapter_folder(number) + "/"
        names = [name for name in self.sizes if name.startswith(folder)]
        return {name.removeprefix(folder): self._whole(name, _MAX_ADAPTER_BYTES) for name in names}

    def _checked_names(self) -> dict[str, int]:
        infos = self._zip.infolist()
        if len(infos) > MAX_MEMBERS or sum(info.file_size for info in infos) > MAX_BYTES:
            raise _refused(f"more than {MAX_MEMBERS:,} files or {MAX_BYTES // 2**30} GiB")
        sizes: dict[str, int] = {}
        for info in infos:
            known = info.filename in {MANIFEST, SETTINGS, *_LISTS} or _ADAPTER.fullmatch(info.filename)
            if not known or info.filename in sizes:
                raise _refused(f"{info.filename[:80]!r} does not belong in it, or stands there twice")
            sizes[info.filename] = info.file_size
        return sizes

    def _checked_manifest(self) -> dict[str, Any]:
        manifest = _object(self._whole(MANIFEST, _MAX_JSON_BYTES), MANIFEST)
        if manifest.get("format") != FORMAT:
            raise _refused("it is not an archive of Folkmoot")
        if manifest.get("version") != VERSION:
            raise _refused(f"it has version {str(manifest.get('version'))[:20]}, this Folkmoot reads {VERSION}")
        files = manifest.get("files")
        if not isinstance(files, dict) or set(files) != set(self.sizes) - {MANIFEST} or SETTINGS not in files:
            raise _refused("its manifest and its files are not the same")
        for name, told in files.items():
            if not isinstance(told, dict) or self._measured(name) != (told.get("bytes"), told.get("sha256")):
                raise _refused(f"{name} is not what its manifest says: it was changed or damaged")
        return manifest

    def _measured(self, name: str) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        with self._opened(name) as member:
            while chunk := member.read(_CHUNK):
                size += len(chunk)
                if size > self.sizes[name]:
                    raise _refused(f"{name} is larger than the zip says")
                digest.update(chunk)
        return size, digest.hexdigest()

    def _whole(self, name: str, limit: int) -> bytes:
        if name not in self.sizes:
            raise _refused(f"{name} is missing")
        with self._opened(name) as member:
            data = member.read(limit + 1)
        if len(data) > limit:
            raise _refused(f"{name} is larger than {limit // 2**20} MiB")
        return data

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        with _told(), self._zip.open(name) as member:
            yield member


@contextmanager
def opened(source: Path | IO[bytes]) -> Iterator[Archive]:
    """The archive in a file, once all of it has been compared with its manifest.

    Raises:
        InvalidInput: it is no archive of ours, is damaged, or was changed.
    """
    with _told():
        packed = zipfile.ZipFile(source)
    with packed:
        yield Archive(packed)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise _refused(f"a broken zip ({error}); export it again") from error


def _object(line: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _refused(f"{name} is not JSON") from error
    if not isinstance(found, dict):
        raise _refused(f"{name} does not hold objects")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _refused(reason: str) -> InvalidInput:
    return InvalidInput(f"this archive cannot be restored: {reason}", param="archive")
