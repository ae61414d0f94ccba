"""Google Takeout: notes of Keep, conversations of Google Chat, and files that are broken or not ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.importers import jsonstream
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.takeout import claim
from personal_data.importers.takeout_chat import moment
from tests.personal_data.exported import cuts, depth_bombs, fault, file_of, flips, read, until_fault

AT = 1_700_575_509.0
DATE = "Tuesday, 21 November 2023 at 14:05:09 UTC"
WORDLESS_NOTE = "no words in it (a picture, a drawing, a recording)"
WORDLESS = "no words in it (files, cards, calls)"


def note(title: Any = "", **fields: Any) -> dict[str, Any]:
    """A note as the export writes it."""
    return {"color": "DEFAULT", "isTrashed": False, "isPinned": False, "isArchived": False, "title": title,
            "userEditedTimestampUsec": int(AT) * 1_000_000, "createdTimestampUsec": 1_600_000_000_000_000,
            **fields}  # fmt: skip


def message(number: int, text: Any, name: Any = "Ana", **fields: Any) -> dict[str, Any]:
    """A message as the export writes it."""
    creator = {"name": name, "email": f"{name}@a.example".lower(), "user_type": "Human"}
    return {"creator": creator, "created_date": DATE, "text": text, "topic_id": "t1",
            "message_id": f"g/t1/{number}", **fields}  # fmt: skip


NOTE = note("Trip", textContent="Sail to Oslo.\n", textContentHtml="<p>Sail</p>", labels=[{"name": "fun"}],
            listContent=[{"text": "rope", "isChecked": True}, {"text": "bread", "isChecked": False}])  # fmt: skip
TRIP = Item("Trip\nSail to Oslo.\n☑ rope\n☐ bread", "", True, AT, "renamed.bin", "renamed.bin", "document")
MESSAGES = [
    message(1, "My cat is called Miro. 🐈"),
    message(2, "Is it?", "Bo", topic_id="t2"),
    {"topic_id": "t2", "message_id": "g/t2/3", "message_state": "DELETED", "deletion_metadata": {}},
    message(4, "", attached_files=[{"original_name": "cat.jpg"}]),
    message(5, "Join the call", creator={"name": "Meet", "user_type": "Bot"}),
    message(6, " Bye. ", creator={"name": "", "email": "cy@a.example"}, topic_id=None),
]
CHAT = {"messages": MESSAGES}


def whole(name: str, group: str, ana: bool | None = None, others: bool | None = None) -> list[Item | Skipped]:
    """What is read of CHAT."""
    return [
        Item("My cat is called Miro. 🐈", "Ana", ana, AT, f"{name}#1", f"{group}/t1"),
        Item("Is it?", "Bo", others, AT, f"{name}#2", f"{group}/t2"),
        Skipped(f"{name}#3", "deleted"),
        Skipped(f"{name}#4", WORDLESS),
        Skipped(f"{name}#5", "written by a bot"),
        Item("Bye.", "cy@a.example", others, AT, f"{name}#6", group),
    ]


WHOLE = whole("renamed.bin", "renamed.bin")


def units(members: dict[str, Any]) -> list[Unit]:
    """The units of an upload with these files."""
    return claim([file_of(json.dumps(content).encode(), name) for name, content in members.items()], Options())


def of_note(content: dict[str, Any]) -> Item:
    """The one item of a note."""
    [item] = read(claim, json.dumps(content).encode())
    assert isinstance(item, Item)
    return item


def test_a_note_is_a_document_of_its_owner() -> None:
    assert read(claim, json.dumps(NOTE).encode()) == [TRIP]
    assert read(claim, json.dumps(NOTE, ensure_ascii=False, indent=1).encode("utf-8-sig")) == [TRIP]


def test_the_notes_of_a_folder_are_one_unit() -> None:
    first, second = units({"Notizen/a.json": NOTE, "Notizen/b.json": note("Only a title."), "x/c.json": note("C")})
    assert (first.format, first.name, first.files) == ("takeout", "Notizen", ("Notizen/a.json", "Notizen/b.json"))
    assert (second.name, second.files) == ("x/c.json", ("x/c.json",))
    texts = [(entry.text, entry.thread) for entry in first.read() if isinstance(entry, Item)]
    assert texts == [(TRIP.text, "Notizen/a.json"), ("Only a title.", "Notizen/b.json")]


def test_notes_in_the_trash_and_without_words_are_left_out() -> None:
    assert read(claim, json.dumps(note("Gone", isTrashed=True)).encode()) == [Skipped("renamed.bin", "in the trash")]
    for odd in ({}, {"listContent": [{"text": " "}, 5]}, {"textContent": None}, {"listContent": "x"}):
        assert read(claim, json.dumps(note(**odd)).encode()) == [Skipped("renamed.bin", WORDLESS_NOTE)]
    assert of_note(note("Kept", isArchived=True)).text == "Kept"


def test_a_note_may_lack_its_flags() -> None:
    assert of_note({"title": "Old", "createdTimestampUsec": "1600000000000000"}).at == 1_600_000_000.0
    assert of_note({"textContent": "Old", "userEditedTimestampUsec": AT * 1e6}).at == AT


@pytest.mark.parametrize("usec", [None, 0, "-5", "1" + "0" * 400, "nan", "1e300", "soon", [], True, 1e30])
def test_absurd_times_of_notes_are_none(usec: Any) -> None:
    assert of_note(note("x", userEditedTimestampUsec=usec, createdTimestampUsec=usec)).at is None
    assert of_note(note("x", userEditedTimestampUsec=usec)).at == 1_600_000_000.0


def test_a_broken_note_is_told_and_the_others_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.dumps(NOTE).encode()
    files = [file_of(content[:-9], "k/a.json"), file_of(content, "k/b.json"), file_of(b"[" + content, "k/c.json")]
    [unit] = claim(files, Options())
    told, item = unit.read()
    assert isinstance(told, Skipped) and told.source == "k/a.json" and "cut off after" in told.reason
    assert isinstance(item, Item) and item.text == TRIP.text
    monkeypatch.setattr(jsonstream, "MAX_VALUE_BYTES", 20_000)
    large = json.dumps(note("x", textContent="y" * 30_000)).encode()
    assert read(claim, large) == [Skipped("renamed.bin", "larger than any note")]


def test_a_conversation_leaves_open_whose_it_is() -> None:
    assert read(claim, json.dumps(CHAT).encode()) == WHOLE
    assert read(claim, json.dumps(CHAT, ensure_ascii=False, indent=1).encode("utf-8-sig")) == WHOLE


def test_the_files_beside_a_conversation_tell_its_name_and_its_owner() -> None:
    first, second = units(
        {
            "T/Chat/Groups/Space 1/group_info.json": {"name": "The  boat", "members": [{"name": "Ana", "email": "a"}]},
            "T/Chat/Groups/Space 1/messages.json": CHAT,
            "T/Chat/Groups/DM 2/info.json": {"members": [{"name": "Ana", "email": "ana@a.example"}]},
            "T/Chat/Groups/DM 2/renamed.json": {"messages": MESSAGES[:1]},
            "T/Chat/Users/User 1/user_info.json": {"user": {"name": "Ana", "email": "ANA@a.example"}},
        }
    )
    folder, owner = "T/Chat/Groups", "T/Chat/Users/User 1/user_info.json"
    files = (f"{folder}/Space 1/messages.json", f"{folder}/Space 1/group_info.json", owner)
    assert (first.name, first.files) == ("The boat", files)
    assert list(first.read()) == whole(f"{folder}/Space 1/messages.json", "Space 1", True, False)
    assert second.name == f"{folder}/DM 2/renamed.json"
    assert second.files == (f"{folder}/DM 2/renamed.json", f"{folder}/DM 2/info.json", owner)
    [item] = second.read()
    assert isinstance(item, Item) and item.own is True and item.thread == "DM 2/t1"


def test_whoever_has_no_address_is_not_known() -> None:
    owner = {"user": {"name": "Ana", "email": "ana@a.example"}}
    for creator in (None, {}, {"name": "Ana"}, {"name": "Ana", "email": 5}):
        [unit] = units({"user_info.json": owner, "m.json": {"messages": [message(1, "Hi.", creator=creator)]}})
        [item] = unit.read()
        assert isinstance(item, Item) and item.own is None
        assert item.speaker == ("Ana" if creator else "unknown person")


def test_what_tells_of_no_conversation_is_left_alone() -> None:
    assert units({"a.json": {"user": {"name": "Ana", "email": "a"}}, "b.json": {"members": [{"name": "Ana"}]}}) == []


def test_a_broken_file_beside_a_conversation_is_told() -> None:
    cut = file_of(b'{"user": {"email": "ana@a.example", "na', "user_info.json")
    [unit] = claim([cut, file_of(json.dumps(CHAT).encode(), "m.json")], Options())
    told, *found = unit.read()
    assert isinstance(told, Skipped) and told.reason.startswith("names are missing: user_info.json: cut off")
    assert found == whole("m.json", "m.json", True, False)


@pytest.mark.parametrize(
    "date",
    [
        "Tuesday, 21 November 2023 at 14:05:09 UTC",
        "Tuesday, November 21, 2023 at 2:05:09 PM UTC",
        "Tuesday, November 21, 2023 at 2:05:09\u202fPM UTC",
        "Tuesday,\u00a021 November 2023 at 14:05:09\u00a0UTC",
        "Dienstag, 21. November 2023 um 14:05:09 UTC",
        "mardi 21 novembre 2023 à 14:05:09 UTC",
        "martes, 21 de noviembre de 2023, 14:05:09 UTC",
        "martedì 21 novembre 2023 alle ore 14:05:09 UTC",
        "dinsdag 21 november 2023 om 14:05:09 UTC",
        "terça-feira, 21 de novembro de 2023 às 14:05:09 UTC",
    ],
)
def test_dates_in_words(date: str) -> None:
    assert moment(date) == AT


def test_noon_and_midnight_of_twelve_hours() -> None:
    day = AT - 14 * 3600 - 5 * 60 - 9
    assert moment("Tuesday, November 21, 2023 at 12:00:00 AM UTC") == day
    assert moment("Tuesday, November 21, 2023 at 12:00:00 PM UTC") == day + 12 * 3600


@pytest.mark.parametrize(
    "date",
    [None, "", 5, [], "soon", "21 November 2023", "21 November 2023 at 25:05:09 UTC", "31 June 2023 at 14:05:09 UTC",
     "21 Brumaire 2023 at 14:05:09 UTC", "21 November 2023 at 14:05:09 PST", "21 November 2023 at 13:05:09 PM UTC",
     "21 22 November 2023 at 14:05:09 UTC", "21 November 0000 at 14:05:09 UTC", "٢١ November 2023 at 14:05:09 UTC",
     "21 November 9999 at 14:05:09 UTC", "x" * 10_000 + DATE],
)  # fmt: skip
def test_absurd_dates_are_none(date: Any) -> None:
    assert moment(date) is None


def test_broken_entries_are_left_out_and_reading_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    odd: dict[str, Any] = {"messages": [message(0, "First."), None, 5, [], {}, message(9, {"a": 1})]}
    found = read(claim, json.dumps(odd).encode())
    reasons = [entry.reason for entry in found if isinstance(entry, Skipped)]
    assert reasons == ["a broken message"] * 3 + [WORDLESS] * 2
    monkeypatch.setattr(jsonstream, "MAX_VALUE_BYTES", 20_000)
    found = read(claim, json.dumps({"messages": [message(1, "x" * 40_000), MESSAGES[1]]}).encode())
    assert found == [Skipped("renamed.bin#1", "larger than any message"), WHOLE[1]]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"messages": []}', b"\0", b"text", b'{"title": "x", "text": "y"}', b'{"isTrashed": true}',
     b'{"messages": [{"topic_id": 1}]}', b'[{"isTrashed": true, "isPinned": true, "isArchived": true}]'],
)  # fmt: skip
def test_other_files_are_left_alone(content: bytes) -> None:
    assert until_fault(claim, content) == []


def test_wrong_encodings_say_what_to_do() -> None:
    chat, text = (json.dumps(x, ensure_ascii=False) for x in (CHAT, NOTE))
    assert "not UTF-8" in fault(claim, chat.encode("utf-16"))
    assert "not UTF-8" in fault(claim, chat.replace("Is it?", "Grüße").replace("🐈", "").encode("latin-1"))
    [told] = read(claim, text.encode("utf-16"))
    assert isinstance(told, Skipped) and "not UTF-8" in told.reason


def test_cut_files_give_what_was_whole() -> None:
    content = json.dumps(CHAT, ensure_ascii=False).encode()
    for cut in cuts(content):
        found = until_fault(claim, cut)
        assert found == WHOLE[: len(found)]
    assert "cut off after" in fault(claim, content[:-1])
    for cut in cuts(json.dumps(NOTE).encode()):
        assert not any(isinstance(entry, Item) for entry in until_fault(claim, cut))


def test_changed_bytes_give_our_error_or_items() -> None:
    for changed in flips(json.dumps(CHAT, ensure_ascii=False).encode()):
        until_fault(claim, changed)
    for changed in flips(json.dumps(NOTE, ensure_ascii=False).encode()):
        until_fault(claim, changed)


def test_depth_is_bounded() -> None:
    for bomb in depth_bombs(b'{"messages": [{"creator": {}, "created_date": "d", "text": '):
        assert "nested deeper" in fault(claim, bomb)
    for bomb in depth_bombs(b'{"title": "x", "createdTimestampUsec": 1, "textContent": '):
        [told] = read(claim, bomb)
        assert isinstance(told, Skipped) and "nested deeper" in told.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "email"]), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("creator", "created_date", "text", "topic_id", "message_id", "message_state", "attached_files")


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, max_size=4))
def test_whatever_the_fields_hold_reading_goes_on(messages: list[Any]) -> None:
    odd = {"messages": [MESSAGES[0], *messages, message(1, "Still here.")]}
    found = read(claim, json.dumps(odd).encode())
    assert len(found) == len(messages) + 2
    assert isinstance(found[-1], Item) and found[-1].text == "Still here."


@given(st.dictionaries(st.sampled_from(["title", "textContent", "listContent", "labels", "isTrashed"]), JSON))
def test_whatever_a_note_holds_it_is_read(fields: dict[str, Any]) -> None:
    assert len(read(claim, json.dumps(note(**{"title": "x", **fields})).encode())) == 1
