"""Mail: mailboxes and single messages, charsets, quotes, HTML, machines, and bytes that are broken."""

from __future__ import annotations

import io
import mailbox
import tempfile
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personal_data.importers import mail
from personal_data.importers.parsed import Item, Options, Skipped
from personal_data.importers.source import File
from tests.personal_data.exported import Read, cuts, file_of, flips, read, until_fault

SINGLE = """From: "Ana Silva" <ana@example.org>
To: ben@example.org
Subject: =?utf-8?q?Segeln_am_Sonntag=3F?=
Date: Sat, 13 May 2023 18:37:00 +0200
Message-ID: <1@example.org>

Shall we go sailing?
From the harbour, I mean.

--\x20
Ana
"""
ANSWER = """From: ben@example.org
Subject: Re: Segeln am Sonntag?
Date: Sat, 13 May 2023 19:00:00 +0200
References: <1@example.org> <2@example.org>
Content-Type: text/html; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

<html><head><style>p {color: red}</style><body><p>Sch=F6n!<br>Bis dann &amp; Gru=DF</p>
<div class=3D"gmail_quote">On Sat, Ana wrote:<blockquote>Shall we?</blockquote></div></body></html>
"""
BOX = "".join(
    f"From ana@example.org Sat May 13 18:37:00 2023\n{one}\n" for one in (SINGLE.replace("\nFrom", "\n>From"), ANSWER)
)
AT = 1_683_995_820.0


def entry(content: str | bytes, name: str = "a.eml") -> Item | Skipped:
    [found] = read(mail.claim, content.encode() if isinstance(content, str) else content, name)
    return found


def item(content: str | bytes) -> Item:
    found = entry(content)
    assert isinstance(found, Item), found
    return found


def test_a_message_is_read() -> None:
    assert item(SINGLE) == Item(
        "Segeln am Sonntag?\nShall we go sailing?\nFrom the harbour, I mean.", "Ana Silva", None, AT, "a.eml",
        "<1@example.org>",
    )  # fmt: skip


def test_a_mailbox_is_read_message_by_message() -> None:
    first, second = read(mail.claim, BOX.encode(), "Alle Mails.mbox")
    assert isinstance(first, Item) and isinstance(second, Item)
    assert first.text == item(SINGLE).text
    assert (second.text, second.speaker, second.thread) == (
        "Schön!\nBis dann & Gruß",
        "ben@example.org",
        "<1@example.org>",
    )
    assert [one.source for one in (first, second)] == ["Alle Mails.mbox#1", "Alle Mails.mbox#2"]


def test_the_messages_of_a_folder_are_one_unit() -> None:
    files = [file_of(SINGLE.encode(), f"inbox/{number}.eml") for number in range(3)] + [file_of(BOX.encode(), "x")]
    units = mail.claim(files, Options())
    assert [(unit.name, len(unit.files)) for unit in units] == [("x", 1), ("inbox", 3)]


@pytest.mark.parametrize(
    ("labels", "own"),
    [("X-Gmail-Labels: Sent,Important\n", True), ("X-Gmail-Labels: =?utf-8?q?Envoy=C3=A9s?=\n", True),
     ("X-Gmail-Labels: Inbox\n", False), ("", None)],
)  # fmt: skip
def test_labels_tell_whose_it_is(labels: str, own: bool | None) -> None:
    assert item(labels + SINGLE).own is own


@pytest.mark.parametrize(
    ("header", "reason"),
    [("X-Gmail-Labels: Spam", "spam"), ("List-Unsubscribe: <mailto:x>", "machine"), ("Precedence: bulk", "machine"),
     ("Auto-Submitted: auto-replied", "machine")],
)  # fmt: skip
def test_what_nobody_wrote_to_its_owner_is_left_out(header: str, reason: str) -> None:
    found = entry(f"{header}\n{SINGLE}")
    assert isinstance(found, Skipped) and reason in found.reason


@pytest.mark.parametrize(
    "quoted",
    ["On Sat, 13 May 2023 at 18:37, Ana <ana@example.org> wrote:\n> Shall we?",
     "Am 13.05.2023 um 18:37 schrieb Ana:\n> Sollen",
     "Le sam. 13 mai 2023 à 18:37, Ana <ana@example.org> a\nécrit :\n> On y va",
     "-----Original Message-----\nFrom: Ana",
     "El sáb, 13 may 2023, Ana escribió:\n> Vamos",
     "________________________________\nVon: Ana", "> Shall we?\n> Yes?", "-- \nBen"],
)  # fmt: skip
def test_quotes_and_signatures_are_not_its_words(quoted: str) -> None:
    content = f"From: b@c\nDate: x\nContent-Type: text/plain; charset=utf-8\n\nWith pleasure.\n\n{quoted}\n"
    assert item(content).text == "With pleasure."


def test_an_answer_between_quotes_is_kept() -> None:
    content = "From: b@c\nDate: x\n\n> Shall we?\nYes.\n> And then?\nWe swim.\n"
    assert item(content).text == "Yes.\nWe swim."


@pytest.mark.parametrize(
    ("charset", "raw"),
    [("utf-8", "Grüße".encode()), ("iso-8859-1", "Grüße".encode("latin-1")), ("x-unknown", "Grüße".encode()),
     ("utf-8", "Grüße".encode("cp1252")), ('"', "Grüße".encode())],
)  # fmt: skip
def test_broken_charsets(charset: str, raw: bytes) -> None:
    head = f"From: a@b\nDate: x\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: 8bit\n\n"
    assert item(head.encode() + raw).text == "Grüße"


def test_attachments_and_forwarded_messages_are_not_its_words() -> None:
    message = EmailMessage()
    message["From"], message["Subject"] = "ana@example.org", "Photos"
    message.set_content("Look at these.")
    message.add_attachment("secret notes", filename="notes.txt")
    inner = EmailMessage()
    inner["From"] = "x@y"
    inner.set_content("Not mine.")
    message.add_attachment(inner)
    assert item(message.as_bytes()).text == "Photos\nLook at these."


@pytest.mark.parametrize(
    ("markup", "text"),
    [("<p>One</p><p>Two</p>", "One\n\nTwo"), ("a<!-- <p>b</p> -->c<!-- open", "ac"), ("<script>x<y</script>z", "z"),
     ("<BLOCKQUOTE>a<blockquote>b</blockquote>c</BLOCKQUOTE>d", "d"), ("<style>p{}</style><body>a<br/>b", "a\nb"),
     ("1 < 2 &lt; 3 &#x41;", "1 < 2 < 3 A"), ("<head><title>t</title><body>x", "x"), ("a<img alt='y'>b", "ab")],
)  # fmt: skip
def test_html_as_text(markup: str, text: str) -> None:
    assert item(f"From: a@b\nDate: x\nContent-Type: text/html\n\n{markup}\n").text == text


def test_missing_and_absurd_dates() -> None:
    head = "From: a@b\nSubject: x\n"
    assert item(f"{head}Date: soon\n\nText").at is None
    assert item(f"{head}Date: Sat, 13 May 99999 18:37:00 +0200\n\nText").at is None
    assert item(f"{head}Received: by x; Sat, 13 May 2023 18:37:00 +0200\n\nText").at == AT


def test_a_message_beyond_bounds_is_told_and_the_next_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "MAX_MESSAGE", 2_000)
    huge = SINGLE + "x" * 5_000 + "\n"
    box = f"From a\n{huge}\nFrom b\n{SINGLE}\n"
    first, second = read(mail.claim, box.encode(), "box")
    assert isinstance(first, Skipped) and "larger" in first.reason
    assert isinstance(second, Item)


def test_damaged_mail_gives_our_error_or_items() -> None:
    for content in (BOX, SINGLE, ANSWER):
        for changed in cuts(content.encode()) + flips(content.encode()):
            until_fault(mail.claim, changed)


@pytest.mark.parametrize(
    "hostile",
    ["<blockquote>" * 50_000, "<p" * 200_000, "On " * 100_000, "&#" * 100_000, "On a wrote" * 40_000, "<!--" * 50_000,
     "_" * 300_000, "a\n" * 200_000],
)  # fmt: skip
def test_hostile_texts_are_read_in_one_go(hostile: str) -> None:
    for kind in ("plain", "html"):
        entry(f"From: a@b\nDate: x\nContent-Type: text/{kind}\n\n{hostile}\n\nThe end.\n")


def test_hostile_headers_and_parts() -> None:
    deep = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(400))
    for head in (
        deep,
        "From: =?utf-8?q?=00=0A?= <x>\nSubject: \ud83d\n",
        "Content-Type: \n",
        "References: " + "<a> " * 9999 + "\n",
    ):
        content = f"From: a@b\nDate: x\n{head}\nText"
        until_fault(mail.claim, content.encode(errors="surrogatepass"))


@pytest.mark.parametrize(
    "content", [b"", b"From ", b"From me to you\n\nA letter.", b"Dear Ana,\n\nFrom: here\n", b"a: b\n\n"]
)
def test_other_files_are_left_alone(content: bytes) -> None:
    assert mail.claim([file_of(content, "a.eml")], Options()) == []


def test_a_mailbox_is_read_bit_by_bit() -> None:
    content = BOX.encode() * 2_000
    opened: list[io.BytesIO] = []

    def again() -> io.BytesIO:
        opened.append(io.BytesIO(content))
        return opened[-1]

    [unit] = mail.claim([File("box", len(content), again)], Options())
    reading = unit.read()
    next(reading)
    assert opened[-1].tell() < len(content) / 10


BODIES = st.lists(
    st.lists(st.sampled_from(["", "From here to there.", "> quoted", "Text", "From", "a: b", "  deep"]), max_size=6),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(BODIES)
def test_what_the_standard_librarys_mailbox_writes_is_read(bodies: list[list[str]]) -> None:
    texts = ["\n".join([*body, f"The end of {number}."]) for number, body in enumerate(bodies)]
    with tempfile.TemporaryDirectory() as folder:
        box = mailbox.mbox(Path(folder) / "box")
        for text in texts:
            message = EmailMessage()
            message["From"], message["Date"] = "ana@example.org", "Sat, 13 May 2023 18:37:00 +0200"
            message.set_content(text)
            box.add(message)
        box.close()
        content = (Path(folder) / "box").read_bytes()
    found: Read = read(mail.claim, content, "box")
    for text, one in zip(texts, found, strict=True):
        assert isinstance(one, Item)
        kept = [line.strip() for line in text.split("\n") if line.strip() and not line.startswith(">")]
        assert [line.strip() for line in one.text.split("\n") if line.strip()] == kept
