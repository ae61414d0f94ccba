"""Plain-text import: what is a memory, what is structure, and what is refused."""

from __future__ import annotations

import pytest

from personal_data.errors import InvalidInput
from personal_data.importers.text import read

NOTES = """---
title: notes
---
# About me

- My cat is called Miro.
* My sister lives in Oslo.
2) The code of my door is 4711.
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
        "I work as a baker.",
    ]
    assert {(memory.speaker, memory.scope, memory.sources) for memory in found} == {
        ("Ada", "society:moot", ("file:ada.md",))
    }


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
