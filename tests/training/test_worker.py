"""The worker over real processes: Celery, its child, kill -9 of either, stalls, cancels, two workers at once."""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from agents.adapters import AdapterStore
from personal_data.database import Database
from personal_data.errors import LeaseLost
from personal_data.records import AdapterVersion, Agent, Feedback, Job, Model, User
from personal_data.settings import Settings
from personal_data.settings import load as load_settings
from tests.conftest import require_server
from tests.training import drill
from training import child, jobs, ledger, worker

WORKER = [sys.executable, "-m", "tests.training.drill"]
Start = Callable[..., subprocess.Popen[bytes]]
PATIENCE_S = 60.0
LONG_S = 180.0
"""Training processes are nice: on a machine with much else to do they start slowly."""


@pytest.fixture
def brisk(database: Database, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Short leases and quick sweeps, for this process and for the workers that it starts."""
    monkeypatch.setenv("FOLKMOOT_LEASE_S", "3")
    monkeypatch.setenv("FOLKMOOT_SWEEP_S", "0.5")
    with database.session() as session:
        session.add(User(id="usr_ada", handle="ada", name="Ada"))
    return load_settings()


@pytest.fixture
def workers(brisk: Settings) -> Iterator[Start]:
    """Starts real workers, of the drill or with another command; kills whatever is left of them."""
    started: list[subprocess.Popen[bytes]] = []

    def start(command: Sequence[str] = WORKER) -> subprocess.Popen[bytes]:
        with (brisk.logs_dir / f"worker-{len(started)}.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def enqueue(
    database: Database, key: str = "k", *, subject: str = "agt_ada", attempts: int = 5, **payload: object
) -> str:
    with database.session() as session:
        return ledger.enqueue(
            session,
            kind="improve",
            user_id="usr_ada",
            subject_id=subject,
            idempotency_key=key,
            payload=payload,
            max_attempts=attempts,
        ).id


def job(database: Database, job_id: str) -> Job:
    with database.session() as session:
        return session.get_one(Job, job_id)


def effects(database: Database, job_id: str) -> int:
    with database.session() as session:
        return session.scalars(sa.select(sa.func.count()).where(Feedback.chosen == job_id)).one()


def until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    give_up = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up, f"waited {patience_s:g} s for {what}"
        time.sleep(0.05)


def wait_for_state(database: Database, job_id: str, state: str, patience_s: float = PATIENCE_S) -> Job:
    until(lambda: job(database, job_id).state == state, f"state {state} of {job_id}", patience_s)
    return job(database, job_id)


def wait_for_child(settings: Settings, job_id: str, token: int) -> int:
    """Process id of the child that runs this attempt, once it is at work."""
    path = settings.data_dir / f"{job_id}-{token}.pid"
    until(lambda: path.exists() and path.read_text(), f"child of token {token}")
    return int(path.read_text())


def child_of(worker_pid: int) -> int | None:
    """Process id of the training that a worker runs."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == worker_pid and b"training.child" in (stat.parent / "cmdline").read_bytes():
                return int(stat.parent.name)
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
    return None


def add_agent(database: Database, name: str, **fields: object) -> str:
    with database.session() as session:
        if session.get(Model, "m") is None:
            session.add(Model(name="m", kind="engine", lineage="l"))
        if session.get(User, f"usr_{name}") is None:
            session.add(User(id=f"usr_{name}", handle=name, name=name.title()))
        session.flush()
        session.add(Agent(id=f"agt_{name}", user_id=f"usr_{name}", handle=name, model="m", **fields))
    return f"agt_{name}"


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def work(settings: Settings, database: Database, job_id: str, stall_s: float = 60.0) -> Job:
    """One attempt in this process, with a real child."""
    worker.work(settings, database, job_id, stop=threading.Event(), command=drill.COMMAND, stall_s=stall_s)
    return job(database, job_id)


def test_a_child_finishes_its_job(brisk: Settings, database: Database) -> None:
    job_id = enqueue(database, steps=3)
    row = work(brisk, database, job_id)
    assert (row.state, row.result, row.attempts) == ("done", {"token": 1}, 1)
    assert effects(database, job_id) == 1
    assert work(brisk, database, job_id).attempts == 1


def test_an_error_is_kept_in_one_line_and_tried_again(brisk: Settings, database: Database) -> None:
    row = work(brisk, database, enqueue(database, then="break"))
    assert (row.state, row.error) == ("queued", "RuntimeError: the optimiser exploded")
    assert "Traceback" in (brisk.logs_dir / f"{row.id}-1.log").read_text()


@pytest.mark.parametrize(
    ("then", "error"),
    [
        ("refuse", "this agent cannot be trained"),
        ("tear", "the live adapter is torn"),
        ("misconfigure", "no such base"),
        ("misjudge", "a reward broke its contract"),
    ],
)
def test_what_will_be_the_same_again_is_not_tried_again(
    brisk: Settings, database: Database, then: str, error: str
) -> None:
    row = work(brisk, database, enqueue(database, then=then))
    assert (row.state, row.error) == ("failed", error)


@pytest.mark.parametrize("then", ["fill the disk", "lose the model"])
def test_what_may_pass_is_tried_again(brisk: Settings, database: Database, then: str) -> None:
    assert work(brisk, database, enqueue(database, then=then)).state == "queued"


def test_a_child_that_ends_without_finishing_has_failed(brisk: Settings, database: Database) -> None:
    row = work(brisk, database, enqueue(database, then="forget", attempts=1))
    assert row.state == "dead"
    assert row.error is not None and row.error.endswith("the job's process ended with status 0 and said nothing")


def test_a_hung_child_loses_its_lease_although_its_worker_lives(
    brisk: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly it starts: hours go by as soon as it is at work, and none before."""
    job_id = enqueue(database, then="hang")
    started, hours = brisk.data_dir / f"{job_id}-1.pid", itertools.count(step=3600.0)

    def clock() -> float:
        return time.monotonic() + (next(hours) if started.exists() and started.read_text() else 0.0)

    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=clock))
    row = work(brisk, database, job_id, stall_s=worker.STALL_S)
    assert (row.state, row.error) == ("queued", "its progress stood still for too long")
    assert is_gone(int(started.read_text()))


class FaultyDatabase(Database):
    """A database that is away for a while: the sessions of these numbers fail, as they do while a server restarts."""

    away: frozenset[int] = frozenset()
    opened = 0

    @contextmanager
    def session(self) -> Iterator[Session]:
        self.opened += 1
        if self.opened in self.away:
            raise OperationalError("BEGIN", {}, sqlite3.OperationalError("database is locked"))
        with super().session() as session:
            yield session


def test_a_database_that_is_away_for_a_moment_costs_no_attempt(brisk: Settings, database: Database) -> None:
    faulty = FaultyDatabase(database.url)
    faulty.away = frozenset({2, 3})  # the first two heartbeats
    row = work(brisk, faulty, enqueue(database, steps=2, pause_s=0.5))
    assert (row.state, row.attempts) == ("done", 1)
    assert faulty.opened > 2


def test_progress_that_cannot_be_shown_stops_no_training(brisk: Settings, database: Database) -> None:
    enqueue(database)
    lease = ledger.claim(database, lease_s=60.0)
    assert lease is not None
    faulty = FaultyDatabase(database.url)
    faulty.away = frozenset({1})
    report = child.reporter(faulty, lease)
    report("rehearsal", 1, 2, "")
    assert job(database, lease.job_id).progress == {}
    report("rehearsal", 1, 2, "")
    assert job(database, lease.job_id).progress["done"] == 1


def test_another_kind_of_job_is_left_to_others(brisk: Settings, database: Database) -> None:
    with database.session() as session:
        job_id = ledger.enqueue(session, kind="debate", user_id="usr_ada", subject_id="d", idempotency_key="d").id
    assert work(brisk, database, job_id).state == "queued"


def test_a_stale_token_starts_nothing(brisk: Settings, database: Database) -> None:
    job_id = enqueue(database)
    answer = subprocess.run([*drill.COMMAND, job_id, "7"], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 1
    assert answer.stderr == f"job {job_id}: the lease with token 7 is gone; stop and publish nothing\n"


def test_the_real_child_runs_the_real_improvement(brisk: Settings, database: Database) -> None:
    """Nothing of the drill here: an agent that does not exist is refused by training itself."""
    job_id = enqueue(database, subject="agt_nobody")
    worker.work(brisk, database, job_id, stop=threading.Event(), stall_s=60.0)
    row = job(database, job_id)
    assert (row.state, row.error) == ("failed", "no agent agt_nobody")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("FOLKMOOT_DATA_DIR", "/proc/nowhere", "set FOLKMOOT_DATA_DIR to a folder"),
        ("FOLKMOOT_BROKER_URL", "sqs://", "broker_url must begin with one of"),
    ],
)
def test_what_keeps_a_worker_from_starting_is_one_line(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    command = [sys.executable, "-W", "ignore", *jobs.worker_command()[1:]]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1 and says in answer.stderr


def test_kill_9_of_worker_and_child_in_turn_still_gives_one_effect(
    brisk: Settings, database: Database, workers: Start
) -> None:
    job_id = enqueue(database, steps=6, pause_s=0.5)
    first = workers()
    jobs.nudge(job_id, brisk)
    os.kill(wait_for_child(brisk, job_id, 1), signal.SIGKILL)
    pid = wait_for_child(brisk, job_id, 2)
    assert job(database, job_id).error == "the job's process was killed by SIGKILL; see " + f"{job_id}-1.log"
    first.kill()
    until(lambda: is_gone(pid), "the kernel to take the child with its worker")
    second = workers()
    pid = wait_for_child(brisk, job_id, 3)
    second.kill()
    os.kill(pid, signal.SIGKILL)
    workers()
    row = wait_for_state(database, job_id, "done")
    assert row.attempts >= 4
    assert row.result == {"token": row.token}
    assert effects(database, job_id) == 1


@pytest.mark.timeout(600)
def test_kill_9_of_worker_and_child_during_a_real_improvement(
    brisk: Settings, database: Database, tmp_path: Path, workers: Start
) -> None:
    """Nothing of the drill here: real workers train a tiny base, and whatever is killed, one version comes out."""
    from tests.agents.tiny import save_qwen3

    base = save_qwen3(tmp_path / "base", max_position_embeddings=512)
    (brisk.data_dir / "folkmoot.toml").write_text(
        f'default_model = "m"\n[models.m]\nkind = "engine"\nbase = "{base}"\n'
    )
    add_agent(database, "ada")
    with database.session() as session:
        for place in range(40):
            prompt = [{"role": "user", "content": f"question {place}"}]
            session.add(Feedback(user_id="usr_ada", prompt=prompt, chosen="yes :)", rejected="no"))
    evaluation = {"per_family": 1, "recall": 2, "work_tokens": 8}
    job_id = enqueue(database, stages=["preferences"], seed=3, evaluation=evaluation)

    def training(worker_pid: int, token: int) -> int:
        """Process id of the attempt, in the middle of its training."""
        until(
            lambda: (row := job(database, job_id)).token == token and row.progress.get("stage") == "preferences",
            f"attempt {token} to train",
            LONG_S,
        )
        pid = child_of(worker_pid)
        assert pid is not None
        return pid

    first = workers(jobs.worker_command())
    jobs.nudge(job_id, brisk)
    os.kill(training(first.pid, 1), signal.SIGKILL)
    pid = training(first.pid, 2)
    first.kill()
    until(lambda: is_gone(pid), "the kernel to take the child with its worker")
    for orphan in ("agt_ada/1-99", ".tmp-job_x-98"):  # as an attempt leaves them that is killed while it publishes
        (brisk.adapters_dir / orphan).mkdir(parents=True)
    workers(jobs.worker_command())
    wait_for_state(database, job_id, "done", LONG_S)
    with database.session() as session:
        (version,) = session.scalars(sa.select(AdapterVersion))
        assert session.get_one(Agent, "agt_ada").live_version_id == version.id
    AdapterStore(brisk.adapters_dir).verify(version)
    left = [str(folder.relative_to(brisk.adapters_dir)) for folder in brisk.adapters_dir.glob("*/*-*")]
    assert left == [version.path]
    assert [entry.name for entry in brisk.adapters_dir.iterdir()] == ["agt_ada"]


def test_a_schedule_is_ticked_by_celery_beat(brisk: Settings, database: Database, workers: Start) -> None:
    agent_id = add_agent(database, "ada", improve_every_s=3600.0, schedule_from=time.time() - 1.0)
    workers()
    scheduled = sa.select(Job.state).where(Job.subject_id == agent_id, Job.kind == "improve")

    def states() -> Sequence[str]:
        with database.session() as session:
            return session.scalars(scheduled).all()

    until(lambda: states() == ["done"], "the scheduled improvement to end")


def test_nothing_stands_still_while_a_job_runs_that_the_tick_has_found(
    brisk: Settings, database: Database, workers: Start
) -> None:
    workers()
    running = enqueue(database, then="hang")
    wait_for_child(brisk, running, 1)
    agent_id = add_agent(database, "bob", improve_every_s=3600.0, schedule_from=time.time() - 1.0)
    lapsed = enqueue(database, "lapsed", subject="agt_cleo", attempts=1)
    assert ledger.claim(database, lease_s=0.1, job_id=lapsed) is not None
    wait_for_state(database, lapsed, "dead")

    def due() -> bool:
        with database.session() as session:
            return session.scalar(sa.select(Job.id).where(Job.subject_id == agent_id)) is not None

    until(due, "the other agent's improvement to become due")
    assert job(database, running).state == "leased"


def test_two_workers_and_too_many_bells_give_one_effect_a_job(
    brisk: Settings, database: Database, workers: Start
) -> None:
    workers(), workers()
    job_ids = [enqueue(database, str(number), subject=f"agt_{number % 2}") for number in range(3)]
    for job_id in job_ids * 3:
        jobs.nudge(job_id, brisk)
    for job_id in job_ids:
        row = wait_for_state(database, job_id, "done")
        assert row.result == {"token": row.token}
    assert [effects(database, job_id) for job_id in job_ids] == [1, 1, 1]


def test_a_zombie_that_was_frozen_past_its_lease_cannot_finish(brisk: Settings, database: Database) -> None:
    """The worker is gone and its child frozen in the middle: when it thaws, another attempt has the job."""
    job_id = enqueue(database, steps=2, pause_s=2.0)
    lease = ledger.claim(database, lease_s=1.0, job_id=job_id)
    assert lease is not None
    zombie = subprocess.Popen([*drill.COMMAND, job_id, str(lease.token)], stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: job(database, job_id).progress, "its first step")
        time.sleep(0.2)  # it pauses now, and holds no lock on the database
        zombie.send_signal(signal.SIGSTOP)
        until(lambda: ledger.sweep(database, renudge_s=0.0) == [job_id], "the lease to run out")
        heir = ledger.claim(database, lease_s=60.0, job_id=job_id)
        assert heir is not None
        zombie.send_signal(signal.SIGCONT)
        _, errors = zombie.communicate(timeout=PATIENCE_S)
    finally:
        zombie.kill()
        zombie.wait()
    assert zombie.returncode == 1 and "the lease with token 1 is gone" in errors
    assert effects(database, job_id) == 0
    drill.record_effect(database, heir)
    with pytest.raises(LeaseLost):
        drill.record_effect(database, lease)
    assert effects(database, job_id) == 1


def test_cancel_stop_and_sweep_of_a_real_worker(brisk: Settings, database: Database, workers: Start) -> None:
    """No bell is rung here: beat's sweep finds the jobs."""
    process = workers()
    unwanted = enqueue(database, "1", then="hang")
    pid = wait_for_child(brisk, unwanted, 1)
    with database.session() as session:
        ledger.cancel(session, unwanted)
    wait_for_state(database, unwanted, "cancelled")
    until(lambda: is_gone(pid), "the cancelled child to stop")
    interrupted = enqueue(database, "2", subject="agt_bob", then="hang", attempts=1)
    pid = wait_for_child(brisk, interrupted, 1)
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    assert is_gone(pid)
    row = job(database, interrupted)
    assert (row.state, row.attempts) == ("queued", 0)


def test_a_broker_that_is_away_only_delays(
    brisk: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    workers: Start,
) -> None:
    with socket.socket() as nobody:  # bound but not listening: refused
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FOLKMOOT_BROKER_URL", f"redis://127.0.0.1:{nobody.getsockname()[1]}/0")
        process = workers()
        job_id = enqueue(database)
        jobs.nudge(job_id, load_settings())
        wait_for_state(database, job_id, "done")
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def test_hostile_messages_run_nothing_and_stop_nothing(
    brisk: Settings, database: Database, tmp_path: Path, workers: Start
) -> None:
    """Pickle and YAML bodies, an unknown task, wrong arguments, half a file: the next bell is heard all the same."""
    sentinel = tmp_path / "sentinel"
    pickled = b"cposix\nsystem\n(S'touch " + str(sentinel).encode() + b"'\ntR."
    yaml = f"!!python/object/apply:os.system ['touch {sentinel}']".encode()
    app = jobs.build_app(brisk)
    with app.connection_for_write() as connection:
        producer = connection.Producer(routing_key=jobs.QUEUE)
        headers = {"task": jobs.RUN, "id": "x", "lang": "py"}
        for content_type, body in (("application/x-python-serialize", pickled), ("application/x-yaml", yaml)):
            producer.publish(body, content_type=content_type, content_encoding="binary", headers=headers)
    app.send_task("os.system", args=[f"touch {sentinel}"])
    app.send_task(jobs.RUN, args=[{"not": "an id"}, "too many"])
    (brisk.broker_dir / f"0_half.{jobs.QUEUE}.msg").write_text("{")
    process = workers()
    job_id = enqueue(database)
    jobs.nudge(job_id, brisk)
    wait_for_state(database, job_id, "done")
    until(lambda: not list(brisk.broker_dir.glob("*.msg")), "every message to be taken")
    assert process.poll() is None
    assert not sentinel.exists()


@pytest.fixture(
    params=[
        ("Redis", 6379, "redis://127.0.0.1:6379/13"),
        ("RabbitMQ", 5672, "amqp://guest:guest@127.0.0.1:5672//"),
    ],
    ids=["redis", "rabbitmq"],
)
def brokered(request: pytest.FixtureRequest, brisk: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A broker with a queue of the test's own, and a sweep that sleeps: only the message can start a job."""
    name, port, url = request.param
    require_server(name, port)
    queue = f"folkmoot-test-{secrets.token_hex(6)}"
    monkeypatch.setenv("FOLKMOOT_BROKER_URL", url)
    monkeypatch.setenv("FOLKMOOT_SWEEP_S", "600")
    monkeypatch.setenv(drill.QUEUE, queue)
    settings = load_settings()
    app = jobs.build_app(settings)
    app.conf.task_default_queue = queue
    yield settings
    with app.connection_for_write() as connection:
        app.amqp.queues[queue](connection.default_channel).delete()
        if name == "Redis":
            connection.default_channel.client.delete(f"_kombu.binding.{queue}", f"_kombu.binding_permanent.{queue}")


def test_the_bell_is_heard_through_a_broker(brokered: Settings, database: Database, workers: Start) -> None:
    job_id = enqueue(database)
    process = workers()
    jobs.nudge(job_id, brokered)
    wait_for_state(database, job_id, "done")
    assert effects(database, job_id) == 1
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
