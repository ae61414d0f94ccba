"""Erasing everything of a person: what is theirs goes, what they share with others is handed over or emptied.

Doors: `erase_belongings`, then the memories (`rows.erase_memories`), and at the very end `erase_person`: until then the
person's keys work, so that they can read how far it is.
"""

from __future__ import annotations

from sqlalchemy import JSON, Text, delete, select
from sqlalchemy.orm import Session

from personal_data.erasure.rows import MARK, Erased, empty_position, name_debaters, strings
from personal_data.portability.export import rows as owned_rows
from personal_data.portability.tables import PARTS, Owner
from personal_data.records import AdapterVersion, Agent, Debate, Job, Member, Memory, Position, Review, Society, User

_STAYS = frozenset({"memories", "societies", "imported_memories"})
"""Memories go by themselves, batch by batch; societies may be others' homes."""
_NAMES = frozenset({"name"})
"""Short columns that hold what a person chose; the others hold ids and words of ours."""


def erase_belongings(session: Session, owner: Owner) -> Erased:
    """Erase all but the memories, the account and its keys. No job of theirs may be running."""
    erased = Erased()
    agent = session.get(Agent, owner.agent_id) if owner.agent_id else None
    if agent is not None:
        erased.took("agents", list(agent.instructions), agent.created_at)
        agent.live_version_id, agent.instructions = None, []
        agent.improve_every_s = agent.schedule_from = None
        session.flush()
    spoken = select(Position).join(Debate, Debate.id == Position.debate_id)
    for row in session.scalars(spoken.where(Position.agent_id == owner.agent_id, Debate.user_id != owner.user_id)):
        empty_position(session, erased, row)
    for check in session.scalars(select(Review).where(Review.agent_id == owner.agent_id)):
        erased.took("reviews", [check.argument or "", check.answer or ""], check.created_at)
        check.argument, check.answer = MARK, None
    erased.debate_ids.update(session.scalars(select(Debate.id).where(Debate.user_id == owner.user_id)))
    name_debaters(session, erased)
    for part in reversed(PARTS):
        if part.name in _STAYS or not part.restored:
            continue
        texts = [
            name for name in part.columns if name in _NAMES or isinstance(part.table.columns[name].type, Text | JSON)
        ]
        for told in owned_rows(session, part, owner):
            erased.took(part.name, strings([told[name] for name in texts]), erased.since)
        session.execute(delete(part.table).where(part.owned(owner)))
    session.execute(delete(AdapterVersion).where(AdapterVersion.agent_id == owner.agent_id))
    session.execute(delete(Job).where(Job.user_id == owner.user_id))
    for society in session.scalars(select(Society).where(Society.owner_id == owner.user_id)):
        _hand_over(session, erased, owner, society)
    session.flush()
    return erased


def erase_person(session: Session, owner: Owner) -> None:
    """Erase the account: its keys stop working, and what is left of its rows goes with it."""
    session.execute(delete(Memory).where(Memory.user_id == owner.user_id))
    session.execute(delete(User).where(User.id == owner.user_id))


def _hand_over(session: Session, erased: Erased, owner: Owner, society: Society) -> None:
    """A society is its members' too: it goes to the one who has sat there longest, and else to one who has asked it."""
    seats = select(Agent.user_id).join(Member, Member.agent_id == Agent.id)
    seats = seats.where(Member.society_id == society.id, Member.state == "accepted", Agent.id != owner.agent_id)
    askers = select(Debate.user_id).where(Debate.society_id == society.id, Debate.user_id != owner.user_id)
    heir = session.scalar(seats.order_by(Member.created_at).limit(1)) or session.scalar(askers.limit(1))
    if heir is None:
        erased.took("societies", [society.name], society.created_at)
        session.delete(society)
    else:
        society.owner_id = heir
