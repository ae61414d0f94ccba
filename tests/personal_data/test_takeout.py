"""Google Takeout: notes and chats, whose they are, and files that are broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from personal_data.errors import InvalidInput
from personal_data.importers import takeout
from personal_data.importers.parsed import Item, Options, Skipped
from personal_data.importers.source import File
from tests.personal_data.exported import cuts, depth_bombs, file_of, flips, until_fault

NOTE = {"color": "DEFAULT", "isTrashed": False, "isPinned": False, "isArchived": False, "title": "Bread",
        "textContent": "Mix flour.\nWait.", "userEditedTimestampUsec": 1684003080000000,
        "createdTimestampUsec": 1684003080000000}  # fmt: skip
LIST = {"isTrashed": False, "title": "", "listContent": [{"text": "salt", "isChecked": True}, {"text": "oil"}],
        "userEditedTimestampUsec": 0, "createdTimestampUsec": 1684003080000000}  # fmt: skip
BEN = {"name": "Ben", "email": "ben@example.org", "user_type": "Human"}
ANA = {"name": "Ana", "email": "ana@example.org", "user_type": "Human"}


def said(
    text: Any, creator: Any = ANA, date: Any = "Saturday, 13 May 2023 at 18:38:00 UTC", **fields: Any
) -> dict[str, Any]:
    return {"creator": creator, "created_date": date, "text": text, "topic_id": "t1", "message_id": "m", **fields}


CHAT = {"messages": [
    said("Shall we sail?"),
    said("Yes", BEN, "Saturday, May 13, 2023 at 6:38:00\u202fPM UTC"),
    said("", attached_files=[{"original_name": "x"}]),
    said("beep", {"name": "Bot", "user_type": "Bot"}),
]}  # fmt: skip
USER = {"user": {"name": "Ben", "email": "ben@example.org"}, "membership_info": []}


def export(**content: Any) -> list[File]:
    return [file_of(json.dumps(value).encode(), name.replace("__", "/") + ".json") for name, value in content.items()]


def test_notes_of_a_folder_are_one_unit() -> None:
    files = export(
        Notizen__a=NOTE, Notizen__b=LIST, Notizen__c=NOTE | {"isTrashed": True}, Notizen__d=LIST | {"listContent": []}
    )
    [unit] = takeout.claim(files, Options())
    assert (unit.name, len(unit.files)) == ("Notizen", 4)
    bread, shopping, trashed, empty = unit.read()
    assert bread == Item(
        "Bread\nMix flour.\nWait.", "", True, 1684003080.0, "Notizen/a.json", "Notizen/a.json", "document"
    )
    assert isinstance(shopping, Item) and (shopping.text, shopping.at) == ("salt\noil", 0.0)
    assert [one.reason for one in (trashed, empty) if isinstance(one, Skipped)] == [
        "thrown away", "no words in it (a picture, a drawing)",
    ]  # fmt: skip


def test_a_chat_is_read_and_its_owner_known() -> None:
    files = export(Groups__dm__messages=CHAT, Groups__dm__group_info={"name": "Boats"}, Users__u__user_info=USER)
    [unit] = takeout.claim(files, Options())
    assert (unit.name, set(unit.files)) == ("Boats", {file.name for file in files})
    found = list(unit.read())
    assert [(one.speaker, one.text, one.own, one.at) for one in found if isinstance(one, Item)] == [
        ("Ana", "Shall we sail?", False, 1684003080.0),
        ("Ben", "Yes", True, 1684003080.0),
    ]
    assert [one.thread for one in found if isinstance(one, Item)] == ["Groups/dm/t1"] * 2
    assert len(found) == 4


def test_without_the_owners_card_nobody_is_taken_for_them() -> None:
    [unit] = takeout.claim(export(Groups__dm__messages=CHAT), Options())
    assert unit.name == "Groups/dm/messages.json"
    assert {one.own for one in unit.read() if isinstance(one, Item)} == {None}


@pytest.mark.parametrize(
    "date", [None, 5, "soon", "Saturday, 99 May 2023 at 18:38:00 UTC", "Saturday, 13 Maj 2023 at 1:38 UTC"]
)
def test_absurd_dates_are_none(date: Any) -> None:
    [unit] = takeout.claim(export(x__messages={"messages": [said("Hi", date=date)]}), Options())
    [one] = unit.read()
    assert isinstance(one, Item) and one.at is None


def test_damaged_files_give_our_error_or_items() -> None:
    for whole in (NOTE, CHAT):
        content = json.dumps(whole).encode()
        for changed in cuts(content) + flips(content):
            until_fault(takeout.claim, changed)
    for bomb in depth_bombs(b'{"messages": [{"creator": {}, "created_date": "x", "a": '):
        [unit] = takeout.claim([file_of(bomb)], Options())
        with pytest.raises(InvalidInput, match="nested deeper"):
            list(unit.read())


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"title": "x"}', b'{"messages": [{"id": 1}]}', b"text"])
def test_other_files_are_left_alone(content: bytes) -> None:
    assert takeout.claim([file_of(content)], Options()) == []
