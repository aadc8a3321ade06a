"""The surrogate recovers what it can express, and says when it cannot."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.optimizers.links import links_of
from evomerge.optimizers.map.published import GAVE_UP, UNCERTAIN, fit_from_ones, grid_design
from evomerge.optimizers.map.quadratic import RIDGE, features, fit, n_coefficients
from evomerge.optimizers.map.search import fit_notes, sobol
from evomerge.types import Objective

ACCURACY = links_of([Objective("accuracy", bounds=(0.0, 1.0))], 1)[0]
PLAIN = links_of([], 1)[0]


def design(n, count, seed=0):
    return sobol(n, count, np.random.default_rng(seed))


@pytest.mark.parametrize("n", range(2, 9))
def test_a_logistic_quadratic_is_recovered(n):
    random = np.random.default_rng(n)
    p = n_coefficients(n)
    beta = random.normal(0, 0.3, p)
    points = design(n, 2 * p)
    costs = -1 / (1 + np.exp(features(points) @ beta))
    assert np.abs(costs + 0.5).max() < 0.48  # nothing is clipped
    found = fit(points, costs, ACCURACY, ridge=1e-14)
    assert np.abs(found.beta - beta).max() < 1e-6
    assert found.loo_r2 == pytest.approx(1)


@pytest.mark.parametrize("n", range(1, 11))
def test_a_sobol_design_of_twice_the_coefficients_determines_them(n):
    p = n_coefficients(n)
    assert np.linalg.matrix_rank(features(design(n, 2 * p))) == p


def test_the_released_grid_cannot_determine_eight_experts():
    # 2 levels are left: every square equals its coefficient, 45 - 8 columns differ
    grid = grid_design(8, 90, np.random.default_rng(0))
    assert np.linalg.matrix_rank(features(grid)) == 37
    grid = grid_design(3, 20, np.random.default_rng(0))
    assert np.linalg.matrix_rank(features(grid)) == 10
    assert not (grid == 0).all(axis=1).any()
    found = fit(np.repeat(np.eye(2), 4, axis=0), np.arange(8.0), PLAIN)
    assert any("determine 2 of 6 coefficients" in note for note in fit_notes("map", ["t"], [found]))


def test_leaving_out_by_the_hat_matrix_is_leaving_out():
    random = np.random.default_rng(3)
    points = random.random((30, 3))
    costs = -1 / (1 + np.exp(-(points @ [1, -2, 0.5]) + random.normal(0, 0.4, 30)))
    whole = fit(points, costs, ACCURACY)
    targets, slopes = ACCURACY.forward(costs), ACCURACY.slope(costs)
    # with the weights of the whole, so that lambda means the same
    weights = slopes / slopes.max()
    errors = []
    for k in range(30):
        rest = np.delete(np.arange(30), k)
        a = weights[rest, None] * features(points[rest])
        penalty = RIDGE * np.diag([1.0] * 9 + [0.0])
        beta = np.linalg.solve(a.T @ a + penalty, a.T @ (weights[rest] * targets[rest]))
        errors.append(slopes[k] * (targets[k] - features(points[[k]]) @ beta))
    assert whole.loo_error == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-9)


def test_leverage_is_the_quadratic_form():
    points = np.random.default_rng(1).random((25, 2))
    found = fit(points, points[:, 0] ** 2, PLAIN)
    phi = features(points)
    inverse = np.linalg.inv(phi.T @ phi + RIDGE * np.diag([1.0] * 5 + [0.0]))
    others = np.random.default_rng(2).normal(size=(7, 2))
    expected = [f @ inverse @ f for f in features(others)]
    assert found.leverage(features(others)) == pytest.approx(expected)
    assert found.limit == pytest.approx(max(f @ inverse @ f for f in phi))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(0, 10**6), st.sampled_from([100.0, 1e-3, 7.0]))
def test_units_do_not_matter(n, seed, unit):
    random = np.random.default_rng(seed)
    points = random.random((n_coefficients(n) + 5, n))
    shares = random.random(len(points))
    percent = links_of([Objective("accuracy", bounds=(0.0, unit))], 1)[0]
    other = random.random((9, n))
    one = fit(points, -shares, ACCURACY).costs(other)
    assert fit(points, -unit * shares, percent).costs(other) == pytest.approx(unit * one)
    plain = fit(points, 3 * shares + 2, PLAIN).costs(other)
    assert plain == pytest.approx(3 * fit(points, shares, PLAIN).costs(other) + 2, rel=1e-6)


def test_minimising_the_error_is_maximising_the_accuracy():
    points = design(2, 12)
    accuracy = np.random.default_rng(0).random(12)
    error = links_of([Objective("error", "minimize", bounds=(0.0, 1.0))], 1)[0]
    assert (fit(points, 1 - accuracy, error).beta == fit(points, -accuracy, ACCURACY).beta).all()


def test_ties_have_nothing_to_explain():
    found = fit(design(2, 12), np.full(12, -0.25), ACCURACY)
    assert np.isnan(found.r2)
    assert np.isnan(found.loo_r2)
    assert "all 12 points tie" in fit_notes("map", ["t"], [found])[0]


def test_a_surrogate_that_predicts_nothing_says_so():
    random = np.random.default_rng(5)
    found = fit(random.random((40, 3)), random.normal(size=40), PLAIN)
    assert found.loo_r2 < 0.3
    assert "trust what was evaluated" in fit_notes("map", ["t"], [found])[0]


def test_the_released_fit_agrees_with_the_closed_form():
    points = design(2, 24)
    costs = -1 / (1 + np.exp(features(points) @ [0.5, -0.4, 1.0, -1.0, 0.2, 0.3]))
    released, remark = fit_from_ones(points, costs, ACCURACY)
    assert remark == ""
    other = np.random.default_rng(1).random((9, 2))
    exact = fit(points, costs, ACCURACY, ridge=1e-14)
    assert released.costs(other) == pytest.approx(exact.costs(other), abs=1e-5)


def test_what_the_released_fit_cannot_determine_is_said_and_not_warned_of():
    random = np.random.default_rng(4)
    points = grid_design(8, 90, random)
    costs = -1 / (1 + np.exp(points @ random.normal(0, 1, 8)))
    released, remark = fit_from_ones(points, costs, ACCURACY)  # warnings are errors here
    assert remark == UNCERTAIN
    first, second = fit_notes("map", ["t"], [released])
    assert "determine 37 of 45 coefficients" in first
    assert "leave-one-out" not in second  # which nobody computed


def test_a_released_fit_that_gives_up_leaves_the_closed_form(monkeypatch):
    def nowhere(*_arguments, **_options):
        raise RuntimeError("Optimal parameters not found")

    points = design(2, 24)
    monkeypatch.setattr("evomerge.optimizers.map.published.curve_fit", nowhere)
    assert fit_from_ones(points, points[:, 0], PLAIN) == (None, GAVE_UP)
    lost = np.full(6, np.nan), np.full((6, 6), np.inf)
    monkeypatch.setattr("evomerge.optimizers.map.published.curve_fit", lambda *_, **__: lost)
    assert fit_from_ones(points, points[:, 0], PLAIN) == (None, GAVE_UP)


@pytest.mark.parametrize("ridge", [0.0, 1e-300])
def test_without_a_ridge_what_is_open_has_the_least_norm(ridge):
    points = np.repeat(np.eye(3), 4, axis=0)  # every square is its coefficient, no product is 1
    costs = np.random.default_rng(6).random(12)
    found = fit(points, costs, PLAIN, ridge)
    phi = features(points)
    centred = phi[:, :-1] - phi[:, :-1].mean(axis=0)  # the constant is free
    least = np.linalg.pinv(centred) @ (costs - costs.mean())
    np.testing.assert_allclose(found.beta[:-1], least, atol=1e-6)
    means = costs.reshape(3, 4).mean(axis=1)
    np.testing.assert_allclose(found.costs(np.eye(3)), means, atol=1e-6)
    assert np.isfinite(found.leverage(features(np.random.default_rng(0).random((5, 3))))).all()
    note, _ = fit_notes("map", ["t"], [found])
    assert note.endswith(
        "determine 3 of 10 coefficients; what the others are is the choice of the fit"
    )


def noisy(random, n_measured, n_estimated, error):
    """Costs of a quadratic in three genes: some nearly exact, the others estimates."""
    points = random.random((n_measured + n_estimated, 3))
    truth = features(points) @ random.normal(0, 1, n_coefficients(3))
    errors = np.repeat([0.0, error], [n_measured, n_estimated])
    costs = truth + random.normal(0, 1, len(points)) * np.sqrt(0.01**2 + errors**2)
    return points, truth, costs, errors


def test_estimates_count_by_their_errors():
    random = np.random.default_rng(7)
    missed = {"weighted": [], "alike": [], "measured alone": []}
    for _ in range(40):
        points, truth, costs, errors = noisy(random, 14, 40, 0.2)
        fits = {
            "weighted": fit(points, costs, PLAIN, 1e-9, errors),
            "alike": fit(points, costs, PLAIN, 1e-9),
            "measured alone": fit(points[:14], costs[:14], PLAIN, 1e-9),
        }
        for name, one in fits.items():
            missed[name].append(np.mean((one.costs(points) - truth) ** 2))
    assert np.mean(missed["weighted"]) < 0.3 * np.mean(missed["alike"])
    assert np.mean(missed["weighted"]) < 1.2 * np.mean(missed["measured alone"])


def test_generalised_least_squares_knows_what_the_quadratic_leaves_over():
    """Against the closed form with the true variances, which `fit` has to find out."""
    random = np.random.default_rng(8)
    points, _, costs, errors = noisy(random, 400, 400, 0.05)
    found = fit(points, costs, PLAIN, 1e-12, errors)
    precision = 1 / (0.01**2 + errors**2)
    a = features(points)
    expected = np.linalg.solve(a.T * precision @ a, a.T @ (precision * costs))
    np.testing.assert_allclose(found.beta, expected, atol=2e-3)
    assert found.loo_error == pytest.approx(0.01, rel=0.1)


def test_without_estimates_nothing_changes():
    random = np.random.default_rng(9)
    points, _, costs, _ = noisy(random, 30, 0, 0.0)
    plain, told = fit(points, costs, PLAIN), fit(points, costs, PLAIN, errors=np.zeros(30))
    assert (plain.beta == told.beta).all()
    assert plain.loo_error == told.loo_error
