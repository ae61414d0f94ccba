"""How members rank what others said: by comparing two at a time, in an order that tells nothing.

Doors: `ranking_seats` (who ranks, and how many candidates the budget allows), `rank` (one member's ranking, as a
position of the round RANKING whose `alternatives` are answer keys, best first). A member sees two texts and the
question, never an author or a count. Which is A and which is B is drawn from the debate's seed and the member, since
models favour a place. What was not compared, or goes round in a circle, is left out of a ranking: nothing in it is
invented.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

from agents.personal import Judgement, PersonalAgent
from personal_data.errors import FolkmootError
from personal_data.records import Debate, Position
from society.aggregation.ballot import lot
from society.canonical import answer_key
from society.choice import settled
from society.egress import gives_orders
from society.keeping import cause_of, is_stored, keep
from society.room import Room
from society.rounds import params_of
from society.standing import RANKING, REVIEWED, Standing, standing_of
from society.state import OPINION, RankingSeat
from society.verdict import cluster

MOST = 5
"""So many candidates a member ranks; each with each other makes ten comparisons."""
_FIRST_SEED = 100_000
"""Above the numbers of all other thoughts."""
_STORING_S = 0.5
"""Kept back of the time that is left, so that what was compared in time is also stored in time."""


@dataclass(frozen=True, slots=True)
class Next:
    """Who ranks; or why nobody does."""

    seats: list[RankingSeat]
    stopped: str


def ranking_seats(room: Room, *, late: bool) -> Next:
    """Write down the hypotheses, merged as members have said, and say who ranks them. Blocks."""
    with room.database.session() as session:
        room.fence(session)
        standing, _ = cluster(session, room, REVIEWED)
    if (stopped := settled(standing)) is not None:
        return Next([], stopped)
    if room.plan.rounds < 1:
        return Next([], "all rounds are over")
    if late:
        return Next([], "no time is left")
    least = 3 if room.debate.kind == OPINION else 2
    for most in range(MOST, least - 1, -1):
        able = [member for member in standing.votes if _can_rank(room, standing, member, most)]
        calls = sum(comb(len(candidates(room, standing, member, most)), 2) for member in able)
        if standing.calls + calls <= room.plan.max_calls:
            seats = [
                RankingSeat(debate_id=room.debate.id, round=RANKING, agent_id=member, most=most) for member in able
            ]
            return Next(seats, "all rounds are over" if seats else "nobody can compare them")
    return Next([], "the budget is spent")


def candidates(room: Room, standing: Standing, member: str, most: int) -> list[str]:
    """What a member compares: never its own, nor what gives orders; of more than `most`, those that more hold, and
    others by a lot of its own, so that every text is seen by somebody."""
    own = standing.votes.get(member)
    free = [key for key, text in standing.wording.items() if key != own and not gives_orders(text)]
    free.sort(key=lambda key: (-len(standing.supporters(key)), lot(room.debate.seed, f"{member}\0{key}")))
    return free[: most - (_first(room, standing, member) is not None)]


async def rank(room: Room, seat: RankingSeat) -> None:
    """Compare each two candidates once and keep what follows of it; a member none of whose comparisons says anything
    is absent."""
    if await asyncio.to_thread(is_stored, room, seat):
        return
    started = time.monotonic()
    agent = await asyncio.to_thread(room.directory.by_id, seat["agent_id"])
    standing = await asyncio.to_thread(_standing, room)
    keys = candidates(room, standing, agent.id, seat["most"])
    pairs = [_shuffled(room, agent.id, *pair) for pair in combinations(keys, 2)]
    said = await _compared(room, agent, standing.wording, pairs)
    heard = [one for one in said if isinstance(one, Judgement)]
    failed = [one for one in said if not isinstance(one, Judgement)]
    beats = {one for one in map(_decided, pairs, said) if one is not None}
    row = _row(agent, seat, heard, len(pairs))
    if pairs and not beats:
        row.status, row.cause = "absent", cause_of(failed[0]) if failed else "parse"
    else:
        first = _first(room, standing, agent.id)
        row.alternatives = [*([] if first is None else [first]), *chain(keys, beats)]
    row.elapsed_s = time.monotonic() - started
    shown = [text for one in heard for text in one.shown]
    await keep(room, row, agent, [*shown, *(standing.wording[key] for key in keys)])


def chain(keys: Sequence[str], beats: set[tuple[str, str]]) -> tuple[str, ...]:
    """The most of these candidates that (better, worse) pairs put in one order without a gap or a circle, best first;
    of equally many the earlier ones."""
    for size in range(len(keys), 0, -1):
        for some in combinations(keys, size):
            wins = {a: sum((a, b) in beats for b in some) for a in some}
            if sorted(wins.values()) == list(range(size)):  # each has met each: a circle leaves two with equal wins
                return tuple(sorted(some, key=lambda key: -wins[key]))
    return ()


def _can_rank(room: Room, standing: Standing, member: str, most: int) -> bool:
    own = _first(room, standing, member) is not None
    return len(candidates(room, standing, member, most)) + own > 1


def _first(room: Room, standing: Standing, member: str) -> str | None:
    """What stands first without a comparison: one's own statement, where opinions are asked for."""
    own = standing.votes.get(member)
    if room.debate.kind != OPINION or own is None or gives_orders(standing.wording[own]):
        return None
    return own


def _standing(room: Room) -> Standing:
    with room.database.reading() as session:
        return standing_of(session, session.get_one(Debate, room.debate.id), REVIEWED)


def _shuffled(room: Room, member: str, a: str, b: str) -> tuple[str, str]:
    first, second = sorted((a, b))
    drawn = lot(room.debate.seed, f"{member}\0{first}\0{second}")[0] & 1
    return (second, first) if drawn else (first, second)


async def _compared(
    room: Room, agent: PersonalAgent, wording: Mapping[str, str], pairs: Sequence[tuple[str, str]]
) -> list[Judgement | FolkmootError | TimeoutError]:
    if not pairs:
        return []
    return await agent.compare(
        room.debate.question,
        [(wording[first], wording[second]) for first, second in pairs],
        audience=room.audience,
        params=[params_of(room, agent, _FIRST_SEED + number) for number in range(len(pairs))],
        within_s=max(_STORING_S, room.remaining_s() - _STORING_S),
        recalls=agent.id not in room.silent,
    )


def _decided(pair: tuple[str, str], said: Judgement | FolkmootError | TimeoutError) -> tuple[str, str] | None:
    """(better, worse); None where nothing can be read from it."""
    verdict = answer_key(said.verdict or "") if isinstance(said, Judgement) else ""
    return {"a": pair, "b": (pair[1], pair[0])}.get(verdict)


def _row(agent: PersonalAgent, seat: RankingSeat, heard: Sequence[Judgement], calls: int) -> Position:
    adapter = agent.identity.adapter
    tokens = [one.completion_tokens for one in heard]
    return Position(
        debate_id=seat["debate_id"],
        round=seat["round"],
        agent_id=seat["agent_id"],
        status="answered",
        argument="\n\n".join(one.work for one in heard) or None,
        flags={"calls": calls} | ({"failed": calls - len(heard)} if len(heard) < calls else {}),
        lineage=agent.identity.lineage,
        adapter_version_id=None if adapter is None else adapter.name,
        memory_ids=sorted({memory_id for one in heard for memory_id in one.memory_ids}),
        completion_tokens=None if None in tokens else sum(count for count in tokens if count is not None),
    )
