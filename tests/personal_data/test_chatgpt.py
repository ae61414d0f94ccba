"""ChatGPT exports: the path that was shown, what is said on it, and files that are broken or not ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.importers import jsonstream
from personal_data.importers.chatgpt import claim
from personal_data.importers.parsed import Item, Skipped
from tests.personal_data.exported import cuts, depth_bombs, fault, flips, read, until_fault


def message(role: str, *parts: Any, kind: str = "text", at: Any = 1.5, **fields: Any) -> dict[str, Any]:
    """A message as the export writes it."""
    content: dict[str, Any] = {"content_type": kind, "parts": list(parts)}
    return {"author": {"role": role}, "create_time": at, "content": content, **fields}


def chain(*messages: dict[str, Any] | None, **fields: Any) -> dict[str, Any]:
    """A conversation of messages n0, n1, … that follow one another."""
    mapping = {
        f"n{place}": {
            "id": f"n{place}",
            "parent": f"n{place - 1}" if place else None,
            "children": [f"n{place + 1}"] if place + 1 < len(messages) else [],
            "message": said,
        }
        for place, said in enumerate(messages)
    }
    return {"title": None, "create_time": None, "id": "c1", "mapping": mapping, **fields}


def texts(*conversations: Any) -> list[tuple[str, str]]:
    """Who says what, of an export that leaves nothing out."""
    found = read(claim, json.dumps(conversations).encode())
    return [(entry.speaker, entry.text) for entry in found if isinstance(entry, Item)]


def reasons(*conversations: Any) -> list[str]:
    found = read(claim, json.dumps([*conversations, chain(message("user", "the last"))]).encode())
    assert isinstance(found.pop(), Item)
    assert all(isinstance(entry, Skipped) for entry in found)
    return [entry.reason for entry in found if isinstance(entry, Skipped)]


EXPORT = [
    chain(
        None,
        message("system", "", at=None, metadata={"is_visually_hidden_from_conversation": True}),
        message("user", "My cat is called Miro.", at=1_700_000_000.25),
        message("assistant", "A fine", "name. \ue200cite\ue202turn0search1\ue201", at=1_700_000_001, recipient="all"),
        message("user", "How old is a dog at 4? \U0001f408 日本", at=None),
        message("assistant", "Grown up【4†source】.", at=1_700_000_003),
        current_node="n5",
        conversation_id="c0",
    ),
    chain(message("user", "Secret."), id="c2", is_do_not_remember=True),
    chain(message("user", "Hello again.", at=-5), id="c3", current_node="n0"),
]
ITEMS = [
    Item("My cat is called Miro.", "user", True, 1_700_000_000.25, "renamed.bin#c0/n2", "c0"),
    Item("A fine\nname.", "ChatGPT", False, 1_700_000_001.0, "renamed.bin#c0/n3", "c0"),
    Item("How old is a dog at 4? \U0001f408 日本", "user", True, None, "renamed.bin#c0/n4", "c0"),
    Item("Grown up.", "ChatGPT", False, 1_700_000_003.0, "renamed.bin#c0/n5", "c0"),
    Skipped("renamed.bin#c2", "marked as not to be remembered"),
    Item("Hello again.", "user", True, None, "renamed.bin#c3/n0", "c3"),
]


def test_an_export_is_read_whole() -> None:
    assert read(claim, json.dumps(EXPORT).encode()) == ITEMS
    assert read(claim, json.dumps(EXPORT, ensure_ascii=False, indent=2).encode("utf-8-sig")) == ITEMS
    assert read(claim, json.dumps({"version": [{"mapping": 1}], "conversations": EXPORT}).encode()) == ITEMS


def test_split_files_are_units_of_their_own() -> None:
    for name, conversation in (("conversations-000.json", EXPORT[0]), ("deep/conversations-001.json", EXPORT[2])):
        found = read(claim, json.dumps([conversation]).encode(), name)
        assert all(entry.source.startswith(f"{name}#") for entry in found)


def test_branches_that_are_not_shown_are_left_out() -> None:
    conversation = chain(message("user", "Edited."), message("assistant", "New."), current_node="n1")
    conversation["mapping"]["old"] = {"parent": "n0", "children": [], "message": message("assistant", "Old.", at=9)}
    conversation["mapping"]["tool"] = {"parent": "n0", "children": [], "message": message("tool", "ran")}
    found = read(claim, json.dumps([conversation]).encode())
    assert [entry.text for entry in found if isinstance(entry, Item)] == ["Edited.", "New."]
    assert found[2:] == [Skipped("renamed.bin#c1", "edited or answered anew, no longer shown: 1")]


@pytest.mark.parametrize("current", [None, "nowhere", 7, ["n0"], {}])
def test_without_a_current_message_the_newest_end_is_shown(current: Any) -> None:
    conversation = chain(message("user", "Hi.", at=1), message("assistant", "Newest.", at=5), current_node=current)
    conversation["mapping"]["old"] = {"parent": "n0", "message": message("assistant", "Older.", at=2)}
    assert texts(conversation) == [("user", "Hi."), ("ChatGPT", "Newest.")]


def test_links_that_lead_in_circles_or_nowhere_end_the_path() -> None:
    circle = chain(message("user", "One."), message("assistant", "Two."), current_node="n1")
    circle["mapping"]["n0"]["parent"] = "n1"
    assert texts(circle) == [("user", "One."), ("ChatGPT", "Two.")]
    circle["current_node"] = None
    assert len(texts(circle)) == 2
    for parent in ("gone", 3, ["n0"], {"a": 1}, "n1"):
        broken = chain(message("user", "One."), message("assistant", "Two."), current_node="n1")
        broken["mapping"]["n1"]["parent"] = parent
        assert texts(broken) == [("ChatGPT", "Two.")]


def test_long_conversations_are_no_depth() -> None:
    said = [message("user", f"Line {number}.") for number in range(5000)]
    assert len(texts(chain(*said, current_node="n4999"))) == 5000


def test_what_was_spoken_is_kept_and_images_are_not() -> None:
    heard = {"content_type": "audio_transcription", "text": "Spoken.", "direction": "in"}
    image = {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_1"}
    older = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-2"}
    conversation = chain(
        message("user", image, "Look.", older, kind="multimodal_text"),
        message("user", heard, {"content_type": "audio_asset_pointer"}, kind="multimodal_text"),
        message("user", image, None, 5, kind="multimodal_text"),
        message("assistant", ""),
    )
    found = read(claim, json.dumps([conversation]).encode())
    assert [entry.text for entry in found if isinstance(entry, Item)] == ["Look.", "Spoken."]
    assert found[2:] == [Skipped("renamed.bin#c1/n2", "an image or a file without words")]


@pytest.mark.parametrize(
    "kind",
    ["code", "execution_output", "thoughts", "reasoning_recap", "tether_quote", "tether_browsing_display",
     "sonic_webpage", "system_error", "user_editable_context", "something_new"],
)  # fmt: skip
def test_machinery_is_left_out(kind: str) -> None:
    said = {"author": {"role": "assistant"}, "content": {"content_type": kind, "text": "print(1)"}}
    assert reasons(chain(said)) == [f"machinery ({kind})"]


def test_tools_and_hidden_messages_are_left_out() -> None:
    hidden = {"is_visually_hidden_from_conversation": True}
    assert reasons(
        chain(
            message("system", "You are a model."),
            message("tool", "result"),
            message("user", "About me", metadata=hidden),
            message("assistant", '{"name": "poem"}', recipient="canmore.create_textdoc"),
        )
    ) == [
        "written by the system or a tool",
        "written by the system or a tool",
        "hidden from the conversation",
        "written to a tool",
    ]


@pytest.mark.parametrize("at", [None, -1, 1e12, 2**62, "soon", True, [], "nan", "inf"])
def test_absurd_times_are_none(at: Any) -> None:
    [item] = read(claim, json.dumps([chain(message("user", "Hi.", at=at))]).encode())
    assert isinstance(item, Item)
    assert item.at is None


def test_broken_entries_are_left_out_and_reading_goes_on() -> None:
    node = chain(message("user", "x"))
    node["mapping"]["n0"]["message"] = "text"
    entry = chain(message("user", "x"))
    entry["mapping"]["n0"] = 7
    assert reasons(None, 3, "text", [], {}, {"mapping": []}, node, entry, {"mapping": {}}) == [
        *["not a conversation"] * 4,
        *["a conversation without messages"] * 2,
        *["a broken message"] * 2,
    ]
    nothing = {"author": None, "content": None, "metadata": []}
    assert reasons(chain(nothing, {"author": {"role": "user"}, "content": {"parts": {}, "text": 4}})) == []


def test_a_conversation_that_memory_cannot_hold_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonstream, "MAX_VALUE_BYTES", 20_000)
    large = chain(*(message("user", "x" * 200) for _ in range(200)))
    assert reasons(large, large) == ["larger than any conversation"] * 2


def test_one_text_that_memory_cannot_hold_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonstream, "MAX_TOKEN_BYTES", 200_000)
    content = json.dumps([EXPORT[0], chain(message("user", "x" * 400_000))]).encode()
    assert "longer than any" in fault(claim, content)
    assert until_fault(claim, content) == ITEMS[:4]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"null", b"[1, 2]", b"text", b'{"mapping": {}}', b'[{"title": "\\"mapping\\": {}"}]',
     b'[{"id": "1", "conversation_id": "2", "title": "shared", "is_anonymous": true}]', b"\0\0\0", b"\xff\xfe"],
)  # fmt: skip
def test_other_files_are_left_alone(content: bytes) -> None:
    assert until_fault(claim, content) == []


def test_wrong_encodings_say_what_to_do() -> None:
    text = json.dumps([chain(message("user", "Grüße"))], ensure_ascii=False)
    for encoded in (text.encode("utf-16"), text.encode("latin-1")):
        assert fault(claim, encoded) == "renamed.bin: not UTF-8; use the file as it was exported, or save it as UTF-8"
    assert "broken JSON" in fault(claim, text.encode().replace(b"Gr", b"G\0"))
    assert texts(chain(message("user", "a\0b"))) == [("user", "ab")]
    assert texts(chain(message("user", "\ud83d!"))) == [("user", "?!")]


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
    for bomb in depth_bombs(b'[{"mapping": {"a": '):
        assert "nested deeper" in fault(claim, bomb)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("author", "role", "content", "content_type", "parts", "text", "metadata", "parent", "message", "create_time")
NODE = st.dictionaries(st.sampled_from(FIELDS), JSON | st.dictionaries(st.sampled_from(FIELDS), JSON), max_size=6)
CONTENT = st.fixed_dictionaries({"content_type": JSON, "parts": JSON, "text": JSON})
SAID = st.fixed_dictionaries(
    {"message": st.fixed_dictionaries({"author": st.just({"role": "user"}), "content": CONTENT, "recipient": JSON})}
)


@given(st.dictionaries(st.sampled_from("abcd"), SAID | NODE | JSON), JSON, JSON)
def test_whatever_the_fields_hold_reading_goes_on(mapping: Any, current: Any, thread: Any) -> None:
    conversation = {"mapping": mapping, "current_node": current, "conversation_id": thread}
    found = read(claim, json.dumps([conversation, EXPORT[2]]).encode())
    assert found[-1] == ITEMS[-1]


@given(st.lists(st.integers(-1, 9), min_size=1, max_size=10), st.integers(0, 12))
def test_any_links_give_each_message_once(parents: list[int], current: int) -> None:
    conversation = chain(*(message("user", f"text {number}") for number in range(len(parents))))
    for number, parent in enumerate(parents):
        conversation["mapping"][f"n{number}"]["parent"] = f"n{parent}" if parent >= 0 else None
    conversation["current_node"] = f"n{current}"
    found = texts(conversation)
    assert 1 <= len(found) == len(set(found)) <= len(parents)


def test_hostile_texts_and_names_are_read_in_one_go() -> None:
    """Half a citation many times over, and a long name above many values."""
    half = "\u30101\u2020" * 100_000 + "\ue200" * 100_000
    assert texts(chain(message("user", half))) == [("user", half)]
    named = json.dumps([{"x" * 1_000_000: [0] * 100_000}, EXPORT[2]]).encode()
    assert until_fault(claim, json.dumps([EXPORT[0]]).encode()[:-1] + b"," + named[1:])[-1] == ITEMS[-1]
