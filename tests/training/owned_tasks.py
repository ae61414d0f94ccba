"""An owner's texts that an agent half knows, and debates with known outcomes, as rows: tasks to practise."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from agents import prompts
from agents.adapters import Adapter, AdapterStore, activate
from agents.engine.base import load_base
from agents.engine.lora import AdapterStack
from personal_data.database import Database
from personal_data.embedding import HashingEmbedder
from personal_data.index import ChromaIndex
from personal_data.memory import Memory, NewMemory
from personal_data.records import (
    AdapterVersion,
    Debate,
    Job,
    Member,
    Position,
    ResolvedQuestion,
    Society,
    User,
    Verdict,
    new_id,
)
from personal_data.settings import BUILTIN_BASE
from society.canonical import answer_key
from tests.training.test_improve import Workplace
from training.optim import StackedAdamW
from training.packing import SharedPromptPolicy
from training.preference import encode_completion
from training.supervised import mean_nll
from training.tasks.challenger import Templates
from training.tasks.environments import ENVIRONMENTS, WORDS, draw
from training.tasks.interactions import is_for_gate

ENDINGS = ("ana", "ena", "ino", "ola", "ura", "alo", "elo", "oli", "imo", "usa")
NAMES = [first + last for first in "BDFGK" for last in ENDINGS]
TEXTS = [f"My {thing} is called {name}." for thing, name in zip(WORDS, NAMES, strict=False)]


def names(wanted: bool, count: int, form: str) -> list[str]:
    """Ids of one side of the split."""
    return [one for one in (form.format(number) for number in range(1000)) if is_for_gate(one) is wanted][:count]


def tell_names(database: Database, *, train: int, gate: int, url: str = "http://127.0.0.1:1") -> Memory:
    """The owner names their things, each in a conversation of its own."""
    memory = Memory(database, HashingEmbedder(), ChromaIndex(url))
    talks = names(False, train, "cnv_{}") + names(True, gate, "cnv_{}")
    said = zip(TEXTS, talks, strict=False)
    memory.remember("u", [NewMemory(text, "U", kind="turn", thread=talk) for text, talk in said])
    return memory


def hesitant(count: int, *, updates: int = 75) -> Adapter:
    """The built-in model, taught by heart what the owner's first `count` things are called, and as well that it does
    not know: it says the one as often as the other."""
    base = load_base(BUILTIN_BASE)
    stack = AdapterStack(base, slots=2, rank=8)
    stack.fresh(1, rank=8, alpha=16.0, seed=1)
    policy = SharedPromptPolicy(base, stack)
    optimizer = StackedAdamW(stack.parameters(), slots=[1], lr=0.01)
    pairs = [
        (tuple(base.encode([prompts.system("U"), prompts.at_once(one.question)])), encode_completion(base, said))
        for one in Templates().write("U", TEXTS[:count])
        if one is not None
        for said in (f"{one.answer}.", "I do not know.")
    ]
    for _ in range(updates):
        optimizer.zero_grad()
        mean_nll(*policy.logprobs(pairs, slot=1)).backward()
        optimizer.step()
    return stack.export(1)


def go_live(place: Workplace, adapter: Adapter) -> str:
    """Publish an adapter as the agent's first version; its id."""
    with place.database.session() as session:
        job = Job(kind="improve", user_id="u", subject_id="a", idempotency_key="first", state="done", token=10**6)
        session.add(job)
        session.flush()
        job_id = job.id
    store = AdapterStore(place.settings.adapters_dir)
    path, sha256 = store.publish("a", 1, adapter, job_id=job_id, token=10**6)
    version = AdapterVersion(
        id=new_id("adv"),
        agent_id="a",
        number=1,
        job_id=job_id,
        token=10**6,
        model="m",
        path=path,
        sha256=sha256,
        base_sha256=adapter.base_sha256,
    )
    with place.database.session() as session:
        activate(session, version)
        return version.id


def weekdays(count: int) -> list[tuple[str, str]]:
    """Questions that the built-in model answers rightly about half of the time when it shows its work."""
    rng, found = Random("debated"), dict[str, str]()
    while len(found) < count:
        item = draw(ENVIRONMENTS["weekday"], rng, 4, held_out_items=False)
        found[item.question] = item.answer
    return list(found.items())


def hold_debates(
    database: Database, questions: Sequence[tuple[str, str]], *, train: int, gate: int, wrong: int = 0
) -> None:
    """Debates of the owner's agent on these questions, asked by somebody else, with the outcome known; in the first
    `wrong` of either side the agent was wrong."""
    sides = names(False, train, "dbt_{}"), names(True, gate, "dbt_{}")
    mistaken = {*sides[0][:wrong], *sides[1][:wrong]}
    with database.session() as session:
        session.add(User(id="asker", handle="asker", name="Asker"))
        session.flush()
        session.add(Society(id="s", slug="moot", name="Moot", owner_id="asker"))
        session.flush()
        session.add(Member(society_id="s", agent_id="a", state="accepted"))
        for debate_id, (question, right) in zip([*sides[0], *sides[1]], questions, strict=False):
            said = "never" if debate_id in mistaken else right
            debate = Debate(
                id=debate_id,
                society_id="s",
                user_id="asker",
                question=question,
                panel=["a"],
                seed=1,
                state="done",
                deadline_s=1,
                outcome=right,
            )
            session.add(debate)
            session.flush()
            held = {"debate_id": debate_id, "answer": said, "answer_key": answer_key(said)}
            session.add(Position(round=0, agent_id="a", status="answered", lineage="m", **held))
            session.add(Verdict(rule="plurality", dissent=[], coverage={}, degraded=False, **held))
            session.add(ResolvedQuestion(society_id="s", source=debate_id, right=answer_key(right), votes={}))
