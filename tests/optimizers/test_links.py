"""Links: which scale an objective gets, and its two directions, slope and noise."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.optimizers.links import (
    IdentityLink,
    LogitLink,
    LogLink,
    link_of,
    links_of,
)
from evomerge.types import Objective

LINKS = {
    "identity": IdentityLink(),
    "logit of items": LogitLink(-1.0, 0.0, 50),
    "logit of percent": LogitLink(0.0, 100.0),
    "log": LogLink(2.0),
    "log to an upper bound": LogLink(2.0, upper=True),
}
INSIDE = {
    "identity": np.array([-3.0, 0.0, 7.5]),
    "logit of items": np.array([-1.0, -0.9, -0.52, -0.1, 0.0]),
    "logit of percent": np.array([2.0, 30.0, 50.0, 98.0]),
    "log": np.array([2.001, 3.0, 1000.0]),
    "log to an upper bound": np.array([-1000.0, 0.5, 1.999]),
}
ANY = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("goal", "bounds", "expected"),
    [
        ("maximize", (0.0, 1.0), LogitLink(-1.0, 0.0, 20)),
        ("minimize", (0.0, 1.0), LogitLink(0.0, 1.0, 20)),
        ("maximize", (0.0, 100.0), LogitLink(-100.0, 0.0, 20)),
        ("minimize", (0.0, None), LogLink(0.0)),
        ("maximize", (0.0, None), LogLink(0.0, upper=True)),
        ("maximize", (None, 5.0), LogLink(-5.0)),
        ("minimize", (None, 5.0), LogLink(5.0, upper=True)),
        ("maximize", (None, None), IdentityLink()),
    ],
)
def test_bounds_choose_the_link(goal, bounds, expected):
    assert link_of(Objective("o", goal, bounds, 20)) == expected


def test_nothing_told_means_identities():
    assert links_of((), 3) == (IdentityLink(),) * 3
    with pytest.raises(ValueError, match="expected 3 objectives, got 1"):
        links_of((Objective("o"),), 3)


@pytest.mark.parametrize("n_items", [None, 1, 7, 400])
@given(share=st.floats(0, 1))
def test_orientation_is_exact(n_items, share):
    accuracy = link_of(Objective("accuracy", "maximize", (0.0, 1.0), n_items))
    error = link_of(Objective("error", "minimize", (0.0, 1.0), n_items))
    cost, wrong = -share, 1 - share  # what `Objective.cost` makes of the two metrics
    assert accuracy.forward(cost) == error.forward(wrong)
    assert accuracy.slope(cost) == error.slope(wrong)
    assert accuracy.noise_variance(cost) == error.noise_variance(wrong)


@given(loss=st.floats(0, 1e300))
def test_orientation_is_exact_with_one_bound(loss):
    minimised = link_of(Objective("loss", "minimize", (0.0, None)))
    maximised = link_of(Objective("minus_loss", "maximize", (None, 0.0)))
    metric = -loss
    assert minimised.forward(loss) == maximised.forward(-metric)


@pytest.mark.parametrize("m", [1, 10, 400])
def test_logit_of_counts(m):
    k = np.arange(m + 1)
    wrong = (m - k) / m
    link = link_of(Objective("accuracy", "maximize", (0.0, 1.0), m))
    p = (m - k + 0.5) / (m + 1)
    np.testing.assert_allclose(link.forward(wrong - 1), np.log(p / (1 - p)), atol=1e-12)
    np.testing.assert_allclose(link.noise_variance(wrong - 1), 1 / (m * p * (1 - p)))


def test_logit_without_items_clips_shares():
    z = LogitLink(0.0, 100.0).forward([0.0, 1.0, 50.0, 99.0, 100.0])
    np.testing.assert_allclose(z, np.log([1 / 99, 1 / 99, 1.0, 99.0, 99.0]), atol=1e-12)
    assert LogitLink(0.0, 100.0).noise_variance([50.0]) is None


@pytest.mark.parametrize("name", LINKS)
def test_inverse_undoes_forward(name):
    link, costs = LINKS[name], INSIDE[name]
    np.testing.assert_allclose(link.inverse(link.forward(costs)), costs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LINKS)
def test_slope_is_the_derivative(name):
    link, costs = LINKS[name], INSIDE[name]
    z = link.forward(costs)
    numeric = (link.inverse(z + 1e-6) - link.inverse(z - 1e-6)) / 2e-6
    p = 1 / (1 + np.exp(-z))
    floored = np.isin(name, ["logit of items", "logit of percent"]) & (p * (1 - p) < 0.02)
    inner = ~floored & (z != z.min()) & (z != z.max())  # at a bound inverse is clipped
    np.testing.assert_allclose(link.slope(costs)[inner], numeric[inner], rtol=1e-5)


def test_slope_of_shares_has_a_floor():
    np.testing.assert_allclose(LogitLink(0.0, 1.0).slope([0.0, 1.0]), 0.02)
    np.testing.assert_allclose(LogitLink(0.0, 1.0).slope([0.5]), 0.25)
    np.testing.assert_allclose(LogitLink(-100.0, 0.0).slope([-50.0, 0.0]), [25.0, 2.0])


@pytest.mark.parametrize("name", LINKS)
@given(pair=st.tuples(ANY, ANY))
def test_any_finite_cost_is_taken_in_order(name, pair):
    link = LINKS[name]
    low, high = link.forward(sorted(pair))
    assert np.isfinite([low, high]).all()
    assert low <= high
    assert (link.slope(pair) > 0).all()
    assert np.isfinite(link.inverse([low, high])).all()
    variance = link.noise_variance(pair)
    assert variance is None or (variance > 0).all()


@pytest.mark.parametrize("name", LINKS)
@given(z=ANY)
def test_any_finite_prediction_has_a_cost_within_bounds(name, z):
    link = LINKS[name]
    cost = float(link.inverse(z))
    assert np.isfinite(cost)
    if isinstance(link, LogitLink):
        assert link.low <= cost <= link.high
    elif isinstance(link, LogLink):
        assert cost <= link.bound if link.upper else cost >= link.bound


def test_bounds_may_be_as_wide_as_floats_are():
    link = LogitLink(-1.7e308, 1.7e308)
    np.testing.assert_allclose(link.forward([-1.7e308, 0.0, 1.7e308])[1], 0.0, atol=1e-12)
    assert np.isfinite(link.slope([0.0])).all()


def test_the_floor_of_a_logarithm_follows_the_costs():
    link = LogLink(0.0).fitted([0.0, 1e-3, 2e-3, 3e-3])
    assert link.floor == pytest.approx(2e-5)
    z = link.forward([0.0, 1e-3])
    assert z[1] - z[0] == pytest.approx(np.log(50))
    for same in ([], [0.0, 0.0]):
        assert np.isfinite(LogLink(0.0).fitted(same).forward([0.0])).all()


def test_links_are_numpy_only():
    code = (
        "import sys, evomerge.optimizers.links;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'scipy', 'pymoo', 'botorch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
