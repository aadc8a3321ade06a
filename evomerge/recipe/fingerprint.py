"""What a recipe is, as one short text: the key of every cache and of every result.

Two recipes have the same fingerprint when they say the same merge in the same words: the order of
keys, a spelled-out default of the recipe (not of its merge method), 1 against 1.0 and the place of
a pinned model on disk make no difference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel

from evomerge.recipe.model import ModelRef, Recipe, Slice, Source


def fingerprint(recipe: Recipe) -> str:
    """Return the sha256 (hex) of the recipe's canonical JSON.

    A model pinned by a content digest counts by the digest, any other by path and revision.
    """
    pinned_as = {str(ref): ref.sha256 for ref in model_refs(recipe) if ref.sha256}
    text = json.dumps(
        _canonical(recipe, pinned_as), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def model_refs(recipe: Recipe) -> Iterator[ModelRef]:
    """Yield every model the recipe names, as often as it names it, nested recipes included."""
    for node in _inputs(recipe):
        if isinstance(node, ModelRef):
            yield node
        else:
            yield from model_refs(node)


def pinned(recipe: Recipe, digest: Callable[[ModelRef], str]) -> Recipe:
    """Return the recipe with the content digest of every model that has none yet.

    Args:
        recipe: left as it is.
        digest: gives the sha256 (64 hex digits) of a model's weights, its adapter included.
    """
    return rewritten(
        recipe,
        lambda ref: (
            ref
            if ref.sha256
            else ModelRef.model_validate({**ref.model_dump(), "sha256": digest(ref)})
        ),
    )


def rewritten(recipe: Recipe, change: Callable[[ModelRef], ModelRef]) -> Recipe:
    """Return the recipe with `change` applied to every model it names."""

    def node(value: ModelRef | Recipe | None) -> ModelRef | Recipe | None:
        return change(value) if isinstance(value, ModelRef) else value and rewritten(value, change)

    def sources(values: tuple[Source, ...]) -> tuple[Source, ...]:
        return tuple(one.model_copy(update={"model": node(one.model)}) for one in values)

    def run(one: Slice) -> Slice:
        return one.model_copy(
            update={"sources": sources(one.sources), "base_model": node(one.base_model)}
        )

    return recipe.model_copy(
        update={
            "base_model": node(recipe.base_model),
            "models": recipe.models and sources(recipe.models),
            "slices": recipe.slices and tuple(map(run, recipe.slices)),
        }
    )


def _inputs(recipe: Recipe) -> Iterator[ModelRef | Recipe]:
    if recipe.base_model is not None:
        yield recipe.base_model
    for run in recipe.slices or ():
        if run.base_model is not None:
            yield run.base_model
        yield from (source.model for source in run.sources)
    yield from (source.model for source in recipe.models or ())


@cache
def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Return the default of every field; a search asks for thousands of fingerprints."""
    return {
        name: field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
    }


def _canonical(value: Any, pinned_as: dict[str, str]) -> Any:
    if isinstance(value, ModelRef) and value.sha256:
        return {"sha256": value.sha256}
    if isinstance(value, BaseModel):
        data: dict[str, Any] = {}
        for name, default in _defaults(type(value)).items():
            entry = getattr(value, name)
            if name == "tokenizer_source" and entry in pinned_as:
                data[name] = {"sha256": pinned_as[entry]}
            elif entry != default:
                data[name] = _canonical(entry, pinned_as)
        return data
    if isinstance(value, tuple):
        return [_canonical(entry, pinned_as) for entry in value]
    if isinstance(value, dict):
        return {name: _canonical(entry, pinned_as) for name, entry in value.items()}
    if isinstance(value, float | int) and not isinstance(value, bool):
        # 1 and 1.0 say the same; beyond 2**53 an integer has no equal float
        return int(value) if value == int(value) else value
    return value
