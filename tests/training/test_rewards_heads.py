"""Heads fitted to preferences: Bradley-Terry against its closed forms and scikit-learn, and the relative one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import pytest
import torch

from agents.engine.policy import TokenSummary
from agents.messages import Message
from personal_data.errors import InvalidInput
from tests.training.rewarded import said, score, summary, task
from training.losses import group_advantages
from training.preference import EncodedPair
from training.rewards.base import Batch, Reference
from training.rewards.human_feedback import HumanFeedback, fit
from training.rewards.polar import Polar, fit_relative, relative_features
from training.rewards.ridge import earned, fit_ridge, pairwise_loss, wilson_lower_bound
from training.rollouts import TokenPair
from training.tasks.interactions import Preference

LN3 = math.log(3)


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("difference", "margin", "loss"),
    [(0, 0, 0.693147), (LN3, 0, 0.287682), (1, 0, 0.313262), (-1, 0, 1.313262), (1, 1, 0.693147)],
)
def test_pairwise_loss(difference: float, margin: float, loss: float) -> None:
    found = pairwise_loss(doubles(difference), doubles(0.0), margin=margin)
    assert float(found) == pytest.approx(loss, abs=1e-6)


def test_pairwise_loss_with_centring_and_polars_example() -> None:
    assert float(pairwise_loss(doubles(2.0), doubles(1.0), centring=0.01)) == pytest.approx(0.403262, abs=1e-6)
    assert float(pairwise_loss(doubles(-0.57), doubles(-11.03))) == pytest.approx(2.866e-5, rel=1e-3)


def test_ridge_in_one_dimension() -> None:
    differences = doubles(1.0, 1.0, -1.0)[:, None]
    assert float(fit_ridge(differences, ridge=1.0).vector) == pytest.approx(0.286548, abs=1e-6)
    assert float(fit_ridge(differences, ridge=1e-9).vector) == pytest.approx(math.log(2), abs=1e-6)


def test_strengths_follow_the_odds_of_winning() -> None:
    """Three items with odds 3:1, 3:1 and 9:1 have strengths ln 3, 0, -ln 3."""
    items = torch.eye(3, dtype=torch.float64)
    rows = []
    for first, second, wins, losses in ((0, 1, 3, 1), (1, 2, 3, 1), (0, 2, 9, 1)):
        rows += [items[first] - items[second]] * wins + [items[second] - items[first]] * losses
    head = fit_ridge(torch.stack(rows), ridge=1e-10)
    assert head.vector.tolist() == pytest.approx([LN3, 0.0, -LN3], abs=1e-6)


@pytest.mark.parametrize(("pairs", "features"), [(30, 5), (12, 40)])
def test_ridge_equals_scikit_learn(pairs: int, features: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    torch.manual_seed(1)
    rows = torch.randn(pairs, features, dtype=torch.float64)
    ridge = 0.7
    model = linear_model.LogisticRegression(fit_intercept=False, C=1 / ridge, tol=1e-10, max_iter=10_000)
    both = torch.cat([rows, -rows]).numpy()
    model.fit(both, [1] * pairs + [0] * pairs, sample_weight=[0.5] * (2 * pairs))
    assert fit_ridge(rows, ridge=ridge).vector.tolist() == pytest.approx(model.coef_[0].tolist(), abs=1e-5)


def test_the_posterior_is_the_inverse_hessian_and_the_prior_outside_of_what_was_seen() -> None:
    torch.manual_seed(2)
    rows, ridge = torch.randn(6, 9, dtype=torch.float64), 0.5
    head = fit_ridge(rows, ridge=ridge)
    odds = torch.sigmoid(rows @ head.vector)
    hessian = (rows * (odds * (1 - odds))[:, None]).T @ rows + ridge * torch.eye(9, dtype=torch.float64)
    asked = torch.randn(4, 9, dtype=torch.float64)
    expected = ((asked @ torch.linalg.inv(hessian)) * asked).sum(dim=1).sqrt()
    assert head.deviation(asked).tolist() == pytest.approx(expected.tolist(), abs=1e-9)
    assert (head.lower_bound(asked) < head.mean(asked)).all()


def test_a_separable_set_has_a_solution_and_an_empty_one_has_none() -> None:
    assert math.isfinite(float(fit_ridge(doubles(5.0, 9.0, 70.0)[:, None], ridge=1e-3).vector))
    for rows, ridge in ((torch.zeros(0, 2), 1.0), (torch.ones(1, 2), 0.0)):
        with pytest.raises(ValueError, match="positive"):
            fit_ridge(rows, ridge=ridge)
    assert fit_ridge(torch.zeros(3, 2), ridge=1.0).vector.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("right", "n", "bound"), [(18, 20, 0.738), (45, 50, 0.808), (14, 20, 0.516), (35, 50, 0.585), (0, 0, 0.0)]
)
def test_wilsons_lower_bound(right: int, n: int, bound: float) -> None:
    assert wilson_lower_bound(right, n) == pytest.approx(bound, abs=6e-4)


def test_a_head_rewards_only_when_it_has_earned_it() -> None:
    head = fit_ridge(torch.ones(50, 1), ridge=1.0)
    good, mixed = torch.ones(20, 1), torch.cat([torch.ones(12, 1), -torch.ones(8, 1)])
    assert earned(head, 50, good) is None
    assert "39 pairs" in str(earned(head, 39, good))
    assert "12 of 20" in str(earned(head, 50, mixed))


def read(*hidden: float) -> TokenSummary:
    return summary([[0.0, 0.0]] * 2, [0, 0], torch.tensor([[9.0] * len(hidden), list(hidden)]))


def test_human_feedback_reads_the_last_token_and_doubts_what_it_has_not_seen() -> None:
    head = fit_ridge(torch.tensor([[1.0, 0.0]] * 50), ridge=1.0)
    batch = Batch([said("a"), said("b"), said("c")], base_summaries=[read(1, 0), read(-1, 0), read(1, 5)])
    liked, disliked, strange = score(HumanFeedback(head), batch)[0]
    assert liked is not None and disliked is not None and strange is not None
    assert liked > 0 > max(disliked, strange)
    sure = score(HumanFeedback(head, kappa=0.0), batch)[0]
    assert sure[0] == pytest.approx(sure[2])


def test_polar_is_relative_to_its_reference() -> None:
    torch.manual_seed(3)
    reference = torch.randn(60, 4, dtype=torch.float64).sign()
    better, worse = reference + 0.1 * torch.randn(60, 4), -reference
    head = fit_relative(reference, better, worse, ridge=0.1)
    good = head.mean(relative_features(reference, better)) - head.mean(relative_features(reference, worse))
    assert (good > 0).all()
    known = torch.tensor([1.0, -1.0, 1.0, -1.0])
    asked = [known, -known, known]
    reads = [read(*states.tolist()) for states in asked]
    references = [Reference("r", None, doubles(0.0), 0, known)] * 2 + [None]
    rollouts = [said("x", of=task(reference="r"))] * 2 + [said("x", group=1)]
    values, _ = score(Polar(head), Batch(rollouts, base_summaries=reads, references=references))
    assert values[0] == pytest.approx(-float(values[1] or 0.0))
    assert values[0] is not None and values[0] > 0
    assert values[2] is None


def test_a_constant_of_the_prompt_and_its_reference_changes_no_advantage() -> None:
    rewards = torch.randn(3, 8, dtype=torch.float64)
    shifted = rewards + torch.tensor([[5.0], [-2.0], [0.3]])
    torch.testing.assert_close(group_advantages(rewards), group_advantages(shifted))


class Liking:
    """A model whose hidden states say with their first number whether a text ends well, and noise otherwise."""

    def summaries(self, pairs: Sequence[TokenPair], *, slot: int) -> list[TokenSummary]:
        assert slot == 0
        noise = Random(7)
        return [read(2.0 if completion[-1] == 1 else -2.0, noise.gauss(0, 1)) for _, completion in pairs]


def preferences(count: int, *, chosen: int, rejected: int) -> list[EncodedPair]:
    said = Preference((Message("user", "x"),), "a", "b")
    return [EncodedPair(said, ((5,), (3, chosen)), ((5,), (3, rejected))) for _ in range(count)]


def test_a_head_is_fitted_to_what_the_owner_chose() -> None:
    likes = preferences(48, chosen=1, rejected=2)
    reward = fit(Liking(), likes, preferences(20, chosen=1, rejected=2))
    rollouts = [said("a"), said("b"), said("c", finish="length")]
    better, worse, cut = score(reward, Batch(rollouts, base_summaries=[read(2, 0), read(-2, 0), read(2, 0)]))[0]
    assert better is not None and worse is not None
    assert better > 0 > worse
    assert cut is None


@pytest.mark.parametrize(
    ("train", "held", "told"),
    [
        ((39, 1, 2), (20, 1, 2), "not earned its place: it was fitted to 39 pairs"),
        ((48, 1, 2), (20, 2, 1), "not earned its place: it is right on 0 of 20"),
        ((48, 1, 2), (0, 1, 2), "48 pairs to learn from and 0 held out"),
        ((0, 1, 2), (0, 1, 2), "nothing to fit"),
    ],
)
def test_a_head_that_proves_nothing_is_refused(
    train: tuple[int, int, int], held: tuple[int, int, int], told: str
) -> None:
    sides = [preferences(count, chosen=chosen, rejected=rejected) for count, chosen, rejected in (train, held)]
    with pytest.raises(InvalidInput, match=told):
        fit(Liking(), *sides)
