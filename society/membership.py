"""Societies and their seats. An agent is invited by the society's owner and seated only by its own owner's consent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from personal_data.errors import Conflict, InvalidInput, NotFound
from personal_data.records import Agent, Member, Society, User

ROLES = ("member", "observer")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def create_society(session: Session, *, owner: User, slug: str, name: str) -> Society:
    """Found a society; the owner's own agent is its first member.

    Raises:
        InvalidInput: a slug that is not lower-case letters, digits and dashes.
        Conflict: the slug is taken.
    """
    if not _SLUG.fullmatch(slug):
        raise InvalidInput(f"slug {slug!r}: use 1-63 lower-case letters, digits and dashes", param="slug")
    if session.scalar(select(Society.id).where(Society.slug == slug)) is not None:
        raise Conflict(f"a society {slug!r} exists already")
    society = Society(slug=slug, name=name.strip() or slug, owner_id=owner.id)
    session.add(society)
    session.flush()
    session.add(Member(society_id=society.id, agent_id=_agent_of(session, owner.id).id, state="accepted"))
    session.flush()
    return society


def invite(session: Session, *, owner_id: str, slug: str, handle: str) -> Member:
    """Invite an agent by its handle; a second invitation changes nothing.

    Raises:
        NotFound: not this owner's society, or no such agent.
    """
    society = owned(session, owner_id, slug)
    agent = session.scalar(select(Agent).where(Agent.handle == handle))
    if agent is None:
        raise NotFound(f"no agent {handle!r}")
    member = session.get(Member, (society.id, agent.id))
    if member is None:
        member = Member(society_id=society.id, agent_id=agent.id)
        session.add(member)
        session.flush()
    return member


def change_society(session: Session, *, owner_id: str, slug: str, plan: dict[str, Any]) -> Society:
    """Say how this society debates where a question does not; only its owner may.

    Raises:
        NotFound: not this owner's society.
    """
    society = owned(session, owner_id, slug)
    society.plan = (society.plan or {}) | plan
    return society


def give_role(session: Session, *, owner_id: str, slug: str, handle: str, role: str) -> Member:
    """Let a member's agent be asked, or let it only look on.

    Raises:
        NotFound: not this owner's society, or nobody of this name has a seat there.
        InvalidInput: there is no such role.
    """
    if role not in ROLES:
        raise InvalidInput(f"no role {role!r}; there are {', '.join(ROLES)}", param="role")
    society = owned(session, owner_id, slug)
    query = select(Member).join(Agent, Agent.id == Member.agent_id)
    member = session.scalar(query.where(Member.society_id == society.id, Agent.handle == handle))
    if member is None:
        raise NotFound(f"{handle!r} has no seat or invitation in {slug!r}")
    member.role = role
    return member


def show_memories(session: Session, *, user_id: str, slug: str, shares: bool) -> Member:
    """Let one's agent look into what one shares with this society, or answer by what it knows alone.

    Raises:
        NotFound: one's agent has no seat there.
    """
    member = _membership(session, user_id, slug)
    member.shares_memories = shares
    return member


def accept(session: Session, *, user_id: str, slug: str) -> Member:
    """Take the seat that one's agent was offered.

    Raises:
        NotFound: no such society, or no invitation.
    """
    member = _membership(session, user_id, slug)
    member.state = "accepted"
    return member


def leave(session: Session, *, user_id: str, slug: str) -> None:
    """Give up one's seat; acts on the next debate.

    Raises:
        NotFound: one's agent has no seat there.
    """
    session.delete(_membership(session, user_id, slug))


def societies_of(session: Session, user_id: str) -> Sequence[tuple[Society, Member]]:
    """The societies in which this person's agent has a seat or an invitation."""
    query = (
        select(Society, Member)
        .join(Member, Member.society_id == Society.id)
        .where(Member.agent_id == _agent_of(session, user_id).id)
        .order_by(Society.slug)
    )
    return [(society, member) for society, member in session.execute(query)]


def members_of(session: Session, society_id: str) -> Sequence[tuple[Agent, Member]]:
    """Agents with a seat or an invitation, in order of handle."""
    query = (
        select(Agent, Member)
        .join(Member, Member.agent_id == Agent.id)
        .where(Member.society_id == society_id)
        .order_by(Agent.handle)
    )
    return [(agent, member) for agent, member in session.execute(query)]


def for_asker(session: Session, *, user_id: str, slug: str) -> Society:
    """The society, if this person may ask it: its owner and its accepted members may.

    Raises:
        NotFound: unknown, or not theirs to ask.
    """
    seated = select(Member.society_id).where(
        Member.agent_id == _agent_of(session, user_id).id, Member.state == "accepted"
    )
    query = select(Society).where(Society.slug == slug, or_(Society.owner_id == user_id, Society.id.in_(seated)))
    society = session.scalar(query)
    if society is None:
        raise NotFound(f"no society {slug!r}")
    return society


def panel(session: Session, society_id: str) -> list[str]:
    """Agent ids of all accepted members, in seat order (by handle)."""
    return [
        agent.id
        for agent, member in members_of(session, society_id)
        if member.state == "accepted" and member.role != "observer"
    ]


def owned(session: Session, owner_id: str, slug: str) -> Society:
    """A society of this owner's.

    Raises:
        NotFound: it is not theirs.
    """
    society = session.scalar(select(Society).where(Society.slug == slug, Society.owner_id == owner_id))
    if society is None:
        raise NotFound(f"no society {slug!r}")
    return society


def _agent_of(session: Session, user_id: str) -> Agent:
    agent = session.scalar(select(Agent).where(Agent.user_id == user_id))
    if agent is None:
        raise NotFound(f"user {user_id} has no agent")
    return agent


def _membership(session: Session, user_id: str, slug: str) -> Member:
    query = (
        select(Member)
        .join(Society, Member.society_id == Society.id)
        .where(Society.slug == slug, Member.agent_id == _agent_of(session, user_id).id)
    )
    member = session.scalar(query)
    if member is None:
        raise NotFound(f"your agent has no seat or invitation in {slug!r}")
    return member
