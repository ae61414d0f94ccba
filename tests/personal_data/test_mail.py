"""Mail: mailboxes and single messages, headers and charsets as broken as they come, and what is not their own words."""

from __future__ import annotations

import mailbox
import re
import tempfile
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.importers.html_text import html_text
from personal_data.importers.mail import claim
from personal_data.importers.mail_decode import words
from personal_data.importers.mail_quotes import own_words
from personal_data.importers.mbox import messages
from personal_data.importers.parsed import Item, Options, Skipped
from tests.personal_data.exported import cuts, fault, file_of, flips, read, until_fault

AT = 1_700_575_509.0
DATE = "Tue, 21 Nov 2023 15:05:09 +0100"
SEPARATOR = b"From 1782@xxx Tue Nov 21 14:05:09 +0000 2023\n"
WORDLESS = "no words of its own (files, quotes)"
MANY = "sent to many (a newsletter, a list)"
NAME = "renamed.bin"


def mail(body: str | bytes = "Hi.", **headers: str | bytes | None) -> bytes:
    """A message; headers as keywords, `_` for `-`, None to leave one out."""
    given: dict[str, str | bytes | None] = {"From": "Ana <ana@a.example>", "Date": DATE, **headers}
    lines = [
        name.replace("_", "-").encode() + b": " + (value if isinstance(value, bytes) else value.encode())
        for name, value in given.items()
        if value is not None
    ]
    return b"\n".join([*lines, b"", body if isinstance(body, bytes) else body.encode()]) + b"\n"


def one(raw: bytes, options: Options | None = None) -> Item:
    """The item of a message."""
    [item] = read(claim, raw, options=options)
    assert isinstance(item, Item), item
    return item


def said(body: str | bytes, **headers: str | bytes | None) -> str:
    return one(mail(body, **headers)).text


def reason(raw: bytes) -> str:
    """Why a message is left out."""
    [skipped] = read(claim, raw)
    assert isinstance(skipped, Skipped), skipped
    return skipped.reason


def multipart(kind: str, *parts: tuple[str, str], boundary: str = "b1") -> bytes:
    """A message of several (content type with further headers, body)."""
    body = "".join(f"--{boundary}\nContent-Type: {head}\n\n{text}\n" for head, text in parts)
    return mail(f"{body}--{boundary}--\n", Content_Type=f'multipart/{kind}; boundary="{boundary}"')


EML = mail("My cat is called Miro.\n", Subject="Cats", Message_ID="<m1@a.example>")
MBOX = b"\n".join(
    [
        SEPARATOR + mail("My cat is called Miro.\n\nFrom here on I sail.\n>From now on.\n>>From me.\n",
                         Subject="Cats", X_GM_THRID="17", X_Gmail_Labels="Inbox,Important"),
        SEPARATOR + mail("Is it?\n\nOn 21 Nov 2023, Ana wrote:\n> My cat is called Miro.\n",
                         From='"Bo B." <bo@b.example>', Subject="Re: Cats", X_GM_THRID="17", X_Gmail_Labels="Sent"),
        SEPARATOR + mail("Buy!", List_Unsubscribe="<mailto:x@x.example>", X_Gmail_Labels="Inbox"),
        b"From -\n" + mail("Bye.\n-- \nAna\n+49 1", Message_ID="<m4@a.example>"),
        SEPARATOR + mail("Win!", X_Gmail_Labels="Spam"),
    ]
)  # fmt: skip
WHOLE = [
    Item("Cats\nMy cat is called Miro.\n\nFrom here on I sail.\nFrom now on.", "Ana", None, AT, f"{NAME}#1", "17"),
    Item("Is it?", "Bo B.", True, AT, f"{NAME}#2", "17"),
    Skipped(f"{NAME}#3", MANY),
    Item("Bye.", "Ana", None, AT, f"{NAME}#4", "m4@a.example"),
    Skipped(f"{NAME}#5", "spam"),
]


def test_mailboxes_and_single_messages() -> None:
    for content in (MBOX, MBOX.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + MBOX, b"\n\n" + MBOX + b"\n\n"):
        assert read(claim, content) == WHOLE
    assert read(claim, EML) == [Item("Cats\nMy cat is called Miro.", "Ana", None, AT, NAME, "m1@a.example")]


def test_a_message_that_is_too_large_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mbox", "mail"):
        monkeypatch.setattr(f"personal_data.importers.{module}.MAX_MESSAGE", 5000)
    large, told = mail("I sail. " * 1000), "larger than 32 MiB"
    first, second, *_ = read(claim, SEPARATOR + large + b"\n" + MBOX)
    assert first == Skipped(f"{NAME}#1", told)
    assert isinstance(second, Item) and second.thread == "17"
    assert read(claim, large) == [Skipped(NAME, told)]


LINES = ["From Ana 14:05 2023", ">From Bo", "", "x: y", "From: me", "From ", ">>From a", "-- ", "I sail."]
CHARS = st.sampled_from("From >:ab12é\n\r\t ") | st.characters(codec="utf-8")
BODY = st.text(CHARS, max_size=80) | st.lists(st.sampled_from(LINES)).map("\n".join)


def lines_of(raw: bytes | None) -> list[bytes]:
    """The lines of a message's body, without empty ones at its end, which writers add."""
    assert raw is not None
    return raw.partition(b"\n\n")[2].rstrip(b"\n").split(b"\n")


@given(st.lists(BODY, min_size=1, max_size=5))
def test_any_mailbox_that_the_standard_library_writes_is_read_back(bodies: list[str]) -> None:
    written = [mail(body.replace("\r", "")) for body in bodies]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "box"
        box = mailbox.mbox(path)
        for raw in written:
            box.add(raw)
        box.close()
        found = list(messages(file_of(path.read_bytes())))
    # It escapes "From " and leaves ">From " as it is, so that both are read as the former.
    expected = [re.sub(rb"^>(>*From )", rb"\1", raw, flags=re.MULTILINE) for raw in written]
    assert [lines_of(raw) for raw in found] == [lines_of(raw) for raw in expected]


@given(st.lists(BODY, min_size=1, max_size=5))
def test_any_mailbox_that_escapes_all_is_read_back_as_it_was(bodies: list[str]) -> None:
    written = [re.sub(rb"^(>*From )", rb">\1", mail(body), flags=re.MULTILINE) for body in bodies]
    content = b"".join(SEPARATOR + raw.removesuffix(b"\n") + b"\n\n" for raw in written)
    assert [lines_of(raw) for raw in messages(file_of(content))] == [lines_of(mail(body)) for body in bodies]


PRINTED = st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])


@given(st.text(PRINTED, min_size=1, max_size=60), st.booleans())
def test_what_the_standard_library_writes_is_understood(word: str, html: bool) -> None:
    made = EmailMessage()
    made["From"], made["Subject"], made["Date"] = "Ana <ana@a.example>", f"x {word}", DATE
    made.set_content(f"y{word}")
    if html:
        made.add_alternative("<p>never read</p>", subtype="html")
        made.add_attachment(b"\0\1", maintype="application", subtype="pdf", filename="z.pdf")
    subject, _, body = one(made.as_bytes()).text.partition("\n")
    assert (subject.split(), body.split()) == (f"x {word}".split(), f"y{word}".split())


def test_lines_that_only_look_like_separators_are_text() -> None:
    text = "One.\nFrom 14:05 on, in 2023, two.\n\nFrom three on.\nFour.\n\nFrom five"
    [item] = read(claim, SEPARATOR + mail(text))
    assert isinstance(item, Item) and item.text == text


@pytest.mark.parametrize(
    ("value", "speaker"),
    [
        ('"Alba, Ana \\"A\\"" <ana@a.example>', 'Alba, Ana "A'),
        ("Alba, Ana <ana@a.example>", "Alba, Ana"),
        ("ANA@a.example", "ana@a.example"),
        ('"" <ana@a.example>', "ana@a.example"),
        ("ana@a.example (Ana Alba)", "Ana Alba"),
        ("=?utf-8?q?=C3=81na_A?= <a@a.example>", "Ána A"),
        ("Ána <a@a.example>".encode("latin-1"), "Ána"),
        ("An\0a\n \x0b <a@a.example>", "Ana"),
        ("", "unknown sender"),
        ("=?utf-7?q?a+2AA-?= <a@a.example>", "a?"),
    ],
)
def test_speakers(value: str | bytes, speaker: str) -> None:
    assert one(mail(From=value, Subject="x")).speaker == speaker


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?UTF-8?B?R3LDvMOfZQ==?= an =?utf-8?Q?B=C3=B6?=", "Grüße an Bö"),
        ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),
        ("=?utf-8?q?a?=  =?latin-1?q?=FC?= b", "aü b"),
        ("=?no-such?q?=FC?= =?idna?q?xn?=", "üxn"),
        ("=?utf-8?b?????= =?utf-8?x?a?=", "=?utf-8?b?????= =?utf-8?x?a?="),
        ("=?utf-8?q?a=00b=0Ac?=", "ab c"),
    ],
)
def test_encoded_words(value: str, text: str) -> None:
    assert words(value) == text


ABSURD = ["", "soon", "Tue, 99 Nov 2023 15:05:09 +0100", "Thu, 1 Jan 1970 00:00:00 +0000", "1 Nov 99999 1:1:1 +0000",
          "Tue, 21 Nov 2999 15:05:09 +0100", "1 Jan 1900 00:00:00", "1 Jan 2023 00:00:00 +" + "9" * 30]  # fmt: skip


def test_dates() -> None:
    berlin = Options(timezone="Europe/Berlin")
    for date in (DATE, "21 Nov 2023 14:05:09 GMT", "Tue, 21 Nov 2023 15:05:09", "Tue, 21 Nov 2023 14:05:09 -0000"):
        assert one(mail(Date=date), berlin).at == AT
    for absurd in ABSURD:
        assert one(mail(Date=absurd, Received=f"from x by y;\n {DATE}"), berlin).at == AT
        assert one(mail(Date=absurd, Subject="x"), berlin).at is None
    assert "no such timezone" in fault(claim, MBOX, Options(timezone="Mars/Olympus"))


@given(st.text(st.sampled_from("0123456789:,.+- JanfebTueGMT") | PRINTED))
def test_whatever_a_date_says_the_mail_is_read(date: str) -> None:
    one(mail(Date=" ".join(date.split()), Subject="x"))


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"X_Gmail_Labels": "Papierkorb,Gesendet"}, "in the trash"),
        ({"X_Gmail_Labels": "Chat"}, "a chat, not a mail"),
        ({"X_Gmail_Labels": '"Drafts"'}, "a draft"),
        ({"X_Mozilla_Status": "0009"}, "deleted"),
        ({"Precedence": "Bulk"}, MANY),
        ({"Auto_Submitted": "auto-replied"}, "written by a machine"),
    ],
)
def test_what_nobody_wrote_to_the_owner_is_left_out(headers: dict[str, str], told: str) -> None:
    assert reason(mail("Hi.", **headers)) == told


def test_labels_are_whole_names() -> None:
    assert one(mail(X_Gmail_Labels="=?UTF-8?Q?Opened,Messages_envoy=C3=A9s?=")).own is True
    assert one(mail(X_Gmail_Labels="Sent by Bo,Recycle bin,Team chat")).own is None


@pytest.mark.parametrize("prefix", ["Re:", "RE :", "AW:", "Antw:", "Re[2]:", "RES:", "Rif:", "SV:"])
def test_a_subject_begins_the_text_unless_it_answers(prefix: str) -> None:
    assert said("Hi.", Subject="Regatta: boats") == "Regatta: boats\nHi."
    assert said("Hi.", Subject=f"{prefix} Boats") == "Hi."
    assert said("", Subject="Buy bread") == "Buy bread"
    assert reason(mail("", Subject=f"{prefix} Boats")) == WORDLESS


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        *((charset, "Grüße".encode(), "Grüße") for charset in ("utf-8", "us-ascii", "no-such", "zip", "a\0b", "x" * 99,
                                                               "undefined")),
        ("iso-8859-1", b"It\x92s", "It’s"), ("utf-8", b"It\x92s", "It’s"), ("koi8-r", b"\xf0", "П"),
        ("unicode_escape", b"Gr\\ud800", "Gr\\ud800"), ("punycode", b"a-b", "a-b"),
    ],
)  # fmt: skip
def test_charsets(charset: str, raw: bytes, text: str) -> None:
    assert said(raw, Content_Type=f'text/plain; charset="{charset}"') == text


def test_parts() -> None:
    plain, page = ("text/plain", "Plain."), ("text/html", "<p>Page.</p>")
    attached = ("text/plain\nContent-Disposition: attachment; filename=x.txt", "Attached.")
    inline = ('text/plain\nContent-Disposition: inline; filename="x.txt"', "Inline.")
    inner = ("message/rfc822", "From: Bo <bo@b.example>\nSubject: x\n\nForwarded.")
    assert one(multipart("alternative", page, plain)).text == "Plain."
    assert one(multipart("alternative", ("text/plain", " "), page)).text == "Page."
    assert one(multipart("mixed", plain, attached, inline, inner, ("image/png", "x"), page)).text == "Plain.\nPage."
    assert reason(multipart("mixed", attached, inner, ("text/calendar", "BEGIN:VCALENDAR"))) == WORDLESS


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> bytes:
        levels = (b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(depth))
        return mail("x").partition(b"\n\n")[0] + b"\n" + b"".join(levels) + b"\nDeep.\n"

    assert "nested too deeply" in reason(nested(3000))
    assert one(nested(100)).text == "Deep."


@pytest.mark.parametrize("boundary", ["boundary*0*=a'b'c; boundary*=d", "boundary*0*=%00'%00'c", "boundary*=idna''x"])
def test_boundaries_that_break_the_parser_are_survived(boundary: str) -> None:
    until_fault(claim, mail("--c\n\nHi.\n--c--\n", Content_Type=f"multipart/mixed; {boundary}"))


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<head><title>t</title><style>p{}</style></head><body><p>One<br>two</p><script>x</script>", "One\ntwo"),
        ("<p>a &amp; b&nbsp;c &eacute;&#233; 1 < 2 & 3</p>", "a & b c éé 1 < 2 & 3"),
        ("<!--[if mso]>x<![endif]--><![if !mso]>y<![endif]><![foo[z]]><!doctype html><?xml a?>w", "yw"),
        ("<div>a</div><blockquote><p>b</p>c</blockquote>d</blockquote>e", "a\n> b\n> c\nd\ne"),
        ("a<!-- never closed b", "a"),
        ("a<i title='>'>b", "ab"),
    ],
)
def test_pages(page: str, text: str) -> None:
    assert html_text(page) == text


@given(st.text(st.sampled_from("<>/!-?[]&;#'\"= \nabdiprsty")))
def test_any_page_has_a_text(page: str) -> None:
    assert "\n\n" not in html_text(page)


ATTRIBUTIONS = [
    "On Tue, 21 Nov 2023 at 14:05, Bo\n<bo@b.example> wrote:",
    "Am Di., 21. Nov. 2023 um 14:05 Uhr schrieb Bo <bo@b.example>:",
    "Le mar. 21 nov. 2023 à 14:05, Bo <bo@b.example> a écrit\xa0:",
    "El mar, 21 nov 2023 a las 14:05, Bo (<bo@b.example>) escribió:",
    "Il giorno mar 21 nov 2023 alle ore 14:05 Bo <bo@b.example> ha scritto:",
    "Op di 21 nov 2023 om 14:05 schreef Bo <bo@b.example>:",
    "Em ter., 21 de nov. de 2023 às 14:05, Bo <bo@b.example> escreveu:",
]


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_quoted_tails_are_removed_and_answers_below_them_kept(attribution: str) -> None:
    assert own_words(f"Yes.\n\n{attribution}\n\n> Shall we?\n> Bo\n") == "Yes."
    assert own_words(f"{attribution}\n> Shall we?\n\nYes.\n\n> When?\nSunday.") == "Yes.\n\nSunday."
    assert own_words(f"Yes.\n{attribution}\nShall we?\n\nBo") == "Yes."


@pytest.mark.parametrize(
    "tail",
    ["-----Original Message-----", "-----Ursprüngliche Nachricht-----", "----- Message d’origine -----",
     "-----Mensaje original-----", "-----Messaggio originale-----", "-----Oorspronkelijk bericht-----",
     "-----Mensagem original-----", "---------- Forwarded message ---------", "Begin forwarded message:",
     "From: Bo <bo@b.example>\nSent: Tuesday\nTo: Ana", "*Von:* Bo\n*Gesendet:* Dienstag", "De : Bo\nEnvoyé : mardi",
     "Da: Bo\nInviato: martedì", "Van: Bo\nVerzonden: dinsdag", "-- \nAna\n+49 1", "--\nAna"],
)  # fmt: skip
def test_what_follows_these_lines_is_not_ones_own(tail: str) -> None:
    assert own_words(f"Yes.\n\n{tail}\nMore of it.") == "Yes."


@pytest.mark.parametrize("text", ["On Sunday he wrote:\nNothing.", "From: Oslo\nTo: Kyiv", "-- no signature", "a > b"])
def test_ones_own_words_stay(text: str) -> None:
    assert own_words(text) == text


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"text", b"From now on I sail.\nYes.\n", b"From Ana, 14:05 2023\n\nFrom: x\n", b"{}", b"[]",
     b"Subject: x\nDate: y\n\nz", b"From: Ana\n\nMy cat.", b"From: Ana\nMy cat is called Miro.\nDate: x\n"],
)  # fmt: skip
def test_other_files_are_left_alone(content: bytes) -> None:
    assert until_fault(claim, content) == []


def test_headers_may_fill_the_head() -> None:
    assert said("Hi.", References="\n ".join(["<r@a.example>"] * 6000), Subject="x") == "x\nHi."


def test_damaged_files_give_what_was_whole() -> None:
    for cut in cuts(MBOX):
        found = until_fault(claim, cut)
        assert found[:-1] == WHOLE[: max(0, len(found) - 1)]
    parts = multipart("mixed", ("text/plain; charset=utf-8", "Grüße"), ("text/html", "<p>a &amp; b<!-- c --></p>"))
    for content in (MBOX, EML, parts, SEPARATOR + parts):
        for changed in flips(content):
            until_fault(claim, changed)


@given(st.lists(st.binary(max_size=60) | st.sampled_from(MBOX.split(b"\n")), max_size=30))
def test_whatever_follows_it_is_read(lines: list[bytes]) -> None:
    for content in (MBOX + b"\n" + SEPARATOR + b"\n".join(lines), EML[:-2] + b"\n".join(lines)):
        assert until_fault(claim, content)[:1]
