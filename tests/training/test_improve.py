"""One improvement end to end on real models: what is recorded, published, refused, and what survives faults."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import sqlalchemy as sa

from agents import prompts
from agents.adapters import AdapterStore, read_adapter, roll_back
from agents.backend import SampledTokens
from agents.messages import Message, SamplingParams
from api.erasures import Eraser, begin
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.errors import Conflict, InvalidInput, LeaseLost
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.records import AdapterVersion, Agent, Feedback, Job, Judgement, Model, Rollout, TrainingRun, User
from personal_data.settings import BUILTIN_BASE, ModelSettings, Settings
from tests.agents.tiny import save_qwen3
from training import improve as improve_module
from training import ledger
from training.grpo import GrpoRecipe, advantages_of
from training.improve import improve
from training.ledger import Lease
from training.packing import SharedPromptPolicy
from training.rewards.base import Need, Rewards
from training.rewards.registry import REWARDS, Makers
from training.rollouts import Rollout as Sampled
from training.rollouts import worked_answer_of
from training.stages.bench import INCUMBENT, POLICY, START
from training.tasks.interactions import Preference

PREFERENCES = {"stages": ["preferences"]}
SMALL = {"seed": 3, "preferences": {"epochs": 2}, "evaluation": {"per_family": 1, "recall": 2, "work_tokens": 8}}
PRACTICE = {
    "seed": 3,
    "stages": ["environment"],
    "environment": {"name": "order", "reward": "truth", "steps": 3, "prompts": 6, "gap_items": 32, "gate_items": 40},
    "evaluation": {"per_family": 1, "recall": 4, "work_tokens": 64},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_qwen3(tmp_path_factory.mktemp("tiny") / "base", max_position_embeddings=512))


CANARY = "The canary of the lighthouse sings at a quarter past seven."


class Workplace:
    """An agent with its settings and database, and jobs for it."""

    def __init__(self, settings: Settings, database: Database, base: str) -> None:
        self.settings = settings.model_copy(update={"models": {"m": ModelSettings(base=base)}})
        self.database = database
        self.told: list[tuple[str, int, int, str]] = []
        with database.session() as session:
            models = [Model(name=name, kind="engine", lineage=base) for name in ("m", "other")]
            session.add_all([User(id="u", handle="u", name="U"), *models])
            session.flush()
            session.add(Agent(id="a", user_id="u", handle="a", model="m"))

    def prefer(self, count: int = 40, chosen: str | None = "yes :)", rejected: str | None = "no") -> None:
        with self.database.session() as session:
            for place in range(count):
                prompt = [{"role": "user", "content": f"question {place}"}]
                session.add(Feedback(user_id="u", prompt=prompt, chosen=chosen, rejected=rejected))

    def contradict(self) -> None:
        """Preferences of which half say the opposite of the others, on either side of the split."""
        turn = {True: itertools.cycle((0, 1)), False: itertools.cycle((0, 1))}
        for place in range(40):
            question = f"question {place}"
            side = Preference((Message("user", question),), "", "").for_gate
            chosen, rejected = (("yes :)", "no"), ("no", "yes :)"))[next(turn[side])]
            with self.database.session() as session:
                prompt = [{"role": "user", "content": question}]
                session.add(Feedback(user_id="u", prompt=prompt, chosen=chosen, rejected=rejected))

    def claim(self, payload: dict[str, Any], key: str = "k") -> Lease:
        with self.database.session() as session:
            ledger.enqueue(session, kind="improve", user_id="u", subject_id="a", idempotency_key=key, payload=payload)
        lease = ledger.claim(self.database, lease_s=600)
        assert lease is not None
        return lease

    def improve(
        self,
        payload: dict[str, Any],
        key: str = "k",
        interrupt: Callable[[str, int], None] | None = None,
        rewards: Makers = REWARDS,
    ) -> dict[str, Any]:
        return self.run(self.claim(payload, key), interrupt, rewards)

    def run(
        self, lease: Lease, interrupt: Callable[[str, int], None] | None = None, rewards: Makers = REWARDS
    ) -> dict[str, Any]:
        def progress(stage: str, done: int, total: int, note: str) -> None:
            self.told.append((stage, done, total, note))
            if interrupt is not None:
                interrupt(stage, done)

        return improve(self.settings, self.database, lease, progress=progress, rewards=rewards)

    def rows(self, table: type[Any]) -> list[Any]:
        with self.database.session() as session:
            return list(session.scalars(sa.select(table).order_by(table.id)))

    def roll_back(self, number: int) -> None:
        with self.database.session() as session:
            roll_back(session, agent_id="a", number=number)

    def live(self) -> str | None:
        (agent,) = self.rows(Agent)
        found: str | None = agent.live_version_id
        return found


@pytest.fixture
def tiny_place(settings: Settings, database: Database, tiny: str) -> Workplace:
    return Workplace(settings, database, tiny)


@pytest.fixture
def nursery_place(settings: Settings, database: Database) -> Workplace:
    return Workplace(settings, database, BUILTIN_BASE)


def test_preferences_are_learned_recorded_and_published_once(tiny_place: Workplace) -> None:
    tiny_place.prefer()
    tiny_place.prefer(chosen="yes :D")
    result = tiny_place.improve(SMALL | {"stages": ["preferences"]})
    (version,), (run,), (job,) = (tiny_place.rows(table) for table in (AdapterVersion, TrainingRun, Job))
    assert result["decision"] == "published" == run.decision
    assert result["version"] == {"id": version.id, "number": 1}
    assert tiny_place.live() == version.id
    AdapterStore(tiny_place.settings.adapters_dir).verify(version)
    assert (job.state, job.result) == ("done", result)
    assert [step["step"] for step in run.steps] == list(range(len(run.steps)))
    assert run.steps[-1]["loss"] < run.steps[0]["loss"]
    assert set(run.made_from["feedback"]) <= {row.id for row in tiny_place.rows(Feedback)}
    assert len(run.made_from["feedback"]) == 80
    names = [check["name"] for check in run.gate["checks"]]
    assert names == [
        "owner's preferences",
        "likelihood of preferred answers",
        "answer length",
        "no refusals",
        "no playing to a judge",
        "writing system",
        "variety of answers",
        "other tasks",
        "recall",
    ]
    held_out = sum(Preference((Message("user", f"question {n}"),), "", "").for_gate for n in range(40))
    assert run.gate["checks"][0]["n"] == held_out, "two pairs of one prompt are one piece of evidence"
    shown = [(done, total) for stage, done, total, _ in tiny_place.told if stage == "preferences"]
    assert shown == sorted(shown)
    assert len({done for done, _ in shown}) == len(run.steps)


def test_same_seed_and_data_give_the_same_adapter_and_known_data_is_not_learned_twice(
    tiny_place: Workplace,
) -> None:
    tiny_place.prefer()
    tiny_place.improve(SMALL | {"stages": ["preferences"]})
    again = tiny_place.improve(SMALL | {"stages": ["preferences"]}, key="again")
    assert again["decision"] == "skipped"
    assert "nothing new" in again["reasons"][0]
    (first,) = tiny_place.rows(AdapterVersion)
    tiny_place.roll_back(0)
    repeated = tiny_place.improve(SMALL | {"stages": ["preferences"]}, key="repeated")
    versions = {version.number: version for version in tiny_place.rows(AdapterVersion)}
    assert repeated["version"]["number"] == 2
    assert versions[2].path != first.path
    store = AdapterStore(tiny_place.settings.adapters_dir)
    before, after = (read_adapter(store.path(version)).tensors for version in (first, versions[2]))
    assert all(np.array_equal(before[name], after[name]) for name in before | after)


def test_a_second_improvement_starts_from_the_live_adapter(tiny_place: Workplace) -> None:
    tiny_place.prefer()
    first = tiny_place.improve(SMALL | {"stages": ["preferences"]})
    tiny_place.prefer(44)
    second = tiny_place.improve(SMALL | {"stages": ["preferences"]}, key="second")
    versions = {version.number: version for version in tiny_place.rows(AdapterVersion)}
    assert second["decision"] == "published"
    assert versions[2].parent_id == first["version"]["id"]
    assert versions[2].model == "m"
    assert tiny_place.live() == versions[2].id
    again = tiny_place.improve(SMALL | PREFERENCES, key="again")
    assert again["reasons"] == ["nothing new: these preferences were learned before"]
    tiny_place.roll_back(1)
    assert tiny_place.improve(SMALL | PREFERENCES, key="rolled back")["decision"] == "published"


@pytest.mark.parametrize("rejected", ["no", None])
def test_too_little_to_learn_from_is_a_result_with_a_reason(tiny_place: Workplace, rejected: str | None) -> None:
    tiny_place.prefer(5, rejected=rejected)
    result = tiny_place.improve(SMALL | {"stages": ["preferences"]})
    assert result["decision"] == "skipped"
    assert "too little to learn from" in result["reasons"][0]
    assert ("5 feedback entries name no different rejected answer" in result["reasons"][0]) is (rejected is None)
    assert tiny_place.live() is None
    assert tiny_place.rows(Job)[0].state == "done"


def test_contradictory_feedback_is_refused(tiny_place: Workplace) -> None:
    tiny_place.contradict()
    result = tiny_place.improve(SMALL | {"stages": ["preferences"]})
    assert result["decision"] == "refused"
    assert result["reasons"][0].startswith("owner's preferences: margin grew on")
    assert tiny_place.live() is None


def test_what_was_refused_twice_waits_for_another_recipe_or_another_start(tiny_place: Workplace) -> None:
    tiny_place.contradict()
    recipe = SMALL | PREFERENCES | {"preferences": {"epochs": 1}}
    for attempt in range(2):
        assert tiny_place.improve(recipe | {"seed": attempt}, key=f"{attempt}")["decision"] == "refused"
    third = tiny_place.improve(recipe | {"seed": 2}, key="2")
    assert third["reasons"] == ["nothing new: these preferences were tried twice and refused both times"]
    other = tiny_place.improve(recipe | {"preferences": {"epochs": 2}}, key="3")
    assert other["decision"] == "refused"
    with tiny_place.database.session() as session:
        session.execute(sa.update(TrainingRun).values(parent_version_id="adv_other"))
    assert tiny_place.improve(recipe, key="4")["decision"] == "refused"


def test_where_thinking_longer_gains_nothing_it_skips_and_says_so(tiny_place: Workplace) -> None:
    practice = {"gap_items": 8, "gate_items": 20}
    result = tiny_place.improve(SMALL | {"stages": ["environment"], "environment": practice})
    assert result["decision"] == "skipped"
    assert "thinking longer does not beat answering at once" in result["reasons"][0]
    (run,) = tiny_place.rows(TrainingRun)
    assert run.gate["gaps"]["1"]["n"] == 8


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"stages": ["sleep"]}, "known: texts, preferences, memories, debates, environment"),
        ({"preferences": {"loss": "ppo"}}, "unknown loss 'ppo'; known: dpo, ipo, kto"),
        ({"preferences": {"beta": 0}}, "preferences.beta must be within 0.001"),
        ({"preferences": {"label_smoothing": 0.6}}, "preferences.label_smoothing must be within 0.0..0.5"),
        ({"environment": {"loss": "dpo"}}, "unknown loss 'dpo'; known: grpo, bnpo, dapo, dr_grpo, cispo"),
        ({"environment": {"loss": ["dapo"]}}, "unknown loss"),
        ({"environment": {"level": "word"}}, "unknown level 'word'; known: token, sequence"),
        ({"environment": {"scale": "all"}}, "unknown scale 'all'; known: group, batch, none"),
        ({"environment": {"resample": 2}}, "environment.resample must be within 0..1"),
        ({"environment": {"delta": 0.5}}, "environment.delta must be within 1.0"),
        ({"environment": {"ptx": float("nan")}}, "environment.ptx must be within"),
        ({"environment": {"prolonged": 1}}, "environment.prolonged must be true or false"),
        ({"texts": {"block": 4}}, "texts.block must be within 16..8192"),
        ({"texts": {"loss": "dpo"}}, "unknown setting of texts 'loss'"),
        ({"environment": {"name": "chess"}}, "known: add, subtract"),
        ({"environment": {"reward": "applause"}}, "known: blind, endogenous, generative"),
        ({"environment": {"name": "add", "difficulty": 9}}, "known: 1, 2, 3, 4"),
        ({"environment": {"stepz": 9}}, "unknown setting of environment 'stepz'"),
        ({"environment": {"steps": 10**9}}, "environment.steps must be within"),
        ({"environment": {"steps": True}}, "environment.steps must be within"),
        ({"seed": -1}, "seed must be"),
        ({"stages": "preferences"}, "stages must be a list"),
    ],
)
def test_an_unknown_request_lists_the_known_ones(tiny_place: Workplace, payload: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        tiny_place.improve(payload)


def test_a_lost_lease_publishes_nothing_and_the_next_attempt_publishes_once(tiny_place: Workplace) -> None:
    tiny_place.prefer()
    payload = SMALL | {"stages": ["preferences"]}
    first = tiny_place.claim(payload)
    second: list[Lease] = []

    def steal(stage: str, done: int) -> None:
        if stage == "publishing":
            with tiny_place.database.session() as session:
                session.execute(sa.update(Job).values(lease_until=1.0))
            taken = ledger.claim(tiny_place.database, lease_s=600)
            assert taken is not None
            second.append(taken)

    with pytest.raises(LeaseLost):
        tiny_place.run(first, steal)
    assert tiny_place.rows(AdapterVersion) == []
    assert tiny_place.live() is None
    result = tiny_place.run(second[0])
    (version,) = tiny_place.rows(AdapterVersion)
    assert result["version"]["id"] == version.id == tiny_place.live()
    assert [run.decision for run in tiny_place.rows(TrainingRun)] == [None, "published"]
    assert "interrupted" in tiny_place.rows(TrainingRun)[0].reasons[0]


def rolled_back(place: Workplace) -> str:
    place.roll_back(0)
    return "another version was made live while this one was trained on top of the old one"


def moved(place: Workplace) -> str:
    with place.database.session() as session:
        session.execute(sa.update(Agent).values(model="other", live_version_id=None))
    return "the agent moved to model 'other' while this was trained for 'm'"


@pytest.mark.parametrize("change", [rolled_back, moved])
def test_what_the_owner_did_meanwhile_is_not_undone(tiny_place: Workplace, change: Callable[[Workplace], str]) -> None:
    tiny_place.prefer()
    first = tiny_place.improve(SMALL | PREFERENCES)
    assert first["decision"] == "published"
    tiny_place.prefer(44)
    told: list[str] = []

    def meanwhile(stage: str, done: int) -> None:
        if stage == "publishing":
            told.append(change(tiny_place))

    result = tiny_place.improve(SMALL | PREFERENCES, "second", meanwhile)
    assert (result["decision"], result["version"]) == ("refused", None)
    assert result["reasons"][0].startswith(told[0])
    assert tiny_place.live() is None
    assert len(tiny_place.rows(AdapterVersion)) == 1
    run = tiny_place.rows(TrainingRun)[-1]
    assert (run.decision, run.reasons, run.gate["passed"]) == ("refused", result["reasons"], True)
    assert tiny_place.rows(Job)[-1].result == result


def test_an_improvement_cancelled_at_the_last_moment_publishes_nothing(tiny_place: Workplace) -> None:
    tiny_place.prefer()
    lease = tiny_place.claim(SMALL | PREFERENCES)

    def cancel(stage: str, done: int) -> None:
        if stage == "publishing":
            with tiny_place.database.session() as session:
                ledger.cancel(session, lease.job_id)

    with pytest.raises(Conflict, match="cancelled by its owner"):
        tiny_place.run(lease, cancel)
    assert tiny_place.rows(AdapterVersion) == []
    assert tiny_place.live() is None
    assert tiny_place.rows(TrainingRun)[0].decision is None
    assert ledger.fail(tiny_place.database, lease, "stopped", retry=False) == "cancelled"


class Recording(SharedPromptPolicy):
    """The real policy, keeping who was asked what at which temperature."""

    asked: ClassVar[list[tuple[int, float, Sequence[Message]]]] = []

    def sample(
        self, prompts: Sequence[Sequence[Message]], n: int, params: SamplingParams, *, slot: int
    ) -> list[list[SampledTokens]]:
        self.asked.extend((slot, params.temperature, messages) for messages in prompts)
        return super().sample(prompts, n, params, slot=slot)


def test_the_judge_is_frozen_and_blind_and_the_truth_teaches_nothing(
    nursery_place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(improve_module, "SharedPromptPolicy", Recording)
    monkeypatch.setattr(Recording, "asked", [])
    practice = {"name": "order", "reward": "blind", "steps": 2, "prompts": 4, "gap_items": 48, "gate_items": 24}
    evaluation = {"per_family": 1, "recall": 2, "work_tokens": 160}
    nursery_place.improve({"seed": 3, "stages": ["environment"], "environment": practice, "evaluation": evaluation})
    rollouts = nursery_place.rows(Rollout)
    assert len(rollouts) == 2 * 4 * 8
    questions = {row.prompt.removesuffix(f"\n{prompts.AT_ONCE}") for row in rollouts}
    judged = [
        slot
        for slot, temperature, messages in Recording.asked
        if temperature == 0 and len(messages) == 1 and messages[0] in map(prompts.propose, questions)
    ]
    assert judged == [START] * len(questions), "every question once, and under the snapshot of the cycle's start"
    heard = {row.prompt: row for row in nursery_place.rows(Judgement)}
    for question in questions:
        told = heard[prompts.propose(question).content]
        assert (told.verdict or [None])[0] == worked_answer_of(SampledTokens((), (), (), told.said, "stop")), "all kept"
    shown = [message for slot, _, messages in Recording.asked if slot == START for message in messages]
    assert all(message.content.endswith(prompts.SHOW_WORK) for message in shown), "the bare question and nothing else"
    sampled = {slot for slot, temperature, _ in Recording.asked if temperature == 1}
    assert sampled == {INCUMBENT, POLICY}
    assert all(set(row.rewards) == {"blind", "truth", "shaping"} for row in rollouts)
    assert any(row.rewards["truth"] is not None for row in rollouts)
    for group in {(row.step, row.group) for row in rollouts}:
        rows = [row for row in rollouts if (row.step, row.group) == group]
        scores = {name: Rewards([row.rewards[name] for row in rows]) for name in ("blind", "shaping")}
        expected = advantages_of(scores, {"blind": 1.0, "shaping": 0.2}, GrpoRecipe())
        assert [row.advantage for row in rows] == pytest.approx(expected[0].tolist())


def test_practice_records_every_rollout_with_every_score(nursery_place: Workplace) -> None:
    result = nursery_place.improve(PRACTICE)
    (run,) = nursery_place.rows(TrainingRun)
    rollouts = nursery_place.rows(Rollout)
    assert result["decision"] in ("published", "refused")
    assert len(run.steps) == 3
    assert run.made_from == {"feedback": [], "memories": []}
    assert [step["resampled"] for step in run.steps] == [0, 0, 0]
    assert len(rollouts) == 3 * 6 * 8
    assert {(row.step, row.group) for row in rollouts} == {(step, group) for step in range(3) for group in range(6)}
    assert all(set(row.rewards) == {"truth", "shaping"} for row in rollouts)
    assert {row.rewards["truth"] for row in rollouts} <= {0.0, 1.0, None}
    checks = {check["name"]: check for check in run.gate["checks"]}
    assert checks["order, answered at once"]["n"] == 40
    assert {"answer length", "no refusals", "variety of answers", "other tasks", "recall"} <= set(checks)


def test_a_model_that_gives_no_verdicts_is_not_made_a_judge_and_hears_why(nursery_place: Workplace) -> None:
    practice = {**PRACTICE["environment"], "name": "judge:order", "difficulty": 1}  # type: ignore[dict-item]
    result = nursery_place.improve(PRACTICE | {"environment": practice})
    assert result["decision"] == "skipped"
    assert result["reasons"] == ["judge:order: 0% of direct answers are rewarded (n=32); groups would not differ"]


def test_a_reward_that_learns_along_has_a_slot_of_its_own(nursery_place: Workplace) -> None:
    practice = {**PRACTICE["environment"], "reward": "prime"}  # type: ignore[dict-item]
    nursery_place.improve(PRACTICE | {"environment": practice})
    (run,) = nursery_place.rows(TrainingRun)
    losses = [step["prime_loss"] for step in run.steps]
    assert len(losses) == 3
    assert losses[-1] != losses[0]
    assert {"prime", "truth", "shaping"} == set(nursery_place.rows(Rollout)[0].rewards)


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        ("nover", "reward 'nover' needs reference_text; the trainer prepares"),
        ("polar", "reward 'polar' needs preferences"),
        ("human_feedback", "reward 'human_feedback' has nothing to fit"),
    ],
)
def test_a_reward_that_cannot_be_fed_is_refused_by_name(nursery_place: Workplace, reward: str, told: str) -> None:
    practice = {**PRACTICE["environment"], "reward": reward}  # type: ignore[dict-item]
    with pytest.raises(InvalidInput, match=told):
        nursery_place.improve(PRACTICE | {"environment": practice})
    assert nursery_place.live() is None


class Length:
    """A planted bad reward: longer is better."""

    name = "majority"
    needs: frozenset[Need] = frozenset()

    def score(self, rollouts: Sequence[Sampled]) -> Rewards:
        return Rewards([len(rollout.sampled.token_ids) / 10 for rollout in rollouts])


def test_a_reward_that_parts_from_the_truth_is_stopped_early_and_refused(nursery_place: Workplace) -> None:
    practice = {**PRACTICE["environment"], "reward": "majority", "steps": 12, "lr": 0.01}  # type: ignore[dict-item]
    loves_length: Makers = {**REWARDS, "majority": lambda _sources: Length()}
    result = nursery_place.improve(PRACTICE | {"environment": practice}, rewards=loves_length)
    assert result["decision"] == "refused"
    assert nursery_place.live() is None
    (run,) = nursery_place.rows(TrainingRun)
    assert "agrees with the truth" in run.gate["stopped_early"]


def test_a_candidate_that_diverges_is_refused(nursery_place: Workplace) -> None:
    practice = {**PRACTICE["environment"], "lr": 0.1, "steps": 8}  # type: ignore[dict-item]
    result = nursery_place.improve(PRACTICE | {"environment": practice})
    assert result["decision"] == "refused"
    assert nursery_place.live() is None


def test_a_job_after_a_restarted_one_publishes_at_its_first_attempt(tiny_place: Workplace) -> None:
    tiny_place.prefer()
    payload = SMALL | {"stages": ["preferences"]}
    ledger.release(tiny_place.database, tiny_place.claim(payload))
    assert tiny_place.improve(payload)["decision"] == "published"
    tiny_place.prefer(44)
    assert tiny_place.improve(payload, key="next")["decision"] == "published"
    assert [version.number for version in tiny_place.rows(AdapterVersion)] == [1, 2]


KILLED = """
import os, signal, sys
from agents.adapters import AdapterStore
from personal_data.database import Database
from personal_data.settings import load
from training import ledger
from training.improve import improve

point, job_id, token = sys.argv[1:]
publish = AdapterStore.publish

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def publish_and_die(*arguments, **names):
    publish(*arguments, **names)
    die()

if point == "on disk":
    AdapterStore.publish = publish_and_die
settings = load()
database = Database(settings.database)
lease = ledger.lease_of(database, job_id, int(token))
improve(settings, database, lease, progress=lambda stage, done, *_: die() if (stage, done) == (point, 2) else None)
"""


@pytest.mark.parametrize(("point", "left"), [("preferences", []), ("on disk", ["1-1"])])
def test_kill_9_and_again_publishes_exactly_one_version(
    tiny_place: Workplace, tiny: str, point: str, left: list[str]
) -> None:
    (tiny_place.settings.data_dir / "folkmoot.toml").write_text(
        f'default_model = "m"\n[models.m]\nkind = "engine"\nbase = "{tiny}"\n'
    )
    tiny_place.prefer()
    lease = tiny_place.claim(SMALL | {"stages": ["preferences"]})
    command = [sys.executable, "-c", KILLED, point, lease.job_id, str(lease.token)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    folder = tiny_place.settings.adapters_dir / "a"
    assert [found.name for found in folder.glob("*")] == left
    assert tiny_place.live() is None
    with tiny_place.database.session() as session:
        session.execute(sa.update(Job).values(lease_until=1.0))
    again = ledger.claim(tiny_place.database, lease_s=600)
    assert again is not None
    result = tiny_place.run(again)
    (version,) = tiny_place.rows(AdapterVersion)
    assert result["version"]["id"] == version.id == tiny_place.live()
    AdapterStore(tiny_place.settings.adapters_dir).verify(version)
    orphans = AdapterStore(tiny_place.settings.adapters_dir).collect_garbage(tiny_place.database)
    assert [orphan.name for orphan in orphans] == left
    assert [found.name for found in folder.glob("*")] == ["1-2"]


def test_what_was_learned_from_an_erased_memory_is_learned_anew_without_it(
    tiny_place: Workplace, chroma_url: str
) -> None:
    place = tiny_place
    memory = Memory(place.database, HashingEmbedder(), ChromaIndex(chroma_url))
    (canary,) = memory.remember("u", [NewMemory(CANARY, speaker="U")])
    shown = prompts.system("U", [prompts.MemoryLine("U", CANARY)]).content
    place.prefer()
    place.prefer(chosen="yes :D")
    with place.database.session() as session:
        prompt = [{"role": "system", "content": shown}, {"role": "user", "content": "When does it sing?"}]
        told = Feedback(user_id="u", prompt=prompt, chosen=f"Listen: {CANARY}", rejected="no")
        session.add(told)
        session.flush()
        told_id = told.id
    assert place.improve(SMALL | PREFERENCES)["decision"] == "published"
    (first,), (run,) = place.rows(AdapterVersion), place.rows(TrainingRun)
    assert run.made_from["memories"] == [canary] and told_id in run.made_from["feedback"]

    eraser = Eraser(place.settings.model_copy(update={"index_url": chroma_url}), place.database, memory)
    with place.database.session() as session:
        erasure_id = begin(session, "u", {"memory": canary}).id
    receipt = eraser.carry_out(erasure_id)
    assert receipt.residue == {} and receipt.removed["adapter versions"] == 1
    assert place.live() is None
    assert not AdapterStore(place.settings.adapters_dir).path(first).exists()
    files = [path for path in place.settings.data_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]

    lease = ledger.claim(place.database, lease_s=600)
    assert lease is not None and lease.payload == SMALL | PREFERENCES
    assert place.run(lease)["decision"] == "published"
    _, again = place.rows(TrainingRun)
    assert again.made_from["memories"] == [] and told_id not in again.made_from["feedback"]
    assert place.live() == place.rows(AdapterVersion)[1].id
