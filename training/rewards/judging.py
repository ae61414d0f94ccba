"""Asking a judge that writes text: whom to ask, what it is shown, and what is made of an answer that does not parse.

A judge is frozen for a whole cycle and takes text and gives text: the cycle-start adapter (`FrozenJudge`) or any other
model behind the same protocol. What it does wrong is data: an answer that does not parse is asked for once more, then
missing. How much a judge may weigh is measured on pairs whose winner is known (`judge_weight`).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from agents.backend import PolicyBackend
from agents.messages import Message, SamplingParams
from personal_data.errors import InvalidInput
from training.judge import Hear, Ruling, unheard
from training.rewards.base import groups
from training.rewards.ridge import wilson_lower_bound
from training.rollouts import Rollout

_Parsed = TypeVar("_Parsed")
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</?[a-z][^<>]{0,40}>", re.IGNORECASE)
_SCORELIKE = re.compile(r"\b(?:scores?|verdict|rating|grade)\s*[:=]\s*\S*", re.IGNORECASE)


class TextJudge(Protocol):
    """A model to ask."""

    def read(self, prompts: Sequence[Message], *, seed: int) -> Sequence[str | None]:
        """Its answer to each prompt, None where it has none. Equal prompts and seeds give equal answers."""
        ...


class FrozenJudge:
    """A frozen slot of a policy as a judge, sampled at `temperature` (.5, DeepSeek-GRM's)."""

    def __init__(self, policy: PolicyBackend, *, slot: int, max_tokens: int, temperature: float = 0.5) -> None:
        self._policy, self._slot = policy, slot
        self._max_tokens, self._temperature = max_tokens, temperature

    def read(self, prompts: Sequence[Message], *, seed: int) -> Sequence[str | None]:
        """A prompt that the model's context cannot hold has no answer."""
        if not prompts:
            return []
        try:
            return self._sample(prompts, seed)
        except InvalidInput:
            return [self._alone(prompt, seed) for prompt in prompts]

    def _alone(self, prompt: Message, seed: int) -> str | None:
        try:
            return self._sample([prompt], seed)[0]
        except InvalidInput:
            return None

    def _sample(self, prompts: Sequence[Message], seed: int) -> list[str]:
        params = SamplingParams(self._max_tokens, self._temperature, seed=seed)
        sampled = self._policy.sample([(prompt,) for prompt in prompts], 1, params, slot=self._slot)
        return [one.text for (one,) in sampled]


class CachedJudge:
    """A judge that is asked once for each (prompt, seed): with the judge frozen for a run, the prompt holds the rubric,
    the item, the answers and their order, so equal keys are equal judgements.

    A prompt that stands twice in one call is asked twice: two votes are two readings. `hear` is told what it said.
    """

    def __init__(self, judge: TextJudge, hear: Hear = unheard) -> None:
        self._judge, self.hear = judge, hear
        self._known: dict[tuple[bytes, int, int], str | None] = {}

    def read(self, prompts: Sequence[Message], *, seed: int) -> Sequence[str | None]:
        """The judge is asked for what it has not said before."""
        seen = Counter[bytes]()
        keys = []
        for prompt in prompts:
            digest = hashlib.blake2b(prompt.content.encode(), digest_size=16).digest()
            keys.append((digest, seed, seen[digest]))
            seen[digest] += 1
        new = [place for place, key in enumerate(keys) if key not in self._known]
        said = self._judge.read([prompts[place] for place in new], seed=seed) if new else []
        self._known |= {keys[place]: text for place, text in zip(new, said, strict=True)}
        return [self._known[key] for key in keys]


def _itself(found: Any) -> Any:
    return found


def ask(
    judge: TextJudge,
    prompts: Sequence[Message],
    parse: Callable[[int, str], _Parsed | None],
    *,
    seed: int,
    verdict: Callable[[_Parsed], str | float | Sequence[str | float]] = _itself,
) -> list[_Parsed | None]:
    """What `parse(place, text)` finds in each answer; where it finds nothing the judge is asked once more. `verdict` is
    what is written down of it."""
    found: list[_Parsed | None] = [None] * len(prompts)
    left = list(range(len(prompts)))
    hear = judge.hear if isinstance(judge, CachedJudge) else unheard
    for attempt in (0, 1):
        if not left:
            break
        texts = judge.read([prompts[place] for place in left], seed=2 * seed + attempt)
        for place, text in zip(left, texts, strict=True):
            found[place] = one = None if text is None else parse(place, text)
            hear(Ruling(prompts[place].content, text, None if one is None else _several(verdict(one))))
        left = [place for place in left if found[place] is None]
    return found


def _several(verdict: str | float | Sequence[str | float]) -> tuple[str | float, ...]:
    return (verdict,) if isinstance(verdict, str | float | int) else tuple(verdict)


def shown(rollout: Rollout) -> str | None:
    """An answer as a judge may see it: no reasoning, no tags, nothing that looks like a score; None when none is left.

    Candidates write their own applause where they can.
    """
    text = _SCORELIKE.sub("", _TAG.sub("", _THOUGHT.sub("", rollout.sampled.text)))
    return " ".join(text.split()) or None


def candidates(rollouts: Sequence[Rollout]) -> list[tuple[str, dict[str, list[int]]]]:
    """For each group its question, and the places of every different text that a judge may see, in the texts' order.

    The order does not depend on that of the rollouts, so that permuted rollouts get permuted rewards.
    """
    found = []
    for places in groups(rollouts):
        texts: dict[str, list[int]] = {}
        for place in places:
            if (text := shown(rollouts[place])) is not None:
                texts.setdefault(text, []).append(place)
        found.append((rollouts[places[0]].task.question, dict(sorted(texts.items()))))
    return found


def judge_weight(right: float, n: int, *, most: float = 0.7) -> float:
    """c = most max(0, 2 LB - 1), LB the lower end of Wilson's 90 % interval of the judge's accuracy on `n` known pairs.

    An unproven judge switches itself off. A verdict that changes with the order of the pair counts as half `right`.
    """
    return most * max(0.0, 2 * wilson_lower_bound(right, n) - 1)
