"""What a process frees, it uses again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.agents.running import ROOT

_FAULTS = """
import resource, sys
from agents.engine.allocator import keep_freed_memory

def touch():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(64 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = keep_freed_memory() if sys.argv[1] == "kept" else None
print(kept, touch(), touch())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator has the setting")
def test_pages_of_freed_memory_are_not_asked_for_again() -> None:
    """64 MiB are 16,384 pages of 4 KiB, or 32 huge ones; the second time they are all there."""
    usual, kept = (
        subprocess.run([sys.executable, "-c", _FAULTS, how], cwd=ROOT, capture_output=True, text=True, check=True)
        for how in ("usual", "kept")
    )
    assert usual.stdout.split()[0] == "None"
    assert kept.stdout.split()[0] == "True"
    first, second = map(int, usual.stdout.split()[1:])
    assert first >= 32
    assert second > first / 2
    first, second = map(int, kept.stdout.split()[1:])
    assert first >= 32
    assert second < first / 4
