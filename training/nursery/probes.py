"""What the evaluation asks: one cell a skill, each a maker of probes with held-out values and items.

A probe is a prompt and a predicate on the reply. Targets and hard floors stand beside the cells in `CELLS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from agents import prompts
from agents.messages import Message
from society.canonical import answer_key
from training.nursery.corpus import FULL, Corpus
from training.nursery.language import Fact
from training.nursery.scenes import Scene, draw_scene, new_fact
from training.nursery.smalltalk import OUT_OF_GRAMMAR, SMALL_TALK
from training.nursery.voice import BRIEF, FORMAL, FULL_SENTENCE, INSTRUCTIONS, SMILE
from training.tasks.environments import ENVIRONMENTS, draw

ANY: frozenset[str] = frozenset()
NAMES, CODES = frozenset({"name", "city"}), frozenset({"digits"})


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt, and which replies to it are right."""

    prompt: list[Message]
    accepts: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table; no target means that nothing is promised."""

    name: str
    title: str
    make: Callable[[Corpus, int], Probe]
    target: float | None = None
    floor: float | None = None

    def probes(self, rng: Random, n: int) -> list[Probe]:
        """n probes drawn from held-out values and items."""
        corpus = Corpus(rng, FULL, held_out=True)
        return [self.make(corpus, index) for index in range(n)]


def _small_talk(corpus: Corpus, index: int) -> Probe:
    exchange = SMALL_TALK[index % len(SMALL_TALK)]
    scene = draw_scene(corpus.speech, corpus.rng.randint(0, 3))
    good = {reply.replace("{o}", scene.owner) for reply in (exchange.brief, exchange.full)}
    asked = Message("user", corpus.rng.choice(exchange.phrasings))
    return Probe([prompts.system(scene.owner, scene.lines), asked], lambda reply: reply in good)


def _world_question(corpus: Corpus, index: int) -> Probe:
    scene = draw_scene(corpus.speech, corpus.rng.randint(0, 5))
    word = corpus.speech.invented_word()
    question = OUT_OF_GRAMMAR[index % len(OUT_OF_GRAMMAR)].replace("{x}", word)
    return Probe([prompts.system(scene.owner, scene.lines), Message("user", question)], prompts.is_unknown)


def _style(corpus: Corpus, index: int) -> Probe:
    scene, style = _known_scene(corpus, corpus.rng.randint(1, 4)), INSTRUCTIONS[index % len(INSTRUCTIONS)]
    fact = _known(corpus, scene, of_owner=True)
    question = corpus.rng.choice(fact.questions(by_owner=True))
    follows: dict[str, Callable[[str], bool]] = {
        BRIEF: lambda reply: len(reply.split()) <= len(fact.value.split()) and not reply.startswith("You"),
        FULL_SENTENCE: lambda reply: reply.startswith(fact.second_person().split(fact.value)[0][:8]),
        FORMAL: lambda reply: reply.startswith("Certainly. "),
        SMILE: lambda reply: reply.endswith(" :)"),
    }
    return Probe([prompts.system(scene.owner, scene.lines, (style,)), Message("user", question)], follows[style])


def _known_scene(corpus: Corpus, count: int, kinds: frozenset[str] = ANY) -> Scene:
    """A scene with at least one fact of the owner's own, its value of one of the kinds."""
    while True:
        scene = draw_scene(corpus.speech, count)
        if any(fact.person == scene.owner and _is_of(fact, kinds) for fact, _ in scene.known):
            return scene


def _is_of(fact: Fact, kinds: frozenset[str]) -> bool:
    return not kinds or fact.pattern.value in kinds


def _known(corpus: Corpus, scene: Scene, *, of_owner: bool) -> Fact:
    return corpus.rng.choice([fact for fact, _ in scene.known if (fact.person == scene.owner) == of_owner])


def _recall(memories: Callable[[int], int], kinds: frozenset[str] = ANY) -> Callable[[Corpus, int], Probe]:
    def make(corpus: Corpus, index: int) -> Probe:
        scene = _known_scene(corpus, memories(index), kinds)
        asked = [fact for fact, _ in scene.known if fact.person == scene.owner and _is_of(fact, kinds)]
        fact = corpus.rng.choice(asked)
        question = Message("user", corpus.rng.choice(fact.questions(by_owner=True)))
        return Probe([prompts.system(scene.owner, scene.lines), question], _tells(fact, by_owner=True))

    return make


def _rivalled(corpus: Corpus, index: int) -> Probe:
    """The owner's fact, where a line tells the same of somebody else's."""
    while True:
        scene = _known_scene(corpus, 2 + index % 7)
        told = [(fact.person == scene.owner, fact) for fact, _ in scene.known]
        others = {(fact.pattern.first, fact.noun) for own, fact in told if not own}
        if asked := [fact for own, fact in told if own and (fact.pattern.first, fact.noun) in others]:
            fact = corpus.rng.choice(asked)
            question = Message("user", corpus.rng.choice(fact.questions(by_owner=True)))
            return Probe([prompts.system(scene.owner, scene.lines), question], _tells(fact, by_owner=True))


def _tells(fact: Fact, *, by_owner: bool) -> Callable[[str], bool]:
    good = {f"{fact.value}.", fact.second_person() if by_owner else fact.third_person()}
    return lambda reply: reply in good


def _three_turns(corpus: Corpus, index: int) -> Probe:
    """Two turns of teaching, asking or chatting come first; the last question is about something known."""
    scene, said, fact = corpus.talks.with_question(memories=index % 7, turns=3)
    return Probe([prompts.system(scene.owner, scene.lines), *said], _tells(fact, by_owner=fact.person == scene.owner))


def _absent(corpus: Corpus, index: int) -> Probe:
    scene = draw_scene(corpus.speech, 1 + index % 8)
    fact = new_fact(corpus.speech, scene, near=0.65)
    question = corpus.rng.choice(fact.questions(by_owner=fact.person == scene.owner))
    return Probe([prompts.system(scene.owner, scene.lines), Message("user", question)], prompts.is_unknown)


def _debated(whose: str) -> Callable[[Corpus, int], Probe]:
    """The same in the format of a debate: the owner's fact, somebody else's that is told, or one that is not."""

    def make(corpus: Corpus, index: int) -> Probe:
        scene = _known_scene(corpus, 2 + index % 7)
        while whose == "other" and all(fact.person == scene.owner for fact, _ in scene.known):
            scene = _known_scene(corpus, 2 + index % 7)
        absent = whose == "absent"
        fact = new_fact(corpus.speech, scene, near=0.65) if absent else _known(corpus, scene, of_owner=whose == "own")
        wanted = prompts.UNKNOWN if absent else fact.value
        asked = prompts.propose(corpus.rng.choice(fact.questions(by_owner=False)))
        return Probe([prompts.system(scene.owner, scene.lines), asked], lambda reply: _ends_in(reply, wanted))

    return make


def _ends_in(reply: str, wanted: str) -> bool:
    answer = prompts.final_answer(reply)
    return answer is not None and answer_key(answer) == answer_key(wanted)


def _family(name: str, difficulties: tuple[int, ...], *, work: bool) -> Callable[[Corpus, int], Probe]:
    """A family with work or at once, its difficulties in turn."""

    def make(corpus: Corpus, index: int) -> Probe:
        environment = ENVIRONMENTS[name]
        item = draw(environment, corpus.rng, difficulties[index % len(difficulties)], held_out_items=True)
        owner = prompts.system(corpus.speech.person())
        asked = prompts.propose(item.question) if work else prompts.at_once(item.question)

        def accepts(reply: str) -> bool:
            return bool(environment.is_right(item, prompts.final_answer(reply) if work else reply))

        return Probe([owner, asked], accepts)

    return make


def _as_in_corpus(kinds: tuple[str, ...], read: Callable[[str], str | None]) -> Callable[[Corpus, int], Probe]:
    """A whole conversation of the corpus, its last reply compared by what `read` finds in it."""

    def make(corpus: Corpus, index: int) -> Probe:
        *prompt, said = corpus.kinds[kinds[index % len(kinds)]]()
        return Probe(prompt, lambda reply: read(reply) == read(said.content))

    return make


CELLS: tuple[Cell, ...] = (
    Cell("small_talk", "small talk", _small_talk, 0.97, 0.90),
    Cell("style", "style followed", _style, 0.97, 0.90),
    Cell("recall", "recall, 1-8 memories, 1 turn, all relations", _recall(lambda index: 1 + index % 8), 0.92, 0.85),
    Cell("recall_names", "recall of unseen names and cities", _recall(lambda i: 1 + i % 8, NAMES), 0.92, 0.85),
    Cell("recall_codes", "recall of unseen codes, 3-6 digits", _recall(lambda i: 1 + i % 8, CODES)),
    Cell("recall_8", "recall, 8 memories", _recall(lambda _: 8), 0.90, 0.75),
    Cell("recall_rivalled", "recall, the same told of somebody else's", _rivalled),
    Cell("recall_3_turns", "recall after 3 turns, taught facts among them", _three_turns, 0.90, 0.75),
    Cell("absent", "absent fact admitted", _absent, 0.93, 0.85),
    Cell("world", "question about the world declined", _world_question, 0.93, 0.85),
    Cell("debate_own", "recall in a debate, the owner's fact", _debated("own"), 0.90, 0.75),
    Cell("debate_other", "recall in a debate, somebody else's fact", _debated("other"), 0.90, 0.75),
    Cell("debate_absent", "recall in a debate, absent fact", _debated("absent"), 0.93, 0.85),
    Cell(
        "review",
        "review of a hypothesis: own answer right",
        _as_in_corpus(("review", "review_memory"), prompts.final_answer),
    ),
    Cell(
        "resolve",
        "solved again with hypotheses in view",
        _as_in_corpus(("resolve", "resolve_memory"), prompts.final_answer),
    ),
    Cell(
        "verdict", "verdict word after work (chance .5)", _as_in_corpus(("judge", "judge_pair"), prompts.final_verdict)
    ),
    Cell("add", "add up to 3 digits, work", _family("add", (1, 2, 3), work=True), 0.95, 0.85),
    Cell("subtract", "subtract up to 3 digits, work", _family("subtract", (1, 2, 3), work=True), 0.95, 0.85),
    Cell("multiply", "multiply 2x1, work", _family("multiply", (2,), work=True), 0.80, 0.55),
    Cell("weekday", "weekday to 30 days, work", _family("weekday", (1, 2, 3), work=True), 0.95, 0.85),
    Cell("count_letter", "count to 11 letters, work", _family("count_letter", (1, 2, 3), work=True), 0.90, 0.80),
    Cell("reverse", "reverse to 8 letters, at once", _family("reverse", (1, 2, 3), work=False), 0.93, 0.85),
    Cell("order", "order 3-4 people, work", _family("order", (1, 2), work=True), 0.85, 0.70),
    Cell("sort_3", "sort 3 numbers, work", _family("sort_numbers", (1,), work=True), 0.92, 0.80),
    Cell("sort_4", "sort 4 numbers, work", _family("sort_numbers", (2,), work=True), 0.70, 0.50),
    Cell("sort_words", "sort 2-4 words, work", _family("sort_words", (1, 2, 3), work=True)),
    Cell("multiply_3x1", "multiply 3x1, work", _family("multiply", (3,), work=True)),
    Cell("add_4", "add 4 digits, work", _family("add", (4,), work=True)),
    Cell("order_long", "order 5-6 people, work", _family("order", (3, 4), work=True)),
    Cell("order_direct", "order 3-4 people, at once", _family("order", (1, 2), work=False)),
    Cell("sort_direct", "sort 3-4 numbers, at once", _family("sort_numbers", (1, 2), work=False)),
    Cell("add_direct", "add 2 digits, at once", _family("add", (2,), work=False)),
)
