"""Debates end to end over LangGraph and both databases, with members whose models are scripted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from agents.messages import Completion, Message
from personal_data.errors import BackendError, BackendUnavailable, Conflict, InvalidInput, LeaseLost, NotFound
from personal_data.records import Debate, Disclosure, Member, Position, User, Verdict
from society.debate import run_debate
from society.intake import for_reader, open_debate
from society.membership import accept, create_society, invite, leave
from society.report import as_text, report
from tests.village import ScriptedModel, Village, from_memory, says


def accepts(session: Session) -> None:
    return None


def ask(village: Village, user: User, question: str = "What is the code?", *, deadline_s: float = 30.0) -> str:
    with village.database.session() as session:
        return open_debate(session, user=user, slug="moot", question=question, deadline_s=deadline_s, seed=1).id


def run(
    village: Village,
    debate_id: str,
    *,
    fence: Callable[[Session], None] = accepts,
    finish: Callable[[Session], None] = accepts,
) -> dict[str, Any]:
    asyncio.run(run_debate(village.database, village, debate_id, fence=fence, finish=finish))
    return read(village, debate_id)


def read(village: Village, debate_id: str) -> dict[str, Any]:
    with village.database.reading() as session:
        return report(session, session.get_one(Debate, debate_id))


def coverage(found: dict[str, Any]) -> tuple[int, ...]:
    return tuple(found["verdict"]["coverage"][name] for name in ("invited", "answered", "abstained", "absent"))


def raises(error: Exception) -> Callable[[Any], str]:
    def script(messages: Any) -> str:
        raise error

    return script


def test_the_answer_of_most_wins_and_dissent_is_reported(village: Village) -> None:
    ada = village.add("ada", says("2 + 2 = 4\nanswer: 4."))
    ben = village.add("ben", says("answer: 5"))
    cleo = village.add("cleo", says("easy\nanswer: 4.0"))
    village.found(ada, ben, cleo)
    found = run(village, ask(village, ada))
    assert found["state"] == "done"
    assert found["verdict"]["answer_key"] == "4"
    assert found["verdict"]["confidence"] == pytest.approx((2 * 2 / 3 + 1) / (2 + 2 + 1)), "one lineage weighs as two"
    assert coverage(found) == (3, 3, 0, 0)
    assert [(row["key"], row["supporters"]) for row in found["hypotheses"]] == [("4", ["ada", "cleo"]), ("5", ["ben"])]
    assert "dissent '5': ben" in as_text(found)


def test_a_tie_is_told_with_how_it_was_broken(village: Village) -> None:
    ada, ben = village.add("ada", says("answer: 4")), village.add("ben", says("answer: 5"))
    village.found(ada, ben)
    found = run(village, ask(village, ada))
    assert found["verdict"]["tie"] == "tie of 2 answers, drawn by lot from the debate's seed"
    assert found["verdict"]["tie"] in as_text(found)


def test_what_only_one_member_knows_and_shares_is_found(village: Village) -> None:
    people = [village.add(handle, from_memory) for handle in ("ada", "ben", "cleo")]
    village.found(*people)
    shared = village.teach(people[1], "The key of the hut is under the barrel")
    village.teach(people[2], "The key of the hut is a canary", scope="private")
    debate_id = ask(village, people[0], "Where is the key of the hut?")
    found = run(village, debate_id)
    assert found["verdict"]["answer_key"] == "barrel"
    assert coverage(found) == (3, 1, 2, 0)
    assert not found["verdict"]["degraded"]
    with village.database.reading() as session:
        rows = session.execute(select(Disclosure.user_id, Disclosure.memory_id)).all()
    assert [tuple(row) for row in rows] == [(people[1].id, shared)]
    prompts = json.dumps([str(village.model_of(person).prompts) for person in people])
    assert "canary" not in prompts


def test_members_that_die_hang_or_ramble_are_absent_with_the_cause(village: Village) -> None:
    ada = village.add("ada", says("answer: 4"))
    others = [
        village.add("ben", raises(BackendUnavailable("gone"))),
        village.add("cleo", raises(BackendError("no", status=400))),
        village.add("dora", says("answer: 5"), delay_s=60),
        village.add("emil", says("I would rather talk about the weather.")),
    ]
    village.found(ada, *others)
    found = run(village, ask(village, ada, deadline_s=4.0))
    causes = {row["agent"]: row["cause"] for row in found["positions"] if row["status"] == "absent"}
    assert causes == {"ben": "error", "cleo": "refused", "dora": "timeout", "emil": "parse"}
    assert found["verdict"]["answer_key"] == "4"
    assert found["verdict"]["degraded"]
    assert found["verdict"]["confidence"] == 1 / 5, "no more than the share of the panel that was heard"
    assert as_text(found).startswith("Degraded")


def test_a_debate_of_which_nobody_is_left_ends_and_says_so(village: Village) -> None:
    ada, ben = (village.add(name, raises(BackendUnavailable("gone"))) for name in ("ada", "ben"))
    village.found(ada, ben)
    found = run(village, ask(village, ada))
    assert (found["state"], found["verdict"]["answer"], found["verdict"]["confidence"]) == ("done", None, None)
    assert coverage(found) == (2, 0, 0, 2)
    assert "Nobody was heard" in as_text(found)
    assert "knows" not in as_text(found)


def test_tokens_that_a_server_did_not_count_are_missing_and_not_0(village: Village) -> None:
    class Uncounted(ScriptedModel):
        async def complete(self, messages: Any, params: Any, *, adapter: Any = None) -> Completion:
            return replace(await super().complete(messages, params, adapter=adapter), usage=None)

    ada = village.add("ada", says("answer: 4"))
    village.found(ada)
    village.models = {agent_id: Uncounted(model.script) for agent_id, model in village.models.items()}
    (position,) = run(village, ask(village, ada))["positions"]
    assert (position["answer"], position["completion_tokens"]) == ("4", None)


def test_nobody_knows(village: Village) -> None:
    ada, ben = village.add("ada", from_memory), village.add("ben", from_memory)
    village.found(ada, ben)
    found = run(village, ask(village, ada))
    assert (found["verdict"]["answer"], found["verdict"]["confidence"]) == (None, None)
    assert "Nobody" in as_text(found)


def test_thinking_is_blind_and_parallel(village: Village) -> None:
    together = asyncio.Event()
    arrived: list[str] = []

    class Waits:
        """Answers only once everybody has been asked: a sequential debate would never end."""

        def __init__(self, handle: str) -> None:
            self.handle = handle

        async def complete(self, messages: Any, params: Any, *, adapter: Any = None) -> Any:
            arrived.append(self.handle)
            if len(arrived) == 3:
                together.set()
            await together.wait()
            assert not any(other in str(messages) for other in ("Ada", "Ben", "Cleo") if other.lower() != self.handle)
            return await village.models[self.handle].complete(messages, params, adapter=adapter)

    people = [village.add(handle, says("answer: 4")) for handle in ("ada", "ben", "cleo")]
    village.found(*people)
    for agent_id, handle in [(village.by_id(key).id, village.by_id(key).identity.handle) for key in village.models]:
        village.models[handle] = village.models[agent_id]
        village.models[agent_id] = Waits(handle)  # type: ignore[assignment]
    assert run(village, ask(village, people[0]))["verdict"]["coverage"]["answered"] == 3
    assert sorted(arrived) == ["ada", "ben", "cleo"]


def test_a_debate_that_lost_its_lease_writes_nothing_and_a_resumed_one_repeats_no_call(village: Village) -> None:
    people = [village.add(handle, says("answer: 4")) for handle in ("ada", "ben", "cleo")]
    village.found(*people)
    debate_id = ask(village, people[0])
    fences = iter([None, None])

    def dies_at_the_third_write(session: Session) -> None:
        try:
            next(fences)
        except StopIteration:
            raise LeaseLost("taken over") from None

    with pytest.raises(LeaseLost):
        run(village, debate_id, fence=dies_at_the_third_write)
    with village.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Position)) == 2
        assert session.scalar(select(func.count()).select_from(Verdict)) == 0
    finished = run(village, debate_id)
    assert finished["verdict"]["coverage"]["answered"] == 3
    calls = sum(len(village.model_of(person).prompts) for person in people)
    assert calls == 4  # three members, and once more for the one whose answer was not kept


def test_the_verdict_and_its_job_commit_together_or_not_at_all(village: Village) -> None:
    ada = village.add("ada", says("answer: 4"))
    village.found(ada)
    debate_id = ask(village, ada)

    def job_is_gone(session: Session) -> None:
        raise LeaseLost("taken over")

    with pytest.raises(LeaseLost):
        run(village, debate_id, finish=job_is_gone)
    assert read(village, debate_id)["verdict"] is None
    assert read(village, debate_id)["state"] == "queued"


def test_seats_are_taken_only_by_their_owners(village: Village) -> None:
    ada, ben, cleo = (village.add(handle, says("answer: 4")) for handle in ("ada", "ben", "cleo"))
    with village.database.session() as session:
        create_society(session, owner=ada, slug="moot", name="Moot")
        invite(session, owner_id=ada.id, slug="moot", handle="ben")
        with pytest.raises(NotFound):
            invite(session, owner_id=cleo.id, slug="moot", handle="cleo")  # not hers to invite to
        with pytest.raises(NotFound):
            accept(session, user_id=cleo.id, slug="moot")  # not invited
    assert run(village, ask(village, ada))["panel"] == ["ada"]  # ben has not accepted yet
    with village.database.session() as session, pytest.raises(NotFound):
        open_debate(session, user=ben, slug="moot", question="?", deadline_s=1.0)
    with village.database.session() as session:
        accept(session, user_id=ben.id, slug="moot")
    assert run(village, ask(village, ben))["panel"] == ["ada", "ben"]
    with village.database.session() as session:
        leave(session, user_id=ben.id, slug="moot")
        assert session.scalar(select(func.count()).select_from(Member)) == 1


def test_bad_questions_and_strangers_are_refused(village: Village) -> None:
    ada, cleo = village.add("ada", says("answer: 4")), village.add("cleo", says("answer: 4"))
    village.found(ada)
    with village.database.session() as session:
        for question in ("", "  \n", "x" * 8001):
            with pytest.raises(InvalidInput):
                open_debate(session, user=ada, slug="moot", question=question, deadline_s=1.0)
        with pytest.raises(NotFound):
            open_debate(session, user=cleo, slug="moot", question="?", deadline_s=1.0)
        leave(session, user_id=ada.id, slug="moot")
        with pytest.raises(Conflict):
            open_debate(session, user=ada, slug="moot", question="?", deadline_s=1.0)
    village_debate = Debate(society_id="x", user_id=ada.id, question="?", panel=[], seed=0, deadline_s=1.0)
    with village.database.reading() as session, pytest.raises(NotFound):
        for_reader(session, user_id=cleo.id, debate_id=village_debate.id or "dbt_none")


def test_our_own_fault_is_raised_and_never_counted_as_an_absence(village: Village) -> None:
    ada = village.add("ada", says("answer: 4"))
    ben = village.add("ben", raises(ZeroDivisionError("a bug of ours")))
    village.found(ada, ben)
    debate_id = ask(village, ada)
    with pytest.raises(ZeroDivisionError):
        run(village, debate_id)
    assert read(village, debate_id)["state"] == "queued"
    assert [row["agent"] for row in read(village, debate_id)["positions"]] == ["ada"]


def test_what_was_forgotten_while_its_member_thought_is_not_written_down(village: Village) -> None:
    """The model was shown the memory; before its answer is stored, the owner forgets it."""
    canary = "The ladder stands behind the Persimmon Street bakery."
    known: list[str] = []

    def forgets(messages: Sequence[Message]) -> str:
        assert canary in messages[0].content
        village.memory.forget(ada.id, known[0])
        return f"I remember: {canary}\nanswer: Persimmon Street"

    ada = village.add("ada", forgets)
    ben = village.add("ben", says("answer: shed"))
    village.found(ada, ben)
    known.append(village.teach(ada, canary))
    told = run(village, ask(village, ben, "Where does the ladder stand?"))
    assert "Persimmon" not in json.dumps(told)
    assert {one["agent"]: one["status"] for one in told["positions"]} == {"ada": "absent", "ben": "answered"}
