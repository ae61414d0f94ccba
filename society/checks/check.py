"""One claim, and whether it holds: what every kind of check comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CUT = "held back]"
"""How each mark of the guard ends; what stands there was something else."""
Kind = Literal["arithmetic", "calendar", "code", "memory"]


@dataclass(frozen=True, slots=True)
class Check:
    """One claim, as it was written, and whether it holds. `of_question`: the claim is the answer itself, and what is
    written is what the question comes to."""

    kind: Kind
    written: str
    passed: bool
    of_question: bool = False
