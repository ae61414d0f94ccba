"""Tables: separators, names of columns, dates, and files that are broken."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from personal_data.importers import table
from personal_data.importers.parsed import Item, Options, Skipped
from tests.personal_data.exported import Read, cuts, file_of, flips, until_fault

BOOKS = 'Title,Read on,Stars\n"Emma, a novel",2023-05-01,5\nUlysses,,2\n,,\n"Two\nlines",2023-06-02,4\n'


def read(content: str | bytes, name: str = "books.csv") -> Read:
    [unit] = table.claim([file_of(content.encode() if isinstance(content, str) else content, name)], Options())
    return list(unit.read())


def texts(content: str, name: str = "books.csv") -> list[str]:
    return [entry.text for entry in read(content, name) if isinstance(entry, Item)]


def test_each_row_is_an_item() -> None:
    assert read(BOOKS) == [
        Item("Title: Emma, a novel; Read on: 2023-05-01; Stars: 5", "", None, 1_682_899_200.0, "books.csv#row2",
             "books.csv", "document"),
        Item("Title: Ulysses; Stars: 2", "", None, None, "books.csv#row3", "books.csv", "document"),
        Item("Title: Two\nlines; Read on: 2023-06-02; Stars: 4", "", None, 1_685_664_000.0, "books.csv#row5",
             "books.csv", "document"),
    ]  # fmt: skip


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found(separator: str) -> None:
    rows = [["Name", "Town", "Note"], ["Ada", "Riga", "a, b; c"], ["Ben", "Oslo", "d"]]
    written = io.StringIO()
    csv.writer(written, delimiter=separator).writerows(rows)
    assert texts(written.getvalue()) == ["Name: Ada; Town: Riga; Note: a, b; c", "Name: Ben; Town: Oslo; Note: d"]


def test_a_table_without_names_numbers_its_columns() -> None:
    assert texts("12,Riga\n13,Oslo\n") == ["column 1: 12; column 2: Riga", "column 1: 13; column 2: Oslo"]
    assert texts("Riga\n") == ["column 1: Riga"]
    assert texts("Town\nRiga\nOslo,Bergen\n") == ["Town: Riga", "Town: Oslo; Bergen"]


def test_a_quote_that_is_left_open_is_a_fault_and_not_the_whole_memory() -> None:
    content = 'a,b\n"open,1\n' + "x,y\n" * 600_000
    with pytest.raises(InvalidInput, match=r"row 2.*quote"):
        read(content)


def test_only_tables_are_taken() -> None:
    others = [file_of(b"a,b\n1,2\n", "notes.txt"), file_of(b"\0\1", "x.csv"), file_of(b"", "y.csv")]
    assert table.claim(others, Options()) == []


def test_damaged_tables_give_our_error_or_items() -> None:
    for content in cuts(BOOKS.encode()) + flips(BOOKS.encode()):
        until_fault(table.claim, content, name="books.csv")


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8), min_size=2, max_size=4)))
def test_whatever_was_written_is_read(rows: list[list[str]]) -> None:
    written = io.StringIO()
    csv.writer(written).writerows([["first", "second"], ["x", "y"], *rows])
    found = read(written.getvalue())
    assert not any(isinstance(entry, Skipped) for entry in found)
    assert len(found) == 1 + sum(any(value.strip() for value in row) for row in rows)
