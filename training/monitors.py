"""Stop monitors: when a training must end before its last step, and why.

`after_update` guards every optimiser step of every stage; `after_rollouts` watches what reinforcement learning does to
the policy, `after_scores` whether it plays to its reward. A broken run (`broken` true) yields no candidate; any other
early stop still goes to the gate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean, median

from training.optim import Update
from training.signs import Signs

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
_LASTING = 10
"""Once most is right, few groups have spread: a step's agreement then moves by .2 in an honest run, and comes back."""
_EVALUATION = 4
"""Steps whose mean accuracy is one evaluation: a single step's moves by some .05 by chance."""


@dataclass(slots=True)
class Monitors:
    """Watches one training. Limits are natural-log nats a token and ratios to the mean of the first three steps.

    `agreement_floor` is Spearman's of the advantages with the truth, `agreement_loss` the share of it that may be lost;
    `flat_limit` the share of groups without anything to teach, which reaches .97 where an honest run has
    learned one difficulty; `clip_limit` the share of clipped tokens; `anchor_loss` how much accuracy may be lost while
    the reward rises; `repeated` and `duplicated` the shares of 3-grams and of long completions.
    """

    kl_limit: float = 1.0
    entropy_floor: float = 0.02
    shorter: float = 0.5
    longer: float = 1.5
    agreement_floor: float = 0.4
    agreement_loss: float = 1 / 3
    flat_limit: float = 0.99
    clip_limit: float = 0.3
    anchor_loss: float = 0.1
    repeated: float = 0.1
    duplicated: float = 0.5
    broken: bool = False
    _skipped: int = 0
    _exploded: int = 0
    _norms: list[float] = field(default_factory=list)
    _entropies: list[float] = field(default_factory=list)
    _lengths: list[float] = field(default_factory=list)
    _divergences: list[float] = field(default_factory=list)
    _signs: list[Signs] = field(default_factory=list)

    @property
    def drift(self) -> float | None:
        """KL to the start in nats a token, the median of the last steps; None before the first."""
        return median(self._divergences[-_STEADY:]) if self._divergences else None

    def after_update(self, loss: float, update: Update, *, clipped: float = 0.0) -> str | None:
        """Why to stop after this step, or None. `clipped` is the share of tokens whose ratio was clipped."""
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
        if clipped > self.clip_limit:
            return f"{clipped:.0%} of the tokens were clipped, above {self.clip_limit:.0%}"
        return None

    def after_rollouts(self, *, entropy: float, length: float, kl: float | None) -> str | None:
        """Why to stop before learning from these rollouts, or None. Values are means over the step's tokens or rows."""
        if not math.isfinite(entropy) or (kl is not None and not math.isfinite(kl)):
            self.broken = True
            return "log-probabilities are not finite"
        self._entropies.append(entropy)
        self._lengths.append(length)
        self._divergences += [] if kl is None else [kl]
        if (drift := self.drift) is not None and drift > self.kl_limit:
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

    def after_scores(self, signs: Signs) -> str | None:
        """Why to stop before learning from these scores, or None."""
        self._signs.append(signs)
        if len(self._signs) < _STEADY:
            return None
        return self._anchored() or self._varied()

    def _anchored(self) -> str | None:
        """Whether what is taught parts from the truth."""
        known = [signs.agreement for signs in self._signs if signs.agreement is not None]
        if len(known) >= _STEADY and (agreement := median(known[-_STEADY:])) < self.agreement_floor:
            return f"what is taught agrees with the truth by {agreement:.2f} (Spearman), below {self.agreement_floor}"
        if len(known) >= 2 * _LASTING:
            first, recent = median(known[:_LASTING]), median(known[-_LASTING:])
            if recent < (1 - self.agreement_loss) * first:
                return f"agreement of what is taught with the truth fell from {first:.2f} to {recent:.2f} (Spearman)"
        taught = [signs.taught for signs in self._signs if signs.taught is not None]
        right = [signs.accuracy for signs in self._signs if signs.accuracy is not None]
        if len(taught) != len(right) or len(right) < _START + 2 * _EVALUATION:
            return None
        parted = [_parted(taught, end) > 0 and _parted(right, end) < -self.anchor_loss for end in (_EVALUATION, 0)]
        if all(parted):
            start, recent = fmean(right[:_START]), fmean(right[-_EVALUATION:])
            return f"the reward rose while accuracy fell from {start:.2f} to {recent:.2f}, twice in a row"
        return None

    def _varied(self) -> str | None:
        """Whether the rollouts still differ, within a group and within themselves."""
        flat = fmean(signs.flat for signs in self._signs[-_STEADY:])
        if flat > self.flat_limit:
            return f"{flat:.0%} of the groups have nothing to teach, above {self.flat_limit:.0%}"
        repetitions = [signs.repetition for signs in self._signs]
        start, recent = fmean(repetitions[:_START]), fmean(repetitions[-_RECENT:])
        if recent > max(2 * start, self.repeated):
            return f"repetition went from {start:.2f} to {recent:.2f} of the 3-grams"
        written = [signs.duplicates for signs in self._signs if signs.duplicates is not None][-_STEADY:]
        if len(written) == _STEADY and (share := median(written)) > self.duplicated:
            return f"{share:.0%} of the long completions of a group are equal, above {self.duplicated:.0%}"
        return None


def _parted(values: list[float], end: int) -> float:
    """How far an evaluation, `end` steps ago, is from the start."""
    return fmean(values[len(values) - end - _EVALUATION : len(values) - end]) - fmean(values[:_START])
