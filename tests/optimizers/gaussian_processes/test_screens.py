"""Screens: Fisher information, and which way each of the two goes."""

from __future__ import annotations

import numpy as np

from evomerge.optimizers.gaussian_processes.screens import (
    SCREENS,
    fisher_information,
    keep_most_certain,
    keep_most_uncertain,
)

VARIANCES = np.array([[1.0, 1.0], [0.5, 4.0], [2.0, 2.0], [1.0, 1.0], [0.1, 0.1]])


def test_fisher_information_is_the_sum_of_precisions():
    np.testing.assert_allclose(fisher_information(VARIANCES), [2.0, 2.25, 1.0, 2.0, 20.0])


def test_the_most_uncertain_have_the_least_information():
    assert keep_most_uncertain(VARIANCES, 3).tolist() == [2, 0, 3]
    assert keep_most_uncertain(VARIANCES, 9).tolist() == [2, 0, 3, 1, 4]


def test_the_most_certain_have_the_most_information():
    assert keep_most_certain(VARIANCES, 3).tolist() == [4, 1, 0]


def test_options_name_them():
    assert SCREENS["keep_most_uncertain"] is keep_most_uncertain
    assert SCREENS["keep_most_certain"] is keep_most_certain
