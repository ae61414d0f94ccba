"""What was erased is found in any file, in any form it may have been written in; what was not erased is not."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from personal_data.embedding import HashingEmbedder, to_bytes
from personal_data.erasure.marks import _CHUNK, LONG, SHORT, Marks, scan

TEXT = 'Ünder the "röof"\nof the old mill the canary sings at a quarter past seven.'
FORMS = {
    "utf-8": TEXT.encode(),
    "json": json.dumps(TEXT).encode(),
    "json in utf-8": json.dumps(TEXT, ensure_ascii=False).encode(),
    "utf-16": TEXT.encode("utf-16-le"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at", [0, 1, _CHUNK - 7, _CHUNK - 1, 8 * _CHUNK - 20, 8 * _CHUNK])
def test_every_form_is_found_wherever_it_stands(tmp_path: Path, form: str, at: int) -> None:
    noise = np.random.default_rng(at).bytes(8 * _CHUNK + 1000)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file.bin").write_bytes(noise[:at] + FORMS[form] + noise[at:])
    (tmp_path / "clean.bin").write_bytes(noise)
    found, unread = scan(tmp_path, Marks.of([TEXT]))
    assert set(found) == {"deep/file.bin"}
    assert not unread


def test_half_of_a_text_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(b"\0" * 50 + TEXT.encode()[40:])
    assert scan(tmp_path, Marks.of([TEXT]))[0]


def test_short_texts_are_found_and_shorter_ones_are_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"She said: my cat is Miro. and left")
    assert scan(tmp_path, Marks.of(["my cat is Miro."]))[0]
    assert not len(Marks.of(["Miro."], []).found(b"Miro."))
    assert SHORT < LONG


def test_vectors_are_found(tmp_path: Path) -> None:
    vector = np.random.default_rng(1).normal(size=(1, 384)).astype(np.float32)
    blob = to_bytes(vector)
    (tmp_path / "level0.bin").write_bytes(b"x" * 13 + vector.tobytes() + b"y" * 9)
    assert set(scan(tmp_path, Marks.of([], [blob]))[0]) == {"level0.bin"}
    assert len(Marks.of([], [to_bytes(HashingEmbedder().embed([TEXT])[:1])]))


def test_what_says_nothing_is_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(b"\0" * 5000 + b" " * 5000 + b"-" * 5000)
    assert not scan(tmp_path, Marks.of([" " * 100, "-" * 100, "\0" * 100], [b"\0" * 1536]))[0]


def test_ten_thousand_texts_are_told_from_their_likes(tmp_path: Path) -> None:
    erased = [
        f"Number {number:05} of the erased notes is about {number * 7919 % 10007} geese." for number in range(10_000)
    ]
    kept = [f"Number {number:05} of the kept notes tells of {number * 7907 % 10007} swans." for number in range(10_000)]
    (tmp_path / "kept").write_text("\n".join(kept))
    marks = Marks.of(erased)
    assert not scan(tmp_path, marks)[0]
    (tmp_path / "one").write_text("\n".join([*kept[:500], erased[4711], *kept[500:]]))
    assert set(scan(tmp_path, marks)[0]) == {"one"}


def test_marks_outlive_their_process_as_bytes() -> None:
    marks = Marks.of([TEXT])
    again = Marks.from_bytes([marks.to_bytes(), Marks.of(["another text of some length"]).to_bytes()])
    assert len(again.found(TEXT.encode())) and len(again.found(b"another text of some length"))
    assert not len(again.without(marks.digests).found(TEXT.encode()))
    assert b"canary" not in marks.to_bytes()


def test_links_are_not_followed_and_rows_of_a_database_are_found(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(TEXT)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    assert not scan(folder, Marks.of([TEXT]))[0]
    with sqlite3.connect(folder / "some.db") as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (?)", (TEXT * 300,))
    assert set(scan(folder, Marks.of([TEXT * 300]))[0]) == {"some.db"}
