"""Rewards read from probabilities and logits: the closed forms of their papers, and what a batch must hold for them."""

from __future__ import annotations

import math
from itertools import product
from random import Random

import pytest
import torch

from tests.training.rewarded import said, score, summary, task
from training.losses import dpo_loss, group_advantages
from training.rewards.base import Batch, Reference, RewardFailed
from training.rewards.endogenous import Endogenous, endogenous_token_rewards, soft_values
from training.rewards.implicit import Implicit, implicit_reward, implicit_token_rewards
from training.rewards.majority import MajorityVote, majority, majority_rewards
from training.rewards.nover import Nover, nover_rewards, reasoning_perplexity
from training.rewards.rlpr import Rlpr, SpreadFilter, probability_gain, rlpr_reward
from training.rewards.self_certainty import SelfCertainty, self_certainty

LN3, LN9 = math.log(3), math.log(9)


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# Majority vote


def test_the_majority_is_rewarded() -> None:
    keys = ["4", "4", "5", None]
    assert majority(keys) == ("4", 2 / 4)
    rewards = majority_rewards(keys)
    assert rewards == [1.0, 1.0, 0.0, 0.0]
    advantages = group_advantages(torch.tensor([rewards], dtype=torch.float64))[0]
    assert advantages.tolist() == pytest.approx([0.865875, 0.865875, -0.865875, -0.865875], abs=1e-6)


@pytest.mark.parametrize("keys", [[None] * 4, ["4", "4", "5", "5"], []])
def test_without_a_majority_nothing_is_said(keys: list[str | None]) -> None:
    assert majority_rewards(keys) == [None] * len(keys)


def test_the_authors_code_keeps_the_first_of_a_tie() -> None:
    assert majority_rewards(["4", "4", "5", "5"], ties="first") == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(("p", "n", "right"), [(0.6, 3, 0.648), (0.6, 5, 0.68256), (0.4, 5, 0.31744)])
def test_voting_helps_above_one_half_and_hurts_below(p: float, n: int, right: float) -> None:
    total = 0.0
    for votes in product([True, False], repeat=n):
        odds = math.prod(p if vote else 1 - p for vote in votes)
        total += odds * (majority(["right" if vote else "wrong" for vote in votes])[0] == "right")
    assert total == pytest.approx(right, abs=1e-12)


def test_majority_compares_meanings_within_groups_and_counts_no_answer_as_wrong() -> None:
    texts = ["4", "answer: 4.", "5", ""]
    batch = Batch([*(said(text) for text in texts), said("5", group=1), said("6", group=1)])
    values, info = score(MajorityVote(), batch)
    assert values == [1.0, 1.0, 0.0, 0.0, None, None]
    assert info == {"majority_share": 0.5}


# Self-certainty


@pytest.mark.parametrize(
    ("logits", "value"),
    [([[0.0, 0.0]], 0.0), ([[LN3, 0.0]], 0.143841), ([[LN9, 0.0]], 0.510826), ([[LN3, 0.0], [0.0, 0.0]], 0.071921)],
)
def test_self_certainty_is_the_kl_from_uniform(logits: list[list[float]], value: float) -> None:
    read = summary(logits, [0] * len(logits))
    rollout = said("x", tokens=len(logits))
    values, _ = score(SelfCertainty(), Batch([rollout], summaries=[read]))
    assert values == [pytest.approx(value, abs=1e-6)]


def test_self_certainty_as_the_authors_code_has_it_leaves_out_a_constant() -> None:
    read = summary([[LN3, 0.0]], [0])
    found = self_certainty(read.logsumexp, read.mean, 2, variant="repository")
    assert float(found) == pytest.approx(0.836988, abs=1e-6)


# DPO's implicit reward


def test_implicit_reward_of_a_pair() -> None:
    chosen = implicit_reward([-4.0, -6.0], [-5.0, -6.0], beta=0.1)
    rejected = implicit_reward([-12.0], [-11.0], beta=0.1)
    assert (chosen, rejected) == (pytest.approx(0.1), pytest.approx(-0.1))
    assert float(dpo_loss(doubles((chosen - rejected) / 0.1), beta=0.1)) == pytest.approx(0.598139, abs=1e-6)


def test_implicit_token_rewards_add_up() -> None:
    tokens = implicit_token_rewards(doubles(-1.0, -2.0), doubles(-1.5, -1.0), beta=0.2)
    assert tokens.tolist() == pytest.approx([0.1, -0.2])
    assert float(tokens.sum()) == pytest.approx(implicit_reward([-1.0, -2.0], [-1.5, -1.0], beta=0.2))


@pytest.mark.parametrize(("beta", "odds"), [(1.0, 0.731059), (0.5, 0.880797)])
def test_the_optimum_of_dpo_has_the_true_reward_as_its_implicit_one(beta: float, odds: float) -> None:
    policy = torch.sigmoid(doubles(1 / beta))
    assert float(policy) == pytest.approx(odds, abs=1e-6)
    better = implicit_reward(policy.log().tolist(), [math.log(0.5)], beta=beta)
    worse = implicit_reward((1 - policy).log().tolist(), [math.log(0.5)], beta=beta)
    assert better - worse == pytest.approx(1.0, abs=1e-9)


def test_implicit_reads_the_tuned_against_the_bare() -> None:
    batch = Batch([said("a"), said("b")], ref_logprobs=[[-1.0, -1.0], [-3.0, -1.0]], base_logprobs=[[-2.0, -1.0]] * 2)
    assert score(Implicit(beta=0.5), batch)[0] == pytest.approx([0.5, -0.5])


# Endogenous reward

LOGITS = {"": (2.0, 0.0), "a": (1.0, 1.0), "b": (0.0, 3.0)}


def test_endogenous_rewards_of_the_two_step_tree() -> None:
    values = {state: float(soft_values(doubles(*logits))) for state, logits in LOGITS.items()}
    assert list(values.values()) == pytest.approx([2.126928, 1.693147, 3.048587], abs=1e-6)
    totals = {}
    for first, second in product("ab", repeat=2):
        chosen = doubles(LOGITS[""]["ab".index(first)], LOGITS[first]["ab".index(second)])
        totals[first + second] = endogenous_token_rewards(chosen, doubles(values[""], values[first]))
    assert float(totals["aa"][0]) == pytest.approx(0.306853, abs=1e-6)
    assert float(totals["ba"][0]) == pytest.approx(-3.048587, abs=1e-6)
    assert {path: float(total.sum()) for path, total in totals.items()} == pytest.approx(
        {"aa": 1.306853, "ab": 1.306853, "ba": -3.048587, "bb": -0.048587}, abs=1e-6
    )


@pytest.mark.parametrize("alpha", [1.0, 0.5, 3.0])
def test_endogenous_rewards_telescope_to_the_likelihood(alpha: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(7, 11, dtype=torch.float64) * 3
    chosen = torch.randint(11, (7,))
    values = soft_values(logits, alpha=alpha)
    picked = logits.gather(1, chosen[:, None])[:, 0]
    total = endogenous_token_rewards(picked, values).sum()
    likelihood = (logits / alpha).log_softmax(-1).gather(1, chosen[:, None]).sum()
    assert float(total) == pytest.approx(float(alpha * likelihood + values[0]), abs=1e-12)


def test_endogenous_is_a_mean_unless_it_is_asked_for_the_sum() -> None:
    batch = Batch([said("aa")], base_summaries=[summary([LOGITS[""], LOGITS["a"]], [0, 0])])
    assert score(Endogenous(outcome="sum"), batch)[0] == [pytest.approx(1.306853, abs=1e-6)]
    assert score(Endogenous(), batch)[0] == [pytest.approx(1.306853 / 2, abs=1e-6)]


# RLPR


def test_rlpr_takes_the_arithmetic_mean_of_probabilities() -> None:
    after, without = doubles(0.9, 0.5, 0.1).log(), doubles(0.3, 0.3, 0.3).log()
    assert float(after.exp().mean()) == pytest.approx(0.5)
    assert math.exp(float(after.mean())) == pytest.approx(0.355689, abs=1e-6)
    assert float(after.sum().exp()) == pytest.approx(0.045)
    gain = probability_gain(after, without)
    assert gain == pytest.approx(0.2)
    assert rlpr_reward(gain, True) == pytest.approx(0.28)
    assert probability_gain(without, after) == 0.0


def test_the_spread_filter_follows_the_usual_spread() -> None:
    spread = SpreadFilter(average=0.2)
    assert spread.update(0.1) == pytest.approx(0.0995)
    assert spread.average == pytest.approx(0.199)
    resumed = SpreadFilter()
    resumed.load_state_dict(spread.state_dict())
    assert resumed.average == spread.average


def reference(after: list[float] | None, tokens: int = 10) -> Reference:
    read = None if after is None else doubles(*after)
    return Reference("4", read, doubles(math.log(0.3)), tokens)


def test_rlpr_drops_groups_without_spread_and_tasks_without_reference() -> None:
    rollouts = [said("x", group=group) for group in (0, 0, 1, 1, 2)]
    read = [reference([math.log(0.5)]), reference(None), *[reference([math.log(0.5)])] * 2, None]
    values, info = score(Rlpr(), Batch(rollouts, references=read))
    assert values == [pytest.approx(0.28), 0.0, None, None, None]
    assert info["dropped_groups"] == 2


# NOVER


@pytest.mark.parametrize(
    ("length", "paper", "repository"),
    [(1, 7.389056, 7.389056), (10, 1.832326, 2.718282), (100, 1.428769, 1.947734), (0, 7.389056, 7.389056)],
)
def test_reasoning_perplexity(length: int, paper: float, repository: float) -> None:
    logprobs = doubles(-1.0, -2.0, -3.0)
    assert reasoning_perplexity(logprobs, length) == pytest.approx(paper, abs=1e-6)
    assert reasoning_perplexity(logprobs, length, variant="repository") == pytest.approx(repository, abs=1e-6)


def test_nover_ranks_and_rewards_brevity_only_in_the_right_form() -> None:
    totals = nover_rewards([2.0, 3.0, 1.5, None], [50, 100, 80, 10])
    assert totals == pytest.approx([2.166667, 1.333333, 2.5, 0.0], abs=1e-6)
    assert nover_rewards([None, 2.0], [1, 5]) == [0.0, 2.0]
    assert nover_rewards([None, None], [1, 1]) == [0.0, 0.0]


def test_nover_of_a_batch() -> None:
    read = [reference([-1.0], 10), reference([-2.0], 20), reference(None), None]
    values, _ = score(Nover(), Batch([said("x", group=group) for group in (0, 0, 0, 1)], references=read))
    assert values == [pytest.approx(1 + 1 + 1), pytest.approx(1.5), 0.0, None]


# All of them


@pytest.mark.parametrize("reward", [SelfCertainty(), Implicit(), Endogenous(), Rlpr(), Nover()])
def test_what_was_not_prepared_stops_the_run_under_the_rewards_name(reward: Implicit) -> None:
    with pytest.raises(RewardFailed, match=f"'{reward.name}' needs"):
        score(reward, Batch([said("x")]))


@pytest.mark.parametrize("reward", [SelfCertainty(), Implicit(), Endogenous(), Nover(), MajorityVote()])
def test_order_within_a_group_does_not_matter(reward: Nover) -> None:
    rng = Random(3)
    count = 6
    texts = ["4", "4", "5", "6", "4", ""]
    columns = {
        "rollouts": [said(text, of=task()) for text in texts],
        "ref_logprobs": [[-rng.random(), -rng.random()] for _ in range(count)],
        "base_logprobs": [[-rng.random(), -rng.random()] for _ in range(count)],
        "summaries": [summary([[rng.random(), 0.0]] * 2, [0, 1]) for _ in range(count)],
        "base_summaries": [summary([[rng.random(), 0.0]] * 2, [0, 1]) for _ in range(count)],
        "references": [reference([-rng.random()], rng.randrange(1, 50)) for _ in range(count)],
    }
    order = rng.sample(range(count), count)
    values, _ = score(reward, Batch(**columns))
    moved = {name: [column[place] for place in order] for name, column in columns.items()}
    assert score(reward, Batch(**moved))[0] == pytest.approx([values[place] for place in order])
