"""What a running debate holds: clients, texts, clocks. LangGraph never stores it; ids alone travel in its state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy.orm import Session

from agents.personal import PersonalAgent
from personal_data.database import Database
from personal_data.records import Debate
from society.checks.computed import Computed
from society.learning import Learned
from society.state import Plan


class Directory(Protocol):
    """Where a debate finds its members."""

    def by_id(self, agent_id: str) -> PersonalAgent: ...


@dataclass(frozen=True, slots=True)
class Room:
    """Everything a running debate needs. `fence` raises LeaseLost when another process has taken the debate over;
    `finish` closes its job in the verdict's own transaction."""

    database: Database
    directory: Directory
    debate: Debate
    plan: Plan
    audience: str
    learned: Learned
    """What the society's history up to the question says of who is right."""
    solo: bool
    """Whether the asker's own agent is trusted as much as the society is to be sure: it sits first then."""
    silent: frozenset[str]
    """Members that look into no memories here."""
    closes_at: float
    """On the monotonic clock."""
    fence: Callable[[Session], None]
    finish: Callable[[Session], None]
    computed: Computed | None
    """What the question itself comes to, where a machine can tell."""
    checking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a member's code is run: one debate runs one at a time."""
    faults: list[BaseException] = field(default_factory=list)
    """What went wrong on our side while members thought; nothing is aggregated then."""

    def remaining_s(self) -> float:
        return max(0.05, self.closes_at - time.monotonic())
