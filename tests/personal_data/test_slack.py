"""Slack exports: channels of days, names and markup, what nobody said, and files that are broken or not ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.importers import jsonstream
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.slack import claim
from tests.personal_data.exported import cuts, depth_bombs, fault, file_of, flips, read, until_fault

AT = 1_709_294_400.0
NOTICE = "a notice of Slack (who joined, topics, pins)"
WORDLESS = "no words in it (files, an app's cards)"
PEOPLE = [
    {"id": "U1", "team_id": "T1", "name": "ana", "real_name": "Ana Alba",
     "profile": {"real_name": "Ana Alba", "display_name": "ana"}, "is_bot": False},
    {"id": "U2", "team_id": "T1", "name": "bo", "profile": {"real_name": "", "display_name": "Bo"}},
    {"id": "U3", "team_id": "T1", "name": "poll", "profile": {"real_name": "Poll"}, "is_bot": True},
]  # fmt: skip
CHANNELS = [{"id": "C1", "name": "general", "created": 1, "creator": "U1", "members": ["U1", "U2"]},
            {"id": "C2", "name": "boats", "created": 1, "members": []}]  # fmt: skip


def message(number: int, text: Any, user: Any = "U1", **fields: Any) -> dict[str, Any]:
    """A message as the export writes it, so many seconds after AT."""
    return {"type": "message", "user": user, "text": text, "ts": f"{int(AT) + number}.000100", **fields}


MESSAGES = [
    message(0, "<@U1> has joined the channel", subtype="channel_join"),
    message(1, "My cat is called Miro. 🐈", client_msg_id="x", edited={"user": "U1", "ts": "1.0"}),
    message(2, "Is it?", "U2", thread_ts="1709294402.000100", reply_count=1),
    message(3, "It is.", thread_ts="1709294402.000100", parent_user_id="U2"),
    message(4, "Build 7 failed", None, subtype="bot_message", bot_id="B1", username="ci"),
    message(5, "Vote!", "U3"),
    message(6, "", files=[{"id": "F1", "name": "cat.jpg"}]),
    message(7, "Look at her", files=[{"id": "F1", "name": "cat.jpg"}], upload=True),
    message(8, "This message was deleted.", "USLACKBOT", subtype="tombstone"),
    message(9, "gone sailing", "U9", subtype="me_message", user_profile={"real_name": "Cy", "name": "cy"}),
    message(10, "Also for everybody.", "U8", subtype="thread_broadcast", thread_ts="1709294402.000100"),
]


def whole(name: str, thread: str, ana: str, bo: str) -> list[Item | Skipped]:
    """What is read of MESSAGES."""

    def item(text: str, speaker: str, number: int, in_thread: bool = False) -> Item:
        told = f"{thread}/1709294402.000100" if in_thread else thread
        return Item(text, speaker, None, AT + number + 0.0001, f"{name}#{number + 1}", told)

    poll = Skipped(f"{name}#6", "written by a bot") if ana != "U1" else item("Vote!", "U3", 5)
    return [
        Skipped(f"{name}#1", NOTICE),
        item("My cat is called Miro. 🐈", ana, 1),
        item("Is it?", bo, 2, in_thread=True),
        item("It is.", ana, 3, in_thread=True),
        Skipped(f"{name}#5", "written by a bot"),
        poll,
        Skipped(f"{name}#7", WORDLESS),
        item("Look at her", ana, 7),
        Skipped(f"{name}#9", "written by a bot"),
        item("gone sailing", "Cy", 9),
        item("Also for everybody.", "U8", 10, in_thread=True),
    ]


WHOLE = whole("renamed.bin", "renamed.bin", "U1", "U2")


def units(members: dict[str, Any]) -> list[Unit]:
    """The channels of an export with these files."""
    return claim([file_of(json.dumps(content).encode(), name) for name, content in members.items()], Options())


def said(*messages: dict[str, Any]) -> list[str]:
    """The texts of one day, with all names known."""
    [unit] = units({"users.json": PEOPLE, "channels.json": CHANNELS, "general/2024-03-01.json": messages})
    return [entry.text for entry in unit.read() if isinstance(entry, Item)]


def test_one_day_alone_is_read() -> None:
    assert read(claim, json.dumps(MESSAGES).encode()) == WHOLE
    assert read(claim, json.dumps(MESSAGES, ensure_ascii=False, indent=1).encode("utf-8-sig")) == WHOLE


def test_an_export_gives_a_unit_for_each_channel_with_its_days_in_order() -> None:
    found = units(
        {
            "x/channels.json": CHANNELS,
            "x/dms.json": [{"id": "D1", "created": 1, "members": ["U1", "U2"]}],
            "x/mpims.json": [
                {"id": "G1", "name": "mpdm-ana--bo--cy-1", "created": 1, "members": ["U1", "U2", "U7"]},
                {"id": "G2", "name": "mpdm-nobody-1", "created": 1, "members": []},
            ],
            "x/people-renamed.json": PEOPLE,
            "x/integration_logs.json": [{"user_id": "U1", "date": "1"}],
            "x/general/b.json": MESSAGES,
            "x/general/c.json": [message(-86_400, "Yesterday.")],
            "x/general/a.json": [message(86_400, "Tomorrow.")],
            "x/D1/2024-03-01.json": [message(0, "Only for you.")],
            "x/mpdm-ana--bo--cy-1/2024-03-01.json": [message(0, "For both of you.")],
            "x/mpdm-nobody-1/2024-03-01.json": [message(0, "For nobody.")],
            "x/C2/2024-03-01.json": [message(0, "Ahoy.", "U5", user_profile={"display_name": "Eva"})],
        }
    )
    lists = ("x/channels.json", "x/dms.json", "x/mpims.json", "x/people-renamed.json")
    assert [(unit.name, unit.files) for unit in found] == [
        ("general", ("x/general/c.json", "x/general/b.json", "x/general/a.json", *lists)),
        ("Ana Alba, Bo", ("x/D1/2024-03-01.json", *lists)),
        ("Ana Alba, Bo, U7", ("x/mpdm-ana--bo--cy-1/2024-03-01.json", *lists)),
        ("mpdm-nobody-1", ("x/mpdm-nobody-1/2024-03-01.json", *lists)),
        ("boats", ("x/C2/2024-03-01.json", *lists)),
    ]
    assert {unit.format for unit in found} == {"slack"}
    assert list(found[0].read()) == [
        Item("Yesterday.", "Ana Alba", None, AT - 86_400 + 0.0001, "x/general/c.json#1", "x/general"),
        *whole("x/general/b.json", "x/general", "Ana Alba", "Bo"),
        Item("Tomorrow.", "Ana Alba", None, AT + 86_400 + 0.0001, "x/general/a.json#1", "x/general"),
    ]
    assert list(found[4].read()) == [Item("Ahoy.", "Eva", None, AT + 0.0001, "x/C2/2024-03-01.json#1", "x/C2")]


def test_without_its_lists_an_export_goes_by_folders_and_ids() -> None:
    first, second = units({"general/1.json": MESSAGES, "D1/1.json": [message(0, "Hi.")], "empty/1.json": []})
    assert (first.name, second.name) == ("general", "D1")
    assert list(first.read()) == whole("general/1.json", "general", "U1", "U2")
    [loose] = units({"2.json": [message(1, "Two.")], "1.json": [message(0, "One.")]})
    assert (loose.name, loose.files) == ("1.json and 1 more", ("1.json", "2.json"))
    assert [entry.text for entry in loose.read() if isinstance(entry, Item)] == ["One.", "Two."]


def test_lists_alone_are_no_export() -> None:
    assert units({"users.json": PEOPLE, "channels.json": CHANNELS}) == []


def test_a_broken_list_is_told_and_read_as_far_as_it_goes() -> None:
    cut = json.dumps(PEOPLE).encode()[:-60]
    day = file_of(json.dumps(MESSAGES[1:3]).encode(), "a/1.json")
    [unit] = claim([file_of(cut, "users.json"), day], Options())
    told, first, second = unit.read()
    assert isinstance(told, Skipped) and isinstance(first, Item) and isinstance(second, Item)
    assert told.reason.startswith("names are missing: users.json: cut off after")
    assert (first.speaker, second.speaker) == ("Ana Alba", "Bo")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<@U1> and <@U2|bo> and <@U9|cy> and <@U10>", "@Ana Alba and @Bo and @cy and @U10"),
        ("<#C1|general> <#C1> <#C2|> <#C9>", "#general #general #boats #C9"),
        ("<!here> <!channel> <!subteam^S1|@crew> <!date^1^{date}|1 May>", "@here @channel @crew 1 May"),
        ("<https://a.example/?a=1&amp;b=2> <https://a.example|the page>", "https://a.example/?a=1&b=2 the page"),
        ("<mailto:a@a.example|a@a.example> <mailto:b@a.example>", "a@a.example b@a.example"),
        ("1 &lt; 2 &amp;&amp; 3 &gt; 2, &amp;lt; &quot;", "1 < 2 && 3 > 2, &lt; &quot;"),
        ("a < b\n> c <\nd>", "a < b\n> c <\nd>"),
        ("<@U1|ana> uploaded a file: <https://x|cat.jpg> and commented: Mine!", "Mine!"),
        ("&lt;@U1&gt; *bold* :smile:", "<@U1> *bold* :smile:"),
    ],
)
def test_markup_becomes_words(text: str, plain: str) -> None:
    assert said(message(0, text)) == [plain]


def test_notices_and_cards_are_left_out() -> None:
    notices = [
        message(0, "set the topic", subtype=kind) for kind in ("channel_topic", "pinned_item", "message_changed")
    ]
    hidden = message(0, "x", hidden=True)
    upload = message(0, "<@U1> uploaded a file: <https://x|cat.jpg>", subtype="file_share")
    found = read(claim, json.dumps([*notices, hidden, upload, message(0, None), message(0, " ")]).encode())
    assert [entry.reason for entry in found if isinstance(entry, Skipped)] == [NOTICE] * 4 + [WORDLESS] * 3


def test_tombstones_and_strangers() -> None:
    gone, nobody = message(0, "Gone.", subtype="tombstone"), message(1, "Whose?", None)
    found = read(claim, json.dumps([gone, nobody]).encode())
    assert found[0] == Skipped("renamed.bin#1", "deleted")
    assert isinstance(found[1], Item) and found[1].speaker == "unknown person"


@pytest.mark.parametrize("ts", [None, "-5", "1e30", "nan", "soon", [], True])
def test_absurd_times_are_none(ts: Any) -> None:
    [item] = read(claim, json.dumps([message(0, "Hi.") | {"ts": ts}]).encode())
    assert isinstance(item, Item) and item.at is None


def test_broken_entries_are_left_out_and_reading_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(claim, json.dumps([message(0, "First."), None, 5, [], "x", {}, message(1, "Last.")]).encode())
    assert [entry.reason for entry in found if isinstance(entry, Skipped)] == ["a broken message"] * 4 + [NOTICE]
    assert isinstance(found[-1], Item)
    monkeypatch.setattr(jsonstream, "MAX_VALUE_BYTES", 20_000)
    found = read(claim, json.dumps([message(0, "First."), message(1, "x" * 40_000), message(2, "Last.")]).encode())
    assert found[1] == Skipped("renamed.bin#2", "larger than any message")
    assert isinstance(found[2], Item) and found[2].text == "Last."


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\0", b"text", b'[{"type": "login", "ts": "1"}]', b'[{"type": "message"}]',
     b'{"messages": [{"type": "message", "ts": "1"}]}', b'[{"item": {"type": "message", "ts": "1"}}]',
     b'[{"ts": "1", "ty', b'[{"type": "a", "text": "b", "ts": "1"}]', b'[{"type": "message", "text": "b"}]',
     '[{"type": "a", "text": "b"}]'.encode("utf-16")],
)  # fmt: skip
def test_other_files_are_left_alone(content: bytes) -> None:
    assert until_fault(claim, content) == []


def test_a_first_message_may_be_as_long_as_any() -> None:
    long = {"type": "message", "text": "I sail. " * 10_000, "user": "U1", "ts": "1709294400.000100"}
    [item] = read(claim, json.dumps([long]).encode())
    assert isinstance(item, Item) and item.at == AT + 0.0001


def test_wrong_encodings_say_what_to_do() -> None:
    text = json.dumps([message(0, "Grüße")], ensure_ascii=False)
    assert "not UTF-8" in fault(claim, text.encode("utf-16"))
    assert "not UTF-8" in fault(claim, text.encode("latin-1"))


def test_cut_files_give_what_was_whole() -> None:
    content = json.dumps(MESSAGES, ensure_ascii=False).encode()
    for cut in cuts(content):
        found = until_fault(claim, cut)
        assert found == WHOLE[: len(found)]
    assert "cut off after" in fault(claim, content[:-1])


def test_changed_bytes_give_our_error_or_items() -> None:
    for changed in flips(json.dumps(MESSAGES, ensure_ascii=False).encode()):
        until_fault(claim, changed)


def test_depth_is_bounded() -> None:
    for bomb in depth_bombs(b'[{"type": "message", "ts": "1", "text": '):
        assert "nested deeper" in fault(claim, bomb)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "id"]), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("type", "ts", "user", "text", "subtype", "thread_ts", "bot_id", "user_profile", "hidden", "files")
LISTED = ("id", "name", "profile", "members", "created", "is_bot", "real_name")


@given(
    st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, max_size=4),
    st.lists(st.dictionaries(st.sampled_from(LISTED), JSON) | JSON, max_size=4),
)
def test_whatever_the_fields_hold_reading_goes_on(messages: list[Any], listed: list[Any]) -> None:
    day = [message(0, "First."), *messages, message(1, "Still here.")]
    [unit] = units({"users.json": [*PEOPLE, *listed], "channels.json": [*CHANNELS, *listed], "general/1.json": day})
    found = list(unit.read())
    assert len(found) == len(day)
    assert isinstance(found[-1], Item) and found[-1].text == "Still here."
