"""Conversations between an owner and her agent, and the same questions as a debate asks them.

Recall from memories, facts taught in the talk, absent facts, small talk, questions about the world to be declined.
"""

from __future__ import annotations

from collections.abc import Iterator

from agents import prompts
from agents.messages import Message
from training.nursery.exercises import ARGUMENTS, Exercises, hypotheses
from training.nursery.language import Fact, Speech
from training.nursery.scenes import Scene, draw_scene, new_fact
from training.nursery.smalltalk import OUT_OF_GRAMMAR, SMALL_TALK
from training.nursery.voice import Style, Voice, says

Conversation = list[Message]
Asked = tuple[Fact, prompts.MemoryLine | None]
"""A fact asked for and the line that tells it; None when no line does."""

NOT_KNOWN = f"No memory tells.\nanswer: {prompts.UNKNOWN}"
"""What an agent writes in a debate when it cannot know."""
_ABSENT = 0.3


class Talks:
    """Draws conversations about what an agent remembers. Each method returns a whole conversation."""

    def __init__(self, speech: Speech, voice: Voice, exercises: Exercises) -> None:
        self._rng, self._speech, self._voice, self._exercises = speech.rng, speech, voice, exercises

    def recall(self) -> Conversation:
        """One to seven questions about the memories, or about something that they do not tell."""
        scene, style = self._scene(), self._voice.style()
        said = [prompts.system(scene.owner, scene.lines, style)]
        for fact, told in self._questions(scene, self._rng.choice((1, 3, 5, 7))):
            said += self._recall_turn(scene, style, fact, told)
        return said

    def recall_with_work(self) -> Conversation:
        """The same questions as a debate asks them: which line tells it, then the answer."""
        scene = self._scene()
        said = [prompts.system(scene.owner, scene.lines, self._voice.style(0.2))]
        for fact, told in self._questions(scene, self._rng.choice((1, 2, 4))):
            said += [prompts.propose(self._debated(scene, fact)), says(recalled(fact, told))]
        return said

    def short(self) -> Conversation:
        """Two or three turns: facts are taught and asked for."""
        return self._talk(self._rng.choice((0, 0, 1, 2, 3, 4, 5, 6)), self._rng.choice((2, 3, 3)))

    def long(self) -> Conversation:
        """Up to about 500 tokens: many memories, many turns."""
        return self._talk(self._rng.randint(6, 12), self._rng.randint(4, 10))

    def with_question(self, memories: int, turns: int) -> tuple[Scene, Conversation, Fact]:
        """An evaluation's talk: it ends with a question about a fact that is known, still to be answered."""
        while True:
            scene = draw_scene(self._speech, memories)
            said: Conversation = []
            for _ in range(turns - 1):
                said += self._middle_turn(scene, ())
            if scene.known:
                fact, _ = self._rng.choice(scene.known)
                asked = self._rng.choice(fact.questions(by_owner=fact.person == scene.owner))
                return scene, [*said, Message("user", asked)], fact

    def review(self) -> Conversation:
        """Somebody's hypothesis is checked against one's own memories, whatever it says."""
        scene = self._scene()
        fact, told = self._asked(scene)
        proposed = self._rng.choice((fact.value, self._other_value(fact), prompts.UNKNOWN))
        argument = self._rng.choice((f"{fact.person} said so.", *ARGUMENTS))
        asked = prompts.review(self._debated(scene, fact), proposed, argument)
        return [prompts.system(scene.owner, scene.lines), asked, says(recalled(fact, told))]

    def resolve(self) -> Conversation:
        """Answered again from one's own memories, with the surviving hypotheses in view."""
        scene = self._scene()
        fact, told = self._asked(scene)
        shown = hypotheses(self._rng, [self._other_value(fact), prompts.UNKNOWN, fact.value])
        asked = prompts.resolve(self._debated(scene, fact), shown)
        return [prompts.system(scene.owner, scene.lines), asked, says(recalled(fact, told))]

    def small(self) -> Conversation:
        """A greeting, thanks, a question about the agent, or one about the world that it must decline."""
        scene, style = draw_scene(self._speech, self._rng.choice((0, 0, 1, 2, 3))), self._voice.style()
        return [prompts.system(scene.owner, scene.lines, style), *self._small_turn(scene.owner, style)]

    def _scene(self) -> Scene:
        """0 to 8 memories, 8 at double share; every other scene is more confusing than an evaluation's."""
        memories = self._rng.choices(range(9), (0.7, 2, 2, 2, 2, 1.5, 1.5, 1.5, 4))[0]
        return draw_scene(self._speech, memories, near=self._rng.choice((0.4, 0.65)))

    def _asked(self, scene: Scene) -> Asked:
        return next(self._questions(scene, 1))

    def _questions(self, scene: Scene, count: int) -> Iterator[Asked]:
        """Up to `count` things to ask, what is known at most once: a block of memories is read for all of them.

        Every other time, facts of which somebody else's line tells the same come first.
        """
        known = self._rng.sample(scene.known, len(scene.known))
        if self._rng.random() < 0.5:
            known.sort(key=lambda told: scene.rivalled(told[0]))
        for _ in range(min(count, len(known) + 1)):
            absent = not known or self._rng.random() < _ABSENT
            yield (new_fact(self._speech, scene, near=0.75), None) if absent else known.pop()

    def _recall_turn(self, scene: Scene, style: Style, fact: Fact, told: prompts.MemoryLine | None) -> Conversation:
        by_owner = fact.person == scene.owner and self._rng.random() < 0.8
        question = self._rng.choice(fact.questions(by_owner=by_owner))
        if self._rng.random() < 0.08:
            return [prompts.at_once(question), says(fact.value if told else prompts.UNKNOWN)]
        reply = self._voice.recall(fact, by_owner, style) if told else f"{prompts.UNKNOWN}."
        return [Message("user", self._voice.typed(question)), says(reply)]

    def _debated(self, scene: Scene, fact: Fact) -> str:
        by_owner = fact.person == scene.owner and self._rng.random() < 0.35
        return self._rng.choice(fact.questions(by_owner=by_owner))

    def _other_value(self, fact: Fact) -> str:
        return self._speech.fact(fact.person, fact.pattern, fact.noun).value

    def _talk(self, memories: int, turns: int) -> Conversation:
        scene, style = draw_scene(self._speech, memories), self._voice.style()
        said = [prompts.system(scene.owner, scene.lines, style)]
        for _ in range(turns - 1):
            said += self._middle_turn(scene, style)
        return [*said, *self._recall_turn(scene, style, *self._asked(scene))]

    def _middle_turn(self, scene: Scene, style: Style) -> Conversation:
        way = self._rng.random()
        if way < 0.5:
            return self._teach(scene, style)
        if way < 0.8:
            return self._recall_turn(scene, style, *self._asked(scene))
        if way < 0.9:
            return self._small_turn(scene.owner, style)
        return self._exercises.chat(self._exercises.item((1, 1, 0, 0)))

    def _teach(self, scene: Scene, style: Style) -> Conversation:
        fact = new_fact(self._speech, scene, near=0.3)
        own = fact.person == scene.owner
        text = fact.first_person() if own else fact.third_person()
        scene.known.append((fact, prompts.MemoryLine(scene.owner, text)))
        return [Message("user", text), says(self._voice.taught(fact, own, style))]

    def _small_turn(self, owner: str, style: Style) -> Conversation:
        if self._rng.random() < 0.35:
            return self._world_turn()
        exchange = self._rng.choice(SMALL_TALK)
        brief, full, formal = (
            reply.replace("{o}", owner) for reply in (exchange.brief, exchange.full, exchange.formal)
        )
        asked = Message("user", self._rng.choice(exchange.phrasings))
        return [asked, says(self._voice.worded(style, brief, full, formal))]

    def _world_turn(self) -> Conversation:
        word = self._speech.invented_word()
        word = word if self._rng.random() < 0.5 else word.title()
        question = self._rng.choice(OUT_OF_GRAMMAR).replace("{x}", word)
        if self._rng.random() < 0.2:
            return [prompts.propose(question), says(NOT_KNOWN)]
        return [Message("user", self._voice.typed(question)), says(f"{prompts.UNKNOWN}.")]


def recalled(fact: Fact, told: prompts.MemoryLine | None) -> str:
    """A debate answer from memory: the line that tells it, then the value."""
    return NOT_KNOWN if told is None else f"{told.speaker} said: {told.text}\nanswer: {fact.value}"
