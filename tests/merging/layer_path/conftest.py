"""Two tiny donors of every family, saved and made resident once per session."""

from __future__ import annotations

import pytest

from evomerge.merging import MergeEngine, PathExecutor
from evomerge.recipe.model import Recipe
from tests.merging.layer_path.families import save


@pytest.fixture(scope="session")
def donors(tmp_path_factory):
    """Return family -> folders of two models, built on first use."""
    built = {}

    def build(family):
        if family not in built:
            folder = tmp_path_factory.mktemp(family)
            built[family] = [
                save(family, folder / "a", seed=1),
                save(family, folder / "b", seed=2),
            ]
        return built[family]

    return build


@pytest.fixture(scope="session")
def recipe_of(donors):
    """Return (family, hops) -> recipe of a path through the family's two donors."""

    def build(family, hops, scaling="delta", **keys):
        return path_recipe(donors(family), hops, scaling, **keys)

    return build


@pytest.fixture(scope="session")
def run(recipe_of):
    """Return (family, hops) -> the module of a path, computed without a cache of prefixes."""
    executor = PathExecutor(MergeEngine(), cache_bytes=0)

    def build(family, hops, scaling="delta", **keys):
        return executor.load(recipe_of(family, hops, scaling, **keys)).module

    return build


def path_recipe(models, hops, scaling="delta", **keys):
    """Write the recipe of a path; a model is a folder or a recipe."""
    return Recipe.model_validate(
        {
            "merge_method": "passthrough",
            "models": [{"model": m if isinstance(m, dict | Recipe) else str(m)} for m in models],
            "path": {"hops": hops, "scaling": scaling},
            **keys,
        }
    )
