"""Parameter resolution against its definition, and against mergekit where both speak."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.errors import RecipeError
from evomerge.recipe.model import Conditional, Source
from evomerge.recipe.parameters import Place, evaluate, interpolate, resolve

numbers = st.floats(-10, 10, allow_nan=False)
positions = st.floats(0, 1)


def place(tensor="model.layers.3.mlp.up_proj.weight", layer=3, t=0.5):
    return Place(tensor, layer, t)


@given(st.lists(numbers, min_size=1, max_size=6).map(tuple), positions)
def test_a_gradient_stays_between_its_neighbours(values, t):
    i = min(int(t * (len(values) - 1)), len(values) - 1)
    j = min(i + 1, len(values) - 1)
    low, high = sorted((values[i], values[j]))
    assert low - 1e-9 <= interpolate(values, t) <= high + 1e-9


@given(st.lists(numbers, min_size=1, max_size=6).map(tuple))
def test_a_gradient_meets_its_ends(values):
    assert interpolate(values, 0.0) == values[0]
    assert interpolate(values, 1.0) == values[-1]


@given(st.lists(numbers, min_size=2, max_size=6).map(tuple), positions)
def test_a_reversed_gradient_is_the_gradient_read_backwards(values, t):
    forward, backward = interpolate(values, t), interpolate(values[::-1], 1 - t)
    assert forward == pytest.approx(backward, abs=1e-9)


def test_known_gradients():
    assert interpolate((1, 3, 2), 0.25) == 2
    assert interpolate((0.0, 1.0), 0.3) == pytest.approx(0.3)
    assert interpolate((5,), 0.7) == 5


@given(st.lists(st.one_of(st.booleans(), st.text(max_size=3)), min_size=1).map(tuple), positions)
def test_bools_and_texts_are_picked_not_mixed(values, t):
    assert interpolate(values, t) is values[int(t * (len(values) - 1))]


@given(st.lists(st.tuples(st.sampled_from(["mlp", "attn", "*", None]), numbers), max_size=5))
def test_the_first_conditional_that_matches_decides(entries):
    conditionals = tuple(Conditional(filter=f, value=v) for f, v in entries)
    expected = next((v for f, v in entries if f in ("mlp", "*", None)), None)
    assert evaluate(conditionals, place()) == expected


@pytest.mark.parametrize(
    ("layers", "layer", "matches"),
    [
        ((0, 3), 3, False),
        ((3, 4), 3, True),
        ((0, 9), None, False),
        (None, None, True),
        (None, 3, True),
    ],
)
def test_layers_are_half_open_and_leave_out_what_has_no_layer(layers, layer, matches):
    entry = Conditional(layers=layers, value=1.0)
    assert (evaluate((entry,), place(layer=layer)) == 1.0) == matches


scope = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.one_of(numbers, st.just((Conditional(filter="nowhere", value=1.0),))),
)


@given(st.lists(scope, max_size=4))
def test_the_nearest_scope_that_speaks_decides(scopes):
    expected = next(
        (s["a"] for s in scopes if "a" in s and not isinstance(s["a"], tuple)),
        None,
    )
    assert resolve("a", scopes, place()) == expected


def test_numeric_text_is_a_number_and_an_empty_list_is_refused():
    source = Source(model="m", parameters={"weight": "1e-4", "density": []})
    assert resolve("weight", [source.parameters], place()) == pytest.approx(1e-4)
    with pytest.raises(RecipeError, match=r"'density'.*up_proj"):
        resolve("density", [source.parameters], place())


setting = st.one_of(
    numbers,
    st.lists(numbers, min_size=1, max_size=4),
    st.lists(
        st.fixed_dictionaries(
            {
                "filter": st.sampled_from(["mlp", "attn", "layers.3", "*"]),
                "value": st.one_of(numbers, st.lists(numbers, min_size=1, max_size=4)),
            }
        ),
        min_size=1,
        max_size=4,
    ),
)


@given(setting, positions, st.sampled_from(["model.layers.3.mlp.w", "lm_head.weight"]))
def test_mergekit_reads_the_same_value(value, t, tensor):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = pytest.importorskip("mergekit.config")
    theirs = config.InputModelDefinition.model_validate({"model": "m", "parameters": {"w": value}})
    expected = config.evaluate_setting(tensor, theirs.parameters["w"], t, validate=float)
    ours = Source(model="m", parameters={"w": value})
    assert resolve("w", [ours.parameters], Place(tensor, None, t)) == expected
