"""The allocator of a process that computes.

glibc gives large blocks back to the system when they are freed, and the next forward pays a page fault for every 4 KiB
that it touches again: a prefill of 2,048 tokens takes a quarter longer.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process reuse what it frees; its resident memory stays at its peak. False where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _NEVER) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
