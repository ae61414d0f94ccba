"""How the nursery's people type and its agent words things: standing instructions, styles, typing noise."""

from __future__ import annotations

from random import Random

from agents.messages import Message
from training.nursery.language import Fact

BRIEF, FULL_SENTENCE, FORMAL, SMILE = "Answer briefly.", "Answer in a full sentence.", "Be formal.", "End with a smile."
INSTRUCTIONS = (BRIEF, FULL_SENTENCE, FORMAL, SMILE)
"""The closed set of standing instructions that the nursery follows."""

Style = tuple[str, ...]
_STYLES: tuple[Style, ...] = (
    (BRIEF,),
    (FULL_SENTENCE,),
    (FORMAL,),
    (SMILE,),
    (BRIEF, SMILE),
    (SMILE, FULL_SENTENCE),
    (FORMAL, SMILE),
)


def says(text: str) -> Message:
    """The agent's turn."""
    return Message("assistant", text)


class Voice:
    """Draws instructions and words replies; without an instruction a reply is brief or full at random.

    That randomness is on purpose: preference tuning then has something to move. `noise` is the share of questions
    typed carelessly.
    """

    def __init__(self, rng: Random, noise: float) -> None:
        self._rng, self._noise = rng, noise

    def style(self, share: float = 0.5) -> Style:
        """The instructions of a conversation; none in `1 - share` of them."""
        return self._rng.choice(_STYLES) if self._rng.random() < share else ()

    def worded(self, style: Style, brief: str, full: str, formal: str) -> str:
        """The one of three wordings that the instructions ask for."""
        if FORMAL in style:
            text = formal
        elif BRIEF in style:
            text = brief
        elif FULL_SENTENCE in style:
            text = full
        else:
            text = self._rng.choice((brief, full))
        return f"{text} :)" if SMILE in style else text

    def recall(self, fact: Fact, by_owner: bool, style: Style) -> str:
        """The reply to a question about a known fact."""
        full = fact.second_person() if by_owner else fact.third_person()
        return self.worded(style, f"{fact.value}.", full, f"Certainly. {full}")

    def taught(self, fact: Fact, own: bool, style: Style) -> str:
        """The acknowledgement of a fact just told."""
        said = fact.second_person() if own else fact.third_person()
        said = said[0].lower() + said[1:] if said.startswith(("You", "The ")) else said
        full = f"I will remember that {said}"
        return self.worded(style, "Noted.", full, f"Certainly. {full}")

    def typed(self, question: str) -> str:
        """Now and then how people really type: a courtesy, no capital, no question mark, a lost letter."""
        rng = self._rng
        if rng.random() >= self._noise:
            return question
        place = rng.randrange(1, len(question) - 1)
        lost = question[:place] + question[place + 1 :] if question[place].isalpha() else question
        courtesies = (f"Please tell me: {question}", f"Hey, {question}", f"{question} Please.")
        return rng.choice((*courtesies, question[:-1], question.lower(), lost))
