"""What a population looks like from outside: plain values for `status` and `report`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from evomerge.types import Trial


@dataclass(frozen=True, slots=True)
class Niche:
    """A member of an archive.

    Attributes:
        trial: its number.
        quality: what it is kept for, larger being better.
        holds: how many examples it holds where members compete for examples; 1 in a cell.
        measures: its place, one number an axis; empty where niches have no axes.
        cell: the cell it lives in, one index an axis; None where there is no grid.
    """

    trial: int
    quality: float
    holds: int = 1
    measures: tuple[float, ...] = ()
    cell: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class NicheMap:
    """One archive.

    Attributes:
        name: of the task whose quality it keeps; '' for an archive of all examples.
        niches: its members.
        places: how many there are to hold: cells, examples, or places of a fixed size.
        filled: how many of them somebody holds.
        axes: names of the measures.
        bounds: lowest and highest value of each axis.
        bins: cells along each axis; empty without a grid.
        clipped: individuals that lay outside the bounds and were counted at the edge.
        note: what a reader should know of it; '' for nothing.
        champion: the best individual ever, whether or not it is a member; None before any.
    """

    name: str
    niches: tuple[Niche, ...]
    places: int
    filled: int
    axes: tuple[str, ...] = ()
    bounds: tuple[tuple[float, float], ...] = ()
    bins: tuple[int, ...] = ()
    clipped: int = 0
    note: str = ""
    champion: int | None = None

    @property
    def coverage(self) -> float:
        """Share of the places that somebody holds."""
        return self.filled / self.places if self.places else 0.0


class Watch(Protocol):
    """An archive that learns from outcomes alone, so that it can be rebuilt from a journal.

    An optimizer that keeps a population has a static method `watch(n_objectives, *, objectives,
    budget, **options)` that makes the watch of the archive it keeps itself.
    """

    @property
    def needs_examples(self) -> bool:
        """Whether trials must carry the scores of their examples."""
        ...

    def tell(self, trial: Trial) -> object:
        """Learn one outcome, in the order in which they were told; keep none not `measured`."""
        ...

    def maps(self) -> tuple[NicheMap, ...]:
        """Return the archives as they stand."""
        ...
