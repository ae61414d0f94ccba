"""Telegram's result.json: one chat and whole accounts, texts in all shapes, and files that are broken or not ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from personal_data.importers import jsonstream
from personal_data.importers.parsed import Item, Options, Skipped
from personal_data.importers.telegram import claim
from tests.personal_data.exported import cuts, depth_bombs, fault, flips, read, until_fault

BERLIN = Options(timezone="Europe/Berlin")


def message(number: int, text: Any, author: Any = "Ana", author_id: Any = "user11", **fields: Any) -> dict[str, Any]:
    """A message as the export writes it."""
    return {"id": number, "type": "message", "date": "2024-03-01T13:00:00", "date_unixtime": "1709294400",
            "from": author, "from_id": author_id, "text": text, **fields}  # fmt: skip


def chat(*messages: Any, number: int = 4_371_234_567) -> dict[str, Any]:
    return {"name": "Ana", "type": "personal_chat", "id": number, "messages": [*messages]}


def account(*chats: Any, **fields: Any) -> dict[str, Any]:
    """An export of the account of user 11."""
    return {
        "about": "Here is the data you requested.",
        "personal_information": {"user_id": 11, "first_name": "Ana", "phone_number": "+49 1"},
        "contacts": {"about": "", "list": [{"first_name": "Bo", "phone_number": "+49 2"}]},
        "chats": {"about": "", "list": [*chats]},
        **fields,
    }


def first(found: dict[str, Any], options: Options = BERLIN) -> Item:
    """The one item of a chat of one message."""
    [item] = read(claim, json.dumps(chat(found)).encode(), options=options)
    assert isinstance(item, Item)
    return item


AT = 1_709_294_400.0
MESSAGES = [
    message(1, "", type="service", actor="Ana", action="phone_call"),
    message(2, "My cat is called Miro. 🐈"),
    message(3, ["See ", {"type": "link", "text": "example.org"}, " soon"], "Bo", "user12", reply_to_message_id=2),
    message(4, "", text_entities=[{"type": "plain", "text": "In "}, {"type": "bold", "text": "entities."}]),
    message(5, "Gone.", None, "user13", reactions=[{"type": "emoji", "count": 1, "emoji": "👍"}]),
    message(6, "", photo="photos/1.jpg"),
    message(7, "News of others.", forwarded_from="Daily"),
]
EXPORT = account(
    chat(*MESSAGES, number=1), {**chat(message(1, "To myself."), number=2), "type": "saved_messages", "name": None}
)


def items(owner: bool) -> list[Item | Skipped]:
    """What is read of MESSAGES, with an owner or without."""

    def own(value: bool) -> bool | None:
        return value if owner else None

    source = "renamed.bin#1"
    return [
        Skipped(f"{source}/1", "a service message"),
        Item("My cat is called Miro. 🐈", "Ana", own(True), AT, f"{source}/2", "1"),
        Item("See example.org soon", "Bo", own(False), AT, f"{source}/3", "1"),
        Item("In entities.", "Ana", own(True), AT, f"{source}/4", "1"),
        Item("Gone.", "Deleted account", own(False), AT, f"{source}/5", "1"),
        Skipped(f"{source}/6", "no words in it (media, a poll, a place)"),
        Item("News of others.", "Daily", own(False), AT, f"{source}/7", "1"),
    ]


WHOLE = [*items(owner=True), Item("To myself.", "Ana", True, AT, "renamed.bin#2/1", "2")]


def test_one_chat_leaves_open_whose_it_is() -> None:
    assert read(claim, json.dumps(chat(*MESSAGES, number=1)).encode()) == items(owner=False)


def test_an_account_says_whose_it_is() -> None:
    assert read(claim, json.dumps(EXPORT).encode()) == WHOLE
    assert read(claim, json.dumps(EXPORT, ensure_ascii=False, indent=1).encode("utf-8-sig")) == WHOLE


def test_an_account_may_leave_out_its_owner_and_hold_chats_that_were_left() -> None:
    bare = account(chat(message(1, "One."), number=1), left_chats={"list": [chat(message(1, "Two."), number=2)]})
    del bare["personal_information"]
    assert [(item.text, item.thread, item.own) for item in read(claim, json.dumps(bare).encode())] == [  # type: ignore[union-attr]
        ("One.", "1", None),
        ("Two.", "2", None),
    ]
    for left in ("about", "contacts"):
        del bare[left]
        assert len(read(claim, json.dumps(bare).encode())) == 2
    del bare["chats"]
    assert len(read(claim, json.dumps(bare).encode())) == 1


def test_an_account_is_known_even_where_contacts_fill_its_head() -> None:
    contacts = {"about": "", "list": [{"first_name": "Bo", "phone_number": "+49 2"}] * 5000}
    large = account(chat(message(1, "Far below."), number=1), contacts=contacts)
    del large["chats"]
    assert "no messages in it" in fault(claim, json.dumps(large).encode())
    assert len(read(claim, json.dumps(large | {"chats": {"list": [chat(message(1, "Far below."))]}}).encode())) == 1


def test_an_owner_without_a_number_is_not_known() -> None:
    odd = account(chat(message(1, "Hi.")), personal_information={"user_id": None, "phone_number": ""})
    [item] = read(claim, json.dumps(odd).encode())
    assert isinstance(item, Item)
    assert item.own is None


def test_times_without_a_zone_are_those_of_the_option() -> None:
    assert first(message(1, "Hi.", date_unixtime=None)).at == AT
    assert first(message(1, "Hi.", date_unixtime=None), Options(timezone="Asia/Tokyo")).at == AT - 8 * 3600
    assert first(message(1, "Hi.", date_unixtime="soon", date="2024-07-01T12:00:00")).at == 1_719_828_000.0
    assert first(message(1, "Hi.", date_unixtime=1709294400, date=None)).at == AT
    with pytest.raises(InvalidInput, match="no such timezone") as told:
        first(message(1, "Hi."), Options(timezone="Mars/Olympus"))
    assert told.value.param == "timezone"


@pytest.mark.parametrize("at", [None, "-5", "1e30", "nan", [], True])
@pytest.mark.parametrize("date", [None, "", "0001-01-01T00:00:00", "soon", 7, "9999-12-31T23:59:59"])
def test_absurd_times_are_none(at: Any, date: Any) -> None:
    assert first(message(1, "Hi.", date_unixtime=at, date=date)).at is None
    assert first(message(1, "Hi.", date_unixtime=at, date=date), Options()).at is None


def test_forwarded_words_of_a_deleted_account_are_nobodys() -> None:
    found = read(claim, json.dumps(account(chat(message(1, "Whose?", forwarded_from=None), number=1))).encode())
    assert found == [Item("Whose?", "Deleted account", False, AT, "renamed.bin#1/1", "1")]


def test_broken_entries_are_left_out_and_reading_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = chat(message(0, "First."), None, 5, [], {}, message(9, {"a": 1}), message(10, [3, None, {}]), number=1)
    found = read(claim, json.dumps(odd).encode())
    assert [entry.reason for entry in found if isinstance(entry, Skipped)] == [
        *["a broken message"] * 3,
        "a service message",
        *["no words in it (media, a poll, a place)"] * 2,
    ]
    monkeypatch.setattr(jsonstream, "MAX_VALUE_BYTES", 20_000)
    large = chat(message(1, "x" * 40_000), *MESSAGES[1:3], number=1)
    found = read(claim, json.dumps(large).encode())
    assert found == [Skipped("renamed.bin#1", "larger than any message"), *items(owner=False)[1:3]]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"messages": []}', b'{"type": "x", "id": 1, "messages": []}', b"\0", b"text",
     b'{"messages": [{"creator": {"name": "A"}, "created_date": "d", "text": "t"}]}',
     b'{"type": "a", "id": "1", "channel": {}, "messages": [{"id": "1", "type": "Default", "timestamp": "t"}]}',
     b'{"participants": [{"name": "A"}], "messages": [{"sender_name": "A", "timestamp_ms": 1, "type": "Generic"}]}'],
)  # fmt: skip
def test_other_files_are_left_alone(content: bytes) -> None:
    assert until_fault(claim, content) == []


def test_wrong_encodings_say_what_to_do() -> None:
    text = json.dumps(chat(message(1, "Grüße")), ensure_ascii=False)
    for encoded in (text.encode("utf-16"), text.encode("utf-16-be"), text.encode("latin-1")):
        if encoded[0]:
            assert "not UTF-8" in fault(claim, encoded)
        else:
            assert until_fault(claim, encoded) == []
    assert "broken JSON" in fault(claim, text.encode().replace(b"Gr", b"G\0"))


def test_cut_files_give_what_was_whole() -> None:
    content = json.dumps(EXPORT, ensure_ascii=False).encode()
    for cut in cuts(content):
        found = until_fault(claim, cut)
        assert found == WHOLE[: len(found)]
    assert "cut off after" in fault(claim, content[:-1])


def test_changed_bytes_give_our_error_or_items() -> None:
    for changed in flips(json.dumps(EXPORT, ensure_ascii=False).encode()):
        until_fault(claim, changed)


def test_depth_is_bounded() -> None:
    for bomb in depth_bombs(b'{"id": 1, "type": "a", "messages": [{"id": 1, "type": "b", "date": "c", "text": '):
        assert "nested deeper" in fault(claim, bomb)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "type"]), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("id", "type", "date", "date_unixtime", "from", "from_id", "text", "text_entities", "forwarded_from")


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, max_size=4))
def test_whatever_the_fields_hold_reading_goes_on(messages: list[Any]) -> None:
    odd = account(chat(*messages, number=1), chat(message(1, "Still here."), number=2))
    found = read(claim, json.dumps(odd).encode())
    assert len(found) == len(messages) + 1
    assert found[-1] == Item("Still here.", "Ana", True, AT, "renamed.bin#2/1", "2")
