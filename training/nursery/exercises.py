"""Questions with checkable answers, in every format: at once, with work, in chat, reviewed, resolved, judged."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from agents import prompts
from agents.messages import Message
from training.nursery.language import Speech
from training.nursery.scenes import draw_scene
from training.nursery.voice import Voice, says
from training.tasks.environments import ENVIRONMENTS, PEOPLE, WEEKDAYS, Item, draw

Conversation = list[Message]

FAMILY_WEIGHTS: Mapping[str, float] = {
    "add": 5,
    "subtract": 6,
    "multiply": 5,
    "sort_numbers": 4,
    "sort_words": 2.5,
    "reverse": 4,
    "count_letter": 3,
    "order": 4,
    "weekday": 2.5,
}
ANSWERED_DIRECTLY = frozenset({"reverse"})
"""Families whose plain question in chat is answered without work."""
ARGUMENTS = ("I am sure.", "I worked it out.", "I checked it.", "It is so.", "I remember it.", "I think so.")
"""Reasons that give nothing to check."""
_STATUSES = ("supported", "contested", "refuted", "verified", "open")
_TYPED = frozenset({"add", "subtract", "multiply", "sort_numbers", "weekday"})
"""Families whose question survives careless typing."""


class Exercises:
    """Draws conversations about `ENVIRONMENTS`, on one side of the held-out split.

    `difficulties` are the weights of the four levels.
    """

    def __init__(self, speech: Speech, voice: Voice, difficulties: tuple[float, ...], *, held_out: bool) -> None:
        self._rng, self._speech, self._voice = speech.rng, speech, voice
        self._difficulties, self._held_out = difficulties, held_out

    def item(self, difficulties: tuple[float, ...] | None = None) -> Item:
        """One item of a family drawn by `FAMILY_WEIGHTS`."""
        name = self._rng.choices(list(FAMILY_WEIGHTS), list(FAMILY_WEIGHTS.values()))[0]
        level = self._rng.choices((1, 2, 3, 4), difficulties or self._difficulties)[0]
        return draw(ENVIRONMENTS[name], self._rng, level, held_out_items=self._held_out)

    def question(self) -> Conversation:
        """A question to be answered at once, with work, or as plain chat."""
        item = self.item()
        way = self._rng.random()
        if way < _at_once_share(item):
            turn = [prompts.at_once(item.question), says(item.answer)]
        elif way < 0.75:
            turn = [prompts.propose(item.question), says(_worked(item))]
        else:
            turn = self.chat(item)
        return [*self._before(), *turn]

    def chat(self, item: Item) -> Conversation:
        """The plain question, answered so that the user gets a right answer: mostly with work."""
        asked = self._voice.typed(item.question) if item.family in _TYPED else item.question
        return [Message("user", asked), says(item.answer if item.family in ANSWERED_DIRECTLY else _worked(item))]

    def review(self) -> Conversation:
        """Somebody's hypothesis is checked by deriving the answer again."""
        item, right = self.item(), self._rng.random() < 0.5
        argument = self._shown_work(item, right) if self._rng.random() < 0.6 else self._rng.choice(ARGUMENTS)
        proposed = item.answer if right else wrong_answer(self._rng, item)
        return [*self._before(), prompts.review(item.question, proposed, argument), says(_worked(item))]

    def resolve(self) -> Conversation:
        """Solve again with the surviving hypotheses in view, of which any or none may be right."""
        item = self.item()
        values = [wrong_answer(self._rng, item), wrong_answer(self._rng, item), item.answer]
        asked = prompts.resolve(item.question, hypotheses(self._rng, values))
        return [*self._before(), asked, says(_worked(item))]

    def judge(self) -> Conversation:
        """Derive, then say whether the shown answer is right."""
        item, right = self.item(), self._rng.random() < 0.5
        shown = item.answer if right else wrong_answer(self._rng, item)
        verdict = f"{_worked(item)}\nverdict: {'yes' if right else 'no'}"
        return [*self._before(), prompts.judge(item.question, shown), says(verdict)]

    def judge_pair(self) -> Conversation:
        """Derive, then say which of two shown answers is right."""
        item, first = self.item(), self._rng.random() < 0.5
        pair = (item.answer, wrong_answer(self._rng, item))
        asked = prompts.judge_pair(item.question, *(pair if first else pair[::-1]))
        return [*self._before(), asked, says(f"{_worked(item)}\nverdict: {'A' if first else 'B'}")]

    def _before(self) -> Conversation:
        """Usually the system message of some agent, in three of ten cases with memories that do not matter."""
        if self._rng.random() < 0.12:
            return []
        scene = draw_scene(self._speech, self._rng.randint(1, 5) if self._rng.random() < 0.3 else 0)
        return [prompts.system(scene.owner, scene.lines, self._voice.style(0.15))]

    def _shown_work(self, item: Item, right: bool) -> str:
        work = item.work.splitlines()
        return " ".join(work if right else work[: self._rng.randint(0, len(work))]) or "I am sure."


def hypotheses(rng: Random, values: list[str]) -> list[tuple[str, str]]:
    """Some of the values, each once, with a status: what `prompts.resolve` shows."""
    values = rng.sample(values, rng.randint(2, len(values)))
    return [(value, rng.choice(_STATUSES)) for value in dict.fromkeys(values)]


def wrong_answer(rng: Random, item: Item) -> str:
    """A plausible wrong answer: two entries swapped, one digit changed, another day, another person."""
    parts = item.answer.split()
    if len(parts) > 1 and len(set(parts)) == 1:
        return parts[0]
    shown = item.answer
    while shown == item.answer:
        if len(parts) > 1:
            first, second = rng.sample(range(len(parts)), 2)
            swapped = list(parts)
            swapped[first], swapped[second] = parts[second], parts[first]
            shown = " ".join(swapped)
        elif item.answer.isdigit():
            place = rng.randrange(len(item.answer))
            shown = item.answer[:place] + rng.choice("0123456789") + item.answer[place + 1 :]
        else:
            shown = rng.choice(WEEKDAYS if item.answer in WEEKDAYS else _people(item))
    return shown


def _people(item: Item) -> list[str]:
    words = set(item.question.replace(".", " ").split())
    return [person for person in PEOPLE if person in words]


def _worked(item: Item) -> str:
    return f"{item.work}\nanswer: {item.answer}"


def _at_once_share(item: Item) -> float:
    """Answers without work are asked for where they can be learnt at all."""
    if item.family in ("add", "subtract", "multiply"):
        return 0.25 if item.difficulty == 1 else 0.03
    return {"weekday": 0.03, "order": 0.1, "reverse": 0.4}.get(item.family, 0.25)
