"""Comparing two models: counts, tests and intervals against their own item scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from evomerge.errors import UserError
from evomerge.report.comparison import compare
from evomerge.types import Objective
from tests.report.fronts import build_front, make_front, make_row


def pair_of(first, second, goal="maximize"):
    """Two rows with the given hold-out scores, objective to list."""
    rows = []
    for name, scores in (("trial 1", first), ("base", second)):
        examples = {key: {f"i{n}": s for n, s in enumerate(own)} for key, own in scores.items()}
        means = {key: float(np.mean(own)) for key, own in scores.items()}
        rows.append(make_row(name, means, means, {}, examples))
    return make_front(*rows, objectives=tuple(Objective(name, goal) for name in first))


def two(front, *names):
    rows = {row.name: row for row in front.rows}
    return make_front(*(rows[name] for name in names), objectives=front.objectives)


def test_binary_scores_are_counted_and_tested_by_mcnemar():
    pair = two(build_front(2), "trial 37", "donor:math")
    found = compare(pair, "holdout")
    for one in found.contrasts:
        ours, theirs = (row.holdout_examples[one.name] for row in pair.rows)
        b = sum(ours[i] > theirs[i] for i in ours)
        c = sum(ours[i] < theirs[i] for i in ours)
        assert (one.test.name, one.test.n_items) == ("mcnemar", 200)
        assert (one.test.first_better, one.test.second_better) == (b, c)
        assert one.test.p_value == pytest.approx(binomtest(b, b + c).pvalue)
        assert one.gain.gain == pytest.approx((b - c) / 200)
        assert one.gain.low < one.gain.gain < one.gain.high
    smaller, larger = sorted(one.test.p_value for one in found.contrasts)
    assert sorted(one.holm for one in found.contrasts) == pytest.approx(
        sorted([min(1, 2 * smaller), max(2 * smaller, larger)])
    )
    gains = [one.gain.gain for one in found.contrasts]
    assert found.mean.gain.gain == pytest.approx(np.mean(gains))
    assert (found.mean.test.n_items, found.mean.holm) == (400, None)


def test_the_other_way_round_only_the_sign_differs():
    front = build_front(3)
    one, other = (
        compare(two(front, *names), "holdout")
        for names in (("trial 37", "base"), ("base", "trial 37"))
    )
    for a, b in zip((*one.contrasts, one.mean), (*other.contrasts, other.mean), strict=True):
        assert a.gain.gain == pytest.approx(-b.gain.gain)
        assert (a.gain.low, a.gain.high) == pytest.approx((-b.gain.high, -b.gain.low))
        assert a.test.p_value == pytest.approx(b.test.p_value)
        assert a.test.first_better == b.test.second_better


def test_a_loss_is_better_when_lower_and_gets_sign_flips():
    rng = np.random.default_rng(2)
    theirs = rng.random(12)
    pair = pair_of({"loss": (theirs - 0.1).tolist()}, {"loss": theirs.tolist()}, "minimize")
    (one,) = compare(pair, "holdout").contrasts
    assert one.gain.gain == pytest.approx(0.1)
    assert one.test.name == "sign flips, exact"
    assert (one.test.first_better, one.test.second_better) == (12, 0)
    assert one.test.p_value == pytest.approx(2 / 2**12)


def test_objectives_on_one_set_of_items_share_their_signs():
    """The second objective repeats the first, so the mean is worth no more than one of them."""
    ours, theirs = [1, 1, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 1, 1]
    pair = pair_of({"a": ours, "b": ours}, {"a": theirs, "b": theirs})
    found = compare(pair, "holdout")
    assert found.mean.test.n_items == 8
    assert found.mean.test.p_value == pytest.approx(found.contrasts[0].test.p_value)


def test_without_common_items_there_is_a_difference_and_no_test():
    front = pair_of({"a": [1, 0], "b": [0.5, 0.25]}, {"a": [0, 0], "b": [0.5, 0.5]})
    first, second = front.rows
    bare = make_row("base", second.search, second.holdout, {}, {"b": second.holdout_examples["b"]})
    found = compare(make_front(first, bare, objectives=front.objectives), "holdout")
    assert [one.test is None for one in found.contrasts] == [True, False]
    assert found.contrasts[0].gain.gain == 0.5
    assert found.mean.test is None
    assert any(note.startswith("No test for a:") for note in found.notes)


def test_models_that_no_item_tells_apart_are_said_to_be_equal_and_not_sure_to_be():
    found = compare(
        pair_of({"a": [0, 1, 1], "b": [1, 1, 0]}, {"a": [0, 1, 1], "b": [1, 1, 1]}), "holdout"
    )
    (one, other), mean = found.contrasts, found.mean
    u = binomtest(0, 3).proportion_ci(method="exact").high
    assert (one.gain.gain, one.gain.low, one.gain.high) == pytest.approx((0, -u, u))
    assert (one.test.first_better, one.test.second_better, one.test.p_value) == (0, 0, 1)
    (note,) = [note for note in found.notes if "apart" in note]
    assert note == "No item tells the two apart in a: their scores are equal on each."
    assert mean.gain.high - mean.gain.low > other.gain.high - other.gain.low


def test_one_objective_is_compared_alone():
    pair = two(build_front(3), "trial 37", "base")
    found = compare(pair, "holdout", "code")
    assert ([one.name for one in found.contrasts], found.mean) == (["code"], None)
    assert found.contrasts[0].holm == found.contrasts[0].test.p_value
    with pytest.raises(UserError, match="did you mean 'code'"):
        compare(pair, "holdout", "cod")


def test_scores_the_search_picked_by_are_called_optimistic():
    found = compare(two(build_front(2), "trial 37", "base"), "search")
    assert any("winner's curse" in note for note in found.notes)
