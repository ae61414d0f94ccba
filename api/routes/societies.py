"""Societies and the seats in them."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.orm import Session

from api.auth import CurrentUser
from api.schemas import (
    CountOut,
    Done,
    HealthOut,
    InviteIn,
    LearnedOut,
    MemberOut,
    PlanIn,
    ResolvedQuestionsIn,
    RoleIn,
    SeatIn,
    SocietyIn,
    SocietyOut,
    TrustOut,
)
from api.state import AppState
from personal_data.records import Debate, Member, Society, User, now
from society import learning, membership
from society.finished import finished
from society.health import MOST, drifts
from society.health import health as measured
from society.learning import Brought
from society.state import Plan

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
        return _member(body.handle, member)


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


@router.patch("/{slug}")
def change(slug: str, body: PlanIn, caller: CurrentUser, state: AppState) -> SocietyOut:
    """Say how this society debates where a question does not; its owner's to say."""
    with state.database.session() as session:
        told = body.model_dump(exclude_none=True)
        society = membership.change_society(session, owner_id=caller.user_id, slug=slug, plan=told)
        return _out(session, society, caller.user_id, None)


@router.put("/{slug}/members/{handle}")
def give_role(slug: str, handle: str, body: RoleIn, caller: CurrentUser, state: AppState) -> MemberOut:
    """Let a member's agent be asked, or let it only look on; the owner's to say."""
    with state.database.session() as session:
        member = membership.give_role(session, owner_id=caller.user_id, slug=slug, handle=handle, role=body.role)
        return _member(handle, member)


@router.put("/{slug}/seat")
def seat(slug: str, body: SeatIn, caller: CurrentUser, state: AppState) -> Done:
    """Let the caller's agent look into what they share with this society, or answer by what it knows alone."""
    with state.database.session() as session:
        membership.show_memories(session, user_id=caller.user_id, slug=slug, shares=body.shares_memories)
    return Done()


@router.post("/{slug}/outcomes", status_code=201)
def bring_in(slug: str, body: ResolvedQuestionsIn, caller: CurrentUser, state: AppState) -> CountOut:
    """Teach a society whom to trust by questions that were resolved elsewhere; its owner's to do. Answers of those who
    have no seat are left out; a question that is known is not learnt from twice."""
    with state.database.session() as session:
        society = membership.owned(session, caller.user_id, slug)
        seats = {agent.handle: agent.id for agent, _ in membership.members_of(session, society.id)}
        brought = [
            Brought(
                question=one.question,
                right=one.right,
                answers={seats[handle]: answer for handle, answer in one.answers.items() if handle in seats},
                topic=one.topic,
            )
            for one in body.questions
        ]
        return CountOut(count=learning.bring_in(session, society.id, [one for one in brought if one.answers]))


@router.get("/{slug}/trust")
def trust(slug: str, caller: CurrentUser, state: AppState) -> LearnedOut:
    """What a society has learnt of its members, and by which rule it decides."""
    with state.database.reading() as session:
        society = membership.for_asker(session, user_id=caller.user_id, slug=slug)
        found = state.learning.of(session, society.id, until=now())
        topics = learning.topics(session, society.id)
        members = [
            TrustOut(
                handle=agent.handle,
                right=found.trust(agent.id) if found.known(agent.id) else None,
                topics={topic: found.trust(agent.id, topic) for topic in topics} if found.known(agent.id) else {},
            )
            for agent, _ in membership.members_of(session, society.id)
        ]
    return LearnedOut(
        rule=found.rule.rule.name, resolved=found.resolved, measured=dict(found.rule.measured), members=members
    )


@router.get("/{slug}/health")
def health(slug: str, caller: CurrentUser, state: AppState) -> HealthOut:
    """How a society is doing: its accuracy beside its best member's and the majority's, what talk did, how different
    its members are, what an answer costs. Only those who may ask it may see it; no debate and no answer is named."""
    with state.database.reading() as session:
        society = membership.for_asker(session, user_id=caller.user_id, slug=slug)
        debates = finished(session, Debate.society_id == society.id, most=MOST)
        learned = state.learning.of(session, society.id, until=now())
        seats = membership.members_of(session, society.id)
    members = {agent.id: agent.handle for agent, member in seats if member.state == "accepted"}
    return HealthOut(health=measured(debates), drift=drifts(learned, members))


def _member(handle: str, member: Member) -> MemberOut:
    return MemberOut(handle=handle, state=member.state, role=member.role, shares_memories=member.shares_memories)


def _out(session: Session, society: Society, user_id: str, seat: str | None) -> SocietyOut:
    seats = membership.members_of(session, society.id)
    own = next((member.state for agent, member in seats if agent.user_id == user_id), seat)
    return SocietyOut(
        slug=society.slug,
        name=society.name,
        owner=society.owner_id == user_id,
        state=own,
        members=[_member(agent.handle, member) for agent, member in seats],
        plan=Plan.read(society.plan).told(),
    )
