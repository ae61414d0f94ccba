"""A task family of one's own: what change does somebody get?

A family is a function that draws a question, its answer and the steps that lead there, from a generator that it is
given and from nothing else. `Family` makes an `Environment` of it. One line in `ENVIRONMENTS` (training/tasks/
environments.py), `"change": CHANGE`, and an improvement can practise it: {"environment": {"name": "change"}}.

A family whose answers cannot be compared as texts is a class that is an `Environment`: `name`, `difficulties`,
`sample` and an `is_right` of its own, as in training/tasks/gym.py.
"""

from __future__ import annotations

from random import Random

from training.tasks.environments import Family


def _change(rng: Random, difficulty: int) -> tuple[str, str, str]:
    """Harder levels buy more things."""
    prices = [rng.randint(1, 20) for _ in range(difficulty)]
    paid = sum(prices) + rng.randint(0, 30)
    bought = " and ".join(f"one for {price}" for price in prices)
    question = f"I buy {bought} euros and pay with {paid}. How many euros do I get back?"
    steps, left = [], paid
    for price in prices:
        steps.append(f"{left} - {price} = {left - price}")
        left -= price
    return question, str(left), "\n".join(steps)


CHANGE = Family("change", _change, difficulties=(1, 2, 3))
