"""A debate as a sequence of events, derived from its records alone: replayable by anybody, after any crash.

`opened` (question, panel), a `position` for each round of each member that has answered or is known to be absent, a
`review` for each check of a hypothesis, then `done` or `failed` with the whole report. An event's id is the id of the
record that it tells of.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from api.keys import Caller
from api.state import State
from api.streams import event
from personal_data.records import Key
from society.intake import for_reader
from society.report import report

_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class DebateEvent:
    """One thing that happened."""

    id: str
    name: str
    data: dict[str, Any]


def debate_events(told: dict[str, Any]) -> list[DebateEvent]:
    """The events of a report so far, oldest first."""
    opened = DebateEvent(told["id"], "opened", {"question": told["question"], "panel": told["panel"]})
    said = [DebateEvent(position["id"], "position", position) for position in told["positions"]]
    said += [DebateEvent(review["id"], "review", review) for review in told["reviews"]]
    said.sort(key=lambda event: (event.data["at"], event.id))
    end = [] if told["state"] == "queued" else [DebateEvent(f"{told['id']}.end", told["state"], told)]
    return [opened, *said, *end]


async def follow(state: State, caller: Caller, debate_id: str, last_id: str | None) -> AsyncGenerator[str, None]:
    """Server-sent events after `last_id` until the debate has ended, or the caller's key is revoked."""
    async with aclosing(steps(state, caller, debate_id, last_id)) as happened:
        async for item in happened:
            yield event(item.data, id=item.id, name=item.name)


async def steps(
    state: State, caller: Caller, debate_id: str, last_id: str | None = None
) -> AsyncGenerator[DebateEvent, None]:
    """What happens in a debate after `last_id`, until it has ended, or the caller's key is revoked."""
    sent: set[str] | None = None
    while True:
        told = await asyncio.to_thread(_read, state, caller, debate_id)
        if told is None:
            return
        events = debate_events(told)
        if sent is None:
            sent = _seen(events, last_id)
        for item in events:
            if item.id not in sent:
                sent.add(item.id)
                yield item
        if told["state"] != "queued":
            return
        await asyncio.sleep(_POLL_S)


def _read(state: State, caller: Caller, debate_id: str) -> dict[str, Any] | None:
    with state.database.reading() as session:
        key = session.get(Key, caller.key_id)
        if key is None or key.revoked_at is not None:
            return None
        return report(session, for_reader(session, user_id=caller.user_id, debate_id=debate_id))


def _seen(events: Sequence[DebateEvent], last_id: str | None) -> set[str]:
    ids = [item.id for item in events]
    return set(ids[: ids.index(last_id) + 1]) if last_id in ids else set()
