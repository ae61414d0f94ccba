"""The engine's one thread of work: requests wait in a bounded queue, join the running batch, and are told each token.

Door: `Scheduler`. `submit` and `cancel` may be called from any thread; a job's `tell` is called from the engine's one.
Between two decode steps waiting prompts are taken in, as their turn comes (agents/engine/waiting.py), rows and slots
allowing, and a bounded piece of what has been taken in is prefilled. Background jobs never get the last rows.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agents.engine.generation import Batch, Prompt, Step, fits
from agents.engine.residents import Registered, Residents
from agents.engine.waiting import READ, WRITTEN, Entry, FairQueue
from personal_data.errors import AdapterError, BackendError, FolkmootError, Overloaded

log = logging.getLogger(__name__)

_ALONE = 8
"""Pieces at a time when nobody else is there: fewer forwards, and still a bound on what one forward takes."""
_PATIENCE = 64
"""How often others may go before a prompt whose adapter finds no slot."""

Told = Sequence[Step] | FolkmootError
"""What a job is told: what its samples got in one step, or why nothing more will come."""


@dataclass(eq=False)
class Job:
    """One request: prompts under one adapter. `tell` receives steps until every sample is done, or one error.

    A job that is not `live` is told all steps of a prompt at its end. A lower `priority` number goes first; above 0 is
    background.
    """

    prompts: list[Prompt]
    adapter: Registered | None
    tell: Callable[[Told], object] = lambda _: None
    live: bool = True
    priority: int = 0
    cancelled: bool = False
    failed: bool = False
    untold: list[Step] = field(default_factory=list)


@dataclass
class Counts:
    """What /metrics shows; written by the engine's thread only, but for `rejected`."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: Job
    prompt: Prompt


@dataclass
class Scheduler:
    """Runs a batch in a thread of its own.

    Args:
        max_rows: samples that decode together.
        max_waiting: prompts that may wait; more are refused.
        piece: tokens prefilled between two decode steps; on a CPU 128 take as long as about ten steps of one row.
    """

    batch: Batch
    residents: Residents
    max_rows: int = 64
    max_waiting: int = 256
    piece: int = 128
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: FairQueue[_Waiting] = FairQueue()
        self._running: dict[Prompt, Job] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def waiting(self) -> int:
        """Prompts in the queue."""
        return len(self._waiting)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread after its current step; jobs that have not ended are told so."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def submit(self, job: Job) -> None:
        """Put a job's prompts into the queue.

        Raises:
            Overloaded: the queue is full.
            BackendError: the engine is shutting down.
        """
        with self._changed:
            if self._closed:
                raise BackendError("the engine is shutting down")
            if not self._fits_queue(job):
                self.counts.rejected += 1
                raise Overloaded("the engine's queue is full; try again in a moment", retry_after=1.0)
            for prompt in job.prompts:
                self._waiting.push(_Waiting(job, prompt), key=job.adapter, priority=job.priority)
            self._changed.notify()

    def _fits_queue(self, job: Job) -> bool:
        """Background leaves a quarter of the queue free, and of rows and of slots."""
        if job.priority > 0 and self._waiting.background + len(job.prompts) > _share(self.max_waiting):
            return False
        return len(self._waiting) + len(job.prompts) <= self.max_waiting

    def cancel(self, job: Job) -> None:
        """Free what a job holds before the next step; nothing happens when it has ended."""
        with self._changed:
            job.cancelled = True
            self._changed.notify()

    def _run(self) -> None:
        while self._await_work():
            try:
                self._turn()
            except Exception as error:  # the thread's outermost edge: one fault must not end all service
                log.exception("the engine's step failed; %d prompts are lost", len(self._running))
                self._abandon(BackendError(f"the engine failed: {type(error).__name__}"))
        self._abandon(BackendError("the engine is shutting down"))

    def _await_work(self) -> bool:
        with self._changed:
            while not (self._closed or len(self._waiting) or self._running):
                self._changed.wait()
            return not self._closed

    def _turn(self) -> None:
        self._drop_cancelled()
        self._prefill()
        if self.batch.rows:
            self._tell(self.batch.step())

    def _prefill(self) -> None:
        """Read about a piece of prompts. What arrives meanwhile, while half of it is left, need not wait for a step."""
        end = self.batch.prefilled + self.piece
        while (left := end - self.batch.prefilled) >= self.piece / 2:
            if group := self._next_group():
                self.batch.admit(group, priority=self._running[group[0]].priority)
            if not self.batch.promised:
                return
            alone = not (self.batch.rows or len(self._waiting) or self.batch.prefills > 1)
            self._tell(self.batch.prefill(_ALONE * self.piece if alone else left))

    def _drop_cancelled(self) -> None:
        for prompt in [prompt for prompt, job in self._running.items() if job.cancelled]:
            self.batch.leave(prompt)
            self._end(prompt)
            self.counts.cancelled += 1
        with self._changed:
            self.counts.cancelled += len(self._waiting.discard(lambda item: item.job.cancelled))

    def _next_group(self) -> list[Prompt]:
        """Prompts whose turn it is, all of one priority, to be prefilled together.

        They are few: beyond half a piece, to read two prompts at once takes as long as one after the other, and the
        first would wait for the second.
        One whose adapter finds no slot is passed over, a bounded number of times, by those whose adapter has one.
        """
        group: list[Prompt] = []
        taken = self.batch.rows + self.batch.promised
        with self._changed:
            entries = self._waiting.in_turn()
        blocked: list[Entry[_Waiting]] = []
        for entry in entries:
            job, prompt = entry.item.job, entry.item.prompt
            if job.failed:
                continue
            if group and job.priority != self._running[group[0]].priority:
                break
            if not fits(group, prompt, self._room(job, prompt) - taken, tokens=self.piece // 2):
                break
            seated = self._seat(entry)
            if seated:
                group.append(prompt)
                taken += prompt.n
                for other in blocked:
                    other.passed += 1
            elif not job.failed:
                blocked.append(entry)
                if entry.passed >= _PATIENCE:
                    break
        if group:
            self._follow_adapters()
        return group

    def _seat(self, entry: Entry[_Waiting]) -> bool:
        """Pin the adapter of a prompt and let it run; False when no slot is free, or when its job has failed."""
        job, prompt = entry.item.job, entry.item.prompt
        try:
            if not self._may_pin(job) or not self.residents.acquire(job.adapter):
                return False
        except AdapterError as error:
            self._fail(job, error)
            return False
        except Exception as error:  # whatever is wrong with one job's adapter, those behind it must not wait for it
            log.exception("an adapter could not be put into its slot")
            self._fail(job, BackendError(f"the engine failed: {type(error).__name__}"))
            return False
        self._running[prompt] = job
        with self._changed:
            self._waiting.take(entry)
            self._waiting.charge(job.adapter, job.priority, READ * len(prompt.ids))
        return True

    def _may_pin(self, job: Job) -> bool:
        residents = self.residents
        return job.priority <= 0 or residents.is_pinned(job.adapter) or residents.pinned < _share(residents.limit)

    def _room(self, job: Job, prompt: Prompt) -> int:
        """Rows that may be in use with a prompt's own; one that is larger than background's share may have all."""
        share = _share(self.max_rows)
        return self.max_rows if job.priority <= 0 or prompt.n > share else share

    def _follow_adapters(self) -> None:
        """Adapters move between slots when one is pinned or released."""
        for prompt, job in self._running.items():
            prompt.slot = self.residents.slot(job.adapter)
        self.batch.replan()

    def _tell(self, steps: Sequence[Step]) -> None:
        """Tell each job its part, and let go of prompts whose samples are all done."""
        parts: dict[Prompt, list[Step]] = {}
        for step in steps:
            parts.setdefault(step.prompt, []).append(step)
        for prompt, part in parts.items():
            if (job := self._running.get(prompt)) is None:  # another prompt of its job has just failed
                continue
            self.counts.completion_tokens += len(part)
            with self._changed:
                self._waiting.charge(job.adapter, job.priority, WRITTEN * len(part))
            if any(step.sample.failed for step in part):
                self.batch.leave(prompt)
                self._fail(job, BackendError("the model gives values that are not finite; its adapter has diverged"))
                continue
            ended = all(sample.done for sample in prompt.samples)
            job.untold += part
            if job.live or ended:
                told, job.untold = job.untold, []
                self._say(job, told)
            if ended:
                self._end(prompt)
                self.counts.finished += 1
                self.counts.prompt_tokens += len(prompt.ids)

    def _fail(self, job: Job, error: FolkmootError) -> None:
        """End a whole job with an error: its running prompts and those that still wait."""
        for prompt in [prompt for prompt, owner in self._running.items() if owner is job]:
            self.batch.leave(prompt)
            self._end(prompt)
        with self._changed:
            self._waiting.discard(lambda item: item.job is job)
        self.counts.failed += 1
        job.failed = True
        self._say(job, error)

    @staticmethod
    def _say(job: Job, told: Told) -> None:
        """Tell a job. One that cannot hear any more, for instance because its event loop has closed, is cancelled."""
        try:
            job.tell(told)
        except Exception:  # somebody else's code: what is wrong with one listener must not end all service
            log.exception("a job could not be told; it is cancelled")
            job.cancelled = True

    def _end(self, prompt: Prompt) -> None:
        job = self._running.pop(prompt)
        self.residents.release(job.adapter)
        with self._changed:
            self._waiting.leave(job.adapter, job.priority)
        self._follow_adapters()

    def _abandon(self, error: FolkmootError) -> None:
        """Tell every running job, and at shutdown every waiting one, that it is lost."""
        self.batch.clear()
        jobs = set(self._running.values())
        if self._closed:
            jobs |= {item.job for item in self._waiting}
        for job in jobs:
            self._fail(job, error)


def _share(whole: int) -> int:
    """What background may have of something."""
    return whole - whole // 4
