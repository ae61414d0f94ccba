"""How much of what answers a question recall finds: `python -m agents.recall_evaluation FILE...`, offline.

Door: `evaluate`. The files are of the form of `personal_data/labelled.py`. Beside ours stand BM25 alone and MiniLM
alone, on the same turns, so that a figure on a set of one's own means something.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from agents.engine.embedder import NAME
from agents.engine.embedder import Embedder as MiniLM
from personal_data.database import Database
from personal_data.embedding import Vectors
from personal_data.errors import FolkmootError
from personal_data.index import IndexRow
from personal_data.labelled import Asked, Conversation, Row, by_kind, read, recalls, remember, summary
from personal_data.lexical import LexicalIndex, words
from personal_data.memory import Memory
from personal_data.records import User

OURS, BY_WORDS, BY_MEANING = "recall", "BM25 alone", "MiniLM alone"


class Local:
    """The engine's embedder in this process."""

    model = NAME

    def __init__(self) -> None:
        self._model = MiniLM()

    def embed(self, texts: Sequence[str]) -> Vectors:
        return self._model.embed(texts)[0]


class NoIndex:
    """Nobody here has so many memories that recall would ask an index."""

    def upsert(self, owner: str, model: str, rows: Sequence[IndexRow]) -> None: ...

    def delete(self, owner: str, model: str, memory_ids: Sequence[str]) -> None: ...

    def query(
        self, owner: str, model: str, vector: Vectors, k: int, scopes: Sequence[str] | None
    ) -> list[tuple[str, float]]:
        return []

    def nearest(self, owner: str, model: str, vectors: Vectors, k: int) -> list[list[tuple[str, float]]]:
        return [[] for _ in vectors]

    def known(self, owner: str, model: str, memory_ids: Sequence[str]) -> set[str]:
        return set(memory_ids)

    def drop(self, owner: str, model: str) -> None: ...


def evaluate(conversations: Iterable[Conversation]) -> dict[str, list[Asked]]:
    """All questions, asked of each retriever."""
    embedder = Local()
    asked: dict[str, list[Asked]] = defaultdict(list)
    with TemporaryDirectory() as scratch:
        database = Database(f"sqlite:///{scratch}/folkmoot.db")
        database.migrate()
        memory = Memory(database, embedder, NoIndex())
        for number, conversation in enumerate(conversations):
            with database.session() as session:
                user = User(handle=f"somebody-{number}", name="Somebody")
                session.add(user)
                session.flush()
                owner = user.id
            remember(memory, owner, conversation)
            asked[OURS] += recalls(memory, owner, conversation)
            for name, found in _alone(conversation, embedder).items():
                asked[name] += found
        database.dispose()
    return dict(asked)


def _alone(conversation: Conversation, embedder: Local) -> dict[str, list[Asked]]:
    """The plain retrievers: BM25 of `day speaker text`, cosine of `speaker: text`."""
    turns = [(session.at[:10], turn) for session in conversation.sessions for turn in session.turns]
    places = {turn.id: number for number, (_, turn) in enumerate(turns)}
    lexical = LexicalIndex(words(f"{day} {turn.speaker} {turn.text}") for day, turn in turns)
    vectors = embedder.embed([f"{turn.speaker}: {turn.text}" for _, turn in turns])
    found: dict[str, list[Asked]] = {BY_WORDS: [], BY_MEANING: []}
    for question in (one for one in conversation.questions if one.evidence):
        scores = {BY_WORDS: lexical.scores(words(question.question))}
        scores[BY_MEANING] = vectors @ embedder.embed([question.question])[0]
        for name, score in scores.items():
            rank = np.empty(len(turns), int)
            rank[np.argsort(-score, kind="stable")] = np.arange(1, len(turns) + 1)
            evidence = set(question.evidence)
            found[name].append(
                Asked(question.kind, len(evidence), tuple(int(rank[places[turn]]) for turn in sorted(evidence)))
            )
    return found


def show(asked: dict[str, list[Asked]]) -> None:
    """The table for people: each retriever, and ours by kinds of questions."""
    rows = {name: summary(found) for name, found in asked.items()}
    rows |= {f"  {kind}": row for kind, row in by_kind(asked[OURS]).items()}
    sys.stdout.write(f"{'':16}{'n':>6}  recall@5             recall@10            recall@20\n")
    for name, row in rows.items():
        sys.stdout.write(f"{name:16}{row.n:>6}  {_cells(row)}\n")


def _cells(row: Row) -> str:
    return "  ".join(f"{mean:.3f} ({low:.3f}-{high:.3f})" for mean, low, high in row.recall.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="folkmoot evaluate recall", description="Measure recall on labelled files.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="as personal_data/labelled.py describes")
    options = parser.parse_args()
    try:
        conversations = [conversation for path in options.files for conversation in read(path)]
    except FolkmootError as error:
        sys.stderr.write(f"folkmoot: {error}\n")
        return 1
    if not any(question.evidence for conversation in conversations for question in conversation.questions):
        sys.stderr.write("folkmoot: no question in there has evidence\n")
        return 1
    asked = evaluate(conversations)
    show(asked)
    for k, (mean, _, _) in summary(asked[OURS], (5, 10)).recall.items():
        sys.stdout.write(f"figure recall.r{k} {mean:.4g} none\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
