"""Stop monitors: when a training must end before its last step, and why.

`after_update` guards every optimiser step of every stage; `after_rollouts` watches what reinforcement learning does to
the policy. A broken run (`broken` true) yields no candidate; any other early stop still goes to the gate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean, median

from training.optim import Update

MAX_SKIPPED = 3
EXPLOSION = 100.0
MAX_EXPLODED = 3
"""One spike is clipped and does no harm: it comes where almost nothing is left to learn and the median is tiny."""
_START = 3
_RECENT = 3
_FEW = 3.0
"""Tokens more that say nothing: a ratio is none of answers of three."""
_STEADY = 5
"""The estimate of KL has heavy tails: one sample in a thousand may say many nats. Its median over 5 steps does not."""


@dataclass(slots=True)
class Monitors:
    """Watches one training. Limits are natural-log nats a token and ratios to the mean of the first three steps."""

    kl_limit: float = 1.0
    entropy_floor: float = 0.02
    shorter: float = 0.5
    longer: float = 1.5
    broken: bool = False
    _skipped: int = 0
    _exploded: int = 0
    _norms: list[float] = field(default_factory=list)
    _entropies: list[float] = field(default_factory=list)
    _lengths: list[float] = field(default_factory=list)
    _divergences: list[float] = field(default_factory=list)

    def after_update(self, loss: float, update: Update) -> str | None:
        """Why to stop after this step, or None."""
        norm = float(update.norms[0])
        if not math.isfinite(loss) or not bool(update.applied.all()):
            self._skipped += 1
            self.broken = self._skipped >= MAX_SKIPPED
            return f"loss or gradient was not finite {self._skipped} times" if self.broken else None
        self._norms.append(norm)
        self._exploded += len(self._norms) > 10 and norm > EXPLOSION * median(self._norms)
        if self._exploded >= MAX_EXPLODED:
            self.broken = True
            return (
                f"gradient norm {norm:.3g} is more than {EXPLOSION:.0f} times its median, {MAX_EXPLODED} times so far"
            )
        return None

    def after_rollouts(self, *, entropy: float, length: float, kl: float | None) -> str | None:
        """Why to stop before learning from these rollouts, or None. Values are means over the step's tokens or rows."""
        if not math.isfinite(entropy) or (kl is not None and not math.isfinite(kl)):
            self.broken = True
            return "log-probabilities are not finite"
        self._entropies.append(entropy)
        self._lengths.append(length)
        self._divergences += [] if kl is None else [kl]
        if self._divergences and (drift := median(self._divergences[-_STEADY:])) > self.kl_limit:
            return f"KL to the start is {drift:.2f} nats a token, above {self.kl_limit}"
        if len(self._lengths) < _START + _RECENT:
            return None
        start, recent = fmean(self._lengths[:_START]), fmean(self._lengths[-_RECENT:])
        if not self.shorter * start <= recent <= max(self.longer * start, start + _FEW):
            return f"mean length went from {start:.1f} to {recent:.1f} tokens"
        start, recent = fmean(self._entropies[:_START]), fmean(self._entropies[-_RECENT:])
        if recent < self.entropy_floor * start:
            return f"entropy collapsed from {start:.3f} to {recent:.3f} nats a token"
        return None
