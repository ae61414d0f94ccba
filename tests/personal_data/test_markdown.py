"""Markdown notes and plain text: what is an item, whose words it is, what is left out, and files that are broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal_data.errors import InvalidInput
from personal_data.importers import markdown, plaintext
from personal_data.importers.parsed import Item, Options, Skipped
from tests.personal_data.exported import cuts, depth_bombs, file_of, flips, read, until_fault

NOTE = """---
title: My notes
tags: [garden, bread]
date: 2024-05-01
---
# Ada's own notes

- My cat is called **Miro**.
- [ ] My sister lives in [[Oslo|the capital]].
  She is a nurse.

## Bread ##

Mix the [flour](https://example.org/flour "fine") with water.
Wait. ^step1

### Shopping

- flour
- salt, a little
![[photo.png]]

> To be or not to be.
> That is the question.

> [!note]- Mine
> The oven is too hot.

```python
secret = 1
```

%%not for you%% <!-- nor for you -->

---
# Other

The end.
"""
DAY = 1_714_521_600.0


def said(content: str, name: str = "notes.md") -> list[tuple[str, bool | None]]:
    return [
        (entry.text, entry.own) for entry in read(markdown.claim, content.encode(), name) if isinstance(entry, Item)
    ]


def test_a_note_is_read_block_by_block() -> None:
    found = read(markdown.claim, NOTE.encode(), "vault/notes.md")
    items = [entry for entry in found if isinstance(entry, Item)]
    assert [(entry.text, entry.own) for entry in items] == [
        ("title: My notes; tags: garden, bread", True),
        ("My cat is called **Miro**.", True),
        ("My sister lives in the capital.\nShe is a nurse.", True),
        ("Bread: Mix the flour with water.\nWait.", True),
        ("Bread > Shopping: flour, salt, a little", True),
        ("Bread > Shopping: To be or not to be.\nThat is the question.", False),
        ("Bread > Shopping: Mine\nThe oven is too hot.", True),
        ("The end.", True),
    ]
    assert {(entry.at, entry.thread, entry.kind, entry.speaker) for entry in items} == {
        (DAY, "vault/notes.md", "document", "")
    }
    assert items[1].source == "vault/notes.md#L8"
    assert [(entry.source, entry.reason) for entry in found if isinstance(entry, Skipped)] == [
        ("vault/notes.md#L29", "code")
    ]


def test_a_day_in_the_name_dates_a_note() -> None:
    [found] = read(markdown.claim, b"We sailed.", "daily/2024-05-01 Riga.md", Options(timezone="UTC"))
    assert isinstance(found, Item) and found.at == DAY
    [found] = read(markdown.claim, b"We sailed.", "daily/2024-13-01.md")
    assert isinstance(found, Item) and found.at is None


@pytest.mark.parametrize(
    "front",
    ["---\n[broken: yaml\n---\n", "---\nno end\n", "---\n- a list\n---\n", "---\ndate: 2024-13-45\n---\n",
     "---\na: &a [1]\nb: *nobody\n---\n"],
)  # fmt: skip
def test_front_matter_that_is_none_loses_nothing(front: str) -> None:
    assert ("My cat is called Miro.", True) in said(front + "\nMy cat is called Miro.\n")


def test_tags_alone_are_no_memory() -> None:
    assert said("---\ntags: [boat]\n---\nWe sailed.\n") == [("We sailed.", True)]


@pytest.mark.parametrize(
    "front",
    ["a: !!bool b", "a: !!timestamp b", "a: !!int ''", "a: !!float b", f"title: 0x{'f' * 5000}",
     f"date: 0x{'f' * 5000}", 'title: "\\ud800\\0"', "tags: [&a [*a]]", "tags: " + "[" * 10_000, "? [a]\n: b"],
)  # fmt: skip
def test_front_matter_that_means_harm_is_read_over(front: str) -> None:
    found = until_fault(markdown.claim, f"---\n{front}\n---\nMy cat is called Miro.\n".encode(), name="a.md")
    assert isinstance(found[-1], Item) and found[-1].text == "My cat is called Miro."


@pytest.mark.parametrize("level", ["[{}]", "{{<<: [{}]}}"])
def test_references_that_unfold_without_end_are_not_followed(level: str) -> None:
    """Eight levels of ten references each: a hundred million values, in a kilobyte."""
    levels = [f"a{up}: &a{up} " + level.format(", ".join([f"*a{up - 1}"] * 10)) for up in range(1, 9)]
    front = "\n".join(["---", "a0: &a0 {k: v}", *levels, "date: *a8", "---"])
    assert ("My cat is called Miro.", True) in said(front + "\nMy cat is called Miro.\n")


def test_values_of_front_matter_become_words() -> None:
    front = "---\ntitle: 1984\naliases: [2024-05-01, 1.5, {a: b}, ' ']\ncreated: 2024-05-01\n---\nText."
    [known, text] = read(markdown.claim, front.encode(), "a.md")
    assert isinstance(known, Item) and known.text == "title: 1984; aliases: 2024-05-01, 1.5"
    assert isinstance(text, Item) and text.at == DAY


CANVAS = rb"""{"nodes":[
    {"id":"a","x":0,"y":0,"type":"text","text":"## Trip\n\nWe sail to [[Riga|Riga town]].\n\n> Far!"},
    {"id":"b","type":"file","file":"Riga.md"},{"id":"c","type":"link","url":"https://example.org"},
    {"id":"d","type":"group","label":"Plans"},{"id":"e","type":"text","text":"Take \ud800bread\u0000."}],
    "edges":[{"id":"f","fromNode":"a","toNode":"b"}]}"""


def test_the_texts_of_a_canvas_are_notes() -> None:
    assert read(markdown.claim, CANVAS, "2024-05-01.canvas", Options(timezone="UTC")) == [
        Item(text, "", own, DAY, f"2024-05-01.canvas#{place}", "2024-05-01.canvas", "document")
        for text, own, place in [
            ("Trip: We sail to Riga town.", True, 1), ("Trip: Far!", False, 1), ("Take ?bread.", True, 5)
        ]
    ]  # fmt: skip


def test_damaged_canvases_give_our_error_or_items() -> None:
    for content in cuts(CANVAS) + flips(CANVAS) + depth_bombs(b'{"nodes":['):
        until_fault(markdown.claim, content, name="a.canvas")
    for content in (b"{}", b"[1]", b"nodes", b"", b"\0"):
        assert markdown.claim([file_of(content, "a.canvas")], Options()) == []


def test_the_vaults_own_machinery_is_left_out() -> None:
    for name in (".obsidian/plugins/readme.md", "Templates/daily.md", ".trash/old.md"):
        [left] = read(markdown.claim, b"Text.", name)
        assert isinstance(left, Skipped) and "no notes" in left.reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(encoding: str) -> None:
    text = "Der Käse heißt Gruyère. " * 5
    [found] = read(markdown.claim, text.encode(encoding), "käse.md")
    assert isinstance(found, Item) and found.text == text.strip()


def test_what_is_no_text_is_left_alone() -> None:
    for content in (b"", b"\0\1\2", b"\x89PNG\r\n\x1a\n" + bytes(range(32)) * 8):
        for door in (markdown.claim, plaintext.claim):
            assert door([file_of(content, "a.md"), file_of(content, "a.txt")], Options()) == []
    assert "no text beyond line 2" in fault_of_text(b"fine\n" + b"x" * 70_000 + b"\xff\n")


def fault_of_text(content: bytes) -> str:
    with pytest.raises(InvalidInput) as told:
        [unit] = plaintext.claim([file_of(content, "a.txt")], Options())
        list(unit.read())
    return str(told.value)


def test_damaged_notes_give_our_error_or_items() -> None:
    for content in cuts(NOTE.encode()) + flips(NOTE.encode()):
        until_fault(markdown.claim, content, name="a.md")


LINES = st.lists(
    st.sampled_from(
        ["---", "```", "~~~", "# a", "### b", "- one two three four", "  - deep and long enough", "* x", "> q",
         "> [!x] y", "text", "", "[[a|b]]", "%%", "<!--", "-->", "1) n", "\t- t", "**", "===", "![[x]]"]
    ) | st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12),
    max_size=30,
)  # fmt: skip


@given(LINES)
def test_any_lines_are_read_and_no_plain_word_is_lost(found: list[str]) -> None:
    text = "\n".join([*found, "", "zeppelin"])
    entries = until_fault(markdown.claim, text.encode("utf-8", "replace"), name="a.md")
    fenced = any(line.lstrip().startswith(("```", "~~~")) for line in found)
    assert fenced or any(isinstance(entry, Item) and "zeppelin" in entry.text for entry in entries)


@pytest.mark.parametrize(
    "hostile",
    ["<!--" * 200_000, "[[" * 200_000, "%%" * 200_001, "# a" + " " * 500_000 + "b", "- " * 300_000, "[" * 400_000],
)
def test_hostile_lines_are_read_in_one_go(hostile: str) -> None:
    assert len(said(hostile + "\n\nThe end.")) >= 1


def test_plain_text_is_read_by_paragraphs() -> None:
    found = read(
        plaintext.claim, b"We sailed\nto Riga.\n\n\n  It rained.\r\n", "2024-05-01.txt", Options(timezone="UTC")
    )
    assert [(entry.text, entry.own, entry.at, entry.source) for entry in found if isinstance(entry, Item)] == [
        ("We sailed\nto Riga.", True, DAY, "2024-05-01.txt#L1"),
        ("It rained.", True, DAY, "2024-05-01.txt#L5"),
    ]


def test_a_paragraph_without_end_comes_in_parts() -> None:
    content = ("word " * 20 + "\n") * 40_000
    found = read(plaintext.claim, content.encode(), "a.txt")
    assert all(isinstance(entry, Item) and len(entry.text) < 110_000 for entry in found)
    assert sum(len(entry.text.split()) for entry in found if isinstance(entry, Item)) == 800_000
