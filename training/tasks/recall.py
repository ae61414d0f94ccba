"""Recall questions: a few memories in the prompt, one of them answers. They guard against forgetting how to read.

The facts are English sentences about invented people with invented values, never seen in any training here, so any base
model can be measured with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from agents import prompts
from agents.messages import Message
from society.canonical import answer_key
from training.nursery.language import Fact, Speech


@dataclass(frozen=True, slots=True)
class RecallItem:
    """A prompt with memories and the value that a right answer contains."""

    messages: tuple[Message, ...]
    value: str

    def is_right(self, text: str) -> bool:
        return f" {answer_key(self.value)} " in f" {answer_key(text)} "


def recall_items(rng: Random, count: int, *, memories: int = 4, held_out: bool = True) -> list[RecallItem]:
    """Draw items: an owner, different facts that the owner told, a question about one of them."""
    speech = Speech(rng, held_out_values=held_out)
    return [_item(speech, rng, memories) for _ in range(count)]


def _item(speech: Speech, rng: Random, memories: int) -> RecallItem:
    owner = speech.person()
    facts: list[Fact] = []
    while len(facts) < memories:
        fact = speech.fact(owner)
        if all((fact.pattern, fact.noun) != (known.pattern, known.noun) for known in facts):
            facts.append(fact)
    asked = rng.choice(facts)
    lines = [prompts.MemoryLine(owner, fact.first_person()) for fact in facts]
    question = Message("user", rng.choice(asked.questions(by_owner=True)))
    return RecallItem((prompts.system(owner, lines), question), asked.value)
