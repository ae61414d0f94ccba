"""Claude exports: words in either place, attachments as documents, and files that are broken or not ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.importers import jsonstream
from personal_data.importers.claude import claim
from personal_data.importers.parsed import Item, Skipped
from tests.personal_data.exported import cuts, depth_bombs, fault, flips, read, until_fault

UNSUPPORTED = "```\nThis block is not supported on your current device yet.\n```"


def message(sender: str, text: Any = "", *content: Any, uuid: str = "m1", **fields: Any) -> dict[str, Any]:
    """A message as the export writes it."""
    at = "2024-03-01T12:00:00.500000Z"
    return {"uuid": uuid, "text": text, "content": [*content], "sender": sender, "created_at": at,
            "attachments": [], "files": [], **fields}  # fmt: skip


def conversation(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {
        "uuid": "c1",
        "name": "",
        "created_at": "",
        "account": {"uuid": "a"},
        "chat_messages": [*messages],
        **fields,
    }


def said(*messages: Any) -> list[Any]:
    """What is read of one conversation: texts, and reasons in brackets."""
    found = read(claim, json.dumps([conversation(*messages)]).encode())
    return [entry.text if isinstance(entry, Item) else [entry.reason] for entry in found]


AT = 1_709_294_400.5
EXPORT = [
    conversation(
        message("human", "My cat is called Miro. 🐈", {"type": "text", "text": "My cat is called Miro. 🐈"}),
        message(
            "assistant",
            f"Let me look.\n{UNSUPPORTED}\nA fine name.",
            {"type": "thinking", "thinking": "A cat."},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "name": "search", "input": {"text": "cats"}},
            {"type": "tool_result", "content": [{"type": "text", "text": "felines"}]},
            {"type": "text", "text": "A fine name."},
            uuid="m2",
        ),
    ),
    conversation(
        message(
            "human",
            "Read this.",
            uuid="m3",
            created_at="2024-03-01T13:00:00.5+01:00",
            attachments=[{"file_name": "plan.txt", "extracted_content": " The plan.\n"}, {"file_name": "no.pdf"}],
        ),
        uuid="c2",
    ),
]
ITEMS = [
    Item("My cat is called Miro. 🐈", "user", True, AT, "renamed.bin#c1/m1", "c1"),
    Item("Let me look.\nA fine name.", "Claude", False, AT, "renamed.bin#c1/m2", "c1"),
    Item("Read this.", "user", True, AT, "renamed.bin#c2/m3", "c2"),
    Item("The plan.", "", None, AT, "renamed.bin#c2/m3/plan.txt", "c2", "document"),
]


def test_an_export_is_read_whole() -> None:
    assert read(claim, json.dumps(EXPORT).encode()) == ITEMS
    assert read(claim, json.dumps(EXPORT, ensure_ascii=False, indent=1).encode("utf-8-sig")) == ITEMS
    assert read(claim, json.dumps({"account": {}, "conversations": EXPORT}).encode()) == ITEMS


def test_words_may_be_in_text_or_in_content() -> None:
    spoken = {"type": "voice_note", "title": "Note", "text": "Aloud."}
    assert said(
        message("human", "", {"type": "text", "text": "Only in content."}),
        message("human", "Only in text."),
        message("human", "Only in text.", content=None),
        message("human", None, spoken),
        message("assistant", f"{UNSUPPORTED}\n\n{UNSUPPORTED}", {"type": "tool_use", "input": {}}),
        message("assistant", "", {"type": "thinking", "thinking": "Hm."}),
        message("assistant", f"{UNSUPPORTED} Done.", {"type": "tool_use", "input": {}}),
    ) == [
        "Only in content.",
        "Only in text.",
        "Only in text.",
        "Aloud.",
        ["no words in it: only tools, thinking or files"],
        ["no words in it: only tools, thinking or files"],
        "Done.",
    ]


def test_an_attachment_may_come_without_words_and_without_a_name() -> None:
    pasted = {"file_name": "", "file_type": "txt", "extracted_content": "A long pasted text."}
    found = read(claim, json.dumps([conversation(message("human", "", attachments=[pasted]))]).encode())
    assert found == [Item("A long pasted text.", "", None, AT, "renamed.bin#c1/m1/1", "c1", "document")]
    assert said(message("human", files=[{"file_name": "photo.png"}])) == [
        ["no words in it: only tools, thinking or files"]
    ]
    assert said(message("human")) == []


@pytest.mark.parametrize("at", [None, "", "soon", 5, "0001-01-01T00:00:00", "2300-01-01T00:00:00Z", "1950-01-01", []])
def test_absurd_times_are_none(at: Any) -> None:
    [item] = read(claim, json.dumps([conversation(message("human", "Hi.", created_at=at))]).encode())
    assert isinstance(item, Item)
    assert item.at is None


def test_broken_entries_are_left_out_and_reading_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(None, 3, message("system", "x"), {}, message("human", "Still here.")) == [
        *[["a broken message"]] * 2,
        *[["written by neither side of the conversation"]] * 2,
        "Still here.",
    ]
    found = read(claim, json.dumps([None, "x", {"chat_messages": 4}, *EXPORT]).encode())
    assert found[:3] == [
        Skipped("renamed.bin#1", "not a conversation"),
        Skipped("renamed.bin#2", "not a conversation"),
        Skipped("renamed.bin#3", "a conversation without messages"),
    ]
    assert found[3:] == ITEMS
    monkeypatch.setattr(jsonstream, "MAX_VALUE_BYTES", 20_000)
    large = conversation(*(message("human", "x" * 200) for _ in range(100)))
    found = read(claim, json.dumps([large, *EXPORT]).encode())
    assert found == [Skipped("renamed.bin#1", "larger than any conversation"), *ITEMS]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"chat_messages": []}', b'[{"uuid": "u", "full_name": "A", "email_address": "a@b.c"}]',
     b'[{"uuid": "p", "name": "project", "docs": [{"content": "\\"chat_messages\\": []"}]}]', b"\0", b"text"],
)  # fmt: skip
def test_other_files_are_left_alone(content: bytes) -> None:
    assert until_fault(claim, content) == []


def test_wrong_encodings_say_what_to_do() -> None:
    text = json.dumps([conversation(message("human", "Grüße"))], ensure_ascii=False)
    for encoded in (text.encode("utf-16"), text.encode("latin-1")):
        assert "not UTF-8" in fault(claim, encoded)
    assert "broken JSON" in fault(claim, text.encode().replace(b"Gr", b"G\0"))


def test_cut_files_give_what_was_whole() -> None:
    content = json.dumps(EXPORT, ensure_ascii=False).encode()
    for cut in cuts(content):
        found = until_fault(claim, cut)
        assert found == ITEMS[: len(found)]
    assert "cut off after" in fault(claim, content[:-1])


def test_changed_bytes_give_our_error_or_items() -> None:
    for changed in flips(json.dumps(EXPORT, ensure_ascii=False).encode()):
        until_fault(claim, changed)


def test_depth_is_bounded() -> None:
    for bomb in depth_bombs(b'[{"chat_messages": [{"a": '):
        assert "nested deeper" in fault(claim, bomb)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("uuid", "text", "content", "type", "attachments", "files", "extracted_content", "file_name", "created_at")
ENTRY = st.dictionaries(
    st.sampled_from(FIELDS), JSON | st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON), max_size=2)
)


@given(st.lists(ENTRY, max_size=4), st.sampled_from(["human", "assistant"]))
def test_whatever_the_fields_hold_reading_goes_on(messages: list[dict[str, Any]], sender: str) -> None:
    odd = conversation(*({**fields, "sender": sender} for fields in messages))
    found = read(claim, json.dumps([odd, *EXPORT]).encode())
    assert found[-4:] == ITEMS
