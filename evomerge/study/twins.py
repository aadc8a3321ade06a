"""Trials with equal recipes: one is evaluated, the others get its outcome."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any, TypeAlias

from evomerge.journal import Event
from evomerge.recipe import Recipe, fingerprint
from evomerge.spaces import SpaceContext
from evomerge.study.stages import depth_of
from evomerge.study.validation import VALIDATED, Validation

Paid: TypeAlias = tuple[int, Mapping[str, Any]]
"""A completed trial, and the payload of the event that says so."""


class Twins:
    """Which recipes were completed or are being evaluated, by `key_of` and what was scored.

    An evaluation is a function of recipe and items alone, so that none has to be paid for twice.
    A trial whose recipe is being evaluated for another waits for that one: which trial answers
    for which depends on the order of asking, not on how fast workers are. An estimate from a part
    of the items is an outcome for those that may stop there; a trial that must be measured takes
    no other's estimate, and what it measures takes the estimate's place.

    Args:
        context: the models of the study.
    """

    def __init__(self, context: SpaceContext) -> None:
        self._context = context
        self._completed: dict[str, Paid] = {}
        self._running: dict[str, int] = {}
        self._queues: dict[str, dict[int, bool]] = {}

    @classmethod
    def read(
        cls,
        context: SpaceContext,
        events: Sequence[Event],
        validation: Validation,
        recipe_of: Callable[[int], Recipe],
        pending: Collection[int],
    ) -> Twins:
        """Work out from a journal what was evaluated, and who is on the way up.

        Args:
            context: the models of the study.
            events: so far.
            validation: says which items a trial was scored on.
            recipe_of: decodes a completed trial, or one that was scored at a rung.
            pending: the trials that are not finished.
        """
        twins = cls(context)
        for event in events:
            number = event.trial
            if number is None or "metrics" not in event.payload:
                continue
            items = VALIDATED if event.kind == "validated" else validation.items_of(number)
            if event.kind in ("finished", "validated"):
                twins.complete(recipe_of(number), items, number, event.payload)
            elif event.kind == "measured" and number in pending:
                twins.claim(recipe_of(number), items, number)
        return twins

    @property
    def waiting(self) -> Set[int]:
        """The trials that wait for the outcome of another."""
        return {trial for queue in self._queues.values() for trial in queue}

    def find(self, recipe: Recipe, items: str, *, measured: bool = False) -> Paid | None:
        """Return the completed trial of a recipe.

        Args:
            recipe: that was scored.
            items: on which, as `Validation.items_of` names them.
            measured: on all of them; an estimate will not do.
        """
        found = self._completed.get(self._key(recipe, items))
        return None if measured and found is not None and _estimated(found[1]) else found

    def claim(self, recipe: Recipe, items: str, trial: int, *, measured: bool = False) -> bool:
        """Say whether a trial is to be evaluated; otherwise it waits for another.

        Args:
            recipe: of the trial.
            items: as of `find`.
            trial: its number.
            measured: it takes no estimate.
        """
        key = self._key(recipe, items)
        if self._running.setdefault(key, trial) != trial:
            self._queues.setdefault(key, {})[trial] = measured
            return False
        self._queues.get(key, {}).pop(trial, None)
        return True

    def complete(
        self, recipe: Recipe, items: str, trial: int, payload: Mapping[str, Any]
    ) -> tuple[list[int], list[int]]:
        """Note that a recipe was completed.

        Returns:
            The trials that waited for it and get its outcome; those that must be measured and
            got an estimate.
        """
        key = self._key(recipe, items)
        known = self._completed.get(key)
        if known is None or (_estimated(known[1]) and not _estimated(payload)):
            self._completed[key] = (trial, payload)
        self._running.pop(key, None)
        queue = self._queues.pop(key, {})
        left = [one for one, measured in queue.items() if measured and _estimated(payload)]
        return [one for one in queue if one not in left], left

    def fail(self, recipe: Recipe, items: str) -> int | None:
        """Note that a recipe failed; returns the trial that tries it next, if one waited."""
        key = self._key(recipe, items)
        self._running.pop(key, None)
        following = next(iter(self._queues.get(key, {})), None)
        if following is not None:
            self._running[key] = following
            del self._queues[key][following]
        return following

    def _key(self, recipe: Recipe, items: str) -> str:
        return key_of(recipe, self._context) + items


def _estimated(payload: Mapping[str, Any]) -> bool:
    return "errors" in payload


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
