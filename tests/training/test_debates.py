"""What debates teach an agent: exact credits, its own part alone, and nothing that is others' or was taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.messages import Message
from agents.prompts import MemoryLine, propose, system
from personal_data.erasure.rows import MARK, erase_memories
from personal_data.portability.tables import Owner
from personal_data.records import Debate, Memory, Position, User
from personal_data.sharing import grant
from society.finished import Again
from society.learning import resolve
from society.membership import leave
from tests.society.test_health import told
from tests.society.test_protocol import QUESTION, debated, stages, villagers
from tests.village import Script, Village, from_memory, says
from training.rollouts import Task
from training.tasks.debates import DEBATES, DebateTask, DebateTasks, credit, debate_tasks, split

CONVINCED, UNFOUNDED = "new_evidence", "unfounded"


def worth(
    blind: Mapping[str, str | None],
    again: Mapping[str, Again] | None = None,
    verified: Sequence[str] = (),
    refuted: Sequence[str] = (),
) -> float:
    """What `me` gets where `yes` is right."""
    return credit(told(blind, again=again or {}), "me", verified, refuted)


@pytest.mark.parametrize(
    ("mine", "others", "value"),
    [
        ("yes", {"a": "yes", "b": "no"}, 0.5),
        ("yes", {"a": "no"}, 0.5),
        ("yes", {"a": "no", "b": "no"}, 1.0),
        ("no", {"a": "yes", "b": "yes"}, -0.5),
        (None, {"a": "yes", "b": "no"}, 0.0),
        (None, {"a": "no", "b": "no"}, 0.0),
    ],
)
def test_being_right_counts_and_being_right_against_most_counts_twice(
    mine: str | None, others: Mapping[str, str], value: float
) -> None:
    assert worth({"me": mine, **others}) == value


def test_who_verified_the_right_answer_has_corrected_those_who_came_over_to_it() -> None:
    blind = {"me": "yes", "a": "no", "b": "yes"}
    came = {"a": Again("yes", CONVINCED)}
    assert worth(blind, came, verified=["yes"]) == 1.0
    assert worth(blind, came) == 0.5, "somebody else's doing"
    assert worth(blind, {"a": Again("yes", UNFOUNDED)}, verified=["yes"]) == 0.5, "the society did not let it count"
    assert worth(blind, {"a": Again("no", "unchanged")}, verified=["yes"]) == 0.5, "nobody came"
    assert worth(blind | {"me": None}, came, verified=["yes"]) == 0.5, "not knowing, and yet of help"
    alone = {"me": "no", "a": "yes", "b": "yes"}
    assert worth(alone, {"me": Again("yes", CONVINCED)}, verified=["yes"]) == 0.5, "it is not one of the others"


@pytest.mark.parametrize(
    ("mine", "verified", "refuted", "value"),
    [
        ("no", [], [], -1.0),
        ("never", ["no"], [], -1.0),
        ("never", [], ["yes"], -1.0),
        ("never", [], [], -0.5),
        ("yes", ["no"], [], 0.0),
        (None, [], ["yes"], -0.5),
        ("never", ["never"], ["no"], -0.5),
    ],
)
def test_who_gave_or_verified_what_another_one_left_the_right_answer_for_has_misled(
    mine: str | None, verified: list[str], refuted: list[str], value: float
) -> None:
    blind = {"me": mine, "a": "yes", "b": "no", "c": "yes"}
    assert worth(blind, {"a": Again("no", CONVINCED)}, verified, refuted) == value
    assert worth(blind, {"a": Again("no", UNFOUNDED)}, verified, refuted) == worth(blind, {}, verified, refuted)


def test_what_it_held_in_the_end_counts() -> None:
    blind = {"me": "no", "a": "no", "b": "yes"}
    assert worth(blind, {"me": Again("yes", CONVINCED)}) == 1.0
    assert worth(blind, {"me": Again("yes", UNFOUNDED)}) == -0.5
    assert worth(blind | {"me": "yes"}, {"me": Again("no", CONVINCED)}) == -0.5


keys = st.sampled_from(["yes", "no", "never", None])
agains = st.builds(Again, st.sampled_from(["yes", "no", "never"]), st.sampled_from([CONVINCED, UNFOUNDED, "unchanged"]))
names = st.sampled_from(["me", "a", "b", "c"])
some = st.lists(st.sampled_from(["yes", "no", "never"]), max_size=3)


@given(st.dictionaries(names, keys), st.dictionaries(names, agains), some, some)
def test_a_credit_lies_within_one(
    blind: dict[str, str | None], again: dict[str, Again], verified: list[str], refuted: list[str]
) -> None:
    value = worth(blind, again, verified, refuted)
    assert -1 <= value <= 1 and value * 2 == int(value * 2)


def task(number: int, *, question: str | None = None, reference: str = "4") -> DebateTask:
    asked = question or f"question {number}"
    return DebateTask(Task((propose(asked),), asked, reference=reference), 0.5, f"dbt_{number}")


def questions(tasks: Sequence[DebateTask]) -> set[str]:
    return {one.task.question.casefold() for one in tasks}


def test_the_split_is_stable_holds_one_debate_in_four_and_no_question_twice() -> None:
    tasks = [task(number) for number in range(400)]
    both = split(tasks)
    assert len(both.train) + len(both.gate) == 400
    assert 60 <= len(both.gate) <= 140
    assert split(tasks[:100]).gate == both.gate[: len(split(tasks[:100]).gate)]
    assert split(tasks).digest == both.digest != split(tasks[1:]).digest
    again = split([task(number, question=f"Question  {number % 20}", reference=str(number)) for number in range(200)])
    assert again.train and again.gate and not questions(again.train) & questions(again.gate)
    first = split([task(1, question="Who?"), task(2, question="who? "), task(3, question="Who?", reference="5")])
    assert (*first.train, *first.gate)[0].debate_id == "dbt_1"
    assert "dbt_2" not in first.made_from["debates"]


def settle(village: Village, debate_id: str, right: str) -> None:
    """As the asker says it."""
    with village.database.session() as session:
        debate = session.get_one(Debate, debate_id)
        debate.outcome = right
        resolve(session, debate, right)


def read(village: Village, user: User) -> DebateTasks:
    with village.database.reading() as session:
        return debate_tasks(session, user.id)


def both(found: DebateTasks) -> list[DebateTask]:
    return [*found.train, *found.gate]


def test_a_task_is_the_question_as_it_was_asked_and_the_right_answer(village: Village) -> None:
    ada, ben, cleo = villagers(village, stages("4"), stages("7"), stages("7"))
    debate_id = debated(village, ada, plan={"rounds": 0})["id"]
    assert read(village, ada) == split([]), "no outcome yet"
    settle(village, debate_id, "Seven, or 7")
    settle(village, debate_id, "7")
    for person, value in ((ada, -0.5), (ben, 0.5), (cleo, 0.5)):
        [one] = both(read(village, person))
        assert one.task.messages == (system(person.name), propose(QUESTION))
        assert list(one.task.messages) == village.model_of(person).prompts[0]
        assert (one.task.question, one.task.reference, one.credit) == (QUESTION, "7", value)
        assert one.weight == 2 - value, "who was wrong is asked again more often"
        assert one.task.item is not None
        assert (DEBATES.is_right(one.task.item, "8"), DEBATES.is_right(one.task.item, "7.")) == (False, True)
        assert one.debate_id == debate_id


def test_reviews_and_changes_of_a_real_debate_are_credited(village: Village) -> None:
    """Ada is alone right; Cleo does not know but verifies it; Ben comes over."""
    scripts = [stages("7"), stages("4", again="7"), stages("I do not know", review="7")]
    people = villagers(village, *scripts)
    found = debated(village, people[0])
    assert {row["agent"]: row["reason"] for row in found["positions"] if row["round"] == 1}["ben"] == "new_evidence"
    checked = {(row["agent"], row["hypothesis"]): row["verdict"] for row in found["reviews"]}
    assert checked["cleo", "7"] == "verified"
    settle(village, found["id"], "7")
    credits = {person.handle: both(read(village, person))[0].credit for person in people}
    assert credits == {"ada": 1.0, "ben": 0.5, "cleo": 0.5}


def test_what_code_has_calculated_needs_no_asker(village: Village) -> None:
    ada, _ = villagers(village, says("answer: 30"), says("answer: 36"))
    debated(village, ada, "What is 12 * 3?")
    [one] = both(read(village, ada))
    assert (one.task.reference, one.credit) == ("36", -0.5)


def test_free_texts_absences_and_outcomes_that_cannot_be_compared_make_no_task(village: Village) -> None:
    def away(messages: Sequence[Message]) -> str:
        raise TimeoutError

    ada, ben, _ = villagers(village, stages("4"), away, stages("7"))
    open_one = debated(village, ada, kind="open", plan={"rounds": 0})
    settle(village, open_one["id"], "7")
    settle(village, debated(village, ada, plan={"rounds": 0})["id"], "...")
    assert both(read(village, ada)) == []
    settle(village, debated(village, ada, plan={"rounds": 0})["id"], "7")
    assert (len(both(read(village, ada))), both(read(village, ben))) == (1, [])


# Isolation: nothing of others', nothing forgotten, nothing that is not shared any more


def test_nothing_that_another_member_wrote_or_remembers_comes_in(village: Village) -> None:
    """Each member's words, answer and memories hold a mark of its own."""

    def marked(name: str) -> Script:
        return lambda messages: f"Thoughts of {name}-mark.\nanswer: {name}-guess"

    people = villagers(village, *(marked(name) for name in ("ada", "ben", "cleo")))
    for person in people:
        village.teach(person, f"The code of the hut is known to {person.handle}-memory.")
    found = debated(village, people[0], plan={"rounds": 2})
    settle(village, found["id"], "ada-guess")
    told_all = {person.handle: repr(read(village, person)) for person in people}
    assert "ada-memory" in told_all["ada"] and "ada-guess" in told_all["ada"]
    for mark in ("mark", "ben-guess", "cleo-guess", "ben-memory", "cleo-memory"):
        assert mark not in told_all["ada"]
    for name in ("ben", "cleo"):
        assert "-m" not in told_all[name] and "-guess" not in told_all[name], "only ada knew, and she remembers"
        assert read(village, next(one for one in people if one.handle == name)).borrowed == 1


def ladder(village: Village, *scripts: Script) -> tuple[list[User], str]:
    """Ben remembers where the ladder is, and shares it; the others answer as they do."""
    people = villagers(village, *scripts)
    village.teach(people[1], "The ladder is in the shed")
    found = debated(village, people[0], "Where is the ladder?", plan={"rounds": 0})
    settle(village, found["id"], "shed")
    return people, found["id"]


def test_what_only_another_ones_memory_tells_is_not_learnt(village: Village) -> None:
    (ada, ben, cleo), _ = ladder(village, says("answer: barn"), from_memory, says("answer: I do not know"))
    for person in (ada, cleo):
        assert (both(read(village, person)), read(village, person).borrowed) == ([], 1)
    [one] = both(read(village, ben))
    assert one.task.messages[0] == system("Ben", [MemoryLine("Ben", "The ladder is in the shed")])
    assert read(village, ben).made_from == {"debates": [one.debate_id], "memories": list(one.memory_ids)}


def test_what_the_agent_or_somebody_without_memories_found_is_learnt(village: Village) -> None:
    (ada, _, cleo), _ = ladder(village, says("answer: barn"), from_memory, says("answer: shed"))
    assert [one.credit for one in both(read(village, ada))] == [-0.5]
    assert [one.credit for one in both(read(village, cleo))] == [0.5]


def test_what_another_one_forgot_does_not_come_back_by_the_outcome(village: Village) -> None:
    """Erased, Ben's answer is gone from the debate; what its asker told of it is still not learnt from."""
    (ada, ben, _), _ = ladder(village, says("answer: barn"), from_memory, says("answer: I do not know"))
    with village.database.session() as session:
        row = session.query(Memory).filter_by(user_id=ben.id).one()
        erase_memories(session, Owner(ben.id, village.agent_id(ben)), [row.id])
    assert (both(read(village, ada)), read(village, ada).borrowed) == ([], 1)
    assert (both(read(village, ben)), "shed" in repr(read(village, ben))) == ([], False)


def remembered(village: Village, **how: Any) -> tuple[User, str]:
    """Ada has answered by a memory of hers; its id."""
    ada, _ = villagers(village, from_memory, says("answer: barn"))
    memory_id = village.teach(ada, "The ladder is in the shed", **how)
    settle(village, debated(village, ada, "Where is the ladder?", plan={"rounds": 0})["id"], "shed")
    return ada, memory_id


def test_what_was_forgotten_takes_its_task_along(village: Village) -> None:
    ada, memory_id = remembered(village)
    assert [one.memory_ids for one in both(read(village, ada))] == [(memory_id,)]
    village.memory.forget(ada.id, memory_id)
    found = read(village, ada)
    assert (both(found), found.forgotten, found.made_from) == ([], 1, {"debates": [], "memories": []})


def test_what_was_withdrawn_while_the_model_thought_makes_no_task(village: Village) -> None:
    known: list[tuple[str, str]] = []

    def forgets(messages: Sequence[Message]) -> str:
        village.memory.forget(*known[0])
        return from_memory(messages)

    ada, ben = villagers(village, forgets, says("answer: shed"))
    known.append((ada.id, village.teach(ada, "The ladder is in the shed")))
    found = debated(village, ada, "Where is the ladder?", plan={"rounds": 0})
    assert {row["agent"]: row["status"] for row in found["positions"]} == {"ada": "absent", "ben": "answered"}
    settle(village, found["id"], "shed")
    assert (both(read(village, ada)), len(both(read(village, ben)))) == ([], 1)


@pytest.mark.parametrize("scope", ["private", "society:other"])
def test_what_is_not_shared_any_more_takes_its_task_along(village: Village, scope: str) -> None:
    ada, memory_id = remembered(village)
    village.memory.set_scope(ada.id, memory_id, scope)
    assert (both(read(village, ada)), read(village, ada).forgotten) == ([], 1)
    village.memory.set_scope(ada.id, memory_id, "public")
    assert len(both(read(village, ada))) == 1


def test_what_a_grant_alone_had_opened_is_never_learnt(village: Village) -> None:
    ada, _ = villagers(village, from_memory, says("answer: barn"))
    with village.database.session() as session:
        grant(session, ada.id, "society:moot", about=["ladder"])
    village.teach(ada, "The ladder is in the shed", scope="private")
    found = debated(village, ada, "Where is the ladder?", plan={"rounds": 0})
    assert [row["answer"] for row in found["positions"] if row["agent"] == "ada"] == ["shed"]
    settle(village, found["id"], "shed")
    assert (both(read(village, ada)), read(village, ada).forgotten) == ([], 1)


def test_a_memory_that_is_not_the_owners_is_none_of_theirs(village: Village) -> None:
    """Were a row to name a foreign memory, it would count as forgotten."""
    ada, ben = villagers(village, stages("4"), stages("7"))
    foreign = village.teach(ben, "The code is private-mark")
    found = debated(village, ada, plan={"rounds": 0})
    settle(village, found["id"], "4")
    with village.database.session() as session:
        session.query(Position).filter_by(agent_id=village.agent_id(ada)).one().memory_ids = [foreign]
    told_ada = read(village, ada)
    assert (both(told_ada), told_ada.forgotten) == ([], 1)


def test_a_seat_that_was_given_up_takes_its_debates_along(village: Village) -> None:
    ada, ben = villagers(village, stages("4"), stages("7"))
    settle(village, debated(village, ada, plan={"rounds": 0})["id"], "7")
    assert len(both(read(village, ben))) == 1
    with village.database.session() as session:
        leave(session, user_id=ben.id, slug="moot")
    assert (both(read(village, ben)), len(both(read(village, ada)))) == ([], 1)


@pytest.mark.parametrize("column", ["question", "outcome"])
def test_an_erased_question_or_outcome_makes_no_task(village: Village, column: str) -> None:
    ada, _ = villagers(village, stages("4"), stages("7"))
    debate_id = debated(village, ada, plan={"rounds": 0})["id"]
    settle(village, debate_id, "7")
    with village.database.session() as session:
        setattr(session.get_one(Debate, debate_id), column, f"It is {MARK}.")
    assert (both(read(village, ada)), read(village, ada).forgotten) == ([], 1)


def test_nobody_has_nothing_and_the_latest_count(village: Village) -> None:
    ada, _ = villagers(village, stages("4"), stages("7"))
    for number in range(3):
        settle(village, debated(village, ada, f"Which is number {number}?", plan={"rounds": 0})["id"], "7")
    with village.database.reading() as session:
        assert debate_tasks(session, "usr_nobody") == split([])
        newest = debate_tasks(session, ada.id, latest=2)
    assert {one.task.question for one in both(newest)} == {"Which is number 1?", "Which is number 2?"}
