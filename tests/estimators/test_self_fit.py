"""Fitted items: the gradient, what is recovered, gaps, and what the fit may not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_expit
from scipy.stats import spearmanr

from evomerge.errors import UserError
from evomerge.estimators import Evidence, ItemParameters, PIrt, fit_items, random_order
from evomerge.estimators.self_fit import Posterior
from tests.estimators.worlds import drawn, names


def table_of(answers, ids):
    return np.array([[answers[m].get(i, np.nan) for i in ids] for m in sorted(answers)])


def negative_log_posterior(table, theta, a, b):
    """The objective as it is defined, an answer at a time."""
    rank, known = theta.shape[1], table[np.isfinite(table)]
    share = (known.sum() + 0.5) / (len(known) + 1)
    mean_b = -np.log(share / (1 - share))
    total = 0.5 * (theta**2).sum()
    for i in range(table.shape[1]):
        total += 0.5 * ((a[i] - np.eye(rank)[0]) ** 2).sum() / 0.25
        total += 0.5 * (b[i] - mean_b) ** 2 / 2.25
        for m in range(len(table)):
            if np.isfinite(table[m, i]):
                z, y = a[i] @ theta[m] - b[i], table[m, i]
                total -= y * log_expit(z) + (1 - y) * log_expit(-z)
    return total


def small(seed, n_models=4, n_items=7):
    rng = np.random.default_rng(seed)
    table = np.where(
        rng.random((n_models, n_items)) < 0.25, np.nan, rng.random((n_models, n_items))
    )
    table[0] = np.round(rng.random(n_items))
    return rng, table


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2]))
def test_value_and_gradient_are_those_of_the_definition(seed, rank):
    rng, table = small(seed)
    posterior = Posterior(table, np.ones(7), rank)
    x = rng.normal(size=len(posterior.start(0)))
    value, gradient = posterior(x)
    assert value == pytest.approx(negative_log_posterior(table, *posterior.split(x)))
    steps = np.eye(len(x)) * 1e-6
    slopes = [(posterior(x + step)[0] - posterior(x - step)[0]) / 2e-6 for step in steps]
    np.testing.assert_allclose(gradient, slopes, atol=1e-6 * max(1.0, abs(value)))


@pytest.mark.parametrize("rank", [1, 2])
def test_alike_items_count_as_often_as_they_are(rank):
    rng, table = small(3)
    counts = np.array([1, 3, 2, 1, 1, 4, 1])
    merged, single = (
        Posterior(table, counts, rank),
        Posterior(np.repeat(table, counts, axis=1), np.ones(counts.sum()), rank),
    )
    x = rng.normal(size=len(merged.start(0)))
    theta, a, b = merged.split(x)
    a, b = np.repeat(a, counts, axis=0), np.repeat(b, counts)
    at = [theta.ravel(), ((a - np.eye(1, rank)[0]) / 0.5).ravel(), (b - single._mean_b) / 1.5]
    assert merged(x)[0] == pytest.approx(single(np.concatenate(at))[0])


@pytest.mark.parametrize("rank", [1, 2])
def test_no_neighbouring_items_or_abilities_are_better(rank):
    rng = np.random.default_rng(4)
    ids = names(12)
    answers = {
        f"m{at}": dict(zip(ids, np.round(rng.random(12)).tolist(), strict=True)) for at in range(5)
    }
    answers["m5"] = {"item-003": 0.25, "item-007": 1.0}
    fit = fit_items(answers, rank=rank)
    assert fit.converged
    theta = np.array([fit.abilities[name] for name in sorted(answers)])
    table = table_of(answers, ids)
    best = negative_log_posterior(table, theta, fit.items.discriminations, fit.items.offsets)
    for _ in range(60):
        moved = [
            part + rng.normal(0, 0.03, part.shape)
            for part in (theta, fit.items.discriminations, fit.items.offsets)
        ]
        assert negative_log_posterior(table, *moved) > best


def test_items_of_many_models_are_recovered():
    rng = np.random.default_rng(5)
    a, b = np.abs(rng.normal(1.0, 0.4, (60, 1))), rng.normal(0.3, 1.2, 60)
    items = ItemParameters(names(60), a, b)
    abilities = rng.normal(size=400)
    fit = fit_items(
        {f"m{at:03}": drawn(rng, items, theta) for at, theta in enumerate(abilities[:, None])}
    )
    found = np.array([theta[0] for theta in fit.abilities.values()])
    assert spearmanr(found, abilities).statistic > 0.93
    # A logit's offset from 400 answers of variance near 0.2: 1 / sqrt(80) = 0.11.
    gaps = fit.items.offsets - b
    assert np.abs(gaps - gaps.mean()).mean() < 0.2
    assert spearmanr(fit.items.discriminations[:, 0], a[:, 0]).statistic > 0.7


def test_a_fit_calibrates_an_easy_subset():
    """Candidates answer easy items only: the mean overrates them, fitted items do not."""
    rng = np.random.default_rng(6)
    b = np.concatenate([np.full(50, -1.5), np.full(150, 1.5)])
    items = ItemParameters(names(200), np.ones((200, 1)), b)
    probes = {f"p{at}": drawn(rng, items, rng.normal(size=1)) for at in range(6)}
    estimator = PIrt(Evidence(items.ids, endpoints=probes))
    errors = []
    for theta in rng.normal(size=(20, 1)):
        answers = drawn(rng, items, theta)
        truth = np.mean(list(answers.values()))
        some = {name: answers[name] for name in items.ids[:30]}
        mean = np.mean(list(some.values()))
        errors.append((abs(mean - truth), abs(estimator.estimate(some).value - truth)))
    overrated, fitted = np.mean(errors, axis=0)
    assert overrated > 0.3
    assert fitted < 0.5 * overrated


def test_names_and_their_order_change_nothing():
    rng = np.random.default_rng(7)
    ids = names(20)
    answers = {
        f"m{at}": dict(zip(ids, np.round(rng.random(20)).tolist(), strict=True)) for at in range(4)
    }
    again = {
        model: {name: answers[model][name] for name in random_order(ids, at)}
        for at, model in enumerate(reversed(answers))
    }
    one, other = fit_items(answers, ids, 2, seed=3), fit_items(again, ids[::-1], 2, seed=3)
    np.testing.assert_array_equal(one.items.discriminations, other.items.discriminations)
    assert {m: theta.tolist() for m, theta in one.abilities.items()} == {
        m: theta.tolist() for m, theta in other.abilities.items()
    }


def test_items_nobody_answered_have_the_prior_and_uniform_answers_stay_finite():
    fit = fit_items({"m": {"x": 1.0, "y": 1.0}}, ["x", "y", "z"])
    at = fit.items.ids.index("z")
    assert fit.items.discriminations[at, 0] == pytest.approx(1.0)
    assert fit.items.offsets[at] == pytest.approx(-np.log(2.5 / 0.5))
    assert np.isfinite(fit.items.offsets).all()


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(UserError, match="rank 3"):
        fit_items({"m": {"x": 1.0}}, rank=3)
    with pytest.raises(UserError, match="no model has answered"):
        fit_items({"m": {}}, ["x"])
    with pytest.raises(UserError, match="model 'm' answered item 'q'"):
        fit_items({"m": {"q": 1.0}}, ["x"])
    with pytest.raises(UserError, match="model 'm' scored 2 on item 'x'"):
        fit_items({"m": {"x": 2.0}})
