"""What this machine could do at best, measured in the run that is compared with it: memory and matrix products."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

_READ_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """Bytes a second of reading memory, and FLOP a second of a large fp32 product, with the threads now set."""

    bandwidth: float
    flops: float

    def __str__(self) -> str:
        return (
            f"this machine now: {self.bandwidth / 1e9:.1f} GB/s read, {self.flops / 1e9:.0f} GFLOP/s fp32, "
            f"{torch.get_num_threads()} thread(s)"
        )

    def seconds(self, *, read: float, flop: float) -> float:
        """The least time for so many bytes read and so many operations."""
        return max(read / self.bandwidth, flop / self.flops)


def measure() -> Machine:
    """The best of five each."""
    long = torch.ones(_READ_BYTES // 4)
    square = torch.randn(1024, 1024)
    return Machine(
        bandwidth=_READ_BYTES / min(_seconds(lambda: long.sum()) for _ in range(5)),
        flops=2 * 1024**3 / min(_seconds(lambda: square @ square) for _ in range(5)),
    )


def _seconds(work: object) -> float:
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started
