"""One archive holds all of a person and nobody else; it brings everything back elsewhere; a hostile one nothing."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from agents.adapters import AdapterStore
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.errors import InvalidInput, NotFound
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.portability.export import export
from personal_data.portability.restore import Restored, restore
from personal_data.portability.tables import OTHERS, PARTS
from personal_data.records import (
    AdapterVersion,
    Agent,
    ChatMessage,
    Conversation,
    Key,
    Position,
    Record,
    Society,
    new_id,
)
from personal_data.records import Memory as MemoryRow
from tests.personal_data.owned import BENS, CANARY, DRAWN, LATER, TURN, Owned, account, furnish

Files = dict[str, bytes]


def packed(owned: Owned) -> bytes:
    target = io.BytesIO()
    export(owned.database, owned.store, owned.ada, target)
    return target.getvalue()


def unpacked(data: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def lines(files: Files, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files[f"{part}.jsonl"].splitlines()]


def repacked(files: Files, path: Path, *, honest: bool = True) -> Path:
    """An archive of these files, with a manifest that agrees with them unless it should not."""
    manifest = json.loads(files["manifest.json"])
    if honest:
        manifest["files"] = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
            if name != "manifest.json"
        }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, json.dumps(manifest) if name == "manifest.json" else data)
    return path


def altered(files: Files, part: str, change: Callable[[dict[str, Any]], object]) -> Files:
    """The same with one part's rows changed."""
    rows = lines(files, part)
    for row in rows:
        change(row)
    return files | {f"{part}.jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in rows)}


class Place:
    """Another Folkmoot, with an account for Ada."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.store = database, AdapterStore(folder)
        self.ada, self.agent = account(database, "ada")

    def restore(self, data: bytes | Path, tmp_path: Path) -> Restored:
        if isinstance(data, bytes):
            (tmp_path / "in.zip").write_bytes(data)
            data = tmp_path / "in.zip"
        return restore(self.database, self.store, self.ada, data)

    def export(self) -> bytes:
        target = io.BytesIO()
        export(self.database, self.store, self.ada, target)
        return target.getvalue()

    def count(self, table: type[Record]) -> int:
        with self.database.reading() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def home(tmp_path: Path, _migrated_sqlite: Path) -> Iterator[Owned]:
    """Where Ada comes from: a data folder of its own."""
    (tmp_path / "home").mkdir()
    shutil.copy(_migrated_sqlite, tmp_path / "home" / "folkmoot.db")
    database = Database(f"sqlite:///{tmp_path / 'home' / 'folkmoot.db'}")
    yield furnish(database, tmp_path / "home" / "adapters")
    database.dispose()


@pytest.fixture
def place(any_database: Database, tmp_path: Path) -> Place:
    return Place(any_database, tmp_path / "elsewhere")


def comparable(data: bytes, agent: str) -> dict[str, Any]:
    """What an archive tells, but for the moment it was made, and for what it says that it is for reading only."""
    files = unpacked(data)
    told: dict[str, Any] = {part.name: lines(files, part.name) for part in PARTS if part.restored}
    told["settings"] = json.loads(files["settings.json"])
    told["adapters"] = {name: data for name, data in files.items() if name.startswith("adapters/")}
    found: dict[str, Any] = json.loads(json.dumps({**told, "adapters": {}}).replace(agent, "AGENT"))
    return {**found, "adapters": told["adapters"]}


def test_every_table_is_in_the_archive_or_has_a_reason() -> None:
    exported = {part.table.name for part in PARTS}
    assert exported | set(OTHERS) == set(Record.metadata.tables)
    assert not exported & set(OTHERS)


def test_an_archive_tells_all_of_its_owner_and_nothing_of_others(any_database: Database, tmp_path: Path) -> None:
    owned = furnish(any_database, tmp_path / "adapters")
    with any_database.session() as session:
        session.add(Key(id="k", user_id=owned.ada, secret_sha256="5ec2e7" * 10))
    data = packed(owned)
    files = unpacked(data)
    empty = [name for name, found in files.items() if not found]
    assert not empty
    everything = b"".join(files.values()).decode("utf-8", "replace")
    assert CANARY in everything
    for absent in (BENS, "5ec2e7", "code 4711", owned.ben, "mem_of_ben"):
        assert absent not in everything, absent
    assert [row["argument"] for row in lines(files, "positions_elsewhere")] == [f"I remember: {CANARY}"]
    assert lines(files, "positions_elsewhere")[0]["question"] == "When does the canary sing (elsewhere)?"
    manifest = json.loads(files["manifest.json"])
    for name, told in manifest["files"].items():
        assert told["sha256"] == hashlib.sha256(files[name]).hexdigest()
        assert told["bytes"] == len(files[name])
    assert manifest["files"]["memories.jsonl"]["rows"] == 6
    assert set(manifest["files"]) == set(files) - {"manifest.json"}


def test_a_ranking_in_another_s_debate_does_not_take_along_what_others_said(home: Owned) -> None:
    with home.database.session() as session:
        row = Position(debate_id=home.ids["elsewhere"], round=2, agent_id=home.agent, status="answered", lineage="m")
        row.alternatives = ["what ben thinks of cleo"]
        session.add(row)
    data = b"".join(unpacked(packed(home)).values()).decode("utf-8", "replace")
    assert row.id in data and "what ben thinks" not in data


def test_everything_is_restored_elsewhere(home: Owned, place: Place, tmp_path: Path) -> None:
    data = packed(home)
    restored = place.restore(data, tmp_path)
    again = place.export()
    assert comparable(again, place.agent) == comparable(data, home.agent)
    assert restored.added["memories"] == 6
    assert restored.added["adapter_versions"] == 2
    with place.database.reading() as session:
        agent = session.get_one(Agent, place.agent)
        live = session.get_one(AdapterVersion, agent.live_version_id)
        assert (live.number, agent.fence) == (2, 2)
    place.store.verify(live)


def test_what_is_restored_is_recalled(home: Owned, place: Place, tmp_path: Path, chroma_url: str) -> None:
    place.restore(packed(home), tmp_path)
    memory = Memory(place.database, HashingEmbedder(), ChromaIndex(chroma_url))
    while memory.drain_outbox():
        pass
    assert memory.recall(place.ada, "When does the canary sing?", 1)[0].text == CANARY
    with place.database.reading() as session:
        assert not session.scalars(select(MemoryRow.id).where(MemoryRow.embedding.is_(None))).all()
    found = memory.verify(place.ada)
    assert (found.memories, found.waiting, found.astray) == (6, 0, 0), "probes are not asked: others share this index"


def test_restoring_twice_is_restoring_once(home: Owned, place: Place, tmp_path: Path) -> None:
    data = packed(home)
    place.restore(data, tmp_path)
    once = comparable(place.export(), place.agent)
    assert not place.restore(data, tmp_path).added
    assert comparable(place.export(), place.agent) == once


def test_restoring_at_home_changes_nothing_and_brings_back_nothing_forgotten(home: Owned, tmp_path: Path) -> None:
    data = packed(home)
    home.memory.forget(home.ada, home.ids["canary"])
    (tmp_path / "in.zip").write_bytes(data)
    restored = restore(home.database, home.store, home.ada, tmp_path / "in.zip")
    assert not restored.added
    assert restored.left_out["forgotten here since"] == 1
    assert CANARY not in [row.text for row in home.memory.entries(home.ada)]


def test_ids_that_are_anothers_are_replaced_and_nothing_of_theirs_is_touched(home: Owned, tmp_path: Path) -> None:
    ben = Owned(**{**home.__dict__, "ada": home.ben})
    before = unpacked(packed(ben))
    (tmp_path / "in.zip").write_bytes(packed(home))
    restored = restore(home.database, home.store, home.ben, tmp_path / "in.zip")
    assert restored.added["memories"] == 6
    texts = {row.text for row in home.memory.entries(home.ben)}
    assert {CANARY, BENS} <= texts
    rows = {row.text: row for row in home.memory.entries(home.ben)}
    assert rows[DRAWN].superseded_by == rows[LATER].id != home.ids["later"], "what ended a fact is the one that is here"
    assert rows[DRAWN].sources == [f"memory:{rows[TURN].id}"]
    assert rows[TURN].id != home.ids["turn"]
    again = restore(home.database, home.store, home.ben, tmp_path / "in.zip")
    assert not again.added
    assert unpacked(packed(home))["memories.jsonl"] != before["memories.jsonl"]
    with home.database.reading() as session:
        moot = session.scalars(select(Society).where(Society.slug == "moot")).one()
        assert moot.owner_id == home.ada
        owners = session.execute(select(ChatMessage.user_id, Conversation.user_id).join(Conversation)).all()
        assert {tuple(row) for row in owners} == {(home.ada, home.ada), (home.ben, home.ben)}


def test_a_text_that_is_known_keeps_its_row(home: Owned, place: Place, tmp_path: Path) -> None:
    memory = Memory(place.database, HashingEmbedder(), ChromaIndex("http://127.0.0.1:1"))
    (known,) = memory.remember(place.ada, [NewMemory(CANARY, speaker="Ada")])
    place.restore(packed(home), tmp_path)
    rows = [row for row in memory.entries(place.ada) if row.text == CANARY]
    assert [row.id for row in rows] == [known]
    with place.database.reading() as session:
        answer = session.scalars(select(ChatMessage).where(ChatMessage.role == "assistant")).one()
    assert answer.memory_ids == [known]


def test_what_was_shared_with_a_society_elsewhere_is_private_in_another_of_its_name(
    home: Owned, place: Place, tmp_path: Path
) -> None:
    ben, _ = account(place.database, "ben")
    with place.database.session() as session:
        session.add(Society(id=new_id("soc"), slug="moot", name="Another moot", owner_id=ben))
    restored = place.restore(packed(home), tmp_path)
    assert restored.left_out["shared with a society that is not here: private now"] == 1
    with place.database.reading() as session:
        assert session.scalars(select(MemoryRow.scope).where(MemoryRow.text == CANARY)).one() == "private"


def test_a_model_that_is_not_here_costs_the_live_version_alone(home: Owned, place: Place, tmp_path: Path) -> None:
    files = unpacked(packed(home))
    told = json.loads(files["settings.json"])
    told["agent"]["model"] = "unknown"
    files = altered(files, "adapter_versions", lambda row: row.update(model="unknown"))
    restored = place.restore(
        repacked(files | {"settings.json": json.dumps(told).encode()}, tmp_path / "in.zip"), tmp_path
    )
    assert restored.left_out["its model 'unknown' is not configured here"] == 1
    assert restored.added["memories"] == 6
    with place.database.reading() as session:
        assert session.get_one(Agent, place.agent).live_version_id is None


def test_nobody_and_who_has_no_agent_cannot_restore(home: Owned, place: Place, tmp_path: Path) -> None:
    (tmp_path / "in.zip").write_bytes(packed(home))
    with pytest.raises(NotFound):
        restore(place.database, place.store, "usr_nobody", tmp_path / "in.zip")
    with pytest.raises(NotFound):
        export(place.database, place.store, "usr_nobody", io.BytesIO())


# -- hostile archives ----------------------------------------------------------------------------------------------


def _set(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda row: row.update({name: value})


HOSTILE: dict[str, Callable[[Files], Files]] = {
    "a file more": lambda files: files | {"../../evil": b"x"},
    "a file of another kind": lambda files: files | {"keys.jsonl": b"{}\n"},
    "a pickle beside an adapter": lambda files: files | {"adapters/1/adapter_model.bin": b"x"},
    "no settings": lambda files: {name: data for name, data in files.items() if name != "settings.json"},
    "another format": lambda files: files | {"manifest.json": b'{"format": "other"}'},
    "a later version": lambda files: files | {"manifest.json": b'{"format": "folkmoot", "version": 99}'},
    "no JSON": lambda files: files | {"memories.jsonl": b"{not json}\n"},
    "NaN": lambda files: files | {"memories.jsonl": b'{"text": NaN}\n'},
    "no object": lambda files: files | {"memories.jsonl": b"[]\n"},
    "deep nesting": lambda files: files | {"memories.jsonl": b"[" * 200_000 + b"\n"},
    "NUL": lambda files: altered(files, "memories", _set("text", "a\0b")),
    "a lone surrogate": lambda files: altered(files, "messages", _set("content", "\ud800")),
    "an empty text": lambda files: altered(files, "memories", _set("text", " ")),
    "a huge text": lambda files: altered(files, "memories", _set("text", "x" * 9_000)),
    "an unknown scope": lambda files: altered(files, "memories", _set("scope", "everybody")),
    "a kind of its own": lambda files: altered(files, "memories", _set("kind", "order")),
    "sources that are no list": lambda files: altered(files, "memories", _set("sources", {"a": 1})),
    "an id that is no text": lambda files: altered(files, "memories", _set("id", 7)),
    "a job that would run": lambda files: altered(files, "jobs", _set("state", "queued")),
    "a job of another kind": lambda files: altered(files, "jobs", _set("kind", "debate")),
    "a token that ends the ledger": lambda files: altered(files, "jobs", _set("token", 2**62)),
    "a message in nobody's conversation": lambda files: altered(files, "messages", _set("conversation_id", "cnv_x")),
    "a system message": lambda files: altered(files, "messages", _set("role", "system")),
    "an infinite number": lambda files: (
        files | {"memories.jsonl": files["memories.jsonl"].replace(b'"event_at":5.0', b'"event_at":1e999')}
    ),
    "instructions without end": lambda files: (
        files | {"settings.json": json.dumps({"agent": {"instructions": ["x" * 9999]}}).encode()}
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused_in_one_line(home: Owned, place: Place, tmp_path: Path, kind: str) -> None:
    files = HOSTILE[kind](unpacked(packed(home)))
    with pytest.raises(InvalidInput, match=r"cannot be restored|scope must be") as refused:
        place.restore(repacked(files, tmp_path / "in.zip"), tmp_path)
    assert "\n" not in str(refused.value)
    assert not _memories(place)
    assert place.count(Conversation) == place.count(AdapterVersion) == 0


def _memories(place: Place) -> list[MemoryRow]:
    with place.database.reading() as session:
        return list(session.scalars(select(MemoryRow)))


def test_a_byte_that_was_changed_stores_nothing(home: Owned, place: Place, tmp_path: Path) -> None:
    files = unpacked(packed(home))
    files["messages.jsonl"] = files["messages.jsonl"].replace(b"windmill", b"windmall")
    with pytest.raises(InvalidInput, match="changed or damaged"):
        place.restore(repacked(files, tmp_path / "in.zip", honest=False), tmp_path)
    assert not _memories(place)


@pytest.mark.parametrize("cut", [0, 10, 500, -30])
def test_a_torn_archive_stores_nothing(home: Owned, place: Place, tmp_path: Path, cut: int) -> None:
    with pytest.raises(InvalidInput, match="cannot be restored"):
        place.restore(packed(home)[:cut], tmp_path)
    assert not _memories(place)


def test_a_message_cannot_be_put_into_anothers_conversation(home: Owned, tmp_path: Path) -> None:
    ben = Owned(**{**home.__dict__, "ada": home.ben})
    foreign = lines(unpacked(packed(home)), "messages")
    files = unpacked(packed(ben)) | {"messages.jsonl": json.dumps(foreign[0]).encode() + b"\n"}
    with pytest.raises(InvalidInput, match="points at what is not in it"):
        restore(home.database, home.store, home.ben, repacked(files, tmp_path / "in.zip"))


def test_an_unsound_adapter_is_left_out_and_all_else_restored(home: Owned, place: Place, tmp_path: Path) -> None:
    files = unpacked(packed(home))
    files["adapters/2/adapter_model.safetensors"] = b"\x80\x04\x95cposix\nsystem\n"
    config = json.loads(files["adapters/1/adapter_config.json"]) | {"auto_mapping": {"evil": "code"}}
    files["adapters/1/adapter_config.json"] = json.dumps(config).encode()
    restored = place.restore(repacked(files, tmp_path / "in.zip"), tmp_path)
    assert restored.added["adapter_versions"] == 1
    assert restored.added["messages"] == 2
    written = [path.read_bytes() for path in place.store.root.rglob("*") if path.is_file()]
    assert len(written) == 2
    assert not [data for data in written if b"evil" in data]
