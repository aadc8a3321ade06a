"""Anchor scales: fixed points, both goals, degenerate objectives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.errors import UserError
from evomerge.pareto import Anchors, anchored_hypervolume
from evomerge.types import Objective

MATH = Objective("math")
LENGTH = Objective("length", "minimize")
BASE = {"math": 0.2, "length": 100.0}
DONORS = [{"math": 0.6, "length": 120.0}, {"math": 0.1, "length": 60.0}]


def test_base_is_zero_and_best_donor_one_for_both_goals():
    anchors = Anchors.of((MATH, LENGTH), BASE, DONORS)
    assert anchors.scale(BASE) == pytest.approx([0.0, 0.0])
    assert anchors.scale({"math": 0.6, "length": 60.0}) == pytest.approx([1.0, 1.0])
    assert anchors.scale({"math": 0.8, "length": 110.0}) == pytest.approx([1.5, -0.25])
    assert anchors.kinds == ("gain", "gain")
    assert anchors.degenerate == ()


def test_scaled_scores_do_not_depend_on_the_candidates():
    anchors = Anchors.of((MATH, LENGTH), BASE, DONORS)
    row = {"math": 0.5, "length": 80.0}
    alone = anchors.scale_all([row])
    among = anchors.scale_all([{"math": 0.99, "length": 1.0}, row, BASE])
    assert among[1].tolist() == alone[0].tolist()
    assert anchors.scale_all([]).shape == (0, 2)


scores = st.fixed_dictionaries(
    {"math": st.integers(0, 100).map(lambda n: n / 100), "length": st.integers(1, 300).map(float)}
)


@given(st.lists(scores, min_size=1, max_size=6), st.permutations(DONORS))
def test_no_candidate_changes_the_score_of_another(rows, donors):
    anchors = Anchors.of((MATH, LENGTH), BASE, donors)
    together = anchors.scale_all(rows)
    for row, scaled in zip(rows, together, strict=True):
        assert anchors.scale(row).tolist() == scaled.tolist()
        # The definition, whichever way an objective improves.
        by_hand = [(row["math"] - 0.2) / (0.6 - 0.2), (row["length"] - 100) / (60 - 100)]
        assert scaled == pytest.approx(by_hand)


def test_no_donor_above_the_base_is_an_error_that_names_the_objective():
    donors = [{"math": 0.2}, {"math": 0.1}]
    with pytest.raises(UserError, match=r"objective 'math'.*\(0\.2\).*add a donor"):
        Anchors.of((MATH,), BASE, donors)


def test_degenerate_objectives_adapt_when_asked():
    donors = [{"math": 0.2, "length": 130.0}, {"math": 0.2, "length": 180.0}]
    anchors = Anchors.of((MATH, LENGTH), BASE, donors, degenerate="adapt")
    assert anchors.kinds == ("raw", "retention")
    assert anchors.degenerate == ("math", "length")
    # length: 0 is the worst donor, 1 the base; math: plain difference from the base.
    assert anchors.scale({"math": 0.5, "length": 180.0}) == pytest.approx([0.3, 0.0])
    assert anchors.scale({"math": 0.1, "length": 100.0}) == pytest.approx([-0.1, 1.0])
    only_length = Anchors.of((LENGTH,), {"length": 5.0}, [{"length": 5.0}], degenerate="adapt")
    assert only_length.scale({"length": 4.0}) == pytest.approx([1.0])


def test_donors_are_needed():
    with pytest.raises(UserError, match="at least one donor"):
        Anchors.of((MATH,), BASE, [])


def test_anchored_hypervolume_by_hand():
    # Boxes above -0.1: 1.1 × 0.1 and 0.1 × 1.1 overlap in 0.1 × 0.1.
    scaled = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert anchored_hypervolume(scaled) == pytest.approx(2 * 1.1 * 0.1 - 0.01)
    assert anchored_hypervolume(np.array([[2.0, -0.2]])) == 0.0
    assert anchored_hypervolume(np.empty((0, 2))) == 0.0
