"""Whether free texts say the same: near ones are found by their embeddings, and members say whether they are one.

Doors: `doubts` (who is asked about which texts), `liken` (one member's word, as a row of `reviews` whose `answer` is
the other text's key). An embedding alone merges nothing: "plant in March" and "do not plant in March" are near. Two
members that hold neither text are asked, one in each order, since models favour what they read first; both must say yes
(`merging.py`). While the embedder is away nobody is asked, and texts stay apart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from itertools import combinations, product

from sqlalchemy import select

from personal_data.errors import NotFound
from personal_data.records import Hypothesis, Review
from society.aggregation.ballot import lot
from society.canonical import answer_key
from society.choice import settled
from society.egress import gives_orders
from society.keeping import is_reviewed, keep
from society.room import Room
from society.rounds import params_of
from society.standing import BLIND, Standing
from society.state import LikenessSeat
from society.verdict import cluster

NEAR = 0.75
"""From this cosine on two texts may be one. A sieve and no judge: of answers to one question, by MiniLM, 11 of 15
pairs of paraphrases lie above it, and 6 of 48 pairs that differ."""
MOST_PAIRS = 6
"""So many pairs are asked about, the nearest."""
_VERDICTS = {"yes": "verified", "no": "refuted"}

Pair = tuple[str, str, float]
"""Two answer keys and their cosine."""


async def doubts(room: Room) -> list[LikenessSeat]:
    """Write down the hypotheses of the blind round, and say who is asked which of them are one."""
    standing, ids = await asyncio.to_thread(_written, room)
    if settled(standing) is not None or room.plan.rounds < 1:
        return []
    try:
        async with asyncio.timeout(room.remaining_s() / 4):  # an embedder that hangs must not cost the ranking
            pairs = await asyncio.to_thread(_near, room, standing)
    except TimeoutError:
        return []
    return _seats(room, standing, ids, pairs)


async def liken(room: Room, seat: LikenessSeat) -> None:
    """One member's word on whether two texts say the same; of what does not close with one, nothing is concluded."""
    if await asyncio.to_thread(is_reviewed, room, seat):
        return
    started = time.monotonic()
    agent = await asyncio.to_thread(room.directory.by_id, seat["agent_id"])
    (own, first), (key, second) = await asyncio.to_thread(_texts, room, seat)
    number = room.plan.samples + _number(own, key)
    found = await agent.liken(room.debate.question, first, second, params=params_of(room, agent, number))
    row = Review(
        debate_id=seat["debate_id"],
        hypothesis_id=seat["hypothesis_id"],
        agent_id=seat["agent_id"],
        verdict=_VERDICTS.get(answer_key(found.verdict or ""), "undecided"),
        answer=key,
        argument=found.work,
        lineage=agent.identity.lineage,
        memory_ids=list(found.memory_ids),
        completion_tokens=found.completion_tokens,
        flags={"calls": 1, "likeness": seat["likeness"]},
        elapsed_s=time.monotonic() - started,
    )
    await keep(room, row, agent, (first, second))


def _written(room: Room) -> tuple[Standing, dict[str, str]]:
    """How it stands, and the id of each hypothesis by its key."""
    with room.database.session() as session:
        room.fence(session)
        standing, _ = cluster(session, room, BLIND)
        query = select(Hypothesis.key, Hypothesis.id).where(Hypothesis.debate_id == room.debate.id)
        return standing, dict(session.execute(query).tuples().all())


def _near(room: Room, standing: Standing) -> list[Pair]:
    """The pairs that may be one, the nearest first."""
    keys = [key for key, text in sorted(standing.wording.items()) if not gives_orders(text)]
    if len(keys) < 2:
        return []
    cosines = None
    for member in standing.votes:
        try:
            cosines = room.directory.by_id(member).likeness([standing.wording[key] for key in keys])
            break
        except NotFound:
            continue
    if cosines is None:
        return []
    pairs = [
        (keys[a], keys[b], round(float(cosines[a, b]), 6))
        for a, b in combinations(range(len(keys)), 2)
        if cosines[a, b] >= NEAR
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair))[:MOST_PAIRS]


def _seats(room: Room, standing: Standing, ids: Mapping[str, str], pairs: list[Pair]) -> list[LikenessSeat]:
    """Two of each pair, in as many pairs as leave everybody a call to rank with."""
    seats: list[LikenessSeat] = []
    taken: set[tuple[str, str]] = set()
    for first, second, near in pairs:
        if standing.calls + len(seats) + 2 + len(standing.votes) > room.plan.max_calls:
            break
        asked = _askable(room, standing, first, second, taken)
        if asked is None:
            continue
        for key, other, member in ((first, second, asked[0]), (second, first, asked[1])):
            taken.add((key, member))
            seats.append(
                LikenessSeat(
                    debate_id=room.debate.id,
                    hypothesis_id=ids[key],
                    other_id=ids[other],
                    agent_id=member,
                    likeness=near,
                )
            )
    return seats


def _askable(
    room: Room, standing: Standing, first: str, second: str, taken: set[tuple[str, str]]
) -> tuple[str, str] | None:
    """Who is shown `first` first, and who `second`: neither holds either, of two lineages where there are such. Nobody
    is shown a text first in two checks: the row's place says which check it is."""
    neutral = [member for member, key in standing.votes.items() if key not in (first, second)]
    order = {member: lot(room.debate.seed, f"{first}\0{second}\0{member}") for member in neutral}
    couples = [
        (a, b) for a, b in product(neutral, repeat=2) if a != b and (first, a) not in taken and (second, b) not in taken
    ]
    alike = standing.lineages
    return min(couples, key=lambda two: (alike[two[0]] == alike[two[1]], order[two[0]], order[two[1]]), default=None)


def _texts(room: Room, seat: LikenessSeat) -> tuple[tuple[str, str], tuple[str, str]]:
    with room.database.reading() as session:
        first = session.get_one(Hypothesis, seat["hypothesis_id"])
        second = session.get_one(Hypothesis, seat["other_id"])
        return (first.key, first.text), (second.key, second.text)


def _number(first: str, second: str) -> int:
    """A member's checks have seeds of their own."""
    return 1 + int.from_bytes(lot(0, f"{first}\0{second}")[:2])
