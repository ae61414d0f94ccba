"""The engine's thread when an adapter cannot be put into its slot for a reason that nobody foresaw."""

from __future__ import annotations

from pathlib import Path
from queue import Queue

import pytest

from agents.adapters import Adapter
from agents.engine.base import load_base
from agents.engine.generation import Batch, Prompt
from agents.engine.lora import AdapterStack
from agents.engine.residents import Registered, Residents
from agents.engine.scheduler import Job, Scheduler, Told
from agents.messages import SamplingParams
from personal_data.errors import BackendError


class FullMemory(AdapterStack):
    """A stack whose device has no memory left, while `full`."""

    full = True

    def load(self, slot: int, adapter: Adapter) -> None:
        if self.full:
            raise RuntimeError("out of memory")
        super().load(slot, adapter)


def ask(scheduler: Scheduler, adapter: Registered | None) -> Queue[Told]:
    told: Queue[Told] = Queue()
    prompt = Prompt(scheduler.batch.base, (5, 6, 7), SamplingParams(max_tokens=1))
    scheduler.submit(Job([prompt], adapter, told.put))
    return told


def test_an_unforeseen_fault_ends_one_job_and_keeps_its_slot(qwen3_folder: Path, adapters: dict[str, Path]) -> None:
    base = load_base(str(qwen3_folder))
    stack = FullMemory(base, slots=2, rank=8)
    residents = Residents(stack)
    residents.register("a", adapters["adapter-1"])
    scheduler = Scheduler(Batch(base, stack), residents)
    broken = [ask(scheduler, residents.find("a")) for _ in range(2)]
    behind = ask(scheduler, None)
    scheduler.start()
    try:
        for told in broken:
            with pytest.raises(BackendError, match="RuntimeError"):
                raise told.get(timeout=60)  # type: ignore[misc]
        [step] = behind.get(timeout=60)  # type: ignore[misc]
        assert step.finish_reason
        stack.full = False
        [step] = ask(scheduler, residents.find("a")).get(timeout=60)  # type: ignore[misc]
        assert step.finish_reason
    finally:
        scheduler.close()
    assert (scheduler.waiting, residents.resident, residents.pinned) == (0, 1, 0)
