"""The forget test: what is erased is in no row, no index, no adapter and no byte of the data folder; all else stays."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from agents.adapters import activate, roll_back
from agents.conversations import FORGOTTEN, Conversations, NewTurn
from api import keys
from api.erasures import Eraser, begin
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.erasure.rows import MARK
from personal_data.erasure.targets import read_wish
from personal_data.errors import Conflict, InvalidInput, NotFound, Unauthorized
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory, Origin
from personal_data.records import (
    AdapterVersion,
    Agent,
    ChatMessage,
    Debate,
    Erasure,
    ErasureMark,
    Feedback,
    Hypothesis,
    Import,
    Job,
    MemoryOutbox,
    Position,
    Record,
    Review,
    Rollout,
    Society,
    TrainingRun,
    User,
    Verdict,
)
from personal_data.records import Memory as MemoryRow
from personal_data.settings import ModelSettings, Settings
from tests.personal_data.owned import ANSWER, BASE, BENS, CANARY, DRAWN, LATER, TURN, furnish, small_adapter
from training import ledger


class House:
    """A data folder with Ada and Ben in it, and somebody who erases."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.owned = furnish(database, settings.adapters_dir, str(settings.index_url))
        self.eraser = Eraser(settings, database, self.owned.memory)
        self.ids = self.owned.ids

    def begin(self, **wish: Any) -> str:
        with self.database.session() as session:
            return begin(session, self.owned.ada, read_wish(session, self.owned.ada, **wish)).id

    def erase(self, **wish: Any) -> Erasure:
        return self.eraser.carry_out(self.begin(**wish))

    def rows(self, table: type[Any], *where: Any) -> list[Any]:
        with self.database.reading() as session:
            return list(session.scalars(select(table).where(*where).order_by(table.id)))

    def holding(self, *texts: str) -> list[str]:
        """The files of the data folder that hold one of these texts, looked at in the plainest way."""
        forms = [form for text in texts for form in (text.encode(), json.dumps(text)[1:-1].encode())]
        files = [path for path in self.settings.data_dir.rglob("*") if path.is_file()]
        return [path.name for path in files if any(form in path.read_bytes() for form in forms)]

    def stored(self) -> str:
        """Every row of every table."""
        with self.database.reading() as session:
            tables = Record.metadata.sorted_tables
            return "\n".join(str(row) for table in tables for row in session.execute(select(table)))


@pytest.fixture
def house(settings: Settings, any_database: Database, chroma_url: str) -> House:
    models = {"m": ModelSettings(kind="engine", base="builtin:nursery")}
    return House(settings.model_copy(update={"models": models, "index_url": chroma_url, "lease_s": 1.0}), any_database)


def test_a_memory_goes_and_all_that_was_made_from_it(house: House) -> None:
    owned, ids = house.owned, house.ids
    receipt = house.erase(memory=ids["canary"])
    assert receipt.state == "done" and receipt.residue == {}
    assert CANARY not in house.stored()
    assert not house.holding(CANARY)
    assert CANARY[:30] not in json.dumps([receipt.what, receipt.removed, receipt.could_not])
    assert receipt.removed["memories"] == 1
    (gone,) = house.rows(MemoryRow, MemoryRow.id == ids["canary"])
    assert gone.deleted_at is not None and (gone.text, gone.embedding, gone.speaker) == ("", None, "")
    assert [row.content for row in house.rows(ChatMessage)] == [TURN, MARK]
    assert ids["feedback"] not in [row.id for row in house.rows(Feedback)]
    for debate in (ids["debate"], ids["elsewhere"]):
        positions = {row.agent_id: row for row in house.rows(Position, Position.debate_id == debate)}
        assert positions[owned.agent].argument == positions[owned.agent].answer == MARK
        assert positions[owned.bens_agent].argument == "At noon, I think."
        assert sorted(row.text for row in house.rows(Hypothesis, Hypothesis.debate_id == debate)) == [MARK, "noon"]
        (verdict,) = house.rows(Verdict, Verdict.debate_id == debate)
        assert verdict.answer == MARK and verdict.dissent == ["noon"]
    assert not house.rows(ErasureMark)


def test_what_others_say_of_an_erased_text_does_not_quote_its_key(house: House) -> None:
    """Of free texts keys are made of their words, and rankings, checks and shares are told by keys."""
    owned, ids = house.owned, house.ids
    with house.database.session() as session:
        debate = session.get_one(Debate, ids["debate"])
        debate.kind = "opinion"
        (verdict,) = session.scalars(select(Verdict).where(Verdict.debate_id == debate.id))
        verdict.distribution = {"7:15": 0.5, "noon": 0.5}
        mine, noon = session.scalars(
            select(Hypothesis).where(Hypothesis.debate_id == debate.id).order_by(Hypothesis.key)
        )
        mine.supporters = [owned.agent, owned.bens_agent]  # Ben's text was found to say the same
        bens = {"debate_id": debate.id, "agent_id": owned.bens_agent, "lineage": "m"}
        session.add(Position(**bens, round=2, status="answered", alternatives=["noon", "7:15"]))
        session.add(Review(**bens, hypothesis_id=noon.id, verdict="verified", answer="7:15"))
        noon_id = noon.id
    house.erase(memory=ids["canary"])
    (position,) = house.rows(Position, Position.debate_id == ids["debate"], Position.agent_id == owned.agent)
    (ranking,) = house.rows(Position, Position.debate_id == ids["debate"], Position.round == 2)
    same = Review.hypothesis_id == noon_id, Review.agent_id == owned.bens_agent
    (check,) = house.rows(Review, Review.debate_id == ids["debate"], *same)
    (verdict,) = house.rows(Verdict, Verdict.debate_id == ids["debate"])
    assert ranking.alternatives == ["noon", position.answer_key]
    assert check.answer == position.answer_key
    assert verdict.distribution == {position.answer_key: 0.5, "noon": 0.5}
    assert sorted(row.text for row in house.rows(Hypothesis, Hypothesis.debate_id == ids["debate"])) == [MARK, "noon"]


def test_what_a_machine_found_in_an_argument_goes_with_it(house: House) -> None:
    """A claim is told in the words of the argument, which may be the memory's."""
    owned, ids = house.owned, house.ids
    claim = {"kind": "memory", "written": CANARY, "passed": True, "of_question": False}
    with house.database.session() as session:
        for record in (Position, Review):
            for row in session.scalars(select(record).where(record.debate_id == ids["debate"])):
                row.flags = {"calls": 1, "checks": [claim]}
    house.erase(memory=ids["canary"])
    assert CANARY not in house.stored()
    flags = {row.agent_id: row.flags for row in house.rows(Position, Position.debate_id == ids["debate"])}
    assert flags == {owned.agent: {"calls": 1}, owned.bens_agent: {"calls": 1, "checks": [claim | {"written": MARK}]}}
    reviews = house.rows(Review, Review.debate_id == ids["debate"])
    assert reviews and all(CANARY not in str(row.flags) for row in reviews)


def test_adapters_trained_on_it_are_retired_and_learned_anew_without_it(house: House) -> None:
    owned, ids = house.owned, house.ids
    second = house.rows(AdapterVersion, AdapterVersion.number == 2)[0]
    receipt = house.erase(memory=ids["canary"])
    assert receipt.removed["adapter versions"] == 1
    (agent,) = house.rows(Agent, Agent.id == owned.agent)
    assert agent.live_version_id == ids["version1"]
    assert not owned.store.path(second).exists()
    first, second = house.rows(AdapterVersion)
    owned.store.verify(first)
    assert second.retired_at is not None and first.retired_at is None
    run = house.rows(TrainingRun, TrainingRun.id == ids["run2"])[0]
    assert run.gate is None
    (queued,) = house.rows(Job, Job.state == "queued")
    assert (queued.kind, queued.payload) == ("improve", {"stages": ["preferences"]})
    with house.database.session() as session, pytest.raises(Conflict, match="retired"):
        roll_back(session, agent_id=owned.agent, number=2)


def test_a_run_that_does_not_say_what_it_was_made_from_counts_as_made_from_it(house: House) -> None:
    with house.database.session() as session:
        for run in session.scalars(select(TrainingRun)):
            run.made_from = None
    assert house.erase(memory=house.ids["canary"]).removed["adapter versions"] == 2
    assert house.rows(Agent, Agent.id == house.owned.agent)[0].live_version_id is None


def learn_from_debate(house: House, debate_id: str) -> str:
    """Ben's agent learns from a debate and answers with what came of it; the version's id."""
    owned, token = house.owned, 7
    question = house.rows(Debate, Debate.id == debate_id)[0].question
    payload = {"stages": ["debates"]}
    with house.database.session() as session:
        job = Job(kind="improve", user_id=owned.ben, subject_id=owned.bens_agent, idempotency_key="bens", token=token)
        job.state, job.payload = "done", payload
        session.add(job)
        session.flush()
        run = TrainingRun(job_id=job.id, token=token, stage="debates", agent_id=owned.bens_agent, recipe={})
        run.decision, run.gate, run.made_from = "published", {"samples": [question]}, {"debates": [debate_id]}
        session.add(run)
        session.flush()
        job.result = {"reasons": ["better"], "stages": [{"run_id": run.id, "gate": run.gate, "reasons": ["better"]}]}
        session.add(
            Rollout(run_id=run.id, step=0, group=0, prompt=question, completion="7", rewards={}, finish_reason="stop")
        )
        session.flush()
        job_id = job.id
    path, sha256 = owned.store.publish(owned.bens_agent, 1, small_adapter(3), job_id=job_id, token=token)
    version = AdapterVersion(agent_id=owned.bens_agent, number=1, job_id=job_id, token=token, model="m", path=path)
    version.sha256, version.base_sha256 = sha256, BASE
    with house.database.session() as session:
        activate(session, version)
        return version.id


def test_what_another_ones_agent_learned_from_an_erased_debate_is_retired(house: House) -> None:
    """The question was Ada's; Ben's agent was asked it, and has learned what turned out to be right."""
    owned, debate_id = house.owned, house.ids["debate"]
    question = house.rows(Debate, Debate.id == debate_id)[0].question
    learn_from_debate(house, debate_id)
    payload = {"stages": ["debates", "environment"]}
    with house.database.session() as session:
        asked = {"user_id": owned.ben, "subject_id": owned.bens_agent, "payload": payload}
        ledger.enqueue(session, kind="improve", idempotency_key="running", **asked)
    lease = ledger.claim(house.database, lease_s=1.0)
    assert lease is not None
    receipt = house.erase(everything=True)
    assert receipt.removed["others' adapter versions"] == 1 == receipt.removed["others' running jobs"]
    (version,) = house.rows(AdapterVersion, AdapterVersion.agent_id == owned.bens_agent)
    assert version.retired_at is not None and not owned.store.path(version).exists()
    assert house.rows(Agent, Agent.id == owned.bens_agent)[0].live_version_id is None
    jobs = {job.idempotency_key: job for job in house.rows(Job, Job.user_id == owned.ben)}
    assert jobs["running"].cancel_requested or jobs["running"].state == "cancelled"
    again = jobs[f"improve:{receipt.id}:{owned.bens_agent}"]
    assert (again.state, again.subject_id) == ("queued", owned.bens_agent)
    assert question not in house.stored() and not house.holding(question)
    assert receipt.residue == {}


@pytest.mark.parametrize("quoted", [True, False])
def test_a_debate_counts_as_erased_where_its_question_quotes_what_was(house: House, quoted: bool) -> None:
    owned, debate_id = house.owned, house.ids["debate"]
    if quoted:
        with house.database.session() as session:
            session.get_one(Debate, debate_id).question = f"Is it so? {CANARY}"
    live = learn_from_debate(house, debate_id)
    receipt = house.erase(memory=house.ids["canary"])
    assert receipt.residue == {} and not house.holding(CANARY)
    assert receipt.removed.get("others' adapter versions", 0) == quoted
    left = house.rows(Agent, Agent.id == owned.bens_agent)[0].live_version_id
    assert left == (None if quoted else live)


def test_what_was_not_learned_from_it_stays_live(house: House) -> None:
    receipt = house.erase(memory=house.ids["turn"])
    assert "adapter versions" not in receipt.removed
    assert house.rows(Agent, Agent.id == house.owned.agent)[0].live_version_id == house.ids["version2"]
    assert not house.rows(Job, Job.state == "queued")


def test_a_turn_goes_with_the_memory_that_came_from_it(house: House) -> None:
    house.erase(memory=house.ids["turn"])
    assert [row.content for row in house.rows(ChatMessage)] == [MARK, MARK]
    assert not house.holding(TURN, ANSWER)
    assert CANARY in [row.text for row in house.owned.memory.entries(house.owned.ada)]


def test_a_conversation_goes_with_what_was_remembered_of_it(house: House) -> None:
    receipt = house.erase(source=house.ids["conversation"])
    assert receipt.removed["messages"] == 2
    assert receipt.removed["memories"] == 3, "the turn, and two facts that were drawn from it"
    assert not house.holding(TURN, ANSWER, DRAWN, LATER)
    assert house.holding(CANARY) or not house.database.is_sqlite


def test_an_import_goes_and_what_came_otherwise_stays(house: House) -> None:
    owned = house.owned
    again = NewMemory("Tuesday at nine is fine with me.", speaker="Ada", event_at=6.5, sources=("chatgpt:1/2",))
    with house.database.session() as session:
        other = Import(user_id=owned.ada, name="other.txt", choice={}, units=[])
        session.add(other)
        session.flush()
        other_id = other.id
    owned.memory.remember(owned.ada, [again], origin=Origin(other_id, 0))
    receipt = house.erase(source=house.ids["import"])
    texts = {row.text for row in owned.memory.entries(owned.ada)}
    assert "Shall we meet at nine on Tuesday?" not in texts and again.text in texts
    assert any("came in another way too" in reason for reason in receipt.could_not)
    (kept,) = house.rows(Import, Import.id == house.ids["import"])
    assert (kept.state, kept.name, kept.units) == ("undone", MARK, [])
    with pytest.raises(Conflict, match="undone"):
        owned.memory.remember(owned.ada, [again], origin=Origin(kept.id, 0))


@pytest.mark.parametrize("everything", [True, False])
def test_what_was_sent_to_be_imported_goes_with_the_import(house: House, everything: bool) -> None:
    uploads = house.settings.data_dir / "uploads"
    for name in (house.ids["import"], "imp_of_somebody_else"):
        (uploads / name).mkdir(parents=True)
        (uploads / name / "chat.zip").write_bytes(b"packed")
    house.erase(everything=True) if everything else house.erase(source=house.ids["import"])
    assert [path.name for path in uploads.iterdir()] == ["imp_of_somebody_else"]


def test_a_source_goes_by_how_it_begins(house: House) -> None:
    assert house.erase(source="chatgpt:").removed["memories"] == 1
    with pytest.raises(NotFound):
        house.begin(source="chatgpt:")


def test_only_ones_own_can_be_named_and_only_one_thing(house: House) -> None:
    (bens,) = house.owned.memory.entries(house.owned.ben)
    with house.database.session() as session:
        for wish in ({"memory": bens.id}, {"memory": "mem_x"}, {"source": "imp_x"}):
            with pytest.raises(NotFound):
                read_wish(session, house.owned.ada, **wish)
        for wrong in ({}, {"memory": bens.id, "everything": True}, {"source": " "}):
            with pytest.raises(InvalidInput):
                read_wish(session, house.owned.ada, **wrong)  # type: ignore[arg-type]


def test_everything_goes_and_others_keep_theirs(house: House) -> None:
    owned, ids = house.owned, house.ids
    with house.database.session() as session:
        _, credential = keys.create_key(session, owned.ada)
    receipt = house.erase(everything=True)
    assert receipt.state == "done" and receipt.residue == {}
    stored = house.stored()
    for text in (CANARY, TURN, ANSWER, "Tuesday at nine", "Be brief.", "chat.txt"):
        assert text not in stored
    assert not house.holding(CANARY, TURN, ANSWER)
    assert not (house.settings.adapters_dir / owned.agent).exists()
    with house.database.reading() as session:
        assert session.scalars(select(User.id)).all() == [owned.ben]
        with pytest.raises(Unauthorized):
            keys.authenticate(session, credential)
        assert session.scalars(select(Society.owner_id)).all() == [owned.ben]
        assert session.scalars(select(Debate.id)).all() == [ids["elsewhere"]]
        assert session.scalar(select(func.count()).select_from(MemoryRow)) == 1
    positions = {row.agent_id: row.argument for row in house.rows(Position)}
    assert positions == {owned.agent: MARK, owned.bens_agent: "At noon, I think."}
    assert house.holding(BENS) or not house.database.is_sqlite
    with pytest.raises(Exception, match=r"."):  # whatever a late writer brings finds nobody to belong to
        owned.memory.remember(owned.ada, [NewMemory(CANARY, speaker="Ada")])
    assert not house.holding(CANARY)


def test_the_index_forgets_it_and_says_what_its_own_folder_keeps(house: House) -> None:
    index = ChromaIndex(str(house.settings.index_url))
    model = HashingEmbedder.model
    assert index.known(house.owned.ada, model, [house.ids["canary"]])
    receipt = house.erase(memory=house.ids["canary"])
    assert not index.known(house.owned.ada, model, [house.ids["canary"]])
    assert any("its operator stops it, removes its folder" in reason for reason in receipt.could_not)
    assert any("backups" in reason for reason in receipt.could_not)


def test_an_index_that_is_away_delays_no_erasure_and_is_told_later(house: House) -> None:
    away = Memory(house.database, HashingEmbedder(), ChromaIndex("http://127.0.0.1:1"))
    receipt = Eraser(house.settings, house.database, away).carry_out(house.begin(memory=house.ids["canary"]))
    assert receipt.state == "done" and receipt.residue == {}
    assert any("is told as soon as it is back" in reason for reason in receipt.could_not)
    index = ChromaIndex(str(house.settings.index_url))
    assert index.known(house.owned.ada, HashingEmbedder.model, [house.ids["canary"]])
    with house.database.session() as session:
        for entry in session.scalars(select(MemoryOutbox)):
            entry.not_before = 0.0
    while house.owned.memory.drain_outbox():
        pass
    assert not index.known(house.owned.ada, HashingEmbedder.model, [house.ids["canary"]])


def test_residue_that_was_planted_is_found_and_said(house: House) -> None:
    copy = house.settings.data_dir / "copy-of-mine.txt"
    copy.write_text(f"my own notes: {CANARY}")
    receipt = house.erase(memory=house.ids["canary"])
    assert list(receipt.residue) == ["copy-of-mine.txt"]
    assert house.holding(CANARY) == ["copy-of-mine.txt"]


def test_what_a_living_memory_says_too_is_no_residue(house: House) -> None:
    longer = f"Kit told me: {CANARY} Is that so?"
    house.owned.memory.remember(house.owned.ada, [NewMemory(longer, speaker="Kit")])
    receipt = house.erase(memory=house.ids["canary"])
    assert receipt.residue == {}
    said = any("stand in rows of memories" in reason for reason in receipt.could_not)
    assert said or not house.database.is_sqlite
    assert longer in [row.text for row in house.owned.memory.entries(house.owned.ada)]


def test_a_job_that_has_read_it_cannot_publish(house: House) -> None:
    owned = house.owned
    with house.database.session() as session:
        ledger.enqueue(
            session, kind="improve", user_id=owned.ada, subject_id=owned.agent, idempotency_key="k", payload={"seed": 1}
        )
    lease = ledger.claim(house.database, lease_s=1.0)
    assert lease is not None
    receipt = house.erase(memory=house.ids["canary"])
    assert receipt.removed["running jobs"] == 1
    with house.database.session() as session, pytest.raises(Exception, match=r"cancelled|gone"):
        ledger.finish(session, lease, {})
    states = {row.idempotency_key: row.state for row in house.rows(Job, Job.state.in_(("queued", "cancelled")))}
    assert states == {"k": "cancelled", f"improve:{receipt.id}": "queued"}


def test_an_answer_that_comes_late_is_not_kept(house: House) -> None:
    owned = house.owned
    house.erase(memory=house.ids["canary"])
    late = NewTurn(owned.ada, owned.agent, None, "When?", CANARY, "stop", None, (house.ids["canary"],), None)
    stored = Conversations(house.database).append(late)
    (answer,) = house.rows(ChatMessage, ChatMessage.id == stored.message_id)
    assert answer.content == FORGOTTEN
    assert not house.holding(CANARY)


def test_writers_in_flight_leave_nothing(house: House) -> None:
    """Answers given with the memory in view are stored from another thread before, while and after it is erased."""
    owned, written = house.owned, threading.Event()
    failed: list[BaseException] = []
    stop = threading.Event()

    def chat() -> None:
        shown = (house.ids["canary"],)
        try:
            while not stop.is_set():
                turn = NewTurn(owned.ada, owned.agent, None, "When?", f"At that: {CANARY}", "stop", None, shown, None)
                Conversations(house.database).append(turn)
                written.set()
        except BaseException as error:
            failed.append(error)
            raise

    writer = threading.Thread(target=chat)
    writer.start()
    assert written.wait(30)
    house.erase(memory=house.ids["canary"])
    stop.set()
    writer.join()
    assert not failed
    answers = {row.content for row in house.rows(ChatMessage, ChatMessage.role == "assistant")}
    assert answers <= {MARK, FORGOTTEN}
    house.database.scour()
    assert not house.holding(CANARY)


KILLED = """
import os, signal, sys
from api.erasures import Eraser
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.index import ChromaIndex
from personal_data.memory import Memory
from personal_data.settings import Settings

class Killed(Eraser):
    def _remove_adapters(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)

settings = Settings.model_validate_json(sys.argv[1])
database = Database(sys.argv[2])
Killed(settings, database, Memory(database, HashingEmbedder(), ChromaIndex(settings.index_url))).work()
"""


def test_an_erasure_that_was_killed_goes_on_where_it_was(house: House) -> None:
    erasure_id = house.begin(memory=house.ids["canary"])
    command = [sys.executable, "-c", KILLED, house.settings.model_dump_json(), house.database.url]
    assert subprocess.run(command, timeout=120).returncode == -signal.SIGKILL
    (left,) = house.rows(Erasure, Erasure.id == erasure_id)
    assert (left.state, left.stage) == ("running", "traces")
    again = Eraser(house.settings, house.database, Memory(house.database, HashingEmbedder(), ChromaIndex("http://x:1")))
    again.work()
    (done,) = house.rows(Erasure, Erasure.id == erasure_id)
    assert done.state == "done" and done.removed["memories"] == 1
    assert not house.holding(CANARY)
    assert not list(Path(house.settings.adapters_dir).glob("*/2-2"))


def test_the_administrator_stays(house: House) -> None:
    keys.bootstrap(house.database, house.settings.data_dir)
    with house.database.session() as session:
        admin = session.scalars(select(User).where(User.admin)).one()
        with pytest.raises(Conflict, match="administrator"):
            begin(session, admin.id, {"everything": True})
