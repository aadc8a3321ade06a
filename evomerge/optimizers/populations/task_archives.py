"""One archive for each task: quality is its metric, measures are those of all the others.

Everybody who was measured is offered to every archive: an estimate, from a part of the items, may
flatter and would keep out who is better. Ranges of measures follow from the founders, see
`evomerge.optimizers.archives.ranges`. Metrics are counted so that larger is better: those of
minimised objectives with the opposite sign.

Source: Kuroki et al. 2025, arXiv 2410.14735.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from evomerge.optimizers.archives import (
    Archive,
    CvtArchive,
    DominatedNoveltyArchive,
    EdgeRule,
    GridArchive,
    Ranges,
)
from evomerge.optimizers.archives.ranges import Range, derived_range
from evomerge.optimizers.archives.watch import Niche, NicheMap
from evomerge.optimizers.costs import bounded
from evomerge.spaces.populations.genotypes import is_founder
from evomerge.types import Objective, Trial

Kind: TypeAlias = Literal["grid", "cvt", "dominated_novelty"]
_PUBLISHED_BUDGET, _PUBLISHED_CELLS = 1200, 15**2


class TaskArchives:
    """The archives of all tasks, as a function of the set of outcomes.

    The founders told so far decide the ranges, so archives are filled anew when another founder is
    told. If all of them failed, as many of the completed individuals of the lowest trial numbers
    stand in for them.

    Args:
        objectives: the tasks, in order; two at least.
        kind: of archive.
        bins: of a grid, along each measure.
        cells: of a Voronoi tessellation, or the capacity by dominated novelty.
        edge_rule: of a grid.
        ranges: of some objectives by name, larger being better; see
            `evomerge.optimizers.archives.ranges.quality_ranges`.

    Attributes:
        archives: one a task; empty while there is nobody to decide the ranges, or a range is empty.
        flat: names of objectives whose range is empty: 0 for all who decide it.
        alike: names of objectives on which all founders score alike, and no range is given, so that
            it is a guess.
    """

    needs_examples = False

    def __init__(
        self,
        objectives: Sequence[Objective],
        *,
        kind: Kind,
        bins: int,
        cells: int,
        edge_rule: EdgeRule,
        ranges: Mapping[str, Range],
    ) -> None:
        self._names = tuple(objective.name for objective in objectives)
        self._kind: Kind = kind
        self._bins = bins
        self._cells = cells
        self._edge_rule: EdgeRule = edge_rule
        self._given = dict(ranges)
        self._founders = 0
        self._founder_scores: dict[int, tuple[float, ...]] = {}
        self._scores: dict[int, tuple[float, ...]] = {}
        self._ranges: tuple[Range, ...] = ()
        self.archives: tuple[Archive, ...] = ()
        self.flat: tuple[str, ...] = ()
        self.alike: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks."""
        return self._names

    @property
    def ranges(self) -> dict[str, Range]:
        """The range of each objective, larger being better; empty while it is not known."""
        return dict(zip(self._names, self._ranges, strict=False))

    @property
    def settled(self) -> bool:
        """Whether enough is told to decide the ranges, unless founders are still to come."""
        return bool(self._founder_scores) or len(self._scores) >= self._stand_ins

    def expert(self, task: int, among: Sequence[int]) -> int | None:
        """Return the founder with the best score on a task, the first of equals.

        Args:
            task: position of the task.
            among: trial numbers of the founders that are asked about.
        """
        known = [number for number in among if number in self._founder_scores]
        return max(known, key=lambda number: self._founder_scores[number][task], default=None)

    def share_of_range(self, task: int, quality: float) -> float:
        """Return where a quality lies in its task's range: 0 at the low end, 1 at the high end."""
        low, high = self._ranges[task]
        return (quality - low) / (high - low)

    @property
    def by_founders(self) -> bool:
        """Whether founders decide the ranges, not those who stand in for them."""
        return bool(self._founder_scores)

    def tell(self, trial: Trial) -> tuple[int, ...]:
        """Offer a measured individual to every archive.

        Returns:
            Who may have lost the last place, or found none; ask `holds`.
        """
        founder = is_founder(trial.genotype)
        self._founders += founder
        if trial.measured:
            qualities = tuple(-bounded(cost) + 0.0 for cost in trial.costs or ())
            self._scores[trial.number] = qualities
            if founder:
                self._founder_scores[trial.number] = qualities
        if self._ranges_moved():
            self._fill()
            return (trial.number, *self._scores)
        return self._offer(trial.number) if trial.measured else (trial.number,)

    def holds(self, number: int) -> bool:
        """Say whether an individual is a member of an archive, or may become one again."""
        if self._kind == "dominated_novelty" and number in self._scores:
            return True
        return any(number in archive for archive in self.archives)

    def maps(self) -> tuple[NicheMap, ...]:
        """Return each archive as a map of its own; numbers are such that larger is better."""
        return tuple(self._map(task) for task in range(len(self._names)))

    @property
    def _stand_ins(self) -> int:
        return max(2, self._founders)

    def _ranges_moved(self) -> bool:
        """Decide the ranges; return whether they are others than before."""
        deciding = list(self._founder_scores.values()) or [
            self._scores[number] for number in sorted(self._scores)[: self._stand_ins]
        ]
        if not deciding:
            return False
        before = self._ranges
        columns = dict(zip(self._names, zip(*deciding, strict=True), strict=True))
        self._ranges = tuple(
            self._given.get(name) or derived_range(column) for name, column in columns.items()
        )
        self.flat = tuple(name for name, (low, high) in self.ranges.items() if low >= high)
        self.alike = tuple(
            name
            for name, column in columns.items()
            if name not in self._given and len(column) > 1 and min(column) == max(column)
        )
        return self._ranges != before

    def _fill(self) -> None:
        """Make archives of the present ranges and offer everybody."""
        self.archives = ()
        if not self.flat:
            self.archives = tuple(
                self._empty(self._others(self._ranges, task)) for task in range(len(self._names))
            )
            for number in self._scores:
                self._offer(number)

    def _empty(self, ranges: Ranges) -> Archive:
        if self._kind == "grid":
            dims = (self._bins,) * len(ranges)
            return GridArchive(dims=dims, ranges=ranges, edge_rule=self._edge_rule)
        if self._kind == "cvt":
            return CvtArchive(cells=self._cells, ranges=ranges)
        return DominatedNoveltyArchive(capacity=self._cells, ranges=ranges)

    def _offer(self, number: int) -> tuple[int, ...]:
        """Offer an individual to every archive; returns who may have to go."""
        scores = self._scores[number]
        infos = [
            archive.add_single(number, scores[task], self._others(scores, task))
            for task, archive in enumerate(self.archives)
        ]
        return (number, *(info.displaced for info in infos if info.displaced is not None))

    @staticmethod
    def _others(values: Sequence[Any], task: int) -> tuple[Any, ...]:
        """Return what belongs to the other tasks."""
        return (*values[:task], *values[task + 1 :])

    def _note(self, axes: Sequence[str]) -> str:
        """Say which axes have a range that is a guess."""
        names = [name for name in axes if name in self.alike]
        if not names:
            return ""
        return f"all founders score alike on {' and '.join(names)}: give its range by 'ranges'"

    def _map(self, task: int) -> NicheMap:
        name, axes = self._names[task], self._others(self._names, task)
        bins = (self._bins,) * len(axes) if self._kind == "grid" else ()
        if not self.archives:
            cells = math.prod(bins) if bins else self._cells
            return NicheMap(name, (), cells, 0, axes=axes, bins=bins)
        archive = self.archives[task]
        niches = tuple(
            Niche(
                one.solution,
                one.objective,
                measures=one.measures,
                cell=archive.int_to_grid_index(one.index)
                if isinstance(archive, GridArchive)
                else None,
            )
            for one in archive.elites()
        )
        best = archive.best_elite
        return NicheMap(
            name,
            niches,
            archive.cells,
            len(archive),
            axes=axes,
            bounds=self._others(self._ranges, task),
            bins=bins,
            clipped=archive.clipped,
            note=self._note(axes),
            champion=None if best is None else best.solution,
        )


def kind_for(archive: str, bins: int, n_measures: int, budget: int | None) -> Kind:
    """Return the kind of archive: 'auto' is a grid while it has no more cells than the budget."""
    if archive == "auto":
        return "grid" if bins**n_measures <= (budget or _PUBLISHED_BUDGET) else "cvt"
    if archive == "cvt":
        return "cvt"
    return "grid" if archive == "grid" else "dominated_novelty"


def cells_for(budget: int | None) -> int:
    """Return how many cells suit a budget: as many a cell as in the paper, 1,200 for 225 cells."""
    return max(4, round((budget or _PUBLISHED_BUDGET) * _PUBLISHED_CELLS / _PUBLISHED_BUDGET))
