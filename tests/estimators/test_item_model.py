"""Item curves against SciPy's logistic function and tinyBenchmarks' formula; ids; files."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, log_expit

from evomerge.errors import DataError, UserError
from evomerge.estimators import ItemParameters
from evomerge.estimators.item_model import sigmoid, softplus
from tests.estimators.worlds import items_of, names


def test_the_logistic_function_does_not_overflow():
    z = np.array([-800.0, -40.0, -1.0, 0.0, 1.0, 40.0, 800.0])
    np.testing.assert_allclose(sigmoid(z), expit(z), rtol=1e-12)
    np.testing.assert_allclose(-softplus(-z), log_expit(z), rtol=1e-12)


def test_probabilities_follow_the_formula():
    items = items_of(np.random.default_rng(0), 7, 3)
    theta = np.array([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]])
    for row, model in zip(items.probabilities(theta), theta, strict=True):
        for p, a, b in zip(row, items.discriminations, items.offsets, strict=True):
            assert p == pytest.approx(expit(sum(a * model) - b))
    np.testing.assert_array_equal(items.probabilities(theta[0]), items.probabilities(theta)[0])


@pytest.mark.parametrize("own_offsets", [False, True])
def test_the_released_convention_clips_each_term_and_subtracts_the_offset_in_each(own_offsets):
    rng = np.random.default_rng(1)
    a, theta = rng.normal(0, 10, (50, 4)), rng.normal(0, 3, 4)
    b = rng.normal(0, 5, (50, 4)) if own_offsets else rng.normal(0, 5, 50)
    items = ItemParameters(names(50), a, b, "released")
    for at, p in enumerate(items.probabilities(theta)):
        terms = [a[at, d] * theta[d] - (b[at, d] if own_offsets else b[at]) for d in range(4)]
        clipped = [min(30.0, max(-30.0, term)) for term in terms]
        assert terms != clipped or p == pytest.approx(expit(theta @ a[at] - items.intercepts[at]))
        assert p == pytest.approx(expit(sum(clipped)))
    assert items.intercepts[0] == pytest.approx(b[0].sum() if own_offsets else 4 * b[0])


def test_selecting_follows_ids():
    items = items_of(np.random.default_rng(2), 6)
    some = items.select(["item-004", "item-001"])
    np.testing.assert_array_equal(some.discriminations, items.discriminations[[4, 1]])
    np.testing.assert_array_equal(some.offsets, items.offsets[[4, 1]])
    with pytest.raises(UserError, match=r"'item-0001' has no item parameters; did you mean 'item-"):
        items.select(["item-0001"])


@pytest.mark.parametrize("convention", ["logistic", "released"])
def test_saved_parameters_come_back_to_the_last_bit(tmp_path, convention):
    items = items_of(np.random.default_rng(3), 9, 3)
    items = ItemParameters(items.ids, items.discriminations, items.offsets, convention)
    items.save(tmp_path / "items.json")
    again = ItemParameters.load(tmp_path / "items.json")
    assert (again.ids, again.convention) == (items.ids, convention)
    np.testing.assert_array_equal(again.discriminations, items.discriminations)
    np.testing.assert_array_equal(again.offsets, items.offsets)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no file of item parameters"),
        ("[]", "expected the keys convention, ids"),
        (
            '{"convention": "logistic", "ids": ["x"], "discriminations": [[1]], "offsets": [NaN]}',
            "item 'x' has a parameter",
        ),
        (
            '{"convention": "logistic", "ids": ["x"], "discriminations": [["a"]], "offsets": [1]}',
            "could not convert",
        ),
        (
            '{"convention": "logistic", "ids": ["x", "x"], "discriminations": [], "offsets": []}',
            "'x' is listed twice",
        ),
        (
            '{"convention": "logistc", "ids": ["x"], "discriminations": [[1]], "offsets": [1]}',
            "did you mean 'logistic'",
        ),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, message):
    file = tmp_path / "items.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        ItemParameters.load(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shapes_are_checked():
    with pytest.raises(UserError, match=r"must have shape \(2, n_dimensions\), got \(3, 1\)"):
        ItemParameters(names(2), np.ones((3, 1)), np.ones(2))
    with pytest.raises(UserError, match=r"as many numbers, got \(2, 1\)"):
        ItemParameters(names(2), np.ones((2, 1)), np.ones((2, 1)))
