"""Plain-text import: what is a memory, what is structure, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from personal_data.importers.text import parts, read
from personal_data.memory import MAX_CHARS

NOTES = """---
title: notes
---
# About me

- My cat is called Miro.
* My sister lives in Oslo.
2) The code of my door is 4711.
***
1990. I was born in Kyiv.
> somebody else said this
```
code = 1
```

I work as a baker.
"""


def test_lines_and_list_items_become_memories() -> None:
    found = read("ada.md", NOTES.encode(), speaker="Ada", scope="society:moot")
    assert [memory.text for memory in found] == [
        "My cat is called Miro.",
        "My sister lives in Oslo.",
        "The code of my door is 4711.",
        "1990. I was born in Kyiv.",
        "I work as a baker.",
    ]
    assert {(memory.speaker, memory.scope, memory.sources) for memory in found} == {
        ("Ada", "society:moot", ("file:ada.md",))
    }


def test_nobody_wished_for_a_scope() -> None:
    assert {memory.scope for memory in read("ada.md", NOTES.encode(), speaker="Ada")} == {None}


def test_a_fence_that_is_never_closed_is_text() -> None:
    text = "```\ncode = 1\n```\nMy cat is called Miro.\n```\nMy boat is green.\n"
    found = [memory.text for memory in read("ada.md", text.encode(), speaker="Ada")]
    assert found == ["My cat is called Miro.", "My boat is green."]


def test_a_line_that_is_too_long_becomes_several_memories() -> None:
    found = read("ada.txt", ("I like gardens. " * 1000).encode(), speaker="Ada")
    assert len(found) == 2 and all(len(memory.text) <= MAX_CHARS for memory in found)
    assert " ".join(memory.text for memory in found) == ("I like gardens. " * 1000).strip()


LINES = st.sampled_from(
    ["---", "***", "```", "# head", "> quote", "- - x", "- ```", "- # x", "2) two", "", "a\u2028b", "My cat is Miro."]
)


@given(st.lists(LINES, max_size=40), st.integers(1, 5))
def test_parts_say_what_the_whole_says(lines: list[str], limit: int) -> None:
    content = "\n".join([*lines, "The end."]).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("personal_data.importers.text._PART_LINES", limit)
        cut = parts("ada.md", content)
    assert all(len(part.split("\n")) <= limit for part in cut)
    again = [memory for part in cut for memory in read("ada.md", part.encode(), speaker="Ada")]
    assert again == read("ada.md", content, speaker="Ada")


def test_a_byte_order_mark_is_not_part_of_the_text() -> None:
    assert read("a.txt", "\ufeffMy cat is called Miro.".encode(), speaker="Ada")[0].text == "My cat is called Miro."


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no lines"), (b"\xff\xfe\x00a", "UTF-8"), (b"abc\x00def", "not a text file"), (b"# only\n\n", "no lines")],
)
def test_unusable_files_are_named_with_the_reason(content: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        read("notes.bin", content, speaker="Ada")
    assert "notes.bin" in str(caught.value)
