"""Questions about an owner's texts, and debates with known outcomes, practised end to end on the built-in model."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from agents.adapters import Adapter
from api.erasures import Eraser, begin
from personal_data.database import Database
from personal_data.memory import NewMemory
from personal_data.records import AdapterVersion, Job, Position, Rollout, TrainingRun
from personal_data.records import Memory as MemoryRow
from personal_data.settings import BUILTIN_BASE, Settings
from tests.training.owned_tasks import (
    TEXTS,
    go_live,
    hesitant,
    hold_debates,
    names,
    tell_names,
    weekdays,
)
from tests.training.test_improve import Workplace
from training.report.page import page
from training.report.record import report
from training.rewards.proposer import spice
from training.rollouts import Task
from training.stages.practice import Deck

EVALUATION = {"per_family": 1, "recall": 4, "work_tokens": 64}
MEMORIES = {"seed": 3, "stages": ["memories"], "memories": {"steps": 8}, "evaluation": EVALUATION}
DEBATES = {
    "seed": 3,
    "stages": ["debates"],
    "debates": {"steps": 2, "prompts": 3, "group": 2, "max_tokens": 48},
    "evaluation": EVALUATION,
}
TRAIN, GATE = 27, 23


@pytest.fixture
def place(settings: Settings, database: Database) -> Workplace:
    return Workplace(settings, database, BUILTIN_BASE)


@pytest.fixture(scope="module")
def half_known() -> Adapter:
    return hesitant(TRAIN + GATE)


def said_about(place: Workplace, memory_ids: list[str]) -> set[str]:
    """The texts of these memories."""
    return {row.text for row in place.rows(MemoryRow) if row.id in memory_ids}


def prompts_of(place: Workplace) -> set[str]:
    return {row.prompt for row in place.rows(Rollout)}


def test_what_was_half_known_is_practised_published_learned_once_and_retired_when_it_is_erased(
    place: Workplace, half_known: Adapter, chroma_url: str
) -> None:
    memory = tell_names(place.database, train=TRAIN, gate=GATE, url=chroma_url)
    first = go_live(place, half_known)
    result = place.improve(MEMORIES)
    (run,) = place.rows(TrainingRun)
    assert (result["decision"], run.stage, run.recipe["reward"]) == ("published", "memories", "truth")
    target, *others = run.gate["checks"]
    assert target["name"] == "memories, held out" and target["after"] > target["before"]
    assert run.gate["proposer"] == "spice" and spice(0.25) <= run.gate["earned"] <= 1.0
    assert target["n"] >= 20
    assert [check["name"] for check in others] == [
        "KL to the start",
        "answer length",
        "no refusals",
        "no playing to a judge",
        "writing system",
        "variety of answers",
        "other tasks",
        "recall",
    ]
    assert run.gate["trial"]["of"] == 6 and run.gate["missing"][0].startswith("the model asked fairly about")
    assert run.steps[-1]["reward_truth"] > run.steps[0]["reward_truth"]
    shown = [(done, total) for stage, done, total, _ in place.told if stage == "memories"]
    assert shown == sorted(shown) and shown[0] == (0, 10)

    things = {text.split()[1]: text for text in TEXTS[: TRAIN + GATE]}
    held = set(list(things)[TRAIN:])
    practised = {thing for prompt in prompts_of(place) for thing in things if f" {thing}" in prompt}
    assert practised and not practised & held, "what is held out is never trained on"
    named = said_about(place, run.made_from["memories"])
    assert {things[thing] for thing in practised} <= named <= set(things.values())
    assert len(named) < len(things), "what nothing was asked about is not what it was made from"

    again = place.improve(MEMORIES, key="again")
    assert again["reasons"] == ["nothing new: these memories were learned before"]

    with place.database.session() as session:
        shown_job = session.scalars(sa.select(Job).where(Job.kind == "improve", Job.payload != {})).first()
        assert shown_job is not None and "taught by" in page(report(session, shown_job))

    eraser = Eraser(place.settings.model_copy(update={"index_url": chroma_url}), place.database, memory)
    with place.database.session() as session:
        erasure_id = begin(session, "u", {"memory": run.made_from["memories"][0]}).id
    receipt = eraser.carry_out(erasure_id)
    assert receipt.residue == {} and receipt.removed["adapter versions"] == 1
    assert place.live() == first
    assert place.rows(Rollout) == [], "a question tells the text in other words"
    jobs = {job.id: job for job in place.rows(Job)}
    told = jobs[run.job_id].result["stages"][0]
    assert (told["gate"], told["reasons"]) == (None, ["what it learned from was erased"])


def test_a_few_texts_are_a_result_that_says_what_was_left_out(place: Workplace) -> None:
    memory = tell_names(place.database, train=3, gate=2)
    memory.remember("u", [NewMemory("I was diagnosed with cancer.", "U"), NewMemory("So it goes.", "U")])
    result = place.improve(MEMORIES)
    assert result["decision"] == "skipped"
    assert "0 questions to train on and 2 for the gate; 20 of each are needed" in result["reasons"]
    (run,) = place.rows(TrainingRun)
    assert run.gate["rejected"] == {"sensitive": 1, "no question": 1, "too hard": 3}
    assert run.gate["trial"] == {"passed": run.gate["trial"]["passed"], "of": 6}
    assert run.made_from["memories"] == [] == run.steps


def test_nothing_said_is_a_result_too(place: Workplace) -> None:
    result = place.improve(MEMORIES | {"stages": ["debates", "memories"]})
    assert [stage["stage"] for stage in result["stages"]] == ["memories", "debates"]
    assert result["reasons"] == [
        "there is nothing of U's own to ask about",
        "too little to learn from: 0 debates with a known outcome to learn from and 0 held out for the gate; "
        "it needs 20 of each",
    ]


def test_texts_longer_than_the_context_are_left_out(place: Workplace) -> None:
    memory = tell_names(place.database, train=1, gate=0)
    memory.remember("u", [NewMemory("Ω≠" * 400, "U", kind="document")])
    place.improve(MEMORIES)
    (run,) = place.rows(TrainingRun)
    assert run.gate["rejected"]["longer than the model's context"] == 1


def test_texts_alone_do_not_make_the_built_in_model_answer_questions_about_them(place: Workplace) -> None:
    """It learns how its owner writes; asked about it, it goes on saying that it does not know."""
    tell_names(place.database, train=26, gate=8)
    result = place.improve(MEMORIES | {"stages": ["memories", "texts"]})
    texts, memories = result["stages"]
    assert (texts["stage"], texts["decision"]) == ("texts", "published")
    assert memories["decision"] == "skipped" and memories["gate"]["rejected"]["too hard"] >= 20
    assert memories["reasons"][-1].endswith("train on the texts themselves first")


def test_debates_are_practised_by_their_outcome_and_what_is_held_out_is_never_trained_on(place: Workplace) -> None:
    questions = weekdays(44)
    hold_debates(place.database, questions, train=24, gate=20, wrong=4)
    result = place.improve(DEBATES)
    (run,) = place.rows(TrainingRun)
    assert (result["decision"], run.recipe["reward"]) == ("refused", "truth"), "two steps teach nothing to speak of"
    assert result["reasons"][0].startswith("debates, held out: ")
    assert run.gate["checks"][0]["n"] == 20
    assert [sample["answer"] for sample in run.gate["samples"]] == [answer for _, answer in questions[24:27]]
    held = {question for question, _ in questions[24:]}
    prompts = prompts_of(place)
    assert prompts and not any(question in prompt for prompt in prompts for question in held)
    assert {step["reward_truth"] is None for step in run.steps} == {False}
    assert set(run.made_from["debates"]) == {*names(False, 24, "dbt_{}"), *names(True, 20, "dbt_{}")}
    for key in ("1", "2"):
        last = place.improve(DEBATES | {"seed": int(key)}, key=key)
    assert last["reasons"] == ["nothing new: these debates were tried twice and refused both times"]


def test_too_few_debates_say_how_many_there_are_and_why_others_are_not_among_them(place: Workplace) -> None:
    hold_debates(place.database, weekdays(12), train=8, gate=4)
    one = Position.debate_id == names(False, 1, "dbt_{}")[0]
    with place.database.session() as session:
        session.execute(sa.update(Position).where(one).values(memory_ids=["mem_gone"]))
    result = place.improve(DEBATES)
    assert (result["decision"], result["reasons"]) == (
        "skipped",
        [
            "too little to learn from: 7 debates with a known outcome to learn from and 4 held out for the gate "
            "(1 left out: a memory, the question or its outcome was taken back); it needs 20 of each"
        ],
    )
    assert place.rows(AdapterVersion) == []


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"memories": {"gate_items": 20}}, "unknown setting of memories 'gate_items'; known: lr, steps"),
        ({"debates": {"prolonged": True}}, "unknown setting of debates 'prolonged'"),
        ({"debates": {"reward": "blind"}}, "unknown setting of debates 'reward'"),
        ({"memories": {"steps": 0}}, "memories.steps must be within 1..1000"),
        ({"memories": {"proposer": "me"}}, "unknown proposer 'me'; known: spice, r_zero, absolute_zero"),
        ({"debates": {"proposer": "spice"}}, "unknown setting of debates 'proposer'"),
        ({"memories": {"loss": "dpo"}}, "unknown loss 'dpo'; known: grpo"),
    ],
)
def test_settings_that_mean_nothing_are_refused(place: Workplace, payload: dict[str, Any], told: str) -> None:
    with pytest.raises(Exception, match="^" + told.replace(".", r"\.")):
        place.improve(payload)


def test_what_weighs_thrice_comes_thrice_as_often_and_nothing_twice_in_a_step() -> None:
    tasks = [Task((), str(number)) for number in range(40)]
    deck = Deck([(task, 3.0 if place < 20 else 1.0) for place, task in enumerate(tasks)], Random(1))
    drawn = Counter(task.question for _ in range(4000) for task in deck.take(1))
    often, seldom = (sum(drawn[str(number)] for number in span) for span in (range(20), range(20, 40)))
    assert 2.6 < often / seldom < 3.4
    assert len({task.question for task in deck.take(30)}) == 30
    assert len(deck.take(100)) == 40
