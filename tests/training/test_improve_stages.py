"""Stages and losses beyond the default recipe, end to end on real models: what they learn from, gate and record."""

from __future__ import annotations

from typing import Any

import pytest

from agents.adapters import AdapterStore
from api.erasures import Eraser, begin
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.records import AdapterVersion, Feedback, TrainingRun
from personal_data.settings import BUILTIN_BASE, Settings
from tests.agents.tiny import save_qwen3
from tests.training.test_improve import SMALL, Workplace

TEXTS = SMALL | {"stages": ["texts"], "texts": {"epochs": 2, "replay_items": 4}}
KTO = SMALL | {"stages": ["preferences"], "preferences": {"loss": "kto", "epochs": 2}}
PROLONGED = {
    "seed": 3,
    "stages": ["environment"],
    "environment": {
        "name": "order",
        "difficulty": 2,
        "reward": "truth",
        "steps": 1,
        "prompts": 2,
        "gap_items": 16,
        "gate_items": 20,
        "prolonged": True,
    },
    "evaluation": {"per_family": 1, "recall": 2, "work_tokens": 64},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_qwen3(tmp_path_factory.mktemp("tiny") / "base", max_position_embeddings=512))


@pytest.fixture
def place(settings: Settings, database: Database, tiny: str) -> Workplace:
    return Workplace(settings, database, tiny)


@pytest.fixture
def nursery(settings: Settings, database: Database) -> Workplace:
    return Workplace(settings, database, BUILTIN_BASE)


def test_thumbs_alone_teach_kto_and_nothing_else(place: Workplace) -> None:
    place.prefer(rejected=None)
    dpo = place.improve(SMALL | {"stages": ["preferences"]})
    assert dpo["decision"] == "skipped"
    assert "40 feedback entries name no different rejected answer" in dpo["reasons"][0]
    kto = place.improve(KTO, key="kto")
    assert kto["decision"] == "published"
    run = place.rows(TrainingRun)[-1]
    assert run.recipe["loss"] == "kto"
    assert len(run.made_from["feedback"]) == 40
    assert all(step["baseline"] >= 0 for step in run.steps)
    assert run.gate["checks"][0]["name"] == "owner's preferences"
    assert "nearer_to_chosen" not in run.gate, "nothing was rejected that an answer could be nearer to"


def test_dislikes_alone_are_counted_by_paired_losses_and_teach_kto(place: Workplace) -> None:
    place.prefer(20, rejected=None)
    place.prefer(40, chosen=None, rejected="no")
    dpo = place.improve(SMALL | {"stages": ["preferences"]})
    assert dpo["decision"] == "skipped"
    assert "(20 feedback entries name no different rejected answer)" in dpo["reasons"][0]
    assert "(40 dislikes name no better answer)" in dpo["reasons"][0]
    kto = place.improve(KTO, key="kto")
    run = place.rows(TrainingRun)[-1]
    assert kto["stages"][0]["decision"] != "skipped"
    assert len(run.made_from["feedback"]) == 60
    assert run.steps[-1]["accuracy"] > 0.5
    checks = {check["name"]: check for check in run.gate["checks"]}
    assert checks["owner's preferences"]["ok"], checks["owner's preferences"]["note"]
    assert checks["owner's preferences"]["n"] > checks["likelihood of preferred answers"]["n"]


def test_dislikes_and_nothing_else_are_gated_without_a_liked_answer(place: Workplace) -> None:
    place.prefer(40, chosen=None, rejected="no")
    place.improve(KTO)
    (run,) = place.rows(TrainingRun)
    names = [check["name"] for check in run.gate["checks"]]
    assert "likelihood of preferred answers" not in names and names[0] == "owner's preferences"
    assert run.steps[-1]["loss"] < run.steps[0]["loss"]


def test_kto_learns_from_pairs_and_thumbs_together(place: Workplace) -> None:
    place.prefer(20)
    place.prefer(40, chosen="yes :D", rejected=None)
    result = place.improve(KTO)
    (run,) = place.rows(TrainingRun)
    assert result["decision"] == "published"
    assert len(run.made_from["feedback"]) == 60
    assert run.gate["nearer_to_chosen"]["n"] < len(run.gate["checks"]) + 20


@pytest.mark.parametrize("loss", ["ipo", "dpo"])
def test_pairs_are_learned_under_another_loss(place: Workplace, loss: str) -> None:
    place.prefer()
    settings = {"loss": loss, "epochs": 2, "label_smoothing": 0.1 if loss == "dpo" else 0.0}
    result = place.improve(SMALL | {"stages": ["preferences"], "preferences": settings})
    assert result["decision"] == "published"


def test_opposite_preferences_teach_nothing_and_are_told(place: Workplace) -> None:
    place.prefer()
    place.prefer(10, chosen="no", rejected="yes :)")
    assert place.improve(SMALL | {"stages": ["preferences"]})["decision"] == "published"
    (run,) = place.rows(TrainingRun)
    assert run.gate["left_out"] == {"pairs say the opposite of each other": 20}
    assert len(run.made_from["feedback"]) == 30
    place.prefer(30, chosen="no", rejected="yes :)")
    place.prefer(10)
    result = place.improve(SMALL | {"stages": ["preferences"]}, key="again")
    assert result["decision"] == "skipped"
    assert "(80 pairs say the opposite of each other)" in result["reasons"][0]


def test_what_is_longer_than_the_context_is_left_out_and_told(place: Workplace) -> None:
    place.prefer(5)
    with place.database.session() as session:
        prompt = [{"role": "user", "content": "word " * 2000}]
        session.add(Feedback(user_id="u", prompt=prompt, chosen="yes", rejected="no"))
    result = place.improve(SMALL | {"stages": ["preferences"]})
    assert "(1 are longer than the model's context)" in result["reasons"][0]


def write(place: Workplace, talks: int, *, url: str = "http://127.0.0.1:1") -> tuple[Memory, list[str]]:
    """The owner's turns in so many conversations, and what somebody else says in between."""
    memory = Memory(place.database, HashingEmbedder(), ChromaIndex(url))
    said = [
        NewMemory(f"Well, garden {talk} needs water, and so it goes.", "U", kind="turn", thread=f"cnv_{talk}")
        for talk in range(talks)
    ]
    theirs = [NewMemory(f"STRANGER {talk}", "Ben", kind="turn", thread=f"cnv_{talk}", own=False) for talk in range(9)]
    return memory, memory.remember("u", said + theirs)[: len(said)]


def test_the_owners_texts_are_learned_recorded_and_published_once(place: Workplace) -> None:
    _, ids = write(place, 60)
    result = place.improve(TEXTS)
    assert result["decision"] == "published"
    (run,) = place.rows(TrainingRun)
    assert run.stage == "texts"
    assert run.made_from == {"feedback": [], "memories": ids}
    checks = {check["name"]: check for check in run.gate["checks"]}
    assert list(checks) == ["owner's texts", "other tasks", "recall"]
    assert checks["owner's texts"]["after"] < checks["owner's texts"]["before"]
    assert run.steps[-1]["text_nll"] < run.steps[0]["text_nll"]
    again = place.improve(TEXTS, key="again")
    assert again["reasons"] == ["nothing new: these texts were learned before"]
    shown = [(done, total) for stage, done, total, _ in place.told if stage == "texts"]
    assert shown == sorted(shown)


def test_too_few_texts_are_a_result_that_says_what_is_missing(place: Workplace) -> None:
    memory, _ = write(place, 5)
    memory.remember("u", [NewMemory("I was diagnosed with cancer.", "U", kind="turn", thread="cnv_1")])
    result = place.improve(TEXTS)
    assert result["decision"] == "skipped"
    assert result["reasons"][0].startswith("too little to learn from: ")
    assert "(1 left out: sensitive); it needs 24 and 8" in result["reasons"][0]


def test_texts_are_no_part_of_the_default_recipe(place: Workplace) -> None:
    write(place, 60)
    result = place.improve(SMALL)
    assert [stage["stage"] for stage in result["stages"]] == ["preferences", "environment"]


def test_texts_come_first_and_the_stage_after_them_starts_from_what_they_made(place: Workplace) -> None:
    write(place, 60)
    place.prefer()
    result = place.improve(TEXTS | {"stages": ["preferences", "texts"]})
    assert [(stage["stage"], stage["decision"]) for stage in result["stages"]] == [
        ("texts", "published"),
        ("preferences", "published"),
    ]
    assert "owner's preferences" in [check["name"] for check in result["stages"][0]["gate"]["checks"]]
    assert len(place.rows(AdapterVersion)) == 1


def test_learning_texts_that_forgets_everything_else_is_refused(nursery: Workplace) -> None:
    write(nursery, 60)
    greedy = {"lr": 0.03, "replay": 0.0, "replay_items": 0, "epochs": 10}
    evaluation = {"per_family": 1, "recall": 16, "work_tokens": 16}
    result = nursery.improve({"seed": 3, "stages": ["texts"], "texts": greedy, "evaluation": evaluation})
    assert result["decision"] == "refused"
    assert any(reason.startswith(("other tasks", "recall")) for reason in result["reasons"])
    assert nursery.live() is None


def test_a_version_that_learned_an_erased_text_is_retired(place: Workplace, chroma_url: str) -> None:
    memory, ids = write(place, 60, url=chroma_url)
    assert place.improve(TEXTS)["decision"] == "published"
    (version,) = place.rows(AdapterVersion)
    eraser = Eraser(place.settings.model_copy(update={"index_url": chroma_url}), place.database, memory)
    with place.database.session() as session:
        erasure_id = begin(session, "u", {"memory": ids[0]}).id
    receipt = eraser.carry_out(erasure_id)
    assert receipt.residue == {} and receipt.removed["adapter versions"] == 1
    assert place.live() is None
    assert not AdapterStore(place.settings.adapters_dir).path(version).exists()


def earlier(place: Workplace, scores: list[float], *, drift: float = 0.1, reference: str | None = None) -> None:
    """Prolonged cycles as the journal would have them; what is live now was published by the first of them."""
    (agent_version,) = [one for one in place.rows(AdapterVersion) if one.id == place.live()]
    recipe = {"name": "order", "difficulty": 2, "model": "m", "recipe": {"prolonged": True}}
    with place.database.session() as session:
        for number, score in enumerate(scores):
            made = number == 0
            session.add(
                TrainingRun(
                    job_id=agent_version.job_id,
                    token=agent_version.token if made else 100 + number + len(place.rows(TrainingRun)),
                    stage="environment",
                    agent_id="a",
                    recipe=recipe,
                    steps=[{"step": 0, "kl_base": drift}],
                    gate={"checks": [{"name": "order", "after": score}], "reference": reference},
                    decision="published" if made else "refused",
                )
            )


def practise(place: Workplace, key: str, **settings: Any) -> tuple[dict[str, Any], TrainingRun]:
    environment: Any = PROLONGED["environment"]
    result = place.improve(PROLONGED | {"environment": environment | settings}, key=key)
    return result, place.rows(TrainingRun)[-1]


def test_prolonged_practice_is_held_to_the_base_until_it_stagnates_and_to_a_passed_version_then(
    nursery: Workplace,
) -> None:
    nursery.prefer()
    assert nursery.improve(SMALL | {"stages": ["preferences"], "preferences": {"epochs": 6}})["version"] is not None
    first = nursery.live()
    _, run = practise(nursery, "from the base")
    assert run.gate["reference"] is None
    assert run.steps[0]["kl"] == run.steps[0]["kl_base"] > 0

    earlier(nursery, [0.5, 0.5, 0.5, 0.5])
    _, run = practise(nursery, "reset")
    assert run.gate["reference"] == first
    assert run.steps[0]["kl"] == pytest.approx(0, abs=1e-6), "the reference is what the policy is"
    assert run.steps[0]["kl_base"] > 0

    nursery.prefer(60, chosen="yes :D")
    second = nursery.improve(SMALL | {"stages": ["preferences"], "preferences": {"epochs": 6}}, key="second")
    assert second["decision"] == "published"
    _, run = practise(nursery, "held to the first")
    assert run.gate["reference"] == first != nursery.live()
    assert 0 < run.steps[0]["kl"] != run.steps[0]["kl_base"]


def test_an_agent_too_far_from_its_base_is_refused_further_prolonged_cycles(place: Workplace) -> None:
    place.prefer()
    place.improve(SMALL | {"stages": ["preferences"]})
    earlier(place, [0.5], drift=0.4)
    result, run = practise(place, "too far")
    assert result["decision"] == "refused" == run.decision
    assert "0.40 nats a token away from its original base" in result["reasons"][0]
    assert run.steps == []
    place.roll_back(0)
    result, _ = practise(place, "rolled back")
    assert "nats a token away" not in result["reasons"][0]


def test_accepted_answers_that_practice_replays_are_written_down_with_it(nursery: Workplace) -> None:
    nursery.prefer()
    _, run = practise(nursery, "replayed", prolonged=False, ptx=0.05)
    assert run.steps[0]["replay_nll"] > 0
    assert len(run.made_from["feedback"]) == 40
    assert "reference" not in run.gate
    assert "kl_base" not in run.steps[0]
    assert run.steps[0]["kl"] == pytest.approx(0, abs=1e-6)
