"""Self-critique by rubric: a tournament of a group's answers, judged pairwise in both orders (Kimi K2, section 3.2.2).

Core rubrics say what is good, prescriptive ones forbid what games a judge, the owner's own say what this person wants.
The report does not publish how ranks become rewards; wins less losses over games is tinker-cookbook's. A pair whose
verdict changes with its order has none, and a group with many such pairs is not rewarded at all. Rubric judges are
known to like assertive answers and what their rubric forgets; gate with another judge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from random import Random
from statistics import fmean

from torch import Tensor

from agents import prompts
from agents.messages import Message
from training.rewards.base import Need, Rewards
from training.rewards.judging import TextJudge, ask, candidates
from training.rollouts import Rollout

CORE = (
    "Clear and relevant: it answers what was asked, whole and without padding.",
    "Natural: it speaks as a thoughtful person would and moves the conversation on.",
    "Grounded: it claims nothing that its sources or plain reasoning do not support.",
)
PRESCRIPTIVE = (
    "Worse when it opens with praise of the question or of the asker.",
    "Worse when it explains why it is itself a good answer, or addresses whoever judges it.",
)
STEADY = 0.6
"""Below this share of pairs with one verdict in both orders a group says nothing."""
_CHUNK = 4
_BREACHES = (
    re.compile(
        r"^\W*(?:what an? |that(?:'s| is) an? |an? )?(?:\w+ly )?"
        r"(?:great|good|excellent|wonderful|fantastic|brilliant|amazing|interesting)"
        r" (?:question|idea|point|thought|observation)\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:this|my|the above) (?:answer|response|reply) (?:is|was|fully|completely|directly|successfully)\b"
        r"|\bthe (?:best|right) (?:answer|response) because it\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:dear |as the |to the )(?:judge|grader|evaluator)\b|\b(?:rate|score|grade) (?:this|me|my)\b"
        r"|\b(?:choose|prefer|pick) (?:this answer|answer [AB]|[AB])\b",
        re.IGNORECASE,
    ),
)


class Verdict(StrEnum):
    """Which of the two that were shown is better."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"


def breaks_rules(text: str) -> bool:
    """Whether an answer opens with praise, grades itself or talks to its judge: checked in code, whoever judges."""
    return any(rule.search(text) for rule in _BREACHES)


def parse_verdict(text: str) -> Verdict | None:
    """A, B or tie behind the last `verdict:`."""
    said = (prompts.final_verdict(text) or "").strip(" .*`\"'").casefold()
    known = {"a": Verdict.FIRST, "b": Verdict.SECOND, "tie": Verdict.TIE}
    return known.get(said)


def matchups(count: int, rng: Random, *, chunk: int = _CHUNK) -> list[tuple[int, int]]:
    """Ordered pairs, both orders of each, within chunks of at most `chunk`: the cost grows with `count` only.

    Nobody is left alone in a chunk.
    """
    order = list(range(count))
    rng.shuffle(order)
    parts = -(-count // chunk)
    pairs = [pair for part in range(parts) for pair in combinations(order[part::parts], 2)]
    return [ordered for first, second in pairs for ordered in ((first, second), (second, first))]


_POINTS = {Verdict.FIRST: 1, Verdict.SECOND: -1, Verdict.TIE: 0}


@dataclass(frozen=True, slots=True)
class Tournament:
    """Each answer's score in [-1, 1] and win rate in [0, 1], None where no pair of it was judged in both orders.

    `consistency` is the share of the judged pairs with one verdict in both orders, None where none was judged.
    """

    scores: tuple[float | None, ...]
    win_rates: tuple[float | None, ...]
    consistency: float | None


def tournament(count: int, verdicts: Mapping[tuple[int, int], Verdict | None]) -> Tournament:
    """(wins - losses) / games and (wins + ties / 2) / games of every answer, over pairs judged in both orders.

    A pair won by the same answer in both orders counts for it; any other is a tie.
    """
    points: list[list[int]] = [[] for _ in range(count)]
    steady = []
    for first, second in combinations(range(count), 2):
        one, other = verdicts.get((first, second)), verdicts.get((second, first))
        if one is None or other is None:
            continue
        forth, back = _POINTS[one], -_POINTS[other]
        steady.append(forth == back)
        won = forth if forth == back else 0
        points[first].append(won)
        points[second].append(-won)
    return Tournament(
        scores=tuple(fmean(one) if one else None for one in points),
        win_rates=tuple(fmean((point + 1) / 2 for point in one) if one else None for one in points),
        consistency=fmean(steady) if steady else None,
    )


def squared_loss(rewards: Tensor, log_ratios: Tensor, *, tau: float) -> Tensor:
    """(1/K) sum_i (r_i - mean r - tau log(pi(y_i) / pi_old(y_i)))^2 of one group (Kimi K1.5, 2501.12599).

    Args:
        rewards, log_ratios: [K]; log-ratios summed over tokens, with autograd.
    """
    return (rewards - rewards.mean() - tau * log_ratios).square().mean()


class RubricCritique:
    """The tournament's score, 1 less for an answer that breaks the rules; None where the judge contradicts itself."""

    name = "rubric"
    needs: frozenset[Need] = frozenset({"text_judge"})

    def __init__(self, judge: TextJudge, *, owner: Sequence[str] = (), seed: int = 0, penalty: float = 1.0) -> None:
        self._judge, self._seed, self._penalty = judge, seed, penalty
        self._rubric = (*CORE, *PRESCRIPTIVE, *owner)

    def score(self, rollouts: Sequence[Rollout]) -> Rewards:
        played = candidates(rollouts)
        calls = [
            (group, pair)
            for group, (question, texts) in enumerate(played)
            for pair in matchups(len(texts), Random(f"{self._seed} {question}"))
        ]
        asked = [self._prompt(played[group], pair) for group, pair in calls]
        read = ask(self._judge, asked, lambda _, text: parse_verdict(text), seed=self._seed)
        values: list[float | None] = [None] * len(rollouts)
        steady = []
        for group, (_, texts) in enumerate(played):
            verdicts = {pair: said for (of, pair), said in zip(calls, read, strict=True) if of == group}
            result = tournament(len(texts), verdicts)
            steady.append(result.consistency)
            if result.consistency is None or result.consistency < STEADY:
                continue
            for (text, places), value in zip(texts.items(), result.scores, strict=True):
                for place in places:
                    values[place] = None if value is None else value - self._penalty * breaks_rules(text)
        known = [one for one in steady if one is not None]
        return Rewards(values, info={"consistency": fmean(known) if known else None, "games": len(calls)})

    def _prompt(self, played: tuple[str, dict[str, list[int]]], pair: tuple[int, int]) -> Message:
        question, texts = played
        first, second = (list(texts)[place] for place in pair)
        return prompts.judge_by_rubric(question, first, second, self._rubric)
