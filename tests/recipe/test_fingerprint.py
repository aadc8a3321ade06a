import random
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from evomerge.recipe import (
    ModelRef,
    Recipe,
    Slice,
    Source,
    fingerprint,
    model_refs,
    native,
    pinned,
    rewritten,
)
from tests.recipe.strategies import native_recipes


def recipe(path="a", **fields):
    source = Source(model=ModelRef(path=path), parameters={"weight": 1.0, "density": 0.5})
    return Recipe(**{"merge_method": "ties", "models": (source,), **fields})


@settings(max_examples=20, deadline=None)
@given(native_recipes())
def test_survives_files(one):
    assert fingerprint(native.loads(native.dumps(one))) == fingerprint(one)


@settings(max_examples=20, deadline=None)
@given(native_recipes())
def test_order_of_keys_is_nothing(one):
    def shuffled(value):
        if isinstance(value, dict):
            keys = list(value)
            random.Random(0).shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(entry) for entry in value] if isinstance(value, list | tuple) else value

    # spelled-out defaults as well
    assert fingerprint(Recipe.model_validate(shuffled(one.model_dump()))) == fingerprint(one)


def test_is_the_same_in_another_process():
    code = (
        "from tests.recipe.test_fingerprint import recipe;"
        "from evomerge.recipe import fingerprint;print(fingerprint(recipe(seed=3)))"
    )
    text = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert text == fingerprint(recipe(seed=3))
    assert re.fullmatch("[0-9a-f]{64}", text)


def test_numbers_count_by_value_but_switches_do_not():
    assert fingerprint(recipe(parameters={"x": 1})) == fingerprint(recipe(parameters={"x": 1.0}))
    assert fingerprint(recipe(parameters={"x": 1})) != fingerprint(recipe(parameters={"x": True}))
    assert fingerprint(recipe(parameters={"x": 0.1})) != fingerprint(
        recipe(parameters={"x": 0.1 + 2**-56})
    )


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"compat": "mergekit-0.1.5"},
        {"dtype": "float16"},
        {"merge_method": "dare_ties"},
        {"base_model": "b"},
        {"tokenizer_source": "base"},
        {"parameters": {"weight": 1.0}},
    ],
)
def test_every_field_counts(change):
    assert fingerprint(recipe(**change)) != fingerprint(recipe())


def test_pinned_models_count_by_content():
    here = pinned(recipe("/models/a", tokenizer_source="/models/a"), lambda ref: "1" * 64)
    there = pinned(recipe("D:/a", tokenizer_source="D:/a"), lambda ref: "1" * 64)
    other = pinned(recipe("/models/a", tokenizer_source="/models/a"), lambda ref: "2" * 64)
    assert fingerprint(here) == fingerprint(there) != fingerprint(other)
    assert fingerprint(recipe("/models/a")) != fingerprint(recipe("D:/a"))


def test_every_leaf_is_found_pinned_and_rewritten():
    def source(path):
        return Source(model=ModelRef(path=path), layer_range=(0, 1))

    nested = recipe("c", base_model="d")
    run = Slice(sources=(source("a"), Source(model=nested, layer_range=(0, 1))), base_model="b")
    whole = Recipe(merge_method="m", base_model=recipe("e"), slices=(run,))
    assert [ref.path for ref in model_refs(whole)] == ["e", "b", "a", "d", "c"]
    done = pinned(whole, lambda ref: f"{ord(ref.path):064x}")
    assert all(int(ref.sha256, 16) == ord(ref.path) for ref in model_refs(done))
    assert all(ref.sha256 is None for ref in model_refs(whole))
    assert pinned(done, lambda ref: pytest.fail("pinned already")) == done
    moved = rewritten(whole, lambda ref: ModelRef(path=f"/x/{ref.path}"))
    assert [ref.path for ref in model_refs(moved)] == ["/x/e", "/x/b", "/x/a", "/x/d", "/x/c"]


def test_a_digest_must_be_one():
    with pytest.raises(ValidationError):
        pinned(recipe(), lambda ref: "not a digest")
