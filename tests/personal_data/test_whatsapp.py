"""WhatsApp chats: forms of many phones, orders of dates, what the app writes, and files that are broken or not ours."""

from __future__ import annotations

import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from personal_data.importers import whatsapp
from personal_data.importers.parsed import DateOrder, Item, Options, Skipped
from personal_data.importers.whatsapp import claim
from tests.personal_data.exported import cuts, fault, flips, read, until_fault

UTC_TIMES = Options(timezone="UTC")
ANDROID = """\
12/05/2023, 18:37 - Messages and calls are end-to-end encrypted. Tap to learn more.
12/05/2023, 18:37 - Ana: My cat is called Miro. 🐈
12/05/2023, 18:38 - Bo Ström: Two lines:

the last 1/2: done
13/05/2023, 00:05 - Ana: <Media omitted>
13/05/2023, 00:06 - Ana named the group "Trip: 2023"
13/05/2023, 00:07 - ~\u202fCem: Hi: all <This message was edited>
"""


def at(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]


def place(line: int) -> str:
    return f"renamed.bin#{line}"


def item(line: int, speaker: str, text: str, *moment: int) -> Item:
    return Item(text, speaker, None, at(*moment), place(line), "renamed.bin")


WHOLE: list[Item | Skipped] = [
    Skipped(place(1), "a notice of the app"),
    item(2, "Ana", "My cat is called Miro. 🐈", 2023, 5, 12, 18, 37),
    item(3, "Bo Ström", "Two lines:\n\nthe last 1/2: done", 2023, 5, 12, 18, 38),
    Skipped(place(6), "media that the export left out"),
    Skipped(place(7), "a notice of the app"),
    item(8, "Cem", "Hi: all", 2023, 5, 13, 0, 7),
]


def chat(text: str, options: Options = UTC_TIMES) -> list[Item | Skipped]:
    return read(claim, text.encode(), options=options)


def one(line: str, order: DateOrder | None = None) -> Item:
    """The item of a chat of one message."""
    [found] = chat(line, Options(order, "UTC"))
    assert isinstance(found, Item)
    return found


def test_an_export_of_android_is_read_whole() -> None:
    assert chat(ANDROID) == WHOLE
    assert chat("\ufeff" + ANDROID.replace("\n", "\r\n")) == WHOLE
    assert chat(ANDROID.rstrip("\n")) == WHOLE


def test_an_export_of_ios_is_read_whole() -> None:
    text = """\
[12/05/2023, 18:37:05] Trip: \u200eMessages and calls are end-to-end encrypted.
[12/05/2023, 18:37:05] Ana: My cat is called Miro.
[12/05/2023, 18:38:10] ~\u00a0Bo: Two lines
12/05/2023, 18:37 - Cem: pasted from another phone
\u200e[13/05/2023, 00:05:00] Ana: \u200eimage omitted
\u200e[13/05/2023, 00:05:01] Ana: Look at him \u200e<attached: 00000012-PHOTO-2023-05-13.jpg>
[13/05/2023, 00:06:00] \u202a+49\u00a0170\u00a01234567\u202c: Hi \u200e<This message was edited>
[13/05/2023, 00:07:00] Ana: \u200eThis message was deleted.
[13/05/2023, 00:08:00] Ana: \u200ePOLL:
Who comes?
\u200eOPTION: Me (1 vote)
"""
    assert chat(text) == [
        Skipped(place(1), "no words in it (media, a poll, or a notice of the app)"),
        item(2, "Ana", "My cat is called Miro.", 2023, 5, 12, 18, 37, 5),
        item(3, "Bo", "Two lines\n12/05/2023, 18:37 - Cem: pasted from another phone", 2023, 5, 12, 18, 38, 10),
        Skipped(place(5), "no words in it (media, a poll, or a notice of the app)"),
        item(6, "Ana", "Look at him", 2023, 5, 13, 0, 5, 1),
        item(7, "+49 170 1234567", "Hi", 2023, 5, 13, 0, 6),
        Skipped(place(8), "no words in it (media, a poll, or a notice of the app)"),
        item(9, "Ana", "Who comes?", 2023, 5, 13, 0, 8),
    ]


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        ("13/05/2023, 18:37 - A: x", (2023, 5, 13, 18, 37)),
        ("5/13/23, 6:37 PM - A: x", (2023, 5, 13, 18, 37)),
        ("5/13/23, 6:37\u202fPM - A: x", (2023, 5, 13, 18, 37)),
        ("5/13/23, 12:05\u202fAM - A: x", (2023, 5, 13, 0, 5)),
        ("5/13/23, 12:05 pm - A: x", (2023, 5, 13, 12, 5)),
        ("13.05.23, 18:37 - A: x", (2023, 5, 13, 18, 37)),
        ("13-05-2023 18:37 - A: x", (2023, 5, 13, 18, 37)),
        ("13/5/2023, 6:37 p. m. - A: x", (2023, 5, 13, 18, 37)),
        ("13/5/23 6:37 a.\u00a0m. - A: x", (2023, 5, 13, 6, 37)),
        ("13/05/2023 à 18:37 - A: x", (2023, 5, 13, 18, 37)),
        ("13/05/2023, 6.37 pm – A: x", (2023, 5, 13, 18, 37)),
        ("2023/05/13, 18:37 - A: x", (2023, 5, 13, 18, 37)),
        ("2023. 05. 13. 18:37 - A: x", (2023, 5, 13, 18, 37)),
        ("2023. 5. 13. 오후 6:37 - A: x", (2023, 5, 13, 18, 37)),
        ("2023/5/13 上午6:37 - A: x", (2023, 5, 13, 6, 37)),
        ("2023/5/13 下午6:37 - A: x", (2023, 5, 13, 18, 37)),
        ("13/5/2023, 6:37 μ.μ. - A: x", (2023, 5, 13, 18, 37)),
        ("13/5/2023, 6:37 π.μ. - A: x", (2023, 5, 13, 6, 37)),
        ("\u200f١٣\u200f/٥\u200f/٢٠٢٣, ٦:٣٧ م - A: x", (2023, 5, 13, 18, 37)),
        ("[13/05/2023, 18:37:05] A: x", (2023, 5, 13, 18, 37, 5)),
        ("\u200e[5/13/23, 6:37:05\u202fPM] A: x", (2023, 5, 13, 18, 37, 5)),
        ("[13.05.23, 18:37:05] A: x", (2023, 5, 13, 18, 37, 5)),
        ("[13-05-2023 18:37:05] A: x", (2023, 5, 13, 18, 37, 5)),
        ("[2023-05-13, 6:37:05 p.m.] A: x", (2023, 5, 13, 18, 37, 5)),
        ("[13.5.2023 klo 18.37.05] A: x", (2023, 5, 13, 18, 37, 5)),
        ("[13/5/23 18:37:05] A: x", (2023, 5, 13, 18, 37, 5)),
    ],
)
def test_every_phone_writes_times_in_its_own_way(line: str, moment: tuple[int, ...]) -> None:
    assert one(line) == item(1, "A", "x", *moment)


def days(*dates: str) -> list[int]:
    """The months that the dates of a chat fall in."""
    found = chat("".join(f"{date}, 10:00 - A: x\n" for date in dates))
    return [datetime.fromtimestamp(entry.at or 0, UTC).month for entry in found if isinstance(entry, Item)]


def test_the_order_of_dates_is_that_which_fits_them_all() -> None:
    assert days("01/02/2023", "05/02/2023", "13/02/2023") == [2, 2, 2]
    assert days("02/01/2023", "02/05/2023", "02/13/2023") == [2, 2, 2]
    assert days("01/02/2023", "01/02/2023", "13/13/2023", "14/02/2023") == [2, 2, 2]  # one is broken
    assert days("05/05/2023", "05/05/2023") == [5, 5]
    assert days("01.02.2023") == [2]
    assert days("2023-02-01") == [2]
    assert days("99-02-01", "99-02-28") == [2, 2]
    assert days("23-01-30", "23-01-31", "23-02-01", "23-03-01", "24-01-01") == [1, 1, 2, 3, 1]


def test_the_order_of_dates_is_that_in_which_time_goes_forward() -> None:
    assert days("05/01/2023", "06/01/2023", "01/02/2023", "01/03/2023") == [1, 1, 2, 3]
    assert days("01/05/2023", "01/06/2023", "02/01/2023", "03/01/2023") == [1, 1, 2, 3]
    # A clock that was set back once does not turn the order round.
    forward = [f"{day:02}/{month:02}/2023" for month in range(1, 13) for day in (3, 7, 11)]
    assert days(forward[3], *forward) == [2, *(month for month in range(1, 13) for _ in range(3))]


@pytest.mark.parametrize("text", ["01/02/2023, 10:00 - A: x", "[01/02/23, 10:00:00] A: x", "01-02-2023 10:00 - A: x"])
def test_an_order_that_cannot_be_told_is_asked_for(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"say which with date_order \(dmy or mdy\)") as told:
        chat(text)
    assert told.value.param == "date_order"
    assert one(text, "dmy").at == at(2023, 2, 1, 10)
    assert one(text, "mdy").at == at(2023, 1, 2, 10)


def test_the_option_wins_where_it_fits_any_date() -> None:
    text = "13/05/2023, 18:37 - A: x\n01/02/2023, 10:00 - A: y\n"
    found = chat(text, Options("mdy", "UTC"))
    assert found == [
        Skipped(place(1), "a date or time that does not exist"),
        item(2, "A", "y", 2023, 1, 2, 10),
    ]
    assert one("23/05/13, 18:37 - A: x", "ymd").at == at(2023, 5, 13, 18, 37)
    assert one("2023/05/13, 18:37 - A: x", "mdy").at == at(2023, 5, 13, 18, 37)


def test_times_are_those_of_the_zone() -> None:
    line = "13/05/2023, 18:37 - A: x"
    [found] = chat(line, Options(timezone="Europe/Berlin"))
    assert isinstance(found, Item)
    assert found.at == at(2023, 5, 13, 16, 37)
    [found] = chat(line, Options())
    assert isinstance(found, Item)
    assert found.at == datetime(2023, 5, 13, 18, 37).timestamp()
    for name in ("Mars/Olympus", "", "../etc", "Europe"):
        with pytest.raises(InvalidInput, match="no such timezone") as told:
            chat(line, Options(timezone=name))
        assert told.value.param == "timezone"


@pytest.mark.parametrize("time", ["25:00", "10:61", "13:00 PM", "0:10 AM"])
def test_times_that_do_not_exist_are_left_out_and_reading_goes_on(time: str) -> None:
    assert chat(f"13/05/2023, {time} - A: x\n13/05/2023, 10:00 - A: y\n") == [
        Skipped(place(1), "a date or time that does not exist"),
        item(2, "A", "y", 2023, 5, 13, 10, 0),
    ]


@pytest.mark.parametrize(
    "text",
    ["<Media omitted>", "<Medien ausgeschlossen>", "<Multimedia omitido>", "<Archivo omitido>", "<Médias omis>",
     "<Fichier omis>", "<Media omessi>", "<Mídia oculta>", "<Ficheiro não revelado>", "<Media weggelaten>",
     "\u200eimage omitted", "video omitted", "GIF omitted", "sticker omitted", "Contact card omitted",
     "Bild weggelassen", "Audio weggelassen", "Dokument weggelassen", "imagen omitida", "audio omitido",
     "image absente", "vidéo absente", "audio omis", "immagine omessa", "video omesso", "sticker non incluso",
     "imagem ocultada", "áudio ocultado", "figurinha omitida", "vídeo omitido", "afbeelding weggelaten",
     "<View once voice message omitted>", "null",
     "This message was deleted", "You deleted this message.", "Diese Nachricht wurde gelöscht.",
     "Du hast diese Nachricht gelöscht.", "Se eliminó este mensaje.", "Eliminaste este mensaje.",
     "Ce message a été supprimé", "Vous avez supprimé ce message", "Questo messaggio è stato eliminato",
     "Hai eliminato questo messaggio", "Mensagem apagada", "Você apagou esta mensagem", "Esta mensagem foi apagada",
     "Dit bericht is verwijderd", "Je hebt dit bericht verwijderd", "This message was deleted by admin Bo",
     "Missed voice call", "Verpasster Videoanruf", "Gemiste spraakoproep", "\u200eanything that the app wrote",
     "IMG-20230512-WA0001.jpg (file attached)", "\u200eIMG-20230512-WA0001.jpg (Datei angehängt)",
     "VID 1.mp4 (archivo adjunto)", "PTT-1.opus (fichier joint)", "a.pdf (file allegato)", "a.pdf (arquivo anexado)",
     "a.pdf (ficheiro anexado)", "a.pdf (bestand bijgevoegd)", "<Anhang: 1-PHOTO.jpg>", "<adjunto: 1.jpg>",
     "<pièce jointe : 1.jpg>", "<allegato: 1.jpg>", "<anexado: 1.jpg>", "<bijgevoegd: 1.jpg>", "", " "],
)  # fmt: skip
def test_what_the_app_writes_is_left_out_in_every_language(text: str) -> None:
    first, second = chat(f"13/05/2023, 10:00 - A: {text}\n13/05/2023, 10:00 - A: y\n")
    assert isinstance(first, Skipped)
    assert isinstance(second, Item)


@pytest.mark.parametrize(
    "edited",
    ["<This message was edited>", "<Diese Nachricht wurde bearbeitet.>", "<Se editó este mensaje.>",
     "<Ce message a été modifié>", "<Questo messaggio è stato modificato>", "<Mensagem editada>",
     "<Dit bericht is bewerkt>", "\u200e<This message was edited>"],
)  # fmt: skip
def test_the_mark_of_an_edit_is_taken_off(edited: str) -> None:
    assert one(f"13/05/2023, 10:00 - A: I moved. {edited}").text == "I moved."


@pytest.mark.parametrize(
    "text",
    ["I omitted the video", "<3", "a < b > c", "the image omitted a cat", "He deleted this message.", "nullable",
     "see plan.pdf (file attached) below", "https://example.org/?a=b: c", "<b>edit</b> 1 > 2"],
)  # fmt: skip
def test_what_only_looks_like_it_is_kept(text: str) -> None:
    assert one(f"13/05/2023, 10:00 - A: {text}").text == text


def test_captions_stay_and_the_files_go() -> None:
    assert (
        one("13/05/2023, 10:00 - A: \u200eIMG-1.jpg (file attached)\nLook at him.\nMiro.").text == "Look at him.\nMiro."
    )
    assert one("13/05/2023, 10:00 - A:\nBelow an empty line.").text == "Below an empty line."


@pytest.mark.parametrize(
    "line",
    ["Ana joined using this group's invite link", "Ana changed the subject from “Trip: 1” to “Trip: 2”",
     "Ana hat die Gruppe „Reise: 2023“ erstellt", "Ana a créé le groupe « Voyage : 2023 »", f"{'x' * 200}: y", ": y"],
)  # fmt: skip
def test_notices_of_the_app_name_no_speaker(line: str) -> None:
    first, _ = chat(f"13/05/2023, 10:00 - {line}\n13/05/2023, 10:00 - A: y\n")
    assert first == Skipped(place(1), "a notice of the app")


def test_names_are_as_written() -> None:
    for name in ('Ana "Nana" Ruiz', "Ana “Nana” Ruiz", "Bo (work) – 2", "日本", "10:30 club", "Ana - Bo"):
        assert one(f"13/05/2023, 10:00 - {name}: y").speaker == name


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"\0" * 100, b"\xff\xfe", b'[{"mapping": {}}]', b'{"id": 1, "messages": []}',
     b"# Notes\n\n12/05/2023, 18:37 - Ana: quoted\n", b"12/05/2023 I met Ana.\n", b"[18:37:05] <ana> hello\n",
     b"12/05/2023, 18:37 - nobody speaks here\n", b"From ana@example.org Fri May 12 18:37:05 2023\n"],
)  # fmt: skip
def test_other_files_are_left_alone(content: bytes) -> None:
    assert until_fault(claim, content) == []


def test_wrong_encodings_say_what_to_do() -> None:
    for encoding in ("utf-16", "latin-1"):
        said = fault(claim, ANDROID.replace("🐈", "ö").replace("\u202f", "").encode(encoding))
        assert said.startswith("renamed.bin: not UTF-8 text after line ")
        assert said.endswith("; use the file as it was exported, or save it as UTF-8")
    assert "line 3 is no text of a chat" in fault(claim, ANDROID.replace("Ström", "Str\0m").encode())


def test_what_is_longer_than_any_message_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whatsapp, "_MAX_MESSAGE", 1000)
    text = "13/05/2023, 10:00 - A: x\n" + "more\n" * 500 + "13/05/2023, 10:00 - A: y\n"
    assert chat(text) == [Skipped(place(1), "longer than any message"), item(502, "A", "y", 2023, 5, 13, 10, 0)]
    monkeypatch.setattr(whatsapp, "_MAX_LINE", 1000)
    assert "line 2 is no text" in fault(claim, b"13/05/2023, 10:00 - A: x\n" + b"y" * 5000)


def test_cut_files_give_what_was_whole() -> None:
    """A cut within the last message cannot be seen; all before it are as they were."""
    content = ANDROID.encode()
    for cut in cuts(content):
        found = until_fault(claim, cut, UTC_TIMES)
        assert found[:-1] == WHOLE[: len(found[:-1])]
    assert "not UTF-8" in fault(claim, content[: content.index("ö".encode()) + 1], Options("dmy"))


def test_changed_bytes_give_our_error_or_items() -> None:
    for changed in flips(ANDROID.encode()):
        until_fault(claim, changed)


FORMS: list[tuple[DateOrder, str]] = [
    ("dmy", "{d:02}/{m:02}/{y}, {H:02}:{M:02} - "),
    ("dmy", "{d}.{m}.{yy:02}, {H:02}:{M:02} - "),
    ("dmy", "{d:02}-{m:02}-{y} {H:02}:{M:02} - "),
    ("mdy", "{m}/{d}/{yy:02}, {h}:{M:02}\u202f{P} - "),
    ("dmy", "{d}/{m}/{y}, {h}:{M:02} {p}. m. - "),
    ("ymd", "{y}/{m:02}/{d:02}, {H:02}:{M:02} - "),
    ("dmy", "[{d:02}.{m:02}.{yy:02}, {H:02}:{M:02}:00] "),
    ("mdy", "\u200e[{m}/{d}/{yy:02}, {h}:{M:02}:00\u202f{P}] "),
    ("ymd", "[{y}-{m:02}-{d:02}, {h}:{M:02}:00 {p}.m.] "),
]
WORDS = st.text(string.ascii_letters + "äöß日本🐈 ,.-/1234567890", min_size=1, max_size=20).map(str.strip).filter(len)
TIMES = st.datetimes(datetime(2010, 1, 1), datetime(2099, 12, 31)).map(
    lambda moment: moment.replace(second=0, microsecond=0)
)
SAID = st.tuples(
    TIMES, st.sampled_from(["Ana", "Bo Ström", "日本", "+49 170 1234567"]), st.lists(WORDS, min_size=1, max_size=3)
)


def written(form: str, moment: datetime) -> str:
    """How a phone writes the beginning of a message."""
    half = "AP"[moment.hour >= 12]
    return form.format(
        d=moment.day, m=moment.month, y=moment.year, yy=moment.year % 100, H=moment.hour, M=moment.minute,
        h=(moment.hour - 1) % 12 + 1, P=f"{half}M", p=half.lower(),
    )  # fmt: skip


@given(st.sampled_from(FORMS), st.lists(SAID, min_size=1, max_size=8), st.booleans())
def test_what_is_written_in_any_form_is_read_back(
    form: tuple[DateOrder, str], said: list[tuple[datetime, str, list[str]]], told: bool
) -> None:
    order, beginning = form
    said.sort(key=lambda one: one[0])
    if not told:  # a month that shows its order, and goes forward
        said = [(moment.replace(year=2023, month=5, day=20), name, lines) for moment, name, lines in said]
    text = "\n".join(written(beginning, moment) + f"{name}: " + "\n".join(lines) for moment, name, lines in said)
    found = chat(text, Options(order if told else None, "UTC"))
    assert [(entry.speaker, entry.text, entry.at) for entry in found if isinstance(entry, Item)] == [
        (name, "\n".join(lines), moment.replace(tzinfo=UTC).timestamp()) for moment, name, lines in said
    ]


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_read_or_refused(rest: str, more: str) -> None:
    until_fault(claim, f"13/05/2023, 10:00 - A: x\n13/05/2023, 10:00 - {rest}\n{more}".encode(errors="replace"))


def test_hostile_lines_are_read_in_one_go() -> None:
    """Texts that an expression with two ways to match would be slow on for hours."""
    beginning = "13/05/2023, 10:00 - A: "
    for text in (" " * 900_000 + "x", "<" * 900_000, "< edited" * 100_000, "<attached: " * 80_000, "a.b " * 200_000):
        [found] = chat(beginning + text)
        assert isinstance(found, Item)
        assert found.text == text.strip()
