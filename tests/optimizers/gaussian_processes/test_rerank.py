"""Reranking: the gap of a front of two objectives by hand, distances for more."""

from __future__ import annotations

import numpy as np
import pytest

from evomerge.optimizers.gaussian_processes.rerank import distances, gap, reranked

FRONT = np.array([[0.0, 4.0], [4.0, 0.0], [1.0, 3.0]])  # gaps of sqrt(2) and 3 sqrt(2)


def test_gap_by_hand():
    # sigma = 4 sqrt(2) / 2; middles (0.5, 3.5) and (2.5, 1.5)
    means = np.array([[2.5, 1.5], [0.5, 3.5], [2.5, 1.5 + 2 * np.sqrt(2)]])
    far = np.exp(-0.5 * (np.sqrt(8) / (2 * np.sqrt(2))) ** 2)
    # from the middle of the small gap the wide one is sqrt(8) away and still counts for more
    np.testing.assert_allclose(gap(means, FRONT), [1.0, far, far], rtol=1e-6)


def test_a_front_of_one_point_has_no_gap():
    np.testing.assert_array_equal(gap(FRONT, FRONT[:1]), 0)


def test_wide_gaps_and_distance_break_ties_of_worth():
    worths = np.zeros(2)
    nowhere = np.zeros((0, 2))
    features = np.array([[0.1], [0.9]])
    in_gap = np.array([[2.5, 1.5], [0.0, 4.0]])
    preferred = reranked(worths, in_gap, FRONT, nowhere, features, np.zeros((0, 1)))
    assert preferred.argmax() == 0
    same = np.array([[2.5, 1.5]] * 2)
    preferred = reranked(worths, same, FRONT, same[:1], features, np.array([[0.1]]))
    assert preferred.argmax() == 1
    np.testing.assert_allclose(preferred[0] - preferred[1], -0.15 * (1 - np.exp(-3.2)))


def test_worth_counts_in_proportion():
    worths = np.log([1.0, 0.5, 1e-9])
    far = np.array([[9.0, 9.0]] * 3)
    scores = reranked(worths, far, FRONT[:1], np.zeros((0, 2)), np.zeros((3, 1)), np.zeros((0, 1)))
    np.testing.assert_allclose(scores, [1.0, 0.5, 0.0], atol=1e-8)


def test_more_objectives_go_by_distance():
    front = np.eye(3)
    means = np.array([[1.0, 0.0, 0.1], [2.0, 2.0, 2.0]])
    scores = reranked(
        np.zeros(2), means, front, np.zeros((0, 3)), np.zeros((2, 1)), np.zeros((0, 1))
    )
    np.testing.assert_allclose(scores, [0.0, 0.25])


def test_distances_to_nothing_are_infinite():
    assert distances(np.zeros((2, 1)), np.zeros((0, 1))).tolist() == [np.inf, np.inf]
    assert distances(np.zeros((1, 2)), np.array([[3.0, 4.0], [6.0, 8.0]])) == pytest.approx([5.0])
