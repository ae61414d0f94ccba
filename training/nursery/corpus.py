"""The nursery's corpus: an endless stream of generated conversations in the formats of `agents.prompts`.

The door is `Corpus(rng, stage).conversation()`: a list of messages of which every assistant message is a training
target. Held-out items and values (`environments.held_out`, `language.value_held_out`) are never emitted. Nothing is
stored: a seed and a stage (`EASY`, `FULL`, `LONG`) say everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from training.nursery.exercises import Conversation, Exercises
from training.nursery.language import Speech
from training.nursery.talks import Talks
from training.nursery.voice import Voice


@dataclass(frozen=True, slots=True)
class Stage:
    """Weights of the conversation kinds and of the four difficulties, and the share of carelessly typed questions."""

    kinds: Mapping[str, float]
    difficulties: tuple[float, float, float, float]
    noise: float = 0.05


EASY = Stage(
    {
        "question": 40,
        "recall": 26,
        "recall_with_work": 14,
        "talk": 4,
        "review": 2.1,
        "review_memory": 0.9,
        "resolve": 0.6,
        "resolve_memory": 0.4,
        "judge": 2,
        "judge_pair": 1,
        "small": 6,
    },
    (6, 3, 0.6, 0.1),
    noise=0.0,
)
FULL = Stage(
    {
        "question": 34,
        "recall": 20,
        "recall_with_work": 17,
        "talk": 12,
        "review": 3,
        "review_memory": 2,
        "resolve": 1.5,
        "resolve_memory": 1.5,
        "judge": 2.5,
        "judge_pair": 1.5,
        "small": 5,
    },
    (3, 4, 3, 0.4),
)
LONG = Stage(
    {
        "question": 20,
        "recall": 28,
        "recall_with_work": 23,
        "talk": 13,
        "long_talk": 4,
        "review": 2,
        "review_memory": 2,
        "resolve": 1,
        "resolve_memory": 1,
        "judge": 1.5,
        "judge_pair": 1,
        "small": 3.5,
    },
    (3, 4, 3, 0.5),
)
"""The last fifth leans to recall, which is learnt last."""


class Corpus:
    """Draws conversations of a stage; `held_out=True` draws held-out items and values instead, for evaluation."""

    def __init__(self, rng: Random, stage: Stage = FULL, *, held_out: bool = False) -> None:
        self.rng, self.stage = rng, stage
        self.speech = Speech(rng, held_out_values=held_out)
        voice = Voice(rng, stage.noise)
        self.exercises = Exercises(self.speech, voice, stage.difficulties, held_out=held_out)
        self.talks = Talks(self.speech, voice, self.exercises)
        self.kinds: dict[str, Callable[[], Conversation]] = {
            "question": self.exercises.question,
            "review": self.exercises.review,
            "resolve": self.exercises.resolve,
            "judge": self.exercises.judge,
            "judge_pair": self.exercises.judge_pair,
            "recall": self.talks.recall,
            "recall_with_work": self.talks.recall_with_work,
            "review_memory": self.talks.review,
            "resolve_memory": self.talks.resolve,
            "talk": self.talks.short,
            "long_talk": self.talks.long,
            "small": self.talks.small,
        }

    def conversation(self) -> Conversation:
        """One conversation of a kind drawn by the stage's weights."""
        (kind,) = self.rng.choices(list(self.stage.kinds), list(self.stage.kinds.values()))
        return self.kinds[kind]()
