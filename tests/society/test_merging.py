"""Which texts are one: both orders, vetoes, and what a group goes by."""

from __future__ import annotations

from society.merging import Check, merged


def both(first: str, second: str, *verdicts: str, near: float = 0.9) -> list[Check]:
    one, other = verdicts or ("verified", "verified")
    return [Check(first, second, one, near), Check(second, first, other, near)]


def test_two_are_one_when_it_was_said_in_both_orders() -> None:
    assert merged(["a", "a", "b"], both("a", "b"), seed=1) == {"b": "a"}
    assert merged(["a", "b", "b"], both("a", "b"), seed=1) == {"a": "b"}, "what most hold stays"
    assert merged(["a", "b"], both("a", "b")[:1], seed=1) == {}
    assert merged(["a", "b"], [*both("a", "b")[:1], *both("a", "b")[:1]], seed=1) == {}, (
        "twice in one order is not both"
    )
    assert merged(["a", "b"], both("a", "b", "verified", "undecided"), seed=1) == {}
    assert merged(["a", "b"], both("a", "b", "refuted", "verified"), seed=1) == {}


def test_texts_that_were_told_apart_do_not_come_together_by_way_of_a_third() -> None:
    checks = [*both("a", "b", near=0.8), *both("b", "c", near=0.9), *both("a", "c", "verified", "refuted", near=0.85)]
    assert merged(["a", "b", "b", "c"], checks, seed=1) == {"c": "b"}, "the nearest first"
    assert merged(["a", "b", "b", "c"], checks[:4], seed=1) == {"a": "b", "c": "b"}


def test_what_equally_many_hold_goes_by_lot_whatever_the_order_of_the_records() -> None:
    checks = both("a", "b")
    found = {seed: merged(["a", "b"], checks, seed=seed) for seed in range(8)}
    assert {str(one) for one in found.values()} == {"{'b': 'a'}", "{'a': 'b'}"}
    assert all(merged(["b", "a"], checks[::-1], seed=seed) == one for seed, one in found.items())
