"""Ranks by hand: words, meaning, neighbours, times and speakers; and what an audience may not see changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personal_data.embedding import Vectors
from personal_data.ranking import _with_meaning, rank
from personal_data.sharing import View
from personal_data.shelf import Entry, Shelf, Shelves

ASKED = datetime(2023, 11, 16, tzinfo=UTC).timestamp()


AXES = np.eye(8, dtype=np.float32)


def turn(name: str, text: str, *, speaker: str = "Ada", thread: str | None = None, day: str = "2023-01-01") -> Entry:
    """A turn of one day."""
    at = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    return Entry(name, text, speaker, "turn", "private", thread, at)


def axis_of(entry: Entry) -> Vectors:
    """A vector along the axis that the last digit of its id names."""
    return AXES[[int(entry.id[-1]) % 8]]


def shelf(*entries: Entry) -> Shelf:
    """A shelf with these memories."""
    made = Shelf()
    for entry in entries:
        made.put(entry, axis_of(entry))
    return made


def ranked(made: Shelf, question: str, *, axis: int | None = None, k: int = 10) -> list[tuple[str, dict[str, int]]]:
    """Ids and places, best first; `axis` is where the question's vector points."""
    cosines = None if axis is None else made.cosines(AXES[axis])
    found = rank(made, question, cosines, asked_at=ASKED, allowed=made.seen_by(None), k=k)
    return [(made.entries[one.number].id, dict(one.why)) for one in found]


def test_words_and_meaning_are_fused_by_their_places() -> None:
    made = shelf(turn("m1", "My cat is called Miro."), turn("m2", "The boat is green."), turn("m3", "Rain again."))
    said_at = datetime(2023, 1, 1, tzinfo=UTC).timestamp()
    found = rank(made, "cat", made.cosines(AXES[2]), asked_at=said_at, allowed=made.seen_by(None), k=3)
    assert [made.entries[one.number].id for one in found] == ["m1", "m2", "m3"]
    assert found[0].why == {"words": 1, "meaning": 2}
    assert found[0].score == pytest.approx(1 / 6 + 1 / 7)
    assert found[1].score == pytest.approx(1 / 6)
    assert ranked(made, "cat") == [("m1", {"words": 1})]
    assert ranked(made, "the") == []


def test_of_two_that_fit_alike_the_newer_comes_first_and_none_fades_away() -> None:
    made = shelf(turn("m1", "The code is 1.", day="2013-01-01"), turn("m2", "The code is 2.", day="2021-01-01"))
    asked_at = datetime(2023, 1, 1, tzinfo=UTC).timestamp()
    found = rank(made, "code", None, asked_at=asked_at, allowed=made.seen_by(None), k=5)
    assert [made.entries[one.number].id for one in found] == ["m1", "m2"], "a tenth for ten years is less than a place"
    assert found[0].score == pytest.approx(1 / 6 * (1 - 0.1 * (1 - 0.5 ** (10 * 365.25 / 365 / 2))), rel=1e-3)
    assert found[1].score == pytest.approx(1 / 7 * 0.95, rel=1e-3)
    named = rank(made, "code in 2013", None, asked_at=asked_at, allowed=made.seen_by(None), k=5)
    assert "time" in named[0].why
    assert named[0].score == pytest.approx(1 / 6 + 1 / 6), "what is asked for by its time is not too old"


def test_a_turn_stands_beside_its_neighbours_of_the_same_conversation() -> None:
    made = shelf(
        turn("m1", "Shall we go sailing?", thread="a"),
        turn("m2", "Sourdough is hard.", thread="b"),
        turn("m3", "Yes, next Friday!", thread="a", speaker="Ben"),
        turn("m4", "Quite so.", thread="b"),
    )
    found = dict(ranked(made, "sailing"))
    assert found["m3"] == {"words nearby": 2}
    assert set(found) == {"m1", "m3"}
    assert [side.tolist() for side in made.neighbours] == [[-1, -1, 0, 1], [2, 3, -1, -1]]


def test_a_time_and_a_speaker_in_the_question_raise_those_within() -> None:
    made = shelf(
        turn("m1", "I sailed to Oslo.", day="2022-05-20"),
        turn("m2", "I sailed to Riga.", day="2023-05-20"),
        turn("m3", "I sailed to Turku.", day="2023-09-20", speaker="Ben"),
    )
    assert ranked(made, "Where did we sail last May?")[0] == ("m2", {"words": 2, "time": 1})
    assert ranked(made, "Where did Ben sail?")[0][0] == "m3"
    assert ranked(made, "Where did Ben sail?")[0][1]["speaker"] == 1
    assert "time" not in str(ranked(made, "Where did we sail?"))


TURNS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(["my cat", "a boat and a cat", "rain in May", "the boat sailed"]),
        st.sampled_from(["Ada", "Ben", "Cara"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["2022-05-20", "2023-05-20", "2023-09-01"]),
        st.integers(0, 7),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(TURNS, TURNS, st.sampled_from(["Where is the cat?", "What did Ben say last May about the boat?"]))
def test_what_may_not_be_seen_changes_nothing(
    turns: list[tuple[bool, str, str, str, str, int]],
    others: list[tuple[bool, str, str, str, str, int]],
    question: str,
) -> None:
    """Hidden memories are replaced by others of another text, speaker, day and vector: the results are the same, to
    the last score."""
    results = []
    for hidden in (turns, others):
        made = Shelf()
        for number, (mine, other) in enumerate(zip(turns, hidden * len(turns), strict=False)):
            thread = mine[3]
            _, text, speaker, _, day, axis = mine if mine[0] else other
            made.put(turn(f"m{number}", text, speaker=speaker, thread=thread, day=day), AXES[[axis]])
        allowed = np.array([seen for seen, *_ in turns])
        results.append(rank(made, question, made.cosines(AXES[0]), asked_at=ASKED, allowed=allowed, k=20))
    assert results[0] == results[1]
    assert all(turns[one.number][0] for one in results[0])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.booleans()), min_size=1, max_size=10),
    st.integers(0, 2**16),
    st.integers(1, 10),
)
def test_nearby_meaning_is_the_cosine_of_the_mean_of_what_may_be_seen(
    turns: list[tuple[str, bool, bool]], seed: int, at_first: int
) -> None:
    """Against the mean itself; vectors may come late, or never."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((len(turns), 6), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made, question = Shelf(), vectors[0] * 0 + np.eye(6, dtype=np.float32)[0]
    entries = [turn(f"m{number}", "x", thread=thread) for number, (thread, _, _) in enumerate(turns)]
    embedded = [has for _, has, _ in turns]
    for number, entry in enumerate(entries):
        made.put(entry, vectors[[number]] if embedded[number] and number < at_first else None)
    made.cosines(question)
    for number, entry in enumerate(entries):
        made.put(entry, vectors[[number]] if embedded[number] else None)
    allowed = np.array([seen for _, _, seen in turns])
    found = _with_meaning(made, made.cosines(question), allowed)
    for number, (thread, has, seen) in enumerate(turns):
        if not (has and seen):
            assert found[number] == -1
            continue
        mean = vectors[number].copy()
        same = [other for other, (its, _, _) in enumerate(turns) if its == thread]
        place = same.index(number)
        for other, weight in ((place - 1, 1.0), (place + 1, 0.5)):
            if 0 <= other < len(same) and embedded[same[other]] and allowed[same[other]]:
                mean += weight * vectors[same[other]]
        length = max(float(np.linalg.norm(mean)), 0.1)
        assert found[number] == pytest.approx(float(mean @ question) / length, abs=1e-4)


def test_forgotten_and_changed_memories() -> None:
    made = shelf(turn("m1", "My cat is called Miro."), turn("m2", "My cat sleeps."))
    made.remove("m1")
    made.remove("m9")
    assert [name for name, _ in ranked(made, "cat", axis=1)] == ["m2"]
    assert made.entries[0].text == ""
    shared = turn("m2", "My cat sleeps.")
    made.put(replace(shared, scope="public"), axis_of(shared))
    assert made.seen_by(View(("public",))).tolist() == [False, True]
    assert len(made) == 2


def test_a_vector_that_comes_later_is_compared_from_then_on() -> None:
    entry = turn("m1", "My cat is called Miro.")
    made = Shelf()
    made.put(entry, None)
    assert made.cosines(AXES[1]).tolist() == [-1]
    made.put(entry, axis_of(entry))
    assert made.cosines(AXES[1]).tolist() == [1]
    made.put(entry, AXES[[2]])
    assert made.cosines(AXES[1]).tolist() == [1]
    assert made.cosines(np.ones(3, np.float32)).tolist() == [-1]


def test_the_best_of_a_memorys_chunks_counts() -> None:
    made = shelf(turn("m2", "short"))
    made.put(turn("m1", "long"), AXES[:3])
    assert made.cosines(AXES[0]).tolist() == [0, 1]


def test_the_shelves_used_last_are_kept() -> None:
    refreshed: list[str] = []

    def refresh(owner: str, made: Shelf) -> None:
        if not len(made):
            refreshed.append(owner)
            made.put(turn("m1", owner), AXES[[1]])

    one = shelf(turn("m1", "cara")).bytes
    shelves = Shelves(refresh, limit=2 * one)
    for owner in ("ada", "ben", "ada", "cara", "ada", "ben"):
        with shelves.of(owner) as made:
            assert made.entries[0].text == owner
    assert refreshed == ["ada", "ben", "cara", "ben"]
