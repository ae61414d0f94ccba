"""Slack exports: channels by name, people by name, markup, threads, machinery, and files that are broken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from personal_data.importers import slack
from personal_data.importers.parsed import Item, Options, Skipped, Unit
from personal_data.importers.source import File
from tests.personal_data.exported import cuts, file_of, flips

USERS = [
    {"id": "U1", "name": "ana", "profile": {"real_name": "Ana Silva", "display_name": "ana"}},
    {"id": "U2", "name": "ben", "real_name": "", "profile": {"real_name": " "}},
]


def message(user: str, text: Any, ts: str = "1683988680.000200", **fields: Any) -> dict[str, Any]:
    return {"type": "message", "user": user, "text": text, "ts": ts, **fields}


DAY = [
    message("U1", "Hi <@U2>, see <https://a.org/x|the page> &amp; <#C2|random> <!here> <mailto:a@b.c|a@b.c>"),
    message("U2", "Yes!", "1683988690.000100", thread_ts="1683988680.000200"),
    message("U9", "Who am I?", user_profile={"real_name": "Cara"}),
    message("U1", "", files=[{"id": "F1"}]),
    message("U1", "joined", subtype="channel_join"),
    message("B1", "build failed", bot_id="B1"),
    message("U2", "<@U7> said <unclosed", "1683988700.5"),
    {"type": "message", "subtype": "bot_message", "text": "beep", "ts": "1"},
]


def export(**days: Any) -> list[File]:
    content = {
        "users.json": USERS,
        "channels.json": [{"id": "C1", "name": "general", "members": ["U1"]}],
        "dms.json": [{"id": "D1", "members": ["U1", "U2"]}],
        **{f"{folder}/2023-05-13.json": day for folder, day in days.items()},
    }
    return [file_of(json.dumps(value).encode(), f"workspace/{name}") for name, value in content.items()]


def texts(unit: Unit) -> list[tuple[str, str]]:
    return [(entry.speaker, entry.text) for entry in unit.read() if isinstance(entry, Item)]


def test_a_channel_is_read_day_by_day() -> None:
    files = [
        *export(general=DAY),
        file_of(json.dumps([message("U2", "Later.")]).encode(), "workspace/general/2023-05-14.json"),
    ]
    [unit] = slack.claim(files, Options())
    assert (unit.name, unit.format) == ("general", "slack")
    assert {*unit.files} == {file.name for file in files}
    found = list(unit.read())
    assert texts(unit) == [
        ("Ana Silva", "Hi @ben, see the page & #random @here a@b.c"),
        ("ben", "Yes!"),
        ("Cara", "Who am I?"),
        ("ben", "@U7 said <unclosed"),
        ("ben", "Later."),
    ]
    first, second = [entry for entry in found if isinstance(entry, Item)][:2]
    assert (first.at, first.thread, first.own) == (1683988680.0002, "general", None)
    assert second.thread == "general/1683988680.000200"
    reasons = [entry.reason for entry in found if isinstance(entry, Skipped)]
    assert len(reasons) == 4 and reasons[0].startswith("no words")


def test_direct_messages_are_named_by_who_is_in_them() -> None:
    general, direct = sorted(
        slack.claim(export(D1=[message("U1", "Psst.")], general=DAY), Options()), key=lambda u: u.name
    )
    assert (general.name, direct.name) == ("Ana Silva, ben", "general")


def test_without_lists_ids_stand_for_names() -> None:
    [unit] = slack.claim([file_of(json.dumps(DAY[:1]).encode(), "x/general/1.json")], Options())
    assert texts(unit)[0][0] == "U1"
    files = [file_of(b"{broken", "users.json"), file_of(json.dumps(DAY[:1]).encode(), "general/1.json")]
    assert texts(slack.claim(files, Options())[0])[0][0] == "U1"


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'[{"type": "message"}]', b'[{"ts": "1"}]', b'{"messages": [{"type": "a", "ts": 1}]}'],
)
def test_other_files_are_left_alone(content: bytes) -> None:
    assert slack.claim([file_of(content, "general/2023-05-13.json")], Options()) == []
    assert slack.claim([file_of(json.dumps(DAY).encode(), "2023-05-13.json")], Options()) == []


def damaged(content: bytes) -> None:
    for unit in slack.claim([file_of(content, "general/2023-05-13.json")], Options()):
        try:
            for entry in unit.read():
                if isinstance(entry, Item):
                    assert entry.text.strip()
                    entry.text.encode()
        except InvalidInput as error:
            assert "\n" not in str(error)


def test_damaged_days_give_our_error_or_items() -> None:
    content = json.dumps(DAY).encode()
    for changed in cuts(content) + flips(content):
        damaged(changed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["type", "user", "text", "ts", "subtype", "thread_ts", "user_profile"]), JSON)
    )
)
def test_whatever_the_fields_hold_reading_goes_on(messages: list[dict[str, Any]]) -> None:
    content = json.dumps([message("U1", "first"), *messages, message("U1", "last")]).encode()
    [unit] = slack.claim([file_of(content, "general/1.json")], Options())
    found = texts(unit)
    assert (found[0][1], found[-1][1]) == ("first", "last")
