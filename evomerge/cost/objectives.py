"""What the objectives of a study ask, split by split: their items, and forward passes over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evomerge.cost.forward import Workload
from evomerge.cost.workload import Asked, Tokens, asked
from evomerge.fitness import FitnessSpec, Item, check_fitness, load_items
from evomerge.study import Prepared
from evomerge.study.config import ObjectiveConfig
from evomerge.types import Split
from evomerge.workers.spec import part_of, source_of


class Objectives:
    """The objectives of a checked study; items are read once.

    Args:
        prepared: the study.
        tokens: counts them.
        answer_tokens: tokens of a usual answer; the most allowed by default.
    """

    def __init__(self, prepared: Prepared, tokens: Tokens, answer_tokens: int | None) -> None:
        self._folder = prepared.folder
        self._parts = prepared.config.objectives
        self._searched = prepared.items
        self._tokens = tokens
        self._answer = answer_tokens
        self._found = {
            name: check_fitness(
                part.fitness, part.arguments, metric=part.metric, folder=prepared.folder
            )
            for name, part in self._parts.items()
        }
        self._items: dict[tuple[str, Split], tuple[Item, ...]] = {}

    def ids(self, split: Split) -> Mapping[str, Sequence[str]]:
        """Return the ids of the items of a split, by objective.

        Of fitnesses that bring their own items only those of the search are known.
        """
        if split == "search":
            return self._searched
        return {
            name: tuple(str(item["id"]) for item in items)
            for name, fitness in self._found.items()
            if not fitness.brings_items and (items := self._read(name, split))
        }

    def asked(self, split: Split) -> list[Asked]:
        """Return what each objective asks over the items of a split."""
        found = []
        for name, part in self._parts.items():
            fitness = self._found[name]
            if fitness.brings_items:
                note = (
                    f"{name}: what '{fitness.name}' asks is its own; its forward passes are not "
                    "counted"
                )
                found.append(Asked(None, (note,)))
            elif split != "validation" or _source(part, split) is not None:
                found.append(self._asked(name, fitness, split))
        return found

    def foretold(self) -> list[Asked]:
        """Return what the objectives' proxies ask over all search items."""
        found = []
        for name, part in self._parts.items():
            if part.proxy is None or part.search is None:
                continue
            proxy = part.proxy
            fitness = check_fitness(
                proxy.fitness, proxy.arguments, metric=proxy.metric, folder=self._folder
            )
            found.append(self._asked(name, fitness, "search"))
        return found

    def _asked(self, name: str, fitness: FitnessSpec, split: Split) -> Asked:
        items = self._read(name, split)
        return asked(name, fitness, items, self._tokens, answer_tokens=self._answer)

    def _read(self, name: str, split: Split) -> tuple[Item, ...]:
        if (name, split) not in self._items:
            part = self._parts[name]
            source = _source(part, split)
            items = load_items(source, folder=self._folder, limit=part.limit) if source else ()
            self._items[name, split] = part_of(items, split, part.validation)
        return self._items[name, split]


def made(found: Sequence[Asked]) -> list[Workload]:
    """Return the forward passes of the objectives that make some."""
    return [one.workload for one in found if one.workload is not None]


def _source(part: ObjectiveConfig, split: Split) -> Any:
    return source_of(split, part.search, part.validation, part.holdout)
