"""Societies and the seats in them."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.orm import Session

from api.auth import CurrentUser
from api.schemas import Done, InviteIn, MemberOut, SocietyIn, SocietyOut
from api.state import AppState
from personal_data.records import Society, User
from society import membership

router = APIRouter(prefix="/api/societies", tags=["societies"])


@router.post("", status_code=201)
def create(body: SocietyIn, caller: CurrentUser, state: AppState) -> SocietyOut:
    """Found a society; the caller's agent is its first member."""
    with state.database.session() as session:
        owner = session.get_one(User, caller.user_id)
        society = membership.create_society(session, owner=owner, slug=body.slug, name=body.name)
        return _out(session, society, caller.user_id, "accepted")


@router.get("")
def societies(caller: CurrentUser, state: AppState) -> list[SocietyOut]:
    """The societies where the caller's agent has a seat or an invitation."""
    with state.database.reading() as session:
        found = membership.societies_of(session, caller.user_id)
        return [_out(session, society, caller.user_id, seat.state) for society, seat in found]


@router.post("/{slug}/invitations", status_code=201)
def invite(slug: str, body: InviteIn, caller: CurrentUser, state: AppState) -> MemberOut:
    """Offer a seat to somebody's agent; only its owner can take it."""
    with state.database.session() as session:
        member = membership.invite(session, owner_id=caller.user_id, slug=slug, handle=body.handle)
        return MemberOut(handle=body.handle, state=member.state)


@router.post("/{slug}/accept")
def accept(slug: str, caller: CurrentUser, state: AppState) -> Done:
    """Take the seat that the caller's agent was offered."""
    with state.database.session() as session:
        membership.accept(session, user_id=caller.user_id, slug=slug)
    return Done()


@router.post("/{slug}/leave")
def leave(slug: str, caller: CurrentUser, state: AppState) -> Done:
    """Give the seat up."""
    with state.database.session() as session:
        membership.leave(session, user_id=caller.user_id, slug=slug)
    return Done()


def _out(session: Session, society: Society, user_id: str, seat: str | None) -> SocietyOut:
    members = [
        MemberOut(handle=agent.handle, state=member.state)
        for agent, member in membership.members_of(session, society.id)
    ]
    return SocietyOut(
        slug=society.slug, name=society.name, owner=society.owner_id == user_id, state=seat, members=members
    )
