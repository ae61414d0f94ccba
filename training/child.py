"""The process of one job: one training, import or reflection, one fresh interpreter, started and watched by a worker.

`python -m training.child JOB_ID TOKEN [--parent PID]`. Exit 0: the job is finished. Otherwise the last line of stderr
says why in one line; exit 65 means that trying again cannot help. It dies with its worker and gives way to the
processes that people wait for. It never extends its own lease: a process that hangs must lose it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from agents.engine.allocator import keep_freed_memory
from personal_data.database import Database
from personal_data.errors import (
    BackendError,
    FolkmootError,
    IndexUnavailable,
    InvalidInput,
    LeaseLost,
    Overloaded,
    StorageError,
)
from personal_data.settings import Settings, load
from personal_data.uploads import remove_upload, uploaded
from training import ledger
from training.ledger import Lease

FINAL = 65
"""Exit status (EX_DATAERR of sysexits.h): trying again cannot help."""
_MAY_PASS = (BackendError, IndexUnavailable, LeaseLost, Overloaded, StorageError)
"""What may be over at the next attempt; every other error of ours will be the same again."""
STOPPED = 128 + signal.SIGTERM
_NICENESS = 10
_PR_SET_PDEATHSIG = 1

Progress = Callable[[str, int, int, str], None]
"""(stage, done, total, note); leaves by SystemExit when the owner has cancelled the job."""
Runner = Callable[[Settings, Database, Lease, Progress], Any]


def main(arguments: list[str] | None = None) -> int:
    """Run one leased job; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.child", description="Run one leased job.")
    parser.add_argument("job_id")
    parser.add_argument("token", type=int)
    parser.add_argument("--parent", type=int, help="process id of the worker to die with")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    try:
        _die_with(options.parent)
        _give_way()
        keep_freed_memory()
        settings = load()
        os.environ.setdefault("OMP_NUM_THREADS", str(settings.training_threads))  # before torch is imported
        database = Database(settings.database)
        lease = ledger.lease_of(database, options.job_id, options.token)
        RUNNERS[lease.kind](settings, database, lease, reporter(database, lease))
    except FolkmootError as error:
        sys.stderr.write(f"{error}\n")
        return 1 if isinstance(error, _MAY_PASS) else FINAL
    return 0


def reporter(database: Database, lease: Lease) -> Progress:
    """What shows progress on the job's row, and notices that its owner has cancelled it."""

    def report(stage: str, done: int, total: int, note: str = "") -> None:
        try:
            cancelled = ledger.progress(database, lease, stage, done, total, note)
        except OperationalError:  # busy or restarting: what is shown may be late, what is published may not
            return
        if cancelled:
            raise SystemExit(STOPPED)

    return report


def _stop(_signal: int, _frame: object) -> None:
    raise SystemExit(STOPPED)


def _die_with(parent: int | None) -> None:
    """Have the kernel kill us when the worker dies, however it dies; it may have done so already."""
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise LeaseLost("the worker died before its child began")


def _give_way() -> None:
    """Run after the processes that answer people, and be the first to go when memory runs out."""
    os.nice(_NICENESS)
    if sys.platform == "linux":
        Path("/proc/self/oom_score_adj").write_text("500")


def _improve(settings: Settings, database: Database, lease: Lease, progress: Progress) -> None:
    from training.improve import improve

    improve(settings, database, lease, progress=progress)


def _import(settings: Settings, database: Database, lease: Lease, progress: Progress) -> None:
    """Look at an upload, or import it: the payload's `step` says which. Unreadable is a result, told on the import."""
    from personal_data.importing import Importing
    from personal_data.memory import open_memory

    importing = Importing(database, open_memory(settings, database))
    import_id = lease.subject_id
    step = importing.run if lease.payload["step"] == "run" else importing.look
    try:
        reports = step(lease.user_id, import_id, uploaded(settings, import_id), progress)
        result = Counter[str](report.status for report in reports)
    except InvalidInput as error:
        importing.fail(lease.user_id, import_id, str(error))
        result = Counter(failed=1)
    with database.session() as session:
        ledger.finish(session, lease, dict(result))
    if lease.payload["step"] == "run":
        remove_upload(settings, import_id)


def _reflect(settings: Settings, database: Database, lease: Lease, progress: Progress) -> None:
    """Draw facts from the owner's turns, where the agent's model is able to. That it is not is a result."""
    import asyncio

    asyncio.run(_reflected(settings, database, lease, progress))


async def _reflected(settings: Settings, database: Database, lease: Lease, progress: Progress) -> None:
    from agents.ability import able_to_reflect
    from agents.models import build_backend
    from agents.reflection import Reflection, asking
    from personal_data.memory import open_memory
    from personal_data.records import Agent

    with database.reading() as session:
        model = session.get_one(Agent, lease.subject_id).model
    backend = build_backend(settings, model)
    try:
        ask = asking(backend)
        progress("try the model", 0, 1, model)
        ability = await able_to_reflect(database, model, ask)
        result: dict[str, Any] = {"model": model, "able": ability.able, "passed": ability.passed, "of": ability.of}
        if ability.able:
            memory, fence = open_memory(settings, database), partial(ledger.fence, lease=lease)
            result |= await Reflection(database, memory, lease.user_id, ask, fence).run(progress)
    finally:
        await backend.aclose()
    with database.session() as session:
        ledger.finish(session, lease, result)


RUNNERS: dict[str, Runner] = {
    "improve": _improve,
    "import": _import,
    "reflect": _reflect,
}

if __name__ == "__main__":
    sys.exit(main())
