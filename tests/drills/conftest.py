"""The API of `tests/api` for drills that need no processes of their own."""

from __future__ import annotations

from tests.api.conftest import api_settings, model, platform

__all__ = ["api_settings", "model", "platform"]
