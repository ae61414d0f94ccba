"""Who is next: priority, then who was served least, then who came first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.engine.waiting import FairQueue


def order(queue: FairQueue[str], cost: int = 10) -> list[str]:
    """Serve everything, charging each item's key (its first letter)."""
    served = []
    while queue:
        item = queue.pop()
        queue.charge(item[0], cost)
        queue.leave(item[0])
        served.append(item)
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


def test_who_comes_back_is_level_with_the_least_served() -> None:
    queue = filled("a1", "b1")
    assert queue.pop() == "a1"
    queue.charge("a", 100)
    assert queue.pop() == "b1"
    queue.charge("b", 40)
    queue.push("c1", key="c", priority=0)
    queue.push("a2", key="a", priority=0)
    queue.push("b2", key="b", priority=0)
    assert queue.pop() == "c1"  # level with b, came first
    queue.charge("c", 1)
    assert [queue.pop(), queue.pop()] == ["b2", "a2"]


def test_discarded_items_are_gone() -> None:
    queue = filled("a1", "b1", "a2")
    assert queue.discard(lambda item: item.startswith("a")) == ["a1", "a2"]
    assert list(queue) == ["b1"]
    assert queue.front() == "b1"
    assert order(queue) == ["b1"]
    assert queue.front() is None


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
        key, cost = queue.pop()
        got[key] += cost
        queue.charge(key, cost)
    assert sum(got.values()) == sum(cost for _, cost in requests)
