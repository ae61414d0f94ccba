"""Adapter files, hostile and sound; publishing that survives a kill; the pointer in SQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from safetensors.numpy import save

from agents.adapter_files import CONFIG, MAX_BYTES, WEIGHTS
from agents.adapters import Adapter, AdapterStore, activate, read_adapter, roll_back, tensor_name, write_adapter
from api.routes import agents as agent_routes
from personal_data import database as database_module
from personal_data.database import Database
from personal_data.errors import AdapterError, Conflict, LeaseLost, NotFound, StorageError
from personal_data.records import AdapterVersion, Agent, ChatMessage, Job, Model, User

BASE = "b" * 64
NAMES = [tensor_name("model.layers.0.self_attn.q_proj", part) for part in "AB"]


def adapter(*, rank: int = 4, seed: int = 0) -> Adapter:
    generator = np.random.default_rng(seed)
    shapes = ((rank, 16), (8, rank))
    return Adapter(
        rank,
        8.0,
        BASE,
        {name: generator.normal(size=shape).astype(np.float32) for name, shape in zip(NAMES, shapes, strict=True)},
    )


def written(folder: Path, tensors: dict[str, np.ndarray] | None = None, **config: object) -> Path:
    """A sound folder with chosen tensors and chosen config fields instead."""
    folder.mkdir(exist_ok=True)
    write_adapter(folder, adapter())
    if tensors is not None:
        (folder / WEIGHTS).write_bytes(save(tensors, metadata={"base_sha256": BASE}))
    if config:
        (folder / CONFIG).write_text(json.dumps(json.loads((folder / CONFIG).read_text()) | config))
    return folder


def same(left: Adapter, right: Adapter) -> bool:
    return left.tensors.keys() == right.tensors.keys() and all(
        np.array_equal(values, right.tensors[name]) for name, values in left.tensors.items()
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    first = write_adapter(tmp_path, adapter())
    found = read_adapter(tmp_path, base_sha256=BASE)
    assert (found.rank, found.alpha, found.base_sha256) == (4, 8.0, BASE)
    assert same(found, adapter())
    assert write_adapter(tmp_path, found) == first


def test_half_precision_is_read(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save as save_torch

    tensors = adapter().tensors
    for dtype in (torch.float16, torch.bfloat16):
        data = save_torch({name: torch.tensor(values).to(dtype) for name, values in tensors.items()})
        (written(tmp_path) / WEIGHTS).write_bytes(data)
        found = read_adapter(tmp_path, base_sha256=BASE)
        for name, values in tensors.items():
            assert found.tensors[name].dtype == np.float32
            assert np.array_equal(found.tensors[name], torch.tensor(values).to(dtype).float().numpy())


def test_the_base_must_be_known_and_right(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(AdapterError, match="made for base bbb"):
        read_adapter(tmp_path, base_sha256="c" * 64)
    (tmp_path / WEIGHTS).write_bytes(save(adapter().tensors))
    with pytest.raises(AdapterError, match="which base"):
        read_adapter(tmp_path)
    assert read_adapter(tmp_path, base_sha256=BASE).base_sha256 == BASE


# -- hostile files -------------------------------------------------------------------------------------------------


def header(entries: object, *, size: int | None = None, data: bytes = b"") -> bytes:
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return (len(raw) if size is None else size).to_bytes(8, "little") + raw + data


def entry(start: int = 0, end: int = 16, dtype: str = "F32", shape: tuple[int, ...] = (2, 2)) -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


GOOD = save(adapter().tensors)
FILES = {
    "empty": b"",
    "short": b"\x01\x00",
    "pickle": b"\x80\x04\x95cposix\nsystem\n",
    "zip": b"PK\x03\x04" + b"\x00" * 100,
    "zip-behind": GOOD + b"PK\x03\x04" + b"\x00" * 64,
    "huge-header": header({}, size=90 << 20),
    "header-beyond-file": header({NAMES[0]: entry()}, size=1 << 19),
    "no-json": header(b"{{{{"),
    "deep-json": header(b"[" * 200_000),
    "no-object": header([]),
    "no-tensors": header({"__metadata__": {}}),
    "many-tensors": header({tensor_name(f"m{n}", "A"): entry(0, 0, shape=(0, 0)) for n in range(5000)}),
    "overlap": header({NAMES[0]: entry(), NAMES[1]: entry()}, data=b"\x00" * 16),
    "hole": header({NAMES[0]: entry(), NAMES[1]: entry(24, 40)}, data=b"\x00" * 40),
    "shape-lie": header({NAMES[0]: entry(shape=(999, 2)), NAMES[1]: entry(16, 32)}, data=b"\x00" * 32),
    "negative": header({NAMES[0]: entry(shape=(-2, -2)), NAMES[1]: entry(16, 32)}, data=b"\x00" * 32),
    "odd-type": header({NAMES[0]: entry(dtype="F64"), NAMES[1]: entry(16, 32)}, data=b"\x00" * 32),
    "no-type": header({NAMES[0]: {}, NAMES[1]: []}),
    "metadata-lie": header({"__metadata__": 7, NAMES[0]: entry(), NAMES[1]: entry(16, 32)}, data=b"\x00" * 32),
}


@pytest.mark.parametrize("kind", FILES)
def test_hostile_weights_are_refused(tmp_path: Path, kind: str) -> None:
    (written(tmp_path) / WEIGHTS).write_bytes(FILES[kind])
    with pytest.raises(AdapterError):
        read_adapter(tmp_path, base_sha256=BASE)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    for percent in range(100):
        (tmp_path / WEIGHTS).write_bytes(GOOD[: len(GOOD) * percent // 100])
        with pytest.raises(AdapterError):
            read_adapter(tmp_path, base_sha256=BASE)


def test_a_file_beyond_all_bounds_is_not_read(tmp_path: Path) -> None:
    with (written(tmp_path) / WEIGHTS).open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(AdapterError, match="larger"):
        read_adapter(tmp_path, base_sha256=BASE)


A, B = adapter().tensors.values()
TENSORS = {
    "one-side": {NAMES[0]: A, tensor_name("other", "B"): B},
    "not-lora": {**adapter().tensors, "base_model.model.lm_head.weight": A},
    "outside": {**adapter().tensors, "base_model.model.../x.lora_A.weight": A},
    "nan": {NAMES[0]: np.full_like(A, np.nan), NAMES[1]: B},
    "infinite": {NAMES[0]: A, NAMES[1]: np.full_like(B, np.inf)},
    "rank": {NAMES[0]: A[:3], NAMES[1]: B},
    "vector": {NAMES[0]: A[0], NAMES[1]: B},
    "integers": {NAMES[0]: A.astype(np.int32), NAMES[1]: B},
}


@pytest.mark.parametrize("kind", TENSORS)
def test_odd_tensors_are_refused(tmp_path: Path, kind: str) -> None:
    tensors = {name: np.ascontiguousarray(values) for name, values in TENSORS[kind].items()}
    with pytest.raises(AdapterError):
        read_adapter(written(tmp_path, tensors), base_sha256=BASE)


@pytest.mark.parametrize(
    "change",
    [
        {"r": 10**6},
        {"r": 0},
        {"r": True},
        {"r": "4"},
        {"lora_alpha": float("nan")},
        {"lora_alpha": -1},
        {"lora_alpha": 1e300},
        {"peft_type": "PROMPT_TUNING"},
        {"use_dora": True},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 64}},
        {"fan_in_fan_out": True},
    ],
    ids=str,
)
def test_configs_that_would_change_the_mathematics_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(AdapterError):
        read_adapter(written(tmp_path, **change), base_sha256=BASE)


def test_whatever_else_a_config_says_is_ignored_and_not_written_again(tmp_path: Path) -> None:
    hostile = {
        "auto_mapping": {"base_model_class": "os.system"},
        "base_model_name_or_path": "evil/repository",
        "megatron_core": "evil",
        "tokenizer_kwargs": {"trust_remote_code": True},
        "modules_to_save": [".*"],
        "target_modules": "(([a-z]|[a-z_.0-9])+)+!",
        "layers_pattern": "(a+)+$",
    }
    found = read_adapter(written(tmp_path / "in", **hostile), base_sha256=BASE)
    (tmp_path / "out").mkdir()
    write_adapter(tmp_path / "out", found)
    config = json.loads((tmp_path / "out" / CONFIG).read_text())
    assert config["target_modules"] == ["model.layers.0.self_attn.q_proj"]
    assert not {"auto_mapping", "megatron_core", "tokenizer_kwargs", "modules_to_save", "layers_pattern"} & set(config)
    assert config["base_model_name_or_path"] is None


def test_links_pipes_and_other_formats_are_not_opened(tmp_path: Path) -> None:
    def linked(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder / "elsewhere")
        (folder / WEIGHTS).symlink_to(folder / "elsewhere")

    def piped(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        os.mkfifo(folder / WEIGHTS)

    def pickled(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder / "adapter_model.bin")

    def unconfigured(folder: Path) -> None:
        (folder / CONFIG).unlink()

    spoilers: list[Callable[[Path], None]] = [linked, piped, pickled, unconfigured]
    for spoil in spoilers:
        folder = written(tmp_path / spoil.__name__)
        spoil(folder)
        with pytest.raises(AdapterError, match="missing"):
            read_adapter(folder, base_sha256=BASE)
    with pytest.raises(AdapterError, match="missing"):
        read_adapter(tmp_path / "nowhere", base_sha256=BASE)


def test_unsound_adapters_are_not_written(tmp_path: Path) -> None:
    for bad in (
        Adapter(4, 8.0, BASE, {}),
        Adapter(65, 8.0, BASE, adapter(rank=65).tensors),
        Adapter(4, 8.0, BASE, {NAMES[0]: np.full_like(A, np.nan), NAMES[1]: B}),
        Adapter(4, 8.0, BASE, {NAMES[0]: A}),
    ):
        with pytest.raises(AdapterError):
            write_adapter(tmp_path, bad)
    assert not list(tmp_path.iterdir())


# -- publishing ----------------------------------------------------------------------------------------------------


def version(path: str, sha256: str) -> AdapterVersion:
    return AdapterVersion(
        agent_id="agt_1", number=1, job_id="job_1", token=5, path=path, sha256=sha256, base_sha256=BASE
    )


def test_a_published_folder_is_whole_and_read_only(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path / "adapters")
    path, sha256 = store.publish("agt_1", 1, adapter(), job_id="job_1", token=5)
    assert path == "agt_1/1-5"
    row = version(path, sha256)
    store.verify(row)
    assert same(read_adapter(store.path(row), base_sha256=BASE), adapter())
    assert store.path(row).stat().st_mode & 0o777 == 0o500
    assert all(file.stat().st_mode & 0o777 == 0o400 for file in store.path(row).iterdir())
    assert [entry.name for entry in store.root.iterdir()] == ["agt_1"]


def test_publishing_again_never_overwrites(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    first = store.publish("agt_1", 1, adapter(), job_id="job_1", token=5)
    assert store.publish("agt_1", 1, adapter(), job_id="job_1", token=5) == first
    with pytest.raises(AdapterError, match="digest"):
        store.publish("agt_1", 1, adapter(seed=1), job_id="job_1", token=5)
    store.verify(version(*first))
    assert store.publish("agt_1", 1, adapter(seed=1), job_id="job_1", token=6)[0] == "agt_1/1-6"


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    row = version(*store.publish("agt_1", 1, adapter(), job_id="job_1", token=5))
    weights = store.path(row) / WEIGHTS
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(AdapterError, match="digest"):
        store.verify(row)
    weights.parent.chmod(0o700)
    weights.unlink()
    with pytest.raises(AdapterError, match="missing"):
        store.verify(row)


def test_a_changed_scale_is_found(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path)
    row = version(*store.publish("agt_1", 1, adapter(), job_id="job_1", token=5))
    config = store.path(row) / CONFIG
    config.chmod(0o600)
    config.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 64.0}))
    with pytest.raises(AdapterError, match="digest"):
        store.verify(row)


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    store = AdapterStore(tmp_path / "adapters")
    for bad in ("../x", "/etc", "a/b", "", "x" * 65, "a\0b", "é"):
        with pytest.raises(AdapterError):
            store.publish(bad, 1, adapter(), job_id="job_1", token=5)
        with pytest.raises(AdapterError):
            store.path(version(f"{bad}/1-5", ""))
    assert not (tmp_path / "adapters").exists()


def test_a_full_disk_publishes_nothing(tmp_path: Path) -> None:
    (tmp_path / "agt_1").write_text("a file where the agent's folder should be")
    store = AdapterStore(tmp_path)
    with pytest.raises(StorageError, match="nothing was published"):
        store.publish("agt_1", 1, adapter(), job_id="job_1", token=5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["agt_1"]


def test_garbage_is_what_no_row_names_and_no_lease_may_write(agent: SimpleNamespace, tmp_path: Path) -> None:
    root = tmp_path / "adapters"
    store = AdapterStore(root)
    for number in (1, 2, 3):
        store.publish("agt_1", number, adapter(), job_id=f"job_{number}", token=number)
    published(agent, 1, token=1)
    with agent.database.session() as session:
        session.execute(sa.update(Job).where(Job.id == "job_2").values(state="leased", token=2))
    for token in (2, 9):
        (root / f".tmp-job_2-{token}").mkdir()
    (root / "notes").mkdir()
    removed = store.collect_garbage(agent.database)
    assert {folder.name for folder in removed} == {"3-3", ".tmp-job_2-9"}
    assert {folder.name for folder in (root / "agt_1").iterdir()} == {"1-1", "2-2"}
    assert {entry.name for entry in root.iterdir()} == {"agt_1", ".tmp-job_2-2", "notes"}
    assert AdapterStore(tmp_path / "nothing").collect_garbage(agent.database) == []


_PUBLISHER = """
import sys
from pathlib import Path
import numpy as np
from agents.adapters import Adapter, AdapterStore, tensor_name
rows = np.ones((8, 60_000), dtype=np.float32)
tensors = {tensor_name(f"m{n}", part): rows if part == "A" else rows.T.copy() for n in range(4) for part in "AB"}
for number in range(1, 1000):
    adapter = Adapter(8, 8.0, "b" * 64, tensors)
    AdapterStore(Path(sys.argv[1])).publish("agt_1", number, adapter, job_id="job_1", token=7)
    print(number, flush=True)
"""


def test_kill_9_leaves_whole_folders_or_none(tmp_path: Path, database: Database) -> None:
    """8 publishers, killed at 8 moments: what has its final name verifies, and all of it is garbage without a row."""
    whole = 0
    for moment in range(8):
        root = tmp_path / str(moment)
        process = subprocess.Popen(
            [sys.executable, "-c", _PUBLISHER, str(root)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        for _ in range(1 + moment % 3):  # each line is one adapter published
            assert process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.001 + 0.015 * moment)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        for folder in sorted((root / "agt_1").glob("*")) if (root / "agt_1").exists() else ():
            read_adapter(folder, base_sha256=BASE)
            whole += 1
        AdapterStore(root).collect_garbage(database)
        assert [entry.name for entry in root.iterdir() if entry.name != "agt_1"] == []
        assert list((root / "agt_1").glob("*")) == []
    assert whole


# -- the pointer ---------------------------------------------------------------------------------------------------


@pytest.fixture
def agent(any_database: Database) -> SimpleNamespace:
    with any_database.session() as session:
        for name in ("nursery", "other"):
            session.add(Model(name=name, kind="engine", base=f"builtin:{name}", lineage=f"builtin:{name}"))
        session.add(User(id="usr_1", handle="ada", name="Ada"))
        session.flush()
        session.add(Agent(id="agt_1", user_id="usr_1", handle="ada", model="nursery"))
        for number in (1, 2, 3):
            session.add(
                Job(
                    id=f"job_{number}", kind="improve", user_id="usr_1", subject_id="agt_1", idempotency_key=str(number)
                )
            )
    return SimpleNamespace(database=any_database, id="agt_1")


def published(
    agent: SimpleNamespace, number: int, *, token: int, parent: str | None = None, model: str = "nursery"
) -> str:
    with agent.database.session() as session:
        row = AdapterVersion(
            id=f"adv_{number}",
            agent_id=agent.id,
            number=number,
            job_id=f"job_{number}",
            token=token,
            parent_id=parent,
            model=model,
            path=f"agt_1/{number}-{token}",
            sha256="a" * 64,
            base_sha256=BASE,
        )
        activate(session, row)
    return f"adv_{number}"


def live(agent: SimpleNamespace) -> tuple[str | None, int]:
    with agent.database.session() as session:
        row = session.get_one(Agent, agent.id)
        return row.live_version_id, row.fence


def test_activation_moves_the_pointer_and_the_fence(agent: SimpleNamespace) -> None:
    first = published(agent, 1, token=3)
    assert live(agent) == (first, 3)
    second = published(agent, 2, token=8, parent=first)
    assert live(agent) == (second, 8)
    with pytest.raises(LeaseLost):
        published(agent, 3, token=7, parent=first)
    assert live(agent) == (second, 8)
    with agent.database.session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(AdapterVersion)) == 2


def test_a_version_goes_live_only_on_top_of_what_it_was_trained_on(agent: SimpleNamespace) -> None:
    first = published(agent, 1, token=1)
    with agent.database.session() as session:
        roll_back(session, agent_id=agent.id)
    with pytest.raises(Conflict, match="another version was made live"):
        published(agent, 2, token=2, parent=first)
    with pytest.raises(Conflict, match="moved to model 'nursery' while this was trained for 'other'"):
        published(agent, 3, token=3, model="other")
    assert live(agent) == (None, 1)
    with agent.database.session() as session:
        assert session.scalars(sa.select(AdapterVersion.id)).all() == [first]


def test_a_version_for_another_model_cannot_be_rolled_back_to(agent: SimpleNamespace) -> None:
    first = published(agent, 1, token=1)
    with agent.database.session() as session:
        roll_back(session, agent_id=agent.id, number=0)
        session.execute(sa.update(Agent).values(model="other"))
    told = "version 1 is for model 'nursery'; this agent is on 'other' now"
    with pytest.raises(Conflict, match=told), agent.database.session() as session:
        roll_back(session, agent_id=agent.id, number=1)
    assert live(agent) == (None, 1)
    with agent.database.session() as session:
        session.execute(sa.update(Agent).values(model="nursery"))
        roll_back(session, agent_id=agent.id, number=1)
    assert live(agent) == (first, 1)


@pytest.mark.parametrize("any_database", ["postgresql"], indirect=True)
def test_an_agent_cannot_move_while_a_version_goes_live(agent: SimpleNamespace) -> None:
    """PostgreSQL lets a publisher commit between what the move has read and what it writes; SQLite does not."""
    with pytest.raises(Conflict, match="fits its present model only"), agent.database.session() as session:
        row = session.get_one(Agent, agent.id)
        published(agent, 1, token=1)
        agent_routes._move(session, row, "other")
    assert live(agent) == ("adv_1", 1)


def test_versions_from_before_belong_to_their_agents_model(any_database: Database) -> None:
    """The second revision, on a database that the first one made."""
    if any_database.is_sqlite:
        any_database.dispose()
        Path(any_database.url.removeprefix("sqlite:///")).unlink()
    with any_database.engine.begin() as connection:
        if not any_database.is_sqlite:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(database_module.__file__).with_name("migrations")))
        command.upgrade(config, "0001")
        for statement in BEFORE.strip().splitlines():
            connection.exec_driver_sql(statement)
    any_database.migrate()
    with any_database.session() as session:
        assert session.get_one(AdapterVersion, "v").model == "m"
        assert session.get_one(Agent, "a").live_version_id == "v"
        assert session.get_one(ChatMessage, "t").adapter_version_id == "v"


BEFORE = """
INSERT INTO users (id, handle, name, admin, created_at) VALUES ('u', 'u', 'U', false, 0)
INSERT INTO models (name, kind, lineage, created_at) VALUES ('m', 'engine', 'l', 0)
INSERT INTO agents (id, user_id, handle, model, fence, instructions, created_at) VALUES ('a', 'u', 'a', 'm', 1, '[]', 0)
INSERT INTO conversations (id, user_id, agent_id, created_at) VALUES ('c', 'u', 'a', 0)
INSERT INTO jobs (id, kind, user_id, subject_id, idempotency_key, payload, state, token, attempts, max_attempts, not_before, cancel_requested, progress, created_at) VALUES ('j', 'improve', 'u', 'a', 'k', '{}', 'done', 1, 1, 5, 0, false, '{}', 0)
INSERT INTO adapter_versions (id, agent_id, number, job_id, token, path, sha256, base_sha256, evaluation, created_at) VALUES ('v', 'a', 1, 'j', 1, 'a/1-1', 's', 'b', '{}', 0)
UPDATE agents SET live_version_id = 'v'
INSERT INTO messages (id, conversation_id, user_id, seq, role, content, memory_ids, adapter_version_id, created_at) VALUES ('t', 'c', 'u', 0, 'assistant', 'hi', '[]', 'v', 0)
"""  # noqa: E501


def test_rolling_back(agent: SimpleNamespace) -> None:
    first = published(agent, 1, token=1)
    second = published(agent, 2, token=2, parent=first)

    def back(number: int | None = None) -> str | None:
        with agent.database.session() as session:
            row = roll_back(session, agent_id=agent.id, number=number)
            return row.id if row else None

    assert back() == first
    assert live(agent) == (first, 2)
    assert back() is None
    assert back() is None
    assert live(agent) == (None, 2)
    assert back(2) == second
    assert back(0) is None
    with pytest.raises(NotFound):
        back(9)
    with pytest.raises(NotFound), agent.database.session() as session:
        roll_back(session, agent_id="agt_none")
