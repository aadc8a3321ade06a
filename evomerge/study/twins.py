"""Trials with equal recipes: one is evaluated, the others get its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from evomerge.recipe import Recipe, fingerprint
from evomerge.spaces import SpaceContext
from evomerge.study.stages import depth_of

Paid: TypeAlias = tuple[int, Mapping[str, Any]]
"""A completed trial, and the payload of the event that says so."""


class Twins:
    """Which recipes were completed or are being evaluated, by `key_of` and what was scored.

    An evaluation is a function of recipe and items alone, so that none has to be paid for twice.
    A trial whose recipe is being evaluated for another waits for that one: which trial answers
    for which depends on the order of asking, not on how fast workers are.
    """

    def __init__(self) -> None:
        self._completed: dict[str, Paid] = {}
        self._running: dict[str, int] = {}
        self._waiting: dict[str, list[int]] = {}

    def find(self, key: str) -> Paid | None:
        """Return the completed trial of a recipe."""
        return self._completed.get(key)

    def claim(self, key: str, trial: int) -> bool:
        """Say whether a trial is to be evaluated; otherwise it waits for another."""
        if self._running.setdefault(key, trial) == trial:
            return True
        self._waiting.setdefault(key, []).append(trial)
        return False

    def complete(self, key: str, trial: int, payload: Mapping[str, Any]) -> list[int]:
        """Note that a recipe was completed; returns the trials that waited for it."""
        self._completed.setdefault(key, (trial, payload))
        self._running.pop(key, None)
        return self._waiting.pop(key, [])

    def fail(self, key: str) -> int | None:
        """Note that a recipe failed; returns the trial that tries it next, if one waited."""
        self._running.pop(key, None)
        waiting = self._waiting.pop(key, [])
        if not waiting:
            return None
        self._running[key] = waiting[0]
        self._waiting[key] = waiting[1:]
        return waiting[0]


def key_of(recipe: Recipe, context: SpaceContext) -> str:
    """Return what twins share: the fingerprint of the recipe.

    A path through all layers of its first model, in order and unscaled, is that model; where the
    model is a recipe, as a later stage's donor is, its fingerprint counts.
    """
    while recipe.path is not None and recipe.models is not None:
        inner = recipe.models[0].model
        if not isinstance(inner, Recipe):
            break
        own = [(0, layer, 1.0) for layer in range(depth_of(inner, context))]
        hops = [(hop.model, hop.layer, hop.scale) for hop in recipe.path.hops]
        dtypes = {(one.dtype, one.out_dtype) for one in (recipe, inner)}
        if hops != own or len(dtypes) > 1:
            break
        recipe = inner
    return fingerprint(recipe)
