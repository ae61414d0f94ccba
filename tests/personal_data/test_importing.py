"""Imports end to end: looked at, stored once, resumed, undone; nothing of a part that cannot be read stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.erasure.targets import read_wish
from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.importers.parsed import Options
from personal_data.importing import Choice, Importing, begin, choose, imports
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory, Origin
from personal_data.records import Import, new_id
from personal_data.records import Memory as MemoryRow
from tests.personal_data.test_memory import AWAY, person
from tests.personal_data.test_source import packed

WHATSAPP = """13/05/2023, 18:37 - Messages and calls are end-to-end encrypted.
13/05/2023, 18:38 - Ana: Shall we go sailing on Sunday?
13/05/2023, 18:39 - Ben: Yes, my boat is ready.
It is green now.
14/05/2023, 09:00 - Ana: Wonderful.
"""


NOTHING_CHOSEN = Choice()


def chatgpt(*said: tuple[str, str]) -> bytes:
    """An export with one conversation of (role, text)."""
    nodes = {"root": {"id": "root", "parent": None, "children": ["n0"], "message": None}}
    for number, (role, text) in enumerate(said):
        parent = f"n{number - 1}" if number else "root"
        message = {
            "author": {"role": role},
            "content": {"content_type": "text", "parts": [text]},
            "create_time": 1_700_000_000.0 + number,
        }
        nodes[f"n{number}"] = {"id": f"n{number}", "parent": parent, "children": [], "message": message}
    conversation = {"id": "c1", "title": "Boats", "create_time": 1_700_000_000.0, "mapping": nodes}
    return json.dumps([conversation | {"current_node": f"n{len(said) - 1}"}]).encode()


@pytest.fixture
def importing(any_database: Database) -> Importing:
    """On both databases, with the index away."""
    return Importing(any_database, Memory(any_database, HashingEmbedder(), ChromaIndex(AWAY)))


def start(importing: Importing, owner: str, choice: Choice = NOTHING_CHOSEN) -> str:
    """An import that is ready to run."""
    import_id = new_id("imp")
    with importing._database.session() as session:
        begin(session, owner, import_id, "export.zip", choice.options)
        choose(session, owner, import_id, choice)
    return import_id


def entries(importing: Importing, owner: str) -> list[Import]:
    with importing._database.reading() as session:
        return imports(session, owner)


def upload(folder: Path, members: dict[str, bytes]) -> Path:
    """A zip with these files."""
    path = folder / "export.zip"
    path.write_bytes(packed(members))
    return path


def stored(importing: Importing, owner: str) -> list[tuple[str, str, bool]]:
    """(speaker, text, own) of the owner's live memories, oldest first."""
    return [(row.speaker, row.text, row.own) for row in reversed(importing._memory.entries(owner))]


def test_a_look_tells_what_is_there_and_stores_nothing(
    importing: Importing, any_database: Database, tmp_path: Path
) -> None:
    ada = person(any_database, "ada")
    path = upload(
        tmp_path,
        {
            "chat.txt": WHATSAPP.encode(),
            "conversations.json": chatgpt(("user", "I sail."), ("assistant", "Nice.")),
            "photo.jpg": b"\xff\xd8\xff",
        },
    )
    import_id = new_id("imp")
    with any_database.session() as session:
        begin(session, ada, import_id, "export.zip", Options(timezone="UTC"))
    gpt, chat, photo = importing.look(ada, import_id, path)
    assert (gpt.format, gpt.items, gpt.status, dict(gpt.speakers)) == ("chatgpt", 2, "ready", {})
    assert (chat.format, chat.items, dict(chat.speakers)) == ("whatsapp", 3, {"Ana": 2, "Ben": 1})
    assert (chat.first, chat.last) == (1_684_003_080.0, 1_684_054_800.0)
    assert (photo.status, photo.error) == ("skipped", "no format that we know")
    assert stored(importing, ada) == []


def test_an_import_is_stored_once_and_undone_whole(
    importing: Importing, any_database: Database, tmp_path: Path
) -> None:
    ada = person(any_database, "ada")
    importing._memory.remember(ada, [NewMemory("My cat is called Miro.", "Ada")])
    path = upload(tmp_path, {"chat.txt": WHATSAPP.encode()})
    choice = Choice(me=("Ben",), scope="society:moot", options=Options(timezone="UTC"))
    first = start(importing, ada, choice)
    [report] = importing.run(ada, first, path)
    assert (report.status, report.items) == ("indexed", 3)
    assert stored(importing, ada)[1:] == [
        ("Ana", "Shall we go sailing on Sunday?", False),
        ("Ada", "Yes, my boat is ready.\nIt is green now.", True),
        ("Ana", "Wonderful.", False),
    ]
    shown = importing._memory.recall(ada, "sailing boat", 5, audience="society:moot")
    assert [hit.speaker for hit in shown] == ["Ada"], "what others said is theirs to share"
    assert [hit.speaker for hit in importing._memory.recall(ada, "sailing", 2)] == ["Ana", "Ada"]
    [entry] = entries(importing, ada)
    assert (entry.state, entry.units[0]["items"], entry.choice["me"]) == ("done", 3, ["Ben"])
    second = start(importing, ada, choice)
    importing.run(ada, second, path)
    assert len(stored(importing, ada)) == 4
    assert importing.undo(ada, first) == 0
    assert len(stored(importing, ada)) == 4
    assert importing.undo(ada, second) == 3
    assert stored(importing, ada) == [("Ada", "My cat is called Miro.", True)]
    with pytest.raises(Conflict):
        importing.run(ada, second, path)
    importing.run(ada, start(importing, ada, choice), path)
    assert len(stored(importing, ada)) == 4


def test_what_was_known_before_survives_the_undoing(
    importing: Importing, any_database: Database, tmp_path: Path
) -> None:
    ada = person(any_database, "ada")
    path = upload(tmp_path, {"conversations.json": chatgpt(("user", "I sail."), ("assistant", "Nice."))})
    first, second = (start(importing, ada) for _ in "ab")
    importing.run(ada, first, path)
    importing.run(ada, second, path)
    assert importing.undo(ada, second) == 0
    assert len(stored(importing, ada)) == 2
    assert importing.undo(ada, first) == 2


def test_what_is_remembered_otherwise_stays_and_an_undone_import_stores_nothing_more(
    importing: Importing, any_database: Database, tmp_path: Path
) -> None:
    ada = person(any_database, "ada")
    path = upload(tmp_path, {"conversations.json": chatgpt(("user", "I sail."), ("assistant", "Nice."))})
    begun = start(importing, ada)
    importing.run(ada, begun, path)
    kept = NewMemory("I sail.", "Ada", thread="chatgpt:c1", event_at=1_700_000_000.0)
    importing._memory.remember(ada, [kept])
    assert importing.undo(ada, begun) == 1
    assert [text for _, text, _ in stored(importing, ada)] == ["I sail."]
    with pytest.raises(Conflict, match="undone"):
        importing._memory.remember(ada, [NewMemory("Late.", "Ada")], origin=Origin(begun, 0))
    assert [text for _, text, _ in stored(importing, ada)] == ["I sail."]


def test_a_part_that_breaks_leaves_nothing_and_the_others_stay(
    importing: Importing, any_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("personal_data.importing._BATCH", 1)
    ada = person(any_database, "ada")
    whole = chatgpt(("user", "I sail."), ("assistant", "Nice."))
    two = whole[:-1] + b", " + whole[1:]
    broken = two[: len(two) - 40]
    path = upload(tmp_path, {"a.json": broken, "chat.txt": WHATSAPP.encode()})
    first, second = importing.run(ada, start(importing, ada, Choice(options=Options(timezone="UTC"))), path)
    assert (first.status, first.items > 0) == ("failed", True)
    assert first.error
    assert second.status == "indexed"
    assert {speaker for speaker, _, _ in stored(importing, ada)} == {"Ana", "Ben"}


def test_what_broke_off_goes_on(importing: Importing, any_database: Database, tmp_path: Path) -> None:
    ada = person(any_database, "ada")
    path = upload(tmp_path, {"a.json": chatgpt(("user", "I sail.")), "chat.txt": WHATSAPP.encode()})
    import_id = start(importing, ada, Choice(options=Options(timezone="UTC")))

    def killed(stage: str, done: int, parts: int, place: str) -> None:
        assert (stage, parts, place.partition(":")[0]) == ("importing", 2, ["a.json", "chat.txt"][done])
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        importing.run(ada, import_id, path, killed)
    assert len(stored(importing, ada)) == 1
    assert entries(importing, ada)[0].state == "running"
    importing.run(ada, import_id, path)
    assert len(stored(importing, ada)) == 4
    assert importing.undo(ada, import_id) == 4


def test_imports_are_their_owners(importing: Importing, any_database: Database, tmp_path: Path) -> None:
    ada, ben = person(any_database, "ada"), person(any_database, "ben")
    import_id = start(importing, ada)
    path = upload(tmp_path, {"a.json": chatgpt(("user", "I sail."))})
    with pytest.raises(NotFound):
        importing.run(ben, import_id, path)
    with pytest.raises(NotFound):
        importing.undo(ben, import_id)
    assert entries(importing, ben) == []
    with pytest.raises(InvalidInput, match="scope"):
        start(importing, ada, Choice(scope="everybody"))


def test_a_long_text_becomes_several_memories(importing: Importing, any_database: Database, tmp_path: Path) -> None:
    ada = person(any_database, "ada")
    path = upload(tmp_path, {"a.json": chatgpt(("user", " ".join(f"I sail {number}." for number in range(1500))))})
    importing.run(ada, start(importing, ada), path)
    assert len(stored(importing, ada)) == 3
    with any_database.reading() as session:
        rows = session.scalars(select(MemoryRow).where(MemoryRow.user_id == ada)).all()
        assert {(row.thread, row.event_at) for row in rows} == {("chatgpt:c1", 1_700_000_000.0)}


def test_a_source_is_not_erased_while_an_import_may_bring_more_of_it(
    importing: Importing, any_database: Database, tmp_path: Path
) -> None:
    ada = person(any_database, "ada")
    importing._memory.remember(ada, [NewMemory("I sail.", "Ada", sources=("chatgpt:a.json#1",))])
    import_id = start(importing, ada)
    with any_database.reading() as session, pytest.raises(Conflict, match=import_id):
        read_wish(session, ada, source="chatgpt:")
    importing.run(ada, import_id, upload(tmp_path, {"a.json": chatgpt(("user", "I bake."))}))
    with any_database.reading() as session:
        assert read_wish(session, ada, source="chatgpt:") == {"source": "chatgpt:"}
        assert read_wish(session, ada, source=import_id) == {"source": import_id}
