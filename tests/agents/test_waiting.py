"""Who is next: priority, then who was served least, then who came first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.engine.waiting import FairQueue


def order(queue: FairQueue[str], cost: int = 10) -> list[str]:
    """Serve everything, charging each item's key (its first letter)."""
    served = []
    while queue:
        entry = queue.in_turn()[0]
        item = queue.take(entry)
        queue.charge(item[0], entry.priority, cost)
        queue.leave(item[0], entry.priority)
        served.append(item)
    assert queue.idle
    return served


def filled(*items: str, priority: int = 0) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue()
    for item in items:
        queue.push(item, key=item[0], priority=priority)
    return queue


def test_many_requests_of_one_do_not_stand_before_anothers_one() -> None:
    assert order(filled("a1", "a2", "a3", "a4", "b1", "c1")) == ["a1", "b1", "c1", "a2", "a3", "a4"]


def test_background_waits_for_everybody() -> None:
    queue = filled("a1", "a2", priority=1)
    queue.push("b1", key="b", priority=0)
    queue.push("b2", key="b", priority=0)
    assert order(queue) == ["b1", "b2", "a1", "a2"]


def take(queue: FairQueue[str]) -> str:
    return queue.take(queue.in_turn()[0])


def test_who_comes_back_is_level_with_the_least_served() -> None:
    queue = filled("a1", "b1")
    assert take(queue) == "a1"
    queue.charge("a", 0, 100)
    assert take(queue) == "b1"
    queue.charge("b", 0, 40)
    queue.push("c1", key="c", priority=0)
    queue.push("a2", key="a", priority=0)
    queue.push("b2", key="b", priority=0)
    assert take(queue) == "c1"  # level with b, came first
    queue.charge("c", 0, 1)
    assert [take(queue), take(queue)] == ["b2", "a2"]


def test_background_has_accounts_of_its_own() -> None:
    """Somebody's rollouts do not make her chat wait, and background that waits does not let newcomers overtake."""
    queue = filled("a1", "b1")
    queue.push("a-rollout", key="a", priority=1)
    queue.charge("a", 1, 1000)
    assert take(queue) == "a1"
    queue.charge("a", 0, 10)
    queue.charge("b", 0, 20)
    queue.push("c1", key="c", priority=0)
    queue.push("a2", key="a", priority=0)
    assert [take(queue), take(queue)] == ["c1", "a2"]
    assert queue.background == 1


def test_what_makes_no_difference_is_forgotten() -> None:
    """A queue that is never quite empty keeps no count of the thousands that have been there."""
    queue = filled("z1")
    queue.charge("z", 0, 5000)
    for number in range(3000):
        queue.push(f"{number}", key=number, priority=0)
        queue.take(next(entry for entry in queue.in_turn() if entry.key == number))
        queue.charge(number, 0, 1)
        queue.leave(number, 0)
        queue.charge("z", 0, 2)
    assert len(queue._served) < 10


def test_discarded_items_are_gone() -> None:
    queue = filled("a1", "b1", "a2")
    assert queue.discard(lambda item: item.startswith("a")) == ["a1", "a2"]
    assert list(queue) == ["b1"]
    assert order(queue) == ["b1"]
    assert queue.in_turn() == []


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50)), min_size=30, max_size=120))
def test_while_two_ask_they_are_served_alike(requests: list[tuple[str, int]]) -> None:
    """Sheng et al. 2024, theorem 4.3: as long as both have work waiting, what they got differs by a bounded amount."""
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for request in requests:
        queue.push(request, key=request[0], priority=0)
    got = {key: 0 for key, _ in requests}
    while queue:
        waiting = {key for key, _ in queue}
        levels = [got[key] for key in waiting]
        assert max(levels) - min(levels) <= 50
        key, cost = queue.take(queue.in_turn()[0])
        got[key] += cost
        queue.charge(key, 0, cost)
    assert sum(got.values()) == sum(cost for _, cost in requests)
