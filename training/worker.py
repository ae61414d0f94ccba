"""The worker: claims jobs, runs each in a child process, watches it, and ticks the sweep and the schedules.

Door: `main`, started as `jobs.worker_command()`. It is Celery's solo pool, one job of each kind at a time. Time limits
and revocation do not exist in that pool, so the watching is done here: the lease is extended while the child makes
progress, and a child that is cancelled, hangs or has lost its lease is stopped. Celery's beat runs as a thread of every
worker, and what its tick finds runs in another one, so that nothing waits behind a training but the next one. Torch is
never imported here. A worker that dies takes its child with it, and the ledger hands the job on.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from celery.beat import EmbeddedService, Scheduler
from celery.signals import worker_init, worker_shutdown, worker_shutting_down
from sqlalchemy.exc import OperationalError

from agents.adapters import AdapterStore
from personal_data.database import Database
from personal_data.errors import ConfigurationError, LeaseLost
from personal_data.settings import Settings, load, prepare_data_dir
from training import child, jobs, ledger, schedule
from training.ledger import Lease, Pulse

CHILD = (sys.executable, "-P", "-m", "training.child")
KINDS = tuple(child.RUNNERS)
STALL_S = 1800.0
"""A child whose progress stands still for so long is hung."""
GRACE_S = 20.0
"""What a child gets between SIGTERM and SIGKILL."""
_POLL_S = 0.25
_ERROR_CHARS = 500

log = logging.getLogger("training.worker")

Outcome = Literal["ended", "cancelled", "stalled", "stopping"]


def main() -> None:
    """Run until SIGTERM or SIGINT; a job in hand is given back untried."""
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)  # not a line for every tick
    app.worker_main(
        ["--quiet", "worker", "--pool", "solo", "--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    )


def work(
    settings: Settings,
    database: Database,
    job_id: str,
    *,
    stop: threading.Event,
    command: tuple[str, ...] = CHILD,
    stall_s: float = STALL_S,
) -> None:
    """Claim the job, if it can be had, and see it through in a child process. `stop` hands it back untried."""
    if stop.is_set():
        return
    lease = ledger.claim(database, lease_s=settings.lease_s, job_id=job_id, kinds=KINDS)
    if lease is None:
        return
    log.info("job %s: attempt %d, token %d", lease.job_id, lease.attempts, lease.token)
    record = settings.logs_dir / f"{lease.job_id}-{lease.token}.log"
    heartbeat = functools.partial(_heartbeat, database, lease, settings.lease_s)
    try:
        with _running((*command, lease.job_id, str(lease.token)), record) as process:
            outcome = _watch(process, heartbeat, every_s=settings.lease_s / 3, stall_s=stall_s, stop=stop)
            state = _settle(database, lease, outcome, process, record)
            log.info("job %s: %s, now %s", lease.job_id, outcome, state)
    except LeaseLost:
        log.info("job %s: done with token %d", lease.job_id, lease.token)


def _heartbeat(database: Database, lease: Lease, lease_s: float) -> Pulse | None:
    """None when the database is busy or restarting: the lease may well outlast that."""
    try:
        return ledger.heartbeat(database, lease, lease_s)
    except OperationalError as error:
        log.warning("job %s: a heartbeat failed (%s)", lease.job_id, error.orig)
        return None


@contextmanager
def _running(command: tuple[str, ...], record: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The child in a process group of its own, its output in the file `record`; it is gone when the block is left."""
    with record.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--parent", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for signum, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, signum)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            log.warning("process %d ignores SIGTERM; killing it", process.pid)


def _watch(
    process: subprocess.Popen[bytes],
    heartbeat: Callable[[], Pulse | None],
    *,
    every_s: float,
    stall_s: float,
    stop: threading.Event,
) -> Outcome:
    """Extend the lease until the child ends or has to be ended."""
    seen: dict[str, Any] = {}
    moved_at = time.monotonic()
    while True:
        pulse = heartbeat()
        if pulse is not None and pulse.cancel_requested:
            return "cancelled"
        if pulse is not None and pulse.progress != seen:
            seen, moved_at = pulse.progress, time.monotonic()
        if time.monotonic() - moved_at > stall_s:
            return "stalled"
        if _ended(process, every_s, stop):
            return "ended"
        if stop.is_set():
            return "stopping"


def _ended(process: subprocess.Popen[bytes], within_s: float, stop: threading.Event) -> bool:
    deadline = time.monotonic() + within_s
    while process.poll() is None:
        if stop.wait(_POLL_S) or time.monotonic() > deadline:
            return False
    return True


def _settle(database: Database, lease: Lease, outcome: Outcome, process: subprocess.Popen[bytes], record: Path) -> str:
    """Tell the ledger how the attempt went; returns the job's state. LeaseLost after success: it is finished.

    A child that still runs is stopped only after this, so that it has nothing to write under any more.
    """
    if outcome == "stopping":
        ledger.release(database, lease)
        return "queued"
    if outcome == "stalled":
        return ledger.fail(database, lease, "its progress stood still for too long", retry=True)
    if outcome == "cancelled":
        return ledger.fail(database, lease, "cancelled", retry=False)
    return ledger.fail(database, lease, _cause(process.returncode, record), retry=process.returncode != child.FINAL)


def _cause(status: int, record: Path) -> str:
    if status < 0:
        return f"the job's process was killed by {signal.Signals(-status).name}; see {record.name}"
    with record.open("rb") as output:
        output.seek(max(0, record.stat().st_size - 4 * _ERROR_CHARS))
        lines = output.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last[:_ERROR_CHARS] or f"the job's process ended with status {status} and said nothing"


class ThreadedBeat(Scheduler):  # type: ignore[misc]
    """Celery's beat, running its entries in its own thread instead of sending them.

    A tick that is a message waits behind the training that keeps a solo worker busy, and hundreds pile up; and the
    tick is what makes up for a broker that is away or loses messages, so it must not need one. Nothing is kept on
    disk: whether anything is due is decided in SQL.
    """

    producer = None

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        self.app.tasks[entry.task].apply()


def _run(job_id: str) -> None:
    """A bell was heard, or none was needed. It waits for the job of its kind in hand."""
    kind = ledger.kind_of(database, job_id)
    if kind in _busy:
        with _busy[kind]:
            work(settings, database, job_id, stop=_stop, command=CHILD)


def _tick() -> None:
    """Enqueue what is due and start a job of each idle kind that no bell was heard for: a broken broker only delays,
    and nobody's import waits until somebody else's training is over."""
    for kind in schedule.KINDS:
        schedule.due(database, kind)
    for kind in (kind for kind, busy in _busy.items() if not busy.locked()):
        for job_id in ledger.sweep(database, kinds=[kind], limit=1):
            threading.Thread(target=_run, args=(job_id,), name=job_id).start()


@contextmanager
def _one_line() -> Iterator[None]:
    """What has to be put right before a worker can start is told without a traceback."""
    try:
        yield
    except ConfigurationError as error:
        raise SystemExit(f"folkmoot worker: {error}") from error


def _prepare(**_: Any) -> None:
    with _one_line():
        prepare_data_dir(settings)
        database.migrate()
        for orphan in AdapterStore(settings.adapters_dir).collect_garbage(database):
            log.info("removed %s, which a stopped job left behind", orphan.name)
    EmbeddedService(app, thread=True, scheduler_cls=ThreadedBeat).start()


def _stop_work(**_: Any) -> None:
    _stop.set()


def _await_work(**_: Any) -> None:
    """The job in hand may be in a thread of its own: its child is gone and its lease is back before we are."""
    for busy in _busy.values():
        busy.acquire()
    database.dispose()


with _one_line():
    settings = load()
    database = Database(settings.database)
    app = jobs.build_app(settings)
app.task(name=jobs.RUN)(_run)
app.task(name=jobs.TICK)(_tick)
worker_init.connect(_prepare)
worker_shutting_down.connect(_stop_work)
worker_shutdown.connect(_await_work)
_busy = {kind: threading.Lock() for kind in KINDS}
_stop = threading.Event()

if __name__ == "__main__":
    main()
