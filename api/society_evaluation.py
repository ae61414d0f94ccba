"""How good is a society? Recorded answers of its members, replayed through the public API: `folkmoot evaluate society`.

`python -m api.society_evaluation FILE` gives every member of a recorded committee (`agents/recorded.py` describes the
file) an agent, founds a society for each fold, teaches it the outcomes of the other folds, and asks the questions of
this one as anybody would, over HTTP. Printed beside what the society is worth: the best single member (the best on the
questions learnt from), the majority with ties by lot, log-odds, and the oracle, who knows when anybody is right. With
`--rules` every rule of aggregation is tried on the same folds and answers (`society/aggregation/comparison.py`).
"""

from __future__ import annotations

import argparse
import logging
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import uvicorn

from agents.recorded import RecordedQuestion, answer_of, read_recorded
from api import keys
from api.client import Client
from api.main import create_app
from personal_data.database import Database
from personal_data.errors import FolkmootError, InvalidInput
from personal_data.settings import ModelSettings, Settings, prepare_data_dir
from society.aggregation.ballot import Ballot, Resolved
from society.aggregation.comparison import Compared, compare
from society.aggregation.log_odds import LogOdds
from society.aggregation.record import Record
from society.aggregation.scores import brier, calibration_error, interval
from society.aggregation.selector import posterior
from society.aggregation.table import tabulate
from society.canonical import answer_key

Json = dict[str, Any]
FOLDS, AT_ONCE, LEARNT_AT_ONCE = 5, 8, 500
_NOWHERE = "http://127.0.0.1:1"
"""Members have no memories here, so neither embedder nor index is ever asked."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was answered to one question, by the society and by those it is compared with: right or not."""

    society: bool
    confidence: float | None
    best: bool
    majority: float
    log_odds: bool
    oracle: bool
    calls: int
    spared: int


def evaluate(
    path: Path, *, clones: tuple[str, int] | None = None, thrifty: bool = False, seed: int = 0, most: int | None = None
) -> list[Measured]:
    """Every question of a file, answered by a society that learnt from the other folds.

    `clones`: a member that sits there so many times more, under other names and lineages.
    """
    questions = _drawn(path, seed, most)
    seats = _seats(questions, clones)
    measured: list[Measured] = []
    with TemporaryDirectory() as scratch, _serving(_settings(Path(scratch), path, seats)) as (url, admin_key):
        people = _join(url, admin_key, seats)
        with Client(url, people[next(iter(people))]) as asker:
            for fold in range(FOLDS):
                learnt = [one for place, one in enumerate(questions) if place % FOLDS != fold]
                asked = [one for place, one in enumerate(questions) if place % FOLDS == fold]
                slug = f"fold-{fold}"
                _found(url, asker, slug, people, thrifty)
                for start in range(0, len(learnt), LEARNT_AT_ONCE):
                    batch = learnt[start : start + LEARNT_AT_ONCE]
                    asker.bring_outcomes(slug, [_outcome(one, seats) for one in batch])
                reports = _debate(url, people[next(iter(people))], slug, asked)
                measured += _compare(asked, reports, learnt, seats)
                sys.stderr.write(f"  fold {fold + 1} of {FOLDS}: {len(asked)} questions\n")
    return measured


def rules(
    path: Path, *, clones: tuple[str, int] | None = None, seed: int = 0, most: int | None = None
) -> list[Compared]:
    """Every rule of aggregation on the folds and answers of `evaluate`, without the API. The plurality with a lineage
    cap knows clones for what they are; no other rule is told."""
    questions = _drawn(path, seed, most)
    seats = _seats(questions, clones)
    history = [Resolved(_ballot(one, seats), answer_key(one.truth)) for one in questions]
    return compare(history, fold=[place % FOLDS for place in range(len(history))], lineages=seats)


def _drawn(path: Path, seed: int, most: int | None) -> list[RecordedQuestion]:
    """The questions in the order that folds are made of: the fold of the one at place p is p mod FOLDS."""
    questions = read_recorded(path)
    order = np.random.default_rng(seed).permutation(len(questions))[:most].tolist()
    return [questions[place] for place in order]


def _seats(questions: Sequence[RecordedQuestion], clones: tuple[str, int] | None) -> dict[str, str]:
    """Handle → the member whose answers it gives."""
    members = list(dict.fromkeys(member for one in questions for member in one.answers))
    seats = {f"m{place}": member for place, member in enumerate(members)}
    if clones is not None:
        name, count = clones
        if name not in members:
            raise InvalidInput(f"there is no member {name!r}; there are {', '.join(members)}")
        seats |= {f"c{place}": name for place in range(count)}
    if len(seats) > 64:
        raise InvalidInput(f"a society of {len(seats)} is too large: 64 at most")
    return seats


def _settings(folder: Path, path: Path, seats: Mapping[str, str]) -> Settings:
    """Each seat a model of its own lineage: nothing here tells that clones are clones."""
    models = {
        handle: ModelSettings(kind="recorded", file=path.absolute(), model=member, base=f"recorded/{handle}")
        for handle, member in seats.items()
    }
    return Settings(
        data_dir=folder / "data",
        models=models,
        default_model=next(iter(models)),
        embedding_url=_NOWHERE,
        index_url=_NOWHERE,
        debate_deadline_s=60.0,
    )


@contextmanager
def _serving(settings: Settings) -> Iterator[tuple[str, str]]:
    """The API of these settings on a loopback port, in a thread: its URL and the administrator's key."""
    prepare_data_dir(settings)
    database = Database(settings.database)
    database.migrate()
    keys.bootstrap(database, settings.data_dir)
    admin_key = keys.read_bootstrap_key(settings.data_dir)
    assert admin_key is not None
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", admin_key
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        database.dispose()


def _join(url: str, admin_key: str, seats: Mapping[str, str]) -> dict[str, str]:
    """Handle → key."""
    with Client(url, admin_key) as admin:
        return {handle: admin.add_user(handle, handle, model=handle)["key"] for handle in seats}


def _found(url: str, asker: Client, slug: str, people: Mapping[str, str], thrifty: bool) -> None:
    asker.create_society(slug)
    asker.change_society(slug, rounds=0, panel_size=max(2, len(people)), thrifty=thrifty)
    for handle, key in list(people.items())[1:]:
        asker.invite(slug, handle)
        with Client(url, key) as member:
            member.accept(slug)


def _outcome(one: RecordedQuestion, seats: Mapping[str, str]) -> Json:
    answers = {handle: answer_of(one.answers[member]) for handle, member in seats.items() if member in one.answers}
    return {"question": one.question, "right": one.truth, "answers": answers} | _topic(one)


def _topic(one: RecordedQuestion) -> Json:
    return {"topic": one.topic} if one.topic else {}


def _debate(url: str, key: str, slug: str, asked: Sequence[RecordedQuestion]) -> list[Json]:
    def ask(one: RecordedQuestion) -> Json:
        with Client(url, key) as client:
            return client.debate_end(client.ask(slug, one.question, seed=1, **_topic(one))["id"])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ask, asked))


def _compare(
    asked: Sequence[RecordedQuestion],
    reports: Sequence[Json],
    learnt: Sequence[RecordedQuestion],
    seats: Mapping[str, str],
) -> Iterator[Measured]:
    table = tabulate([Resolved(_ballot(one, seats), answer_key(one.truth)) for one in learnt], {})
    record, log_odds = Record.of(table), LogOdds.fit(table)
    best = max(sorted(record.useful), key=lambda member: record.useful[member])
    for one, report in zip(asked, reports, strict=True):
        if report["state"] != "done":
            raise InvalidInput(f"a debate {report['state']}: {report['error']}")
        right, ballot, verdict = answer_key(one.truth), _ballot(one, seats), report["verdict"]
        votes = Counter(key for key in ballot.votes.values() if key is not None)
        leaders = [key for key, count in votes.items() if count == max(votes.values())]
        yield Measured(
            society=verdict["answer_key"] == right,
            confidence=verdict["confidence"],
            best=ballot.votes.get(best) == right,
            majority=(right in leaders) / len(leaders) if leaders else 0.0,
            log_odds=posterior(log_odds, record, ballot, {}, seed=1).choice == right,
            oracle=right in votes,
            calls=verdict["cost"]["calls"],
            spared=verdict["cost"]["spared"],
        )


def _ballot(one: RecordedQuestion, seats: Mapping[str, str]) -> Ballot:
    votes = {}
    for handle, member in seats.items():
        if member in one.answers:
            told = answer_of(one.answers[member])
            votes[handle] = None if told is None else answer_key(told) or None
    confidences = {handle: one.confidences[seats[handle]] for handle in votes if seats[handle] in one.confidences}
    return Ballot(votes, confidences, topic=one.topic or "general")


def scores(measured: Sequence[Measured]) -> tuple[float, float]:
    """Brier score and calibration error (ten bins) of the answers that were given."""
    told = [(one.confidence, one.society) for one in measured if one.confidence is not None]
    confidence, hit = np.array([value for value, _ in told]), np.array([right for _, right in told])
    return brier(confidence, hit), calibration_error(confidence, hit)


def show(measured: Sequence[Measured]) -> None:
    """The table for people."""
    rows: dict[str, list[bool] | list[float]] = {
        "society": [one.society for one in measured],
        "best member": [one.best for one in measured],
        "majority": [one.majority for one in measured],
        "log-odds": [one.log_odds for one in measured],
        "oracle": [one.oracle for one in measured],
    }
    sys.stdout.write(f"{'':14}{'n':>6}  accuracy\n")
    for name, values in rows.items():
        mean, low, high = interval([float(value) for value in values])
        sys.stdout.write(f"{name:14}{len(values):>6}  {mean:.4f} ({low:.4f}-{high:.4f})\n")
    squared, calibration = scores(measured)
    calls, spared = (sum(getattr(one, name) for one in measured) / len(measured) for name in ("calls", "spared"))
    sys.stdout.write(f"Brier {squared:.3f}, ECE {calibration:.3f}; {calls:.2f} calls a question, {spared:.2f} spared\n")


def show_rules(compared: Sequence[Compared]) -> None:
    """The table of all rules; what those need that could not be tried."""
    width = max(len(one.rule) for one in compared) + 2
    sys.stdout.write(f"\n{'the same by rule':{width}}{'n':>6}  {'accuracy (95 %)':24}{'Brier':>7}{'ECE':>7}\n")
    for one in compared:
        if one.score is None:
            sys.stdout.write(f"{one.rule:{width}}needs {one.lacks}\n")
            continue
        right = one.score.accuracy
        accuracy = f"{right.value:.4f} ({right.low:.4f}-{right.high:.4f})"
        brier_, ece = ("-" if value is None else f"{value:.3f}" for value in (one.score.brier, one.score.ece))
        sys.stdout.write(f"{one.rule:{width}}{right.of:>6}  {accuracy:24}{brier_:>7}{ece:>7}\n")


def _figures(compared: Sequence[Compared]) -> Iterator[str]:
    for one in compared:
        name = "society.rule." + "_".join(one.rule.lower().replace(",", "").replace("-", " ").split())
        if one.score is None:
            yield f"figure {name}.accuracy none none\n"
            continue
        yield f"figure {name}.accuracy {one.score.accuracy.value:.4g} none\n"
        if one.score.brier is not None:
            yield f"figure {name}.brier {one.score.brier:.4g} none\nfigure {name}.ece {one.score.ece:.4g} none\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="folkmoot evaluate society", description="Measure a recorded committee.")
    parser.add_argument("file", type=Path, metavar="FILE", help="as agents/recorded.py describes")
    parser.add_argument("--clones", nargs=2, metavar=("MEMBER", "N"), help="seat a member so many times more")
    parser.add_argument("--thrifty", action="store_true", help="stop asking where the others cannot change the answer")
    parser.add_argument("--rules", action="store_true", help="and what every rule of aggregation would have been worth")
    parser.add_argument("--most", type=int, metavar="N", help="so many questions, by lot")
    options = parser.parse_args()
    logging.getLogger("personal_data").setLevel(logging.ERROR)
    try:
        clones = None if options.clones is None else (options.clones[0], int(options.clones[1]))
        compared = rules(options.file, clones=clones, most=options.most) if options.rules else []
        measured = evaluate(options.file, clones=clones, thrifty=options.thrifty, most=options.most)
    except (FolkmootError, ValueError) as error:
        sys.stderr.write(f"folkmoot: {error}\n")
        return 1
    show(measured)
    if compared:
        show_rules(compared)
    squared, calibration = scores(measured)
    accuracy = sum(one.society for one in measured) / len(measured)
    sys.stdout.write(f"figure society.accuracy {accuracy:.4g} none\n")
    sys.stdout.write(f"figure society.brier {squared:.4g} none\nfigure society.ece {calibration:.4g} none\n")
    sys.stdout.writelines(_figures(compared))
    return 0


if __name__ == "__main__":
    sys.exit(main())
