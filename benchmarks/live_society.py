"""Claim: a society of living agents knows what any of its members knows, and is not worse than its best one.

`python -m benchmarks.live_society` starts the whole platform on the built-in model. Six people tell their agents eight
things each, and share them; two of them let their agents practise first, so that adapters differ. The society is asked
for what one of them knows, and then tasks of every family; each outcome is given, as its asker would. What each member
would have said alone is its blind position in the same debates: so all comparisons are paired. The best member is the
one that had been right most often before each question: who will have been best is known to nobody. About ten minutes
on two cores; `--n` says how many tasks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from api import keys
from api.client import Client
from api.demo import own_settings
from api.supervisor import Supervisor
from benchmarks.figures import Figure, finish, machine
from society.aggregation.scores import interval
from society.canonical import answer_key
from training.nursery.language import Fact, Speech
from training.tasks.environments import ENVIRONMENTS, draw

Json = dict[str, Any]
SLUG, MEMBERS, FACTS = "moot", 6, 8
PRACTISE: Json = {"stages": ["environment"], "environment": {"name": "order", "difficulty": 2, "reward": "blind"}}
PRACTISING = 2
DIFFICULTY = 4
"""The hardest there are: at 2 every member is right nearly always, and nobody differs."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the society said to one question, and what each member would have said alone: right or not."""

    society: bool
    alone: dict[str, bool]
    calls: int


def people(rng: Random) -> dict[str, list[Fact]]:
    """Names, and what each knows; no two know of the same thing."""
    speech = Speech(rng, held_out_values=True)
    found: dict[str, list[Fact]] = {}
    while len(found) < MEMBERS:
        name = speech.person()
        if name not in found:
            facts: list[Fact] = []
            while len(facts) < FACTS:
                fact = speech.fact(name)
                if all((fact.pattern, fact.noun) != (known.pattern, known.noun) for known in facts):
                    facts.append(fact)
            found[name] = facts
    return found


def join(admin: Client, known: dict[str, list[Fact]]) -> dict[str, Client]:
    """Everybody has told their agent, and sits in the society."""
    clients = {}
    for name, facts in known.items():
        key = admin.add_user(name.lower(), name)["key"]
        client = clients[name] = Client(admin.base_url, key, timeout_s=600)
        client.remember_all([fact.first_person() for fact in facts], scope=f"society:{SLUG}")
    founder, *others = clients
    clients[founder].create_society(SLUG)
    for name in others:
        clients[founder].invite(SLUG, name.lower())
        clients[name].accept(SLUG)
    return clients


def practise(clients: dict[str, Client]) -> None:
    """Two agents learn from their own slow thinking; what the gate refuses stays as it was."""
    for number, (name, client) in enumerate(list(clients.items())[:PRACTISING]):
        *_, job = client.watch_improvement(client.improve(**PRACTISE, seed=number)["id"])
        decisions = [run["decision"] for run in job["runs"]]
        print(f"  {name} practised: {', '.join(map(str, decisions)) or job['state']}", flush=True)


def ask(client: Client, question: str, right: str, topic: str, *, contains: bool) -> Asked:
    """One debate, and its outcome."""
    told = client.debate_end(client.ask(SLUG, question, seed=1, topic=topic)["id"])
    verdict = told["verdict"]
    alone = {row["agent"]: is_right(row["answer"], right, contains) for row in told["positions"] if row["round"] == 0}
    client.set_outcome(told["id"], right if not contains else _worded(told, right))
    return Asked(is_right(verdict["answer"], right, contains), alone, verdict["cost"]["calls"])


def is_right(answer: str | None, right: str, contains: bool) -> bool:
    if answer is None:
        return False
    key, wanted = answer_key(answer), answer_key(right)
    return f" {wanted} " in f" {key} " if contains else key == wanted


def _worded(told: Json, right: str) -> str:
    """The outcome in the words of a member that was right."""
    found = [row["answer"] for row in told["positions"] if is_right(row["answer"], right, True)]
    return found[0] if found else right


def by_record(asked: Sequence[Asked]) -> list[bool]:
    """Whether the member that had been right most often before was right; by name where none was."""
    record: Counter[str] = Counter()
    found = []
    for one in asked:
        best = max(sorted(one.alone), key=lambda member: record[member])
        found.append(one.alone[best])
        record.update(member for member, right in one.alone.items() if right)
    return found


def show(name: str, asked: Sequence[Asked]) -> tuple[float, float, float]:
    """Society, best member by its record, and the society's lead over it, printed with intervals."""
    society, best = [one.society for one in asked], by_record(asked)
    lead = interval([float(ours) - float(theirs) for ours, theirs in zip(society, best, strict=True)])
    alone = Counter(member for one in asked for member, right in one.alone.items() if right)
    shares = ", ".join(f"{member} {alone[member] / len(asked):.2f}" for member in sorted(asked[0].alone))
    told = interval([float(right) for right in society])
    calls = sum(one.calls for one in asked) / len(asked)
    print(
        f"{name}, n = {len(asked)}: society {told[0]:.3f} ({told[1]:.3f}-{told[2]:.3f}), {calls:.1f} calls a question"
    )
    print(f"  alone: {shares}; best by record {sum(best) / len(best):.3f}")
    print(f"  lead over it: {lead[0]:+.3f} ({lead[1]:+.3f} to {lead[2]:+.3f})")
    return told[0], sum(best) / len(best), lead[0]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure a society of living agents.")
    parser.add_argument("--n", type=int, default=180, help="tasks")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch, Supervisor(own_settings(Path(scratch))).running() as url:
        print(f"a society of {MEMBERS} on the built-in model, {machine()}, seed {options.seed}", flush=True)
        known = people(rng)
        with Client(url, keys.read_bootstrap_key(Path(scratch)), timeout_s=600) as admin:
            clients = join(admin, known)
        practise(clients)
        asker = clients[next(iter(clients))]
        facts = [fact for told in known.values() for fact in told]
        knowing = [ask(asker, fact.questions(by_owner=False)[0], fact.value, "people", contains=True) for fact in facts]
        families = sorted(ENVIRONMENTS)
        items = [
            draw(ENVIRONMENTS[families[number % len(families)]], rng, DIFFICULTY, held_out_items=True)
            for number in range(options.n)
        ]
        solving = [
            ask(asker, item.question, item.answer, item.family.replace("_", "-"), contains=False) for item in items
        ]
        for client in clients.values():
            client.close()
    knows, knows_alone, _ = show("what one of them knows", knowing)
    _, _, lead = show("tasks of every family", solving)
    return finish(
        [
            Figure("live_society.knows", knows, ">=", 0.9),
            Figure("live_society.knows_alone", knows_alone, "<=", 0.25),
            Figure("live_society.lead_over_best", lead, ">=", -0.02),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
