"""A real worker whose children count instead of training: `python -m tests.training.drill`.

`python -m tests.training.drill child JOB_ID TOKEN --parent PID` is the child: the real `training.child` with a runner
that does what the job's payload says: {"steps": n, "pause_s": s, "then": "finish" | a word of ENDINGS}.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from personal_data.database import Database
from personal_data.errors import (
    AdapterError,
    BackendError,
    ConfigurationError,
    FolkmootError,
    InvalidInput,
    StorageError,
)
from personal_data.records import Feedback
from personal_data.settings import Settings
from training import child, ledger
from training.ledger import Lease

QUEUE = "DRILL_QUEUE"
"""Variable with the name of a queue of the test's own, on a broker that others use too."""
COMMAND = (sys.executable, "-m", "tests.training.drill", "child")


def record_effect(database: Database, lease: Lease) -> None:
    """One effect, in the transaction that closes the job."""
    with database.session() as session:
        ledger.fence(session, lease)
        session.add(Feedback(user_id=lease.user_id, prompt=[], chosen=lease.job_id))
        ledger.finish(session, lease, {"token": lease.token})


def rehearse(settings: Settings, database: Database, lease: Lease, progress: child.Progress) -> None:
    """Leave our process id for whoever wants to kill us, count, then end as told."""
    (settings.data_dir / f"{lease.job_id}-{lease.token}.pid").write_text(str(os.getpid()))
    steps = lease.payload.get("steps", 1)
    for step in range(steps):
        progress("rehearsal", step, steps, "")
        time.sleep(lease.payload.get("pause_s", 0.0))
    ENDINGS[lease.payload.get("then", "finish")](database, lease)


def _break(_database: Database, _lease: Lease) -> None:
    raise RuntimeError("the optimiser exploded")


def _raises(error: FolkmootError) -> Callable[[Database, Lease], None]:
    def end(_database: Database, _lease: Lease) -> None:
        raise error

    return end


def _misjudge(_database: Database, _lease: Lease) -> None:
    from training.rewards.base import RewardFailed

    raise RewardFailed("a reward broke its contract")


def _forget(_database: Database, _lease: Lease) -> None:
    return


def _hang(_database: Database, _lease: Lease) -> None:
    time.sleep(600)


ENDINGS: dict[str, Any] = {
    "finish": record_effect,
    "break": _break,
    "refuse": _raises(InvalidInput("this agent cannot be trained")),
    "tear": _raises(AdapterError("the live adapter is torn")),
    "misconfigure": _raises(ConfigurationError("no such base")),
    "misjudge": _misjudge,
    "fill the disk": _raises(StorageError("the disk is full")),
    "lose the model": _raises(BackendError("the model server is away")),
    "forget": _forget,
    "hang": _hang,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child.RUNNERS["improve"] = rehearse
        sys.exit(child.main(sys.argv[2:]))
    from training import worker

    worker.CHILD = COMMAND
    worker.app.conf.task_default_queue = os.environ.get(QUEUE, worker.app.conf.task_default_queue)
    worker.main()
