"""What a part of the items says of all: against every part there is."""

from itertools import combinations

import numpy as np
import pytest

from evomerge.study.rungs.estimates import difference_estimate

FREE = (None, None)


def parts(scores, measured, n, bounds=FREE):
    """Estimates from every part of n items."""
    found = []
    for chosen in combinations(range(len(scores)), n):
        order = [*chosen, *(k for k in range(len(scores)) if k not in chosen)]
        others = [one[order] for one in measured]
        found.append(difference_estimate(scores[order][:n], others, len(scores), bounds))
    return np.array(found).T


@pytest.mark.parametrize("n_measured", [0, 1, 3])
def test_over_all_parts_the_estimate_is_right_and_its_error_too(n_measured):
    random = np.random.default_rng(n_measured)
    scores = random.random(9)
    measured = [random.random(9) for _ in range(n_measured)]
    values, errors = parts(scores, measured, 4)
    assert values.mean() == pytest.approx(scores.mean())
    variance = values.var()
    assert (errors**2).mean() == pytest.approx(variance, rel=0.25)  # rather more than less
    assert (errors**2).mean() >= variance * (1 - 1e-9)


def test_others_that_differ_alike_leave_less_to_doubt():
    random = np.random.default_rng(5)
    measured = [random.random(12)]
    scores = measured[0] * 0.9 + 0.02 * random.random(12)
    with_others, without = parts(scores, measured, 4)[1], parts(scores, [], 4)[1]
    assert with_others.mean() < 0.3 * without.mean()


def test_it_is_kept_within_bounds():
    value, _ = difference_estimate(np.ones(2), [np.array([0.5, 0.5, 1.0, 1.0])], 4, (0.0, 1.0))
    assert value == 1.0
    value, _ = difference_estimate(np.ones(2), [np.array([0.5, 0.5, 1.0, 1.0])], 4, FREE)
    assert value == 1.25


def test_items_that_nobody_solves_prove_nothing_of_the_others():
    others = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    for bounds in ((0.0, 1.0), FREE):
        value, error = difference_estimate(np.zeros(4), [others], 8, bounds)
        assert value == pytest.approx(others.mean())
        assert error > 0.05
    assert difference_estimate(np.zeros(8), [others], 8, FREE)[1] == 0.0
