"""A person with one of everything that Folkmoot keeps, and another person beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.adapters import Adapter, AdapterStore, activate, tensor_name
from agents.conversations import Conversations, NewTurn
from agents.directory import create_user
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.facts import Found, keep, unobserved
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory, Origin
from personal_data.records import (
    AdapterVersion,
    Agent,
    Debate,
    Feedback,
    Grant,
    Hypothesis,
    Import,
    Job,
    Judgement,
    MemoryVersion,
    Model,
    Position,
    Review,
    Rollout,
    TrainingRun,
    User,
    Verdict,
    new_id,
    now,
)
from personal_data.sharing import disclose
from society.membership import accept, create_society, invite

BASE = "b" * 64
AWAY = "http://127.0.0.1:1"
CANARY = "The canary of Ada sings at quarter past seven, ünder the röof."
DRAWN, LATER = "Ada's finch lives in the blue cage by the stairs.", "Ada's finch lives in the red cage by the door."
TURN = "My blue bicycle stands behind the old windmill of Aldermoor."
ANSWER = "It stands behind the old windmill."
BENS = "Ben keeps seventeen silver spoons in a shoe box."


@dataclass
class Owned:
    """Where Ada's things are."""

    database: Database
    store: AdapterStore
    memory: Memory
    ada: str
    ben: str
    agent: str
    bens_agent: str
    ids: dict[str, str]


def account(database: Database, handle: str) -> tuple[str, str]:
    with database.session() as session:
        if session.get(Model, "m") is None:
            session.add(Model(name="m", kind="engine", lineage="m"))
            session.flush()
        user = create_user(session, handle=handle, name=handle.title(), model="m")
        return user.id, session.query(Agent.id).filter_by(user_id=user.id).scalar()


def small_adapter(seed: int = 0) -> Adapter:
    generator = np.random.default_rng(seed)
    tensors = {
        tensor_name("model.layers.0.self_attn.q_proj", part): generator.normal(size=shape).astype(np.float32)
        for part, shape in (("A", (4, 16)), ("B", (8, 4)))
    }
    return Adapter(4, 8.0, BASE, tensors)


def furnish(database: Database, adapters: Path, index_url: str = AWAY) -> Owned:
    """Ada with one of everything."""
    ada, agent = account(database, "ada")
    ben, bens_agent = account(database, "ben")
    memory = Memory(database, HashingEmbedder(), ChromaIndex(index_url))
    owned = Owned(database, AdapterStore(adapters), memory, ada, ben, agent, bens_agent, {})
    _talk(owned)
    _debate(owned)
    _learn(owned)
    return owned


def _talk(owned: Owned) -> None:
    memory, ada, ids = owned.memory, owned.ada, owned.ids
    ids["canary"] = memory.remember(ada, [NewMemory(CANARY, speaker="Ada", scope="society:moot")])[0]
    gone = memory.remember(ada, [NewMemory("Forget the code 4711 of my garden door.", speaker="Ada")])[0]
    memory.forget(ada, gone)
    memory.remember(owned.ben, [NewMemory(BENS, speaker="Ben")])
    with owned.database.session() as session:
        begun = Import(user_id=ada, name="chat.txt", choice={"me": ["Ada"]}, units=[{"name": "chat"}], state="done")
        session.add(begun)
        session.flush()
        ids["import"] = begun.id
    said = [
        NewMemory("Shall we meet at nine on Tuesday?", speaker="Kit", own=False, event_at=5.0, thread="chatgpt:1"),
        NewMemory("Tuesday at nine is fine with me.", speaker="Ada", event_at=6.5, sources=("chatgpt:1/2",)),
    ]
    memory.remember(ada, said, origin=Origin(ids["import"], 0))
    turn = NewTurn(ada, owned.agent, None, TURN, ANSWER, "stop", "req-1", (ids["canary"],), None)
    stored = Conversations(owned.database).append(turn)
    ids["conversation"], ids["question"], ids["answer"] = stored.conversation_id, stored.question_id, stored.message_id
    sources = (f"message:{stored.question_id}",)
    ids["turn"] = memory.remember(
        ada, [NewMemory(TURN, speaker="Ada", kind="turn", sources=sources, thread=stored.conversation_id)]
    )[0]
    with owned.database.session() as session:
        shown = unobserved(session, ada, 10)
        first = keep(session, ada, shown, Found(DRAWN, "fact", 0.7, (ids["turn"],)))
        last = keep(session, ada, shown, Found(LATER, "fact", 0.9, (ids["turn"],), replaces=first.added))
        ids["drawn"], ids["later"] = str(first.added), str(last.added)
    prompt = [
        {"role": "system", "content": f"You are Ada's agent.\nMemories:\n- Ada: {CANARY}"},
        {"role": "user", "content": "When does it sing?"},
    ]
    with owned.database.session() as session:
        given = Feedback(user_id=ada, prompt=prompt, chosen="At 7:15.", rejected="No idea.")
        late = Feedback(user_id=ada, message_id=ids["answer"], prompt=prompt[1:], chosen="Soon.", rejected=None)
        bad = Feedback(user_id=ada, prompt=prompt[1:], chosen=None, rejected="I was told never to sing.")
        opened = Grant(user_id=ada, audience="public", about=["boats"], kinds=["health"], until=2e9)
        session.add_all(
            [given, late, bad, opened, MemoryVersion(memory_id=ids["canary"], number=1, text="It was not so.")]
        )
        session.flush()
        ids["feedback"] = given.id
        held = session.get_one(Agent, owned.agent)
        held.instructions, held.improve_every_s, held.schedule_from = ["Be brief."], 3600.0, now()


def _debate(owned: Owned) -> None:
    ids = owned.ids
    with owned.database.session() as session:
        founder = session.get_one(Agent, owned.agent).user_id
        society = create_society(session, owner=session.get_one(User, founder), slug="moot", name="The moot")
        invite(session, owner_id=owned.ada, slug="moot", handle="ben")
        accept(session, user_id=owned.ben, slug="moot")
        panel = [owned.agent, owned.bens_agent]
        for name, asker in (("debate", owned.ada), ("elsewhere", owned.ben)):
            debate = Debate(
                society_id=society.id,
                user_id=asker,
                question=f"When does the canary sing ({name})?",
                panel=panel,
                seed=7,
                state="done",
                deadline_s=60.0,
                finished_at=now(),
            )
            session.add(debate)
            session.flush()
            ids[name] = debate.id
            for agent_id, argument in ((owned.agent, f"I remember: {CANARY}"), (owned.bens_agent, "At noon, I think.")):
                session.add(
                    Position(
                        debate_id=debate.id,
                        round=0,
                        agent_id=agent_id,
                        status="answered",
                        answer="7:15" if agent_id == owned.agent else "noon",
                        answer_key="7:15" if agent_id == owned.agent else "noon",
                        argument=argument,
                        lineage="m",
                        memory_ids=[ids["canary"]] if agent_id == owned.agent else ["mem_of_ben"],
                    )
                )
            for key, whose in (("7:15", owned.agent), ("noon", owned.bens_agent)):
                held = Hypothesis(debate_id=debate.id, key=key, text=key, supporters=[whose], posterior=0.5)
                session.add(held)
                session.flush()
                checker = owned.agent if whose == owned.bens_agent else owned.bens_agent
                session.add(
                    Review(
                        debate_id=debate.id,
                        hypothesis_id=held.id,
                        agent_id=checker,
                        verdict="refuted",
                        answer="7:15" if checker == owned.agent else "noon",
                        argument="I remember it well." if checker == owned.agent else "The clock said so.",
                        lineage="m",
                        memory_ids=[ids["canary"]] if checker == owned.agent else ["mem_of_ben"],
                    )
                )
            session.add(
                Verdict(
                    debate_id=debate.id,
                    answer="7:15",
                    answer_key="7:15",
                    confidence=0.5,
                    rule="plurality",
                    dissent=["noon"],
                    coverage={"invited": 2},
                    degraded=False,
                )
            )
            disclose(
                session,
                user_id=owned.ada,
                debate_id=debate.id,
                audience="society:moot",
                memory_ids=[ids["canary"]],
            )


def _learn(owned: Owned) -> None:
    ids = owned.ids
    parent = None
    for number in (1, 2):
        made_from = {"feedback": [ids["feedback"]] if number == 2 else [], "memories": []}
        with owned.database.session() as session:
            job = Job(
                kind="improve",
                user_id=owned.ada,
                subject_id=owned.agent,
                idempotency_key=new_id("key"),
                state="done",
                token=number,
                payload={"stages": ["preferences"]},
            )
            session.add(job)
            session.flush()
            run = TrainingRun(
                job_id=job.id,
                token=number,
                stage="preferences",
                agent_id=owned.agent,
                parent_version_id=parent,
                recipe={"epochs": 1},
                steps=[{"step": 0, "loss": 0.5}],
                decision="published",
                gate={"checks": [{"note": f"answered: {CANARY}"}]},
                made_from=made_from,
            )
            session.add(run)
            session.flush()
            session.add(
                Rollout(
                    run_id=run.id,
                    step=0,
                    group=0,
                    prompt="2+2",
                    completion="4",
                    rewards={"truth": 1.0},
                    finish_reason="stop",
                )
            )
            session.add(Judgement(run_id=run.id, step=None, prompt=f"Is it right? {CANARY}", said="A", verdict=["A"]))
            job_id, run_id = job.id, run.id
        path, sha256 = owned.store.publish(owned.agent, number, small_adapter(number), job_id=job_id, token=number)
        with owned.database.session() as session:
            version = AdapterVersion(
                id=new_id("adv"),
                agent_id=owned.agent,
                number=number,
                job_id=job_id,
                token=number,
                parent_id=parent,
                model="m",
                path=path,
                sha256=sha256,
                base_sha256=BASE,
                evaluation={"preferences": {"passed": True}},
            )
            activate(session, version)
            parent = ids[f"version{number}"] = version.id
            ids[f"run{number}"] = run_id
