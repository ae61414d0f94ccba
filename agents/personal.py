"""One person's agent. Doors: `PersonalAgent.reply` (chat) and `PersonalAgent.propose` (its seat in a debate).

A reply walks: recall what bears on the question → build the prompt → stream from the model → store both turns and
remember what the owner stated. Nothing is stored when the model breaks off, so a retried request stores its turns
once; the turns are durable before the caller sees the finish. A debate's question recalls only what the audience may
see, and nothing of it is remembered here. A prompt that is too long for the model is asked again with less in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from agents.backend import TOO_LONG, AdapterRef, ChatBackend
from agents.conversations import Conversations, NewTurn
from agents.messages import Completion, Delta, Message, SamplingParams
from agents.prompts import (
    MemoryLine,
    final_answer,
    final_verdict,
    free_answer,
    is_unknown,
    judge_pair,
    propose,
    repair,
    resolve,
    review,
    same,
    system,
)
from personal_data.embedding import Vectors
from personal_data.errors import FolkmootError, InvalidInput, RequestRefused
from personal_data.memory import Memory, NewMemory, pieces
from personal_data.profile import Preference
from personal_data.recall import Hit


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose agent this is and what it runs on, read from the records for one request."""

    agent_id: str
    user_id: str
    handle: str
    owner_name: str
    lineage: str
    instructions: tuple[str, ...] = ()
    preferences: tuple[Preference, ...] = ()
    """Those of the owner's memories that every prompt of theirs shows."""
    adapter: AdapterRef | None = None


@dataclass(slots=True)
class Turn:
    """A reply on its way. From the first delta on `hits` are the memories that the model was shown; `message_id` is set
    once the turn is stored, just before the last delta is yielded."""

    conversation_id: str | None
    hits: list[Hit]
    adapter_version_id: str | None
    deltas: AsyncGenerator[Delta, None] = field(repr=False)
    preferences: tuple[Preference, ...] = ()
    message_id: str | None = None

    @property
    def memory_ids(self) -> tuple[str, ...]:
        """Every memory that the model was shown."""
        return (*(hit.id for hit in self.hits), *(one.id for one in self.preferences))


@dataclass(frozen=True, slots=True)
class Proposal:
    """An agent's answer to a society's question; `answer` None means that it abstains, or was not parsed: it gave none,
    or was cut off while it gave it. `completion_tokens` None: the server did not count."""

    answer: str | None
    argument: str
    memory_ids: tuple[str, ...]
    parsed: bool
    completion_tokens: int | None
    calls: int = 1
    shown: tuple[str, ...] = ()
    """The texts of those memories."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an agent said of two texts that it was shown; `verdict` None: it did not close its work with one."""

    verdict: str | None
    work: str
    memory_ids: tuple[str, ...]
    completion_tokens: int | None
    shown: tuple[str, ...] = ()


class PersonalAgent:
    """An agent ready to answer for one owner."""

    def __init__(
        self, identity: Identity, *, backend: ChatBackend, memory: Memory, conversations: Conversations, recall_k: int
    ) -> None:
        self.identity = identity
        self._backend = backend
        self._memory = memory
        self._conversations = conversations
        self._recall_k = recall_k

    @property
    def id(self) -> str:
        return self.identity.agent_id

    @property
    def user_id(self) -> str:
        return self.identity.user_id

    async def reply(
        self,
        history: Sequence[Message],
        params: SamplingParams,
        *,
        conversation_id: str | None = None,
        request_id: str | None = None,
    ) -> Turn:
        """Answer the last message of `history`, which must be the owner's.

        System messages of the caller are kept, after the agent's own. With `conversation_id` the turns are appended to
        that conversation, otherwise a new one is opened; `request_id` makes a retry store its turns once. While the
        model finds the prompt too long, memories and then the earlier turns are left out, half of them at a time.

        Raises:
            InvalidInput: no user message at the end, or an empty one.
            NotFound: the conversation is not this owner's.
            FolkmootError: from the deltas, when the model fails (see `ChatBackend`); nothing is stored then.
        """
        question = _last_user_text(history)
        if conversation_id is not None:
            await asyncio.to_thread(self._conversations.check_owner, conversation_id, self.identity.user_id)
        hits = await asyncio.to_thread(self._recall, question, audience=None)
        adapter = self.identity.adapter
        turn = Turn(
            conversation_id,
            hits,
            adapter.name if adapter else None,
            deltas=_nothing(),
            preferences=self.identity.preferences,
        )
        turn.deltas = self._stream_and_store(turn, history, params, request_id)
        return turn

    async def propose(
        self,
        question: str,
        *,
        audience: str | None,
        params: Sequence[SamplingParams],
        recalls: bool = True,
        free: bool = False,
    ) -> list[Proposal]:
        """Think about a society's question, once for each of `params`, with the memories that its audience may see.

        The owner's standing instructions stay out: they carry no scope, and others read the argument. `free`: the
        answer may be any text, and one that does not say where it begins is all of it.

        Raises:
            FolkmootError: the model failed (see `ChatBackend`); the caller records an absence.
        """
        return await self._think(propose(question), question, audience, params, recalls, free)

    async def review(
        self,
        question: str,
        proposed: str,
        argument: str,
        *,
        audience: str,
        params: SamplingParams,
        recalls: bool = True,
    ) -> Proposal:
        """Check somebody's hypothesis; what the reviewer finds itself is the answer.

        Raises:
            FolkmootError: as `propose`.
        """
        [found] = await self._think(review(question, proposed, argument), question, audience, [params], recalls)
        return found

    async def resolve(
        self,
        question: str,
        hypotheses: Sequence[tuple[str, str]],
        *,
        audience: str,
        params: SamplingParams,
        recalls: bool = True,
    ) -> Proposal:
        """Solve a question again, knowing the hypotheses (answer, status) that are left, and nothing of who holds them.

        Raises:
            FolkmootError: as `propose`.
        """
        [found] = await self._think(resolve(question, hypotheses), question, audience, [params], recalls)
        return found

    async def compare(
        self,
        question: str,
        pairs: Sequence[tuple[str, str]],
        *,
        audience: str,
        params: Sequence[SamplingParams],
        within_s: float,
        recalls: bool = True,
    ) -> list[Judgement | FolkmootError | TimeoutError]:
        """Which of two texts answers a question better, for each pair; verdicts are A or B. A comparison that failed,
        or took longer than `within_s`, stands in its place as what went wrong: the others are none the worse."""
        hits = await asyncio.to_thread(self._recall, question, audience=audience) if recalls else []
        asked = [judge_pair(question, *pair) for pair in pairs]
        return list(
            await asyncio.gather(
                *(self._attempt(one, hits, how, within_s) for one, how in zip(asked, params, strict=True))
            )
        )

    async def liken(self, question: str, first: str, second: str, *, params: SamplingParams) -> Judgement:
        """Whether two texts say the same, yes or no. What the owner remembers does not bear on that.

        Raises:
            FolkmootError: as `propose`.
        """
        return await self._judged(same(question, first, second), [], params)

    async def _think(
        self,
        asked: Message,
        question: str,
        audience: str | None,
        params: Sequence[SamplingParams],
        recalls: bool,
        free: bool = False,
    ) -> list[Proposal]:
        hits = await asyncio.to_thread(self._recall, question, audience=audience) if recalls else []
        return list(await asyncio.gather(*(self._thought(asked, hits, one, free) for one in params)))

    async def _attempt(
        self, asked: Message, hits: list[Hit], params: SamplingParams, within_s: float
    ) -> Judgement | FolkmootError | TimeoutError:
        try:
            async with asyncio.timeout(within_s):
                return await self._judged(asked, hits, params)
        except (FolkmootError, TimeoutError) as error:
            return error

    async def _judged(self, asked: Message, hits: list[Hit], params: SamplingParams) -> Judgement:
        completion, hits, _ = await self._completed(asked, hits, params)
        return Judgement(
            verdict=final_verdict(completion.text) if completion.finish_reason != "length" else None,
            work=completion.text.strip(),
            memory_ids=tuple(hit.id for hit in hits),
            completion_tokens=completion.usage.completion_tokens if completion.usage else None,
            shown=tuple(hit.text for hit in hits),
        )

    async def _completed(
        self, asked: Message, hits: list[Hit], params: SamplingParams
    ) -> tuple[Completion, list[Hit], list[Message]]:
        """A completion, the memories that there was room for, and the prompt."""
        history = [asked]
        while True:
            prompt = self._prompt(history, hits, instructions=())
            try:
                completion = await self._backend.complete(prompt, params, adapter=self.identity.adapter)
                return completion, hits, prompt
            except RequestRefused as error:
                history, hits = _shorter(history, hits, error)

    async def _thought(self, asked: Message, hits: list[Hit], params: SamplingParams, free: bool) -> Proposal:
        """One completion; where it does not say what its answer is, it is asked for that once, unless that is free."""
        completion, hits, prompt = await self._completed(asked, hits, params)
        if free:
            return _free_proposal(completion, hits)
        first = _proposal(completion, hits)
        if first.parsed or completion.finish_reason == "length" or not completion.text.strip():
            return first
        prompt = [*prompt, Message("assistant", completion.text), repair()]
        try:
            again = _proposal(await self._backend.complete(prompt, params, adapter=self.identity.adapter), hits)
        except RequestRefused:
            return first
        return replace(again, argument=first.argument, completion_tokens=_sum(first, again), calls=2)

    def hidden_near(self, text: str, audience: str) -> list[str]:
        """The owner's memories that an audience may not see and that a text may quote. Blocks: call it off the loop."""
        return self._memory.hidden_near(self.identity.user_id, text, audience)

    def likeness(self, texts: Sequence[str]) -> Vectors | None:
        """How near texts are to each other (`Memory.likeness`). Blocks: call it off the event loop."""
        return self._memory.likeness(texts)

    def prompt_for(self, history: Sequence[Message]) -> list[Message]:
        """The messages that the model would see now, for feedback to learn from. Blocks: call it off the event loop."""
        hits = self._recall(_last_user_text(history), audience=None)
        return self._prompt(history, hits, self._profile)

    @property
    def _profile(self) -> tuple[str, ...]:
        return (*self.identity.instructions, *(one.text for one in self.identity.preferences))

    def _recall(self, question: str, *, audience: str | None) -> list[Hit]:
        """What bears on a question, beside what its owner's prompts show anyway."""
        shown = {one.id for one in self.identity.preferences} if audience is None else set[str]()
        k = self._recall_k
        hits = self._memory.recall(self.identity.user_id, question, k + len(shown), audience=audience)
        return [hit for hit in hits if hit.id not in shown][:k]

    def _prompt(self, history: Sequence[Message], hits: Sequence[Hit], instructions: Sequence[str]) -> list[Message]:
        lines = [MemoryLine(hit.speaker, hit.text) for hit in hits]
        own = system(self.identity.owner_name, lines, instructions)
        callers = [message.content for message in history if message.role == "system"]
        content = "\n".join([own.content, *callers])
        return [replace(own, content=content), *(message for message in history if message.role != "system")]

    async def _stream_and_store(
        self, turn: Turn, history: Sequence[Message], params: SamplingParams, request_id: str | None
    ) -> AsyncGenerator[Delta, None]:
        question, text = history[-1].content, ""
        async with aclosing(self._stream(turn, history, params)) as deltas:
            async for delta in deltas:
                text += delta.text
                if delta.finish_reason is not None:
                    await asyncio.to_thread(self._store, turn, question, text, delta.finish_reason, request_id)
                yield delta

    async def _stream(
        self, turn: Turn, history: Sequence[Message], params: SamplingParams
    ) -> AsyncGenerator[Delta, None]:
        """What the model says, shown no more than it has room for."""
        begun = False
        while True:
            prompt = self._prompt(history, turn.hits, self._profile)
            try:
                async with aclosing(self._backend.stream(prompt, params, adapter=self.identity.adapter)) as deltas:
                    async for delta in deltas:
                        begun = True
                        yield delta
                return
            except RequestRefused as error:
                if begun:
                    raise
                history, turn.hits = _shorter(history, turn.hits, error)

    def _store(self, turn: Turn, question: str, answer: str, finish_reason: str, request_id: str | None) -> None:
        stored = self._conversations.append(
            NewTurn(
                user_id=self.identity.user_id,
                agent_id=self.identity.agent_id,
                conversation_id=turn.conversation_id,
                question=question,
                answer=answer,
                finish_reason=finish_reason,
                request_id=request_id,
                memory_ids=turn.memory_ids,
                adapter_version_id=turn.adapter_version_id,
            )
        )
        turn.conversation_id, turn.message_id = stored.conversation_id, stored.message_id
        if _states_something(question):
            source, owner = (f"message:{stored.question_id}",), self.identity.owner_name
            self._memory.remember(
                self.identity.user_id,
                [
                    NewMemory(
                        piece,
                        speaker=owner,
                        kind="turn",
                        event_at=stored.asked_at,
                        sources=source,
                        thread=turn.conversation_id,
                    )
                    for piece in pieces(question)
                ],
            )


def _proposal(completion: Completion, hits: Sequence[Hit]) -> Proposal:
    answer = final_answer(completion.text) if completion.finish_reason != "length" else None
    return Proposal(
        answer=None if answer is None or is_unknown(answer) else answer,
        argument=completion.text.strip(),
        memory_ids=tuple(hit.id for hit in hits),
        parsed=answer is not None,
        completion_tokens=completion.usage.completion_tokens if completion.usage else None,
        shown=tuple(hit.text for hit in hits),
    )


def _free_proposal(completion: Completion, hits: Sequence[Hit]) -> Proposal:
    """One that was cut off is what there is of it."""
    answer = free_answer(completion.text)
    known = bool(answer) and not is_unknown(answer)
    return replace(_proposal(completion, hits), answer=answer if known else None, parsed=bool(answer))


def _sum(first: Proposal, second: Proposal) -> int | None:
    if first.completion_tokens is None or second.completion_tokens is None:
        return None
    return first.completion_tokens + second.completion_tokens


async def _nothing() -> AsyncGenerator[Delta, None]:
    return
    yield Delta()


def _last_user_text(history: Sequence[Message]) -> str:
    if not history or history[-1].role != "user":
        raise InvalidInput("the last message must have the role `user`", param="messages")
    if not history[-1].content.strip():
        raise InvalidInput("the last message is empty", param="messages")
    return history[-1].content


def _shorter(
    history: Sequence[Message], hits: Sequence[Hit], refused: RequestRefused
) -> tuple[list[Message], list[Hit]]:
    """What to show a model that found this too long: half of the memories, the best ones; when none is left, the newer
    half of the turns before the question, beginning with one of the owner's. System messages stay.

    Raises:
        RequestRefused: as it was given, when it is about something else or only the question is left.
    """
    if refused.code != TOO_LONG:
        raise refused
    if hits:
        return list(history), list(hits[: len(hits) // 2])
    spoken = [message for message in history if message.role != "system"]
    if len(spoken) == 1:
        raise refused
    kept = spoken[len(spoken) // 2 :]
    while kept[0].role != "user":
        kept = kept[1:]
    return [*(message for message in history if message.role == "system"), *kept], []


def _states_something(text: str) -> bool:
    """Questions and small talk stay in the conversation; only statements are recalled later."""
    return not text.rstrip().endswith("?") and len(text.split()) >= 3
