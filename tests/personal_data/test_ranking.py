"""Ranks by hand: words, meaning, neighbours, times and speakers; and what an audience may not see changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personal_data.ranking import rank
from personal_data.shelf import Entry, Shelf, Shelves

ASKED = datetime(2023, 11, 16, tzinfo=UTC).timestamp()


def turn(name: str, text: str, *, speaker: str = "Ada", thread: str | None = None, day: str = "2023-01-01") -> Entry:
    """A turn whose vector points along the axis that its name's last digit names."""
    vector = np.zeros((1, 8), np.float32)
    vector[0, int(name[-1]) % 8] = 1
    at = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    return Entry(name, text, speaker, "turn", "private", thread, at, vector)


def shelf(*entries: Entry) -> Shelf:
    """A shelf with these memories."""
    made = Shelf()
    for entry in entries:
        made.put(entry)
    return made


def ranked(made: Shelf, question: str, *, axis: int | None = None, k: int = 10) -> list[tuple[str, dict[str, int]]]:
    """Ids and places, best first; `axis` is where the question's vector points."""
    cosines = None if axis is None else made.cosines(np.eye(8, dtype=np.float32)[axis])
    found = rank(made, question, cosines, asked_at=ASKED, allowed=made.seen_in(None), k=k)
    return [(made.entries[one.number].id, dict(one.why)) for one in found]


def test_words_and_meaning_are_fused_by_their_places() -> None:
    made = shelf(turn("m1", "My cat is called Miro."), turn("m2", "The boat is green."), turn("m3", "Rain again."))
    found = rank(
        made, "cat", made.cosines(np.eye(8, dtype=np.float32)[2]), asked_at=ASKED, allowed=made.seen_in(None), k=3
    )
    assert [made.entries[one.number].id for one in found] == ["m1", "m2", "m3"]
    assert found[0].why == {"words": 1, "meaning": 2}
    assert found[0].score == pytest.approx(1 / 61 + 1 / 62)
    assert found[1].score == pytest.approx(1 / 61)
    assert ranked(made, "cat") == [("m1", {"words": 1})]
    assert ranked(made, "the") == []


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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["cat", "boat", "rain"]), st.booleans()), min_size=1, max_size=12))
def test_what_may_not_be_seen_is_not_found_and_lends_nothing_to_its_neighbours(turns: list[tuple[str, bool]]) -> None:
    made = shelf(*(turn(f"m{number}", word, thread="a") for number, (word, _) in enumerate(turns)))
    allowed = np.array([seen for _, seen in turns])
    cosines = made.cosines(np.eye(8, dtype=np.float32)[0])
    found = rank(made, "cat", cosines, asked_at=ASKED, allowed=allowed, k=20)
    assert all(allowed[one.number] for one in found)
    blank = shelf(*(turn(f"m{number}", word if seen else "", thread="a") for number, (word, seen) in enumerate(turns)))
    for one in rank(blank, "cat", np.where(allowed, cosines, -1), asked_at=ASKED, allowed=allowed, k=20):
        same = next(other for other in found if other.number == one.number)
        assert same.why.keys() == one.why.keys()


def test_forgotten_and_changed_memories() -> None:
    made = shelf(turn("m1", "My cat is called Miro."), turn("m2", "My cat sleeps."))
    made.remove("m1")
    made.remove("m9")
    assert [name for name, _ in ranked(made, "cat", axis=1)] == ["m2"]
    assert made.entries[0].text == ""
    shared = turn("m2", "My cat sleeps.")
    made.put(Entry(shared.id, shared.text, "Ada", "turn", "public", None, None, shared.vectors))
    assert made.seen_in(["public"]).tolist() == [False, True]
    assert len(made) == 2


def test_a_vector_that_comes_later_is_compared_from_then_on() -> None:
    entry = turn("m1", "My cat is called Miro.")
    made = shelf(Entry(entry.id, entry.text, "Ada", "turn", "private", None, None, None))
    axis = np.eye(8, dtype=np.float32)[1]
    assert made.cosines(axis).tolist() == [-1]
    made.put(entry)
    assert made.cosines(axis).tolist() == [1]
    assert made.cosines(np.ones(3, np.float32)).tolist() == [-1]


def test_the_best_of_a_memorys_chunks_counts() -> None:
    entry = turn("m1", "long")
    made = shelf(
        turn("m2", "short"),
        Entry("m1", "long", "Ada", "document", "private", None, None, np.eye(8, dtype=np.float32)[:3]),
    )
    assert made.cosines(np.eye(8, dtype=np.float32)[0]).tolist() == [0, 1]
    assert entry.vectors is not None


def test_the_shelves_used_last_are_kept() -> None:
    refreshed: list[str] = []

    def refresh(owner: str, made: Shelf) -> None:
        if not len(made):
            refreshed.append(owner)
            made.put(turn("m1", owner))

    one = shelf(turn("m1", "ada")).bytes
    shelves = Shelves(refresh, limit=2 * one)
    for owner in ("ada", "ben", "ada", "cara", "ada", "ben"):
        with shelves.of(owner) as made:
            assert made.entries[0].text == owner
    assert refreshed == ["ada", "ben", "cara", "ben"]
