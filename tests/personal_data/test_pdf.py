"""PDF documents made here: pages, paragraphs, locks, scans, and bytes that are broken."""

from __future__ import annotations

import io
import zlib

import pytest

from personal_data.errors import InvalidInput
from personal_data.importers import pdf
from personal_data.importers.parsed import Item, Options, Skipped
from tests.personal_data.exported import cuts, fault, file_of, flips, read, until_fault


def document(*pages: list[str], made: str = "D:20230501120000Z") -> bytes:
    """A PDF of these pages of lines, written by hand; a page without lines has no text."""
    parts = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids = []
    for lines in pages:
        shown = "".join(f"({line}) Tj 0 -14 Td " for line in lines)
        stream = f"BT /F1 12 Tf 72 720 Td {shown} ET".encode("latin-1")
        content = len(parts) + 1
        parts.append(b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream))
        kids.append(f"{content + 1} 0 R")
        parts.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {content} 0 R /Resources << /Font << /F1 "
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>".encode()
        )
    parts[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    parts.append(f"<< /CreationDate ({made}) >>".encode())
    out, places = io.BytesIO(), []
    out.write(b"%PDF-1.4\n")
    for number, part in enumerate(parts, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, part))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(b"trailer << /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (len(parts) + 1, len(parts)))
    out.write(b"startxref\n%d\n%%%%EOF\n" % start)
    return out.getvalue()


WHOLE = document(["My cat is called Miro.", "He likes gar-", "dens."], [], ["The end."])


def test_pages_are_read_in_order() -> None:
    found = read(pdf.claim, WHOLE, "letter.pdf")
    assert found == [
        Item("My cat is called Miro. He likes gardens.", "", None, 1_682_942_400.0, "letter.pdf#p1", "letter.pdf",
             "document"),
        Skipped("letter.pdf#p2", "a page without text: a picture or a scan"),
        Item("The end.", "", None, 1_682_942_400.0, "letter.pdf#p3", "letter.pdf", "document"),
    ]  # fmt: skip


def test_long_pages_come_in_parts() -> None:
    lines = [f"Line {number} of the report says that all is well." for number in range(120)]
    found = [entry for entry in read(pdf.claim, document(lines)) if isinstance(entry, Item)]
    assert len(found) > 3 and all(len(entry.text) <= 1100 for entry in found)
    assert " ".join(entry.text for entry in found) == " ".join(lines)


def test_a_locked_document_says_what_to_do() -> None:
    import pypdf

    writer = pypdf.PdfWriter(clone_from=pypdf.PdfReader(io.BytesIO(WHOLE)))
    writer.encrypt("open sesame", algorithm="RC4-128")
    locked = io.BytesIO()
    writer.write(locked)
    assert "locked with a password" in fault(pdf.claim, locked.getvalue())


def test_a_lock_without_a_password_opens() -> None:
    import pypdf

    writer = pypdf.PdfWriter(clone_from=pypdf.PdfReader(io.BytesIO(WHOLE)))
    writer.encrypt("", "owner", algorithm="RC4-128")
    locked = io.BytesIO()
    writer.write(locked)
    assert [entry.text for entry in read(pdf.claim, locked.getvalue()) if isinstance(entry, Item)][-1] == "The end."


def test_a_lock_that_we_have_no_key_tool_for_is_told() -> None:
    """AES-256, as most programs lock today: its numbers are made up, for pypdf says no before it looks at them."""
    numbers = " ".join(
        f"/{name} <{'11' * size}>" for name, size in {"O": 48, "U": 48, "OE": 32, "UE": 32, "Perms": 16}.items()
    )
    filters = "/CF << /StdCF << /CFM /AESV3 /Length 32 >> >> /StmF /StdCF /StrF /StdCF"
    lock = f"/ID [<00> <00>] /Encrypt << /Filter /Standard /V 5 /R 6 /Length 256 /P -4 {numbers} {filters} >>"
    told = fault(pdf.claim, WHOLE.replace(b"trailer << ", f"trailer << {lock} ".encode()))
    assert "locked" in told and "save it" in told


def compressed(stream: bytes, filters: bytes = b"/FlateDecode") -> bytes:
    """A page of this content, packed, before a page as always."""
    packed = zlib.compress(stream, 9)
    first, rest = document(["@"], ["The end."]).split(b"<< /Length ", 1)
    rest = rest[rest.index(b"endstream") :]
    return b"%b<< /Length %d /Filter %b >>\nstream\n%b\n%b" % (first, len(packed), filters, packed, rest)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"BT /F1 12 Tf " + b"(aaaaaaaa) Tj " * 300_000 + b"ET", "more than 200,000 characters"),
        (b"BT /F1 12 Tf " + b"[(aaaaaaaa) 3 (aaaaaaa)] TJ " * 20_000 + b"ET", "more than 200,000 characters"),
        (b"BT /F1 12 Tf " + b"() ' " * 300_000 + b"ET", "more than 200,000 characters"),
        (b" " * 80_000_000, "a broken page (LimitReachedError)"),
    ],
)
def test_a_page_that_unpacks_without_end_is_left_out(stream: bytes, reason: str) -> None:
    content = compressed(stream)
    assert len(content) < 100_000
    [left, end] = read(pdf.claim, content, "a.pdf")
    assert left == Skipped("a.pdf#p1", f"a page with {reason}" if "more" in reason else reason)
    assert isinstance(end, Item) and end.text == "The end."


def test_a_packed_page_is_read() -> None:
    stream = b"BT /F1 12 Tf 72 720 Td (My cat) Tj ET"
    [cat, _] = read(pdf.claim, compressed(stream))
    assert isinstance(cat, Item) and cat.text == "My cat"
    [old, end] = read(pdf.claim, compressed(stream, b"/Fl"))  # a name that pypdf knows no longer
    assert old == Skipped("renamed.bin#p1", "a broken page (DeprecationError)") and isinstance(end, Item)


def test_pages_beyond_the_last_that_is_read_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "_MAX_PAGES", 2)
    assert read(pdf.claim, WHOLE, "a.pdf")[-1] == Skipped("a.pdf#p3", "pages beyond the first 2; split the document")


def test_damaged_documents_give_our_error_or_items() -> None:
    for content in cuts(WHOLE) + flips(WHOLE):
        until_fault(pdf.claim, content)


def test_pages_that_are_their_own_children_end() -> None:
    until_fault(pdf.claim, WHOLE.replace(b"/Kids [", b"/Kids [2 0 R "))


def test_a_document_beyond_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_BYTES", 500)
    with pytest.raises(InvalidInput, match="split it"):
        read(pdf.claim, WHOLE)


def test_other_files_are_left_alone() -> None:
    assert pdf.claim([file_of(b"PDF", "a.pdf"), file_of(b"", "b.pdf"), file_of(b"%PNG")], Options()) == []
