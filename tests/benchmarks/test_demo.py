"""The demo's benchmark: however the demo fails, its figure falls short."""

from __future__ import annotations

import pytest

from benchmarks.demo import measure


@pytest.mark.parametrize(("script", "reached"), [("exit 0", True), ("exit 1", False), ("kill -9 $$", False)])
def test_only_status_0_is_a_success(script: str, reached: bool) -> None:
    status, *_ = measure(["sh", "-c", script])
    assert (status.name, status.reached) == ("demo.exit_status", reached)
