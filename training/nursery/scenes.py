"""Who knows what: an agent's owner, her memory lines, and the facts in them that can be asked.

A scene is built to confuse: other people's lines with the same relation, other relations of the same noun, questions
and chatter among the memories. Recall, teaching and absent facts all start from one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.prompts import MemoryLine
from training.nursery.language import Fact, Speech
from training.nursery.relations import PATTERNS
from training.nursery.smalltalk import NOISE_LINES


@dataclass(slots=True)
class Scene:
    """An owner, the people around her, the memory block, and every known fact with the line that tells it."""

    owner: str
    others: list[str]
    lines: list[MemoryLine] = field(default_factory=list)
    known: list[tuple[Fact, MemoryLine]] = field(default_factory=list)

    def knows(self, fact: Fact) -> bool:
        """Whether some known fact answers the same question."""
        return any(_key(old) == _key(fact) for old, _ in self.known)

    def rivalled(self, fact: Fact) -> bool:
        """Whether a known fact tells the same of the same thing of another person."""
        return any(old.person != fact.person and _key(old)[1:] == _key(fact)[1:] for old, _ in self.known)


def _key(fact: Fact) -> tuple[str, str, str]:
    return fact.person, fact.pattern.first, fact.noun


def draw_scene(speech: Speech, count: int, *, near: float = 0.4) -> Scene:
    """A scene with `count` memory lines (0 leaves the memory block out), a share of them `near` to others."""
    owner, *others = speech.people(3)
    scene = Scene(owner, others)
    while len(scene.lines) < count:
        if scene.lines and speech.rng.random() < 0.12:
            scene.lines.append(_chatter(speech, scene))
            continue
        fact = new_fact(speech, scene, near=near)
        line = tell(speech, scene, fact)
        scene.lines.append(line)
        scene.known.append((fact, line))
    return scene


def tell(speech: Speech, scene: Scene, fact: Fact) -> MemoryLine:
    """How the fact came to be said: mostly by the person herself, sometimes by the owner about somebody else."""
    if fact.person == scene.owner or speech.rng.random() < 0.5:
        return MemoryLine(fact.person, fact.first_person())
    return MemoryLine(scene.owner, fact.third_person())


def new_fact(speech: Speech, scene: Scene, *, near: float) -> Fact:
    """A fact that the scene does not know; with probability `near` one that is easily taken for a known one."""
    while True:
        if scene.known and speech.rng.random() < near:
            fact = _neighbour(speech, scene)
        else:
            fact = speech.fact(scene.owner if speech.rng.random() < 0.65 else speech.rng.choice(scene.others))
        if not scene.knows(fact):
            return fact


def _neighbour(speech: Speech, scene: Scene) -> Fact:
    """Shares all but one of person, relation and noun with a known fact."""
    fact, _ = speech.rng.choice(scene.known)
    change = speech.rng.choice(("person", "noun", "pattern"))
    if change == "person":
        people = [person for person in (scene.owner, *scene.others) if person != fact.person]
        return speech.fact(speech.rng.choice(people), fact.pattern, fact.noun)
    if change == "noun":
        return speech.fact(fact.person, fact.pattern)
    fitting = [
        p for p in PATTERNS if fact.noun in p.nouns and p.value != "favourite" and fact.pattern.value != "favourite"
    ]
    return speech.fact(fact.person, speech.rng.choice(fitting), fact.noun) if fitting else speech.fact(fact.person)


def _chatter(speech: Speech, scene: Scene) -> MemoryLine:
    """A line that tells nothing, among them questions that were asked before."""
    speaker = speech.rng.choice((scene.owner, scene.owner, *scene.others))
    if speech.rng.random() < 0.5:
        person = speech.rng.choice((scene.owner, *scene.others))
        asked = (
            speech.fact(person) if speech.rng.random() < 0.5 or not scene.known else speech.rng.choice(scene.known)[0]
        )
        return MemoryLine(speaker, speech.rng.choice(asked.questions(by_owner=asked.person == speaker)))
    return MemoryLine(speaker, speech.rng.choice(NOISE_LINES).replace("{x}", speech.invented_word()))
