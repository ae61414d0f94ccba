"""The gate: may this candidate replace what is live? Pure decisions on paired measurements.

Every check names what it compared, with n, before and after. An adapter passes when its target improved beyond chance
and no safety check failed; otherwise it is refused, with the reasons. Door: `decide`; the other functions make checks.
It measures nothing itself and knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, variance
from typing import Any

from training.diversity import Distinct

SIGNIFICANCE = 0.05
TOLERANCE = 0.05
NLL_TOLERANCE = 0.02
LENGTH_RANGE = (0.8, 1.25)
DISTINCT_RATIO = 0.9
REWARD_GAP = 0.10
MOST_CANARIES = 0.02
ONE_SIDED_95 = 1.645


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison of candidate (`after`) with incumbent (`before`) over `n` items."""

    name: str
    ok: bool
    before: float | None
    after: float | None
    n: int
    note: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's decision; `reasons` are the failed checks, or what improved."""

    passed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]

    def record(self) -> dict[str, Any]:
        """As stored with the run."""
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}


def decide(target: Check, safety: Sequence[Check]) -> Verdict:
    """Pass when the target improved and nothing else failed."""
    failed = [check for check in (target, *safety) if not check.ok]
    told = failed or [target]
    return Verdict(not failed, tuple(f"{check.name}: {check.note}" for check in told), (target, *safety))


def sign_test(wins: int, losses: int) -> float:
    """One-sided probability of at least this many wins if wins and losses were equally likely; ties left out."""
    trials = wins + losses
    return float(sum(math.comb(trials, k) for k in range(wins, trials + 1)) / 2**trials)


def improved(name: str, before: Sequence[bool], after: Sequence[bool]) -> Check:
    """Paired: more items gained than lost, beyond chance."""
    wins, losses = _discordant(before, after)
    chance = sign_test(wins, losses)
    start, end = fmean(before), fmean(after)
    note = f"{start:.3f} -> {end:.3f} (n={len(before)}, {wins} gained, {losses} lost, p={chance:.3f})"
    return Check(name, chance < SIGNIFICANCE, start, end, len(before), note)


def preferred_more(name: str, before: Sequence[float], after: Sequence[float]) -> Check:
    """Paired margins log p(chosen) - log p(rejected), one a prompt: they must grow, beyond chance, on held-out prompts.

    `before` and `after` of the check are the shares of prompts whose chosen answer is the more probable one.
    """
    wins = sum(late > early for early, late in zip(before, after, strict=True))
    losses = sum(late < early for early, late in zip(before, after, strict=True))
    chance = sign_test(wins, losses)
    start, end = fmean(margin > 0 for margin in before), fmean(margin > 0 for margin in after)
    note = f"margin grew on {wins} of {len(before)} held-out prompts, fell on {losses} (p={chance:.3f})"
    return Check(name, chance < SIGNIFICANCE and end >= start, start, end, len(before), note)


def likelier(name: str, before: Sequence[float], after: Sequence[float]) -> Check:
    """Paired negative log-likelihoods a token: fell on more items than it rose, beyond chance, and on average."""
    pairs = list(zip(before, after, strict=True))
    wins, losses = sum(late < early for early, late in pairs), sum(late > early for early, late in pairs)
    chance = sign_test(wins, losses)
    start, end = fmean(before), fmean(after)
    note = f"{start:.3f} -> {end:.3f} nats a token (n={len(before)}, fell on {wins}, rose on {losses}, p={chance:.3f})"
    return Check(name, chance < SIGNIFICANCE and end < start, start, end, len(before), note)


def kept(name: str, before: Sequence[bool], after: Sequence[bool], *, tolerance: float = TOLERANCE) -> Check:
    """Paired: not more than one item, or `tolerance` of the items, lost on balance."""
    start, end = fmean(before), fmean(after)
    wins, losses = _discordant(before, after)
    ok = losses - wins <= max(1.0, tolerance * len(before))
    note = f"{start:.3f} -> {end:.3f} (n={len(before)}, {wins} gained, {losses} lost, tolerance {tolerance:.2f})"
    return Check(name, ok, start, end, len(before), note)


def not_less_likely(name: str, before: Sequence[float], after: Sequence[float]) -> Check:
    """Mean negative log-likelihood a token of accepted answers: not higher by more than 2 %."""
    start, end = fmean(before), fmean(after)
    ok = end <= start * (1 + NLL_TOLERANCE)
    return Check(name, ok, start, end, len(before), f"{start:.3f} -> {end:.3f} nats a token (n={len(before)})")


def length_kept(
    name: str,
    before: Sequence[int],
    after: Sequence[int],
    *,
    unit: str = "tokens",
    wanted: float = 1.0,
    slack: float = 0.0,
) -> Check:
    """Mean length stays within 0.8 to 1.25; `wanted`, the ratio that the data asks for, widens it.

    `slack` is how much longer it may become in any case: a ratio says little of answers of three tokens.
    """
    start, end = fmean(before), fmean(after)
    low, high = LENGTH_RANGE[0] * min(1.0, wanted), LENGTH_RANGE[1] * max(1.0, wanted)
    shortest, longest = start * low, max(start * high, start + slack)
    note = f"mean length {start:.1f} -> {end:.1f} {unit} (allowed {shortest:.1f} to {longest:.1f})"
    return Check(name, shortest <= end <= longest, start, end, len(before), note)


def varied(name: str, before: Distinct, after: Distinct, *, wanted: float | None = None) -> Check:
    """Distinct-2 of the answers is at least 0.9 of what it was, but for chance (jackknife over the paired answers,
    one-sided at 95 %). `wanted` is that of the answers that the data asks for: where these vary less, so may the
    candidate's. Answers of one word say nothing."""
    start, end = before.share, after.share
    if start is None or end is None:
        return Check(name, True, start, end, 0, "no two words in a row to compare")
    least = DISTINCT_RATIO * min(1.0, 1.0 if wanted is None else wanted / start)
    pairs = zip(before.without, after.without, strict=True)
    left = [late - least * early for early, late in pairs if early is not None and late is not None]
    error = math.sqrt((len(left) - 1) * fmean((one - fmean(left)) ** 2 for one in left)) if left else 0.0
    note = f"{start:.3f} -> {end:.3f} (n={len(before.without)}, at least {least * start:.3f} +- {error:.3f})"
    return Check(name, end - least * start + ONE_SIDED_95 * error >= 0, start, end, len(before.without), note)


def near(name: str, drift: float, limit: float) -> Check:
    """KL to the start, in nats a token: not above `limit`."""
    return Check(name, drift <= limit, None, drift, 1, f"{drift:.2f} nats a token from the start, allowed {limit:.2f}")


def canaries_lost(name: str, won: int, shown: int, told: str) -> Check:
    """Not more than 2 % of the worthless answers shown to a judge were preferred; `told` says which."""
    share = won / shown if shown else None
    return Check(name, won <= MOST_CANARIES * shown, None, share, shown, f"{told}, allowed {MOST_CANARIES:.0%}")


def generalises(name: str, train: Sequence[float], held: Sequence[float]) -> Check:
    """The mean reward of training prompts exceeds that of held-out ones by no more than 0.10 beyond chance.

    One mean a prompt, two at least on either side; the bound is one-sided at 95 %, from both standard errors.
    """
    seen, new = fmean(train), fmean(held)
    gap, error = seen - new, math.sqrt(variance(train) / len(train) + variance(held) / len(held))
    note = f"{seen:.3f} in training, {new:.3f} held out (n={len(train)}, {len(held)}; gap {gap:+.3f} +- {error:.3f})"
    return Check(name, gap - ONE_SIDED_95 * error <= REWARD_GAP, seen, new, len(held), note)


def _discordant(before: Sequence[bool], after: Sequence[bool]) -> tuple[int, int]:
    wins = sum(late and not early for early, late in zip(before, after, strict=True))
    losses = sum(early and not late for early, late in zip(before, after, strict=True))
    return wins, losses
