"""What a part of the items says of all: against every part there is."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from evomerge.study.rungs.estimates import PENALTY, regression_estimate

FREE = (None, None)


def parts(scores, measured, n, bounds=FREE):
    """Estimates from every part of n items."""
    found = []
    for chosen in combinations(range(len(scores)), n):
        order = [*chosen, *(k for k in range(len(scores)) if k not in chosen)]
        others = [one[order] for one in measured]
        found.append(regression_estimate(scores[order][:n], others, len(scores), bounds))
    return np.array(found).T


def test_with_nobody_else_the_estimate_is_right_over_all_parts_and_its_error_too():
    scores = np.random.default_rng(0).random(9)
    values, errors = parts(scores, [], 4)
    assert values.mean() == pytest.approx(scores.mean())
    assert (errors**2).mean() == pytest.approx(values.var(), rel=0.25)  # rather more than less
    assert (errors**2).mean() >= values.var() * (1 - 1e-9)


@pytest.mark.parametrize("n_measured", [1, 4, 30])
def test_others_are_weighed_by_ridge_regression_towards_their_mean(n_measured):
    random = np.random.default_rng(n_measured)
    n, scores = 12, random.random(20)
    measured = random.random((n_measured, 20))
    mean = measured.mean(axis=0)
    penalty = PENALTY * np.mean((measured[:, :n] - measured[:, :n].mean(axis=1)[:, None]) ** 2)
    ridge = Ridge(alpha=penalty).fit(measured[:, :n].T, scores[:n] - mean[:n])
    foretold = mean + measured.T @ ridge.coef_
    expected = foretold.mean() + (scores - foretold)[:n].mean()
    value, error = regression_estimate(scores[:n], list(measured), 20, FREE)
    assert value == pytest.approx(expected)
    assert error == pytest.approx(np.sqrt(left_out_variance(scores, measured, n, penalty)))


def left_out_variance(scores, measured, n, penalty):
    """Of the estimate, by fitting as often as there are items, each left out once."""
    x = measured[:, :n].T - measured[:, :n].mean(axis=1)
    y = scores[:n] - measured.mean(axis=0)[:n]
    y = y - y.mean()
    off = []
    for k in range(n):
        fit = Ridge(alpha=penalty, fit_intercept=False).fit(np.delete(x, k, 0), np.delete(y, k))
        off.append(y[k] - x[k] @ fit.coef_)
    return np.square(off).sum() / (n - 1) / n * (1 - n / len(scores))


def test_one_that_answers_alike_leaves_less_to_doubt_than_the_mean_of_all():
    random = np.random.default_rng(5)
    off, errors, by_mean = [], [], []
    for _ in range(300):
        measured = (random.random((8, 500)) < 0.6).astype(float)
        changed = random.random(500) < 0.06
        scores = np.where(changed, random.random(500) < 0.5, measured[3])
        value, error = regression_estimate(scores[:100], list(measured), 500, (0.0, 1.0))
        off.append(value - scores.mean())
        errors.append(error)
        mean = measured.mean(axis=0)
        by_mean.append((scores - mean)[:100].mean() + mean.mean() - scores.mean())
    assert np.std(off) < 0.6 * np.std(by_mean)
    assert abs(np.mean(off)) < 0.003
    assert 0.9 <= np.mean(np.abs(off) < 1.96 * np.array(errors)) <= 0.99


def test_it_is_kept_within_bounds():
    value, _ = regression_estimate(np.ones(2), [np.array([0.5, 0.5, 1.0, 1.0])], 4, (0.0, 1.0))
    assert value == 1.0
    value, _ = regression_estimate(np.ones(2), [np.array([0.5, 0.5, 1.0, 1.0])], 4, FREE)
    assert value == 1.25


def test_items_that_nobody_solves_prove_nothing_of_the_others():
    others = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    for bounds in ((0.0, 1.0), FREE):
        value, error = regression_estimate(np.zeros(4), [others], 8, bounds)
        assert value == pytest.approx(others.mean())
        assert error > 0.05
    assert regression_estimate(np.zeros(8), [others], 8, FREE)[1] == 0.0
