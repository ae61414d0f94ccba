"""Uploads as flat lists of files; archives that are hostile, broken or within each other."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from personal_data.errors import InvalidInput
from personal_data.importers import source
from personal_data.importers.source import File, Upload, files_of


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip with these members."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()


def uploaded(folder: Path, content: bytes, name: str = "export.zip") -> Upload:
    """What an uploaded file holds."""
    path = folder / name
    path.write_bytes(content)
    return files_of(path)


def read(file: File) -> bytes:
    """All of a file."""
    with file.open() as stream:
        return stream.read()


def test_a_file_a_folder_and_a_zip_are_read_alike(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"one")
    (folder / "deep" / "b.txt").write_bytes(b"two")
    (folder / "link.txt").symlink_to(folder / "a.txt")
    upload = files_of(folder)
    assert [(file.name, read(file)) for file in upload.files] == [("a.txt", b"one"), ("deep/b.txt", b"two")]
    assert [skipped.source for skipped in upload.refused] == ["link.txt"]
    [single] = files_of(folder / "a.txt").files
    assert (single.base, single.suffix, single.size, single.head(2)) == ("a.txt", ".txt", 3, b"on")
    upload = uploaded(tmp_path, packed({"a.txt": b"one", "deep/b.txt": b"two"}))
    assert [(file.name, read(file)) for file in upload.files] == [("a.txt", b"one"), ("deep/b.txt", b"two")]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        files_of(tmp_path / "nothing")


def test_names_and_links_that_leave_the_archive_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in ("../up.txt", "/root.txt", "C:/drive.txt", "a/../../up.txt", "good.txt"):
            archive.writestr(name, b"x")
        archive.writestr(link, "/etc/passwd")
    upload = uploaded(tmp_path, written.getvalue())
    assert [file.name for file in upload.files] == ["good.txt"]
    assert len(upload.refused) == 5


def test_a_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    upload = uploaded(tmp_path, packed({"bomb.txt": b"0" * (50 << 20), "good.txt": b"text"}))
    assert [file.name for file in upload.files] == ["good.txt"]
    assert "zip bomb" in upload.refused[0].reason


def test_a_member_that_lies_about_its_size_is_cut_off(tmp_path: Path) -> None:
    content = packed({"a.txt": b"x" * 5000}, zipfile.ZIP_STORED)
    lying = content.replace((5000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    upload = uploaded(tmp_path, lying)
    assert not upload.files
    assert "a.txt: broken" in upload.refused[0].reason


def test_zips_within_zips_two_deep_and_no_deeper(tmp_path: Path) -> None:
    third = packed({"c.txt": b"c"})
    second = packed({"b.txt": b"b", "third.zip": third})
    upload = uploaded(tmp_path, packed({"a.txt": b"a", "second.zip": second, "broken.zip": b"PK\x03\x04nothing"}))
    assert [file.name for file in upload.files] == ["a.txt", "second.zip/b.txt"]
    assert [read(file) for file in upload.files] == [b"a", b"b"]
    assert [skipped.source for skipped in upload.refused] == ["second.zip/third.zip", "broken.zip"]


def test_members_and_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed({f"{number}.txt": b"x" for number in range(20)})
    monkeypatch.setattr(source, "MAX_MEMBERS", 10)
    with pytest.raises(InvalidInput, match="more than 10 files"):
        uploaded(tmp_path, content)
    monkeypatch.setattr(source, "MAX_MEMBERS", 100)
    monkeypatch.setattr(source, "MAX_BYTES", 10)
    with pytest.raises(InvalidInput, match="when unpacked"):
        uploaded(tmp_path, content)


def test_an_encrypted_member_says_what_to_do(tmp_path: Path) -> None:
    content = bytearray(packed({"a.txt": b"secret"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    upload = uploaded(tmp_path, bytes(content))
    assert not upload.files
    assert "encrypted" in upload.refused[0].reason


def test_truncated_and_damaged_zips_give_our_error_or_a_whole_file(tmp_path: Path) -> None:
    """Cut at every hundredth, and one byte changed at every hundredth."""
    text = bytes(range(256)) * 40
    whole = packed({"a.txt": text, "b/c.txt": b"short"})
    for part in range(100):
        place = len(whole) * part // 100
        for broken in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]):
            try:
                for file in uploaded(tmp_path, broken).files:
                    read(file)
            except InvalidInput:
                continue
