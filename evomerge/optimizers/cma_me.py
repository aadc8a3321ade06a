"""CMA-ME and CMA-MAE on the unit cube, by pyribs.

The first objective, or the one named `quality`, is what is maximised in every cell of a grid whose
axes are the other objectives. A covariance matrix is adapted to where the archive grows.

    CMA-ME    ranks what found a new cell first, then what improved one, each by how much
    CMA-MAE   ranks by how far a candidate is above its cell's threshold, which rises slowly:
              t <- (1 - learning_rate) t + learning_rate f, from the lowest quality of the range

Sources: Fontaine et al. 2020, arXiv 1912.02400, for CMA-ME; Fontaine and Nikolaidis 2023, arXiv
2205.10752, for CMA-MAE; pyribs, Tjanaka et al. 2023. What is ours around them:

- The known points are evaluated first. They enter the archive, their best is the first mean, and
  ranges follow from them, see `evomerge.optimizers.archives.ranges`. Where all of them failed, or
  an objective was 0 for all, uniform points follow until there is a range to cut into bins; if the
  objective is still 0 for everybody, the search ends and says so.
- Points outside the unit cube are reflected into it; pyribs would draw until all coordinates are
  inside, which in many dimensions or near a corner never happens.
- A failed candidate ranks below every completed one and enters no archive. Neither does one that
  stopped at a rung: an estimate is no elite. It ranks between, by its estimate of quality. A
  generation of which nobody was measured is drawn again.
- The archive and the emitter are used without pyribs' scheduler, which cannot wait for results
  that come in one at a time.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import ConfigError, MissingExtra, SpaceError, nearest
from evomerge.optimizers.archives.ranges import Range, derived_range, quality_ranges
from evomerge.optimizers.arguments import checked_domain, flag, integer, number, text
from evomerge.optimizers.costs import bounded
from evomerge.optimizers.generation import Generation, Generational
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.spaces.domain import Domain
from evomerge.types import Objective, Trial

_MOST_GENES_IN_FULL = 100
_LEAST_ROOM = 1e-6  # between the best known quality and where thresholds begin: it must get in
_STREAMS = 3  # archive, emitter, uniform points


class CmaMe(Generational):
    """CMA-ME: covariance matrix adaptation that ranks by improvement of an archive.

    Args:
        domain: what to vary; genes are continuous or integer.
        n_objectives: two or more; one is quality, the others are measures.
        seed: source of all randomness.
        objectives: names and goals; the study gives them.
        seeds: evaluate the domain's seeds before its initial point.
        quality: name of the objective that is maximised in every cell; the first by default.
        bins: cells along each other objective.
        ranges: objective name to [low, high] of its metric; by default from 15 % below the
            weakest to 15 % above the strongest known point.
        sigma0: first standard deviation, as a share of each gene's range.
        population: candidates a generation; 4 + floor(3 ln n) by default.

    Raises:
        MissingExtra: pyribs is not installed.
        ConfigError: an option is out of range, or there are fewer than two objectives.
        SpaceError: a gene is categorical.
    """

    needs = Needs(objectives="many", generations=True)
    _name = "cma_me"

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        objectives: Sequence[Objective],
        seeds: bool = True,
        quality: str | None = None,
        bins: int = 15,
        ranges: Mapping[str, Sequence[float]] | None = None,
        sigma0: float = 1 / 6,
        population: int | None = None,
    ) -> None:
        self._archives, self._emitters = _import_ribs(self._name)
        self._domain = checked_domain(domain)
        for gene in domain.genes:
            if gene.kind == "categorical":
                raise SpaceError(
                    f"gene '{gene.name}' is categorical and {self._name} varies numbers only; use "
                    "cat_cma, nsga2 or optuna"
                )
        if n_objectives < 2 or len(objectives) != n_objectives:
            raise ConfigError(
                [f"optimizer: {self._name} needs two objectives or more, got {len(objectives)}"]
            )
        self._names = tuple(objective.name for objective in objectives)
        self._quality = 0 if quality is None else self._place(text("quality", quality))
        self._bins = integer("bins", bins, 1)
        self._given = quality_ranges(objectives, ranges)
        self._sigma0 = number("sigma0", sigma0, 0)
        if population is not None:
            integer("population", population, 2)
        self._population = population
        self._seeds = np.random.SeedSequence(integer("seed", seed, 0)).spawn(_STREAMS)
        self._uniform = np.random.default_rng(self._seeds[2])
        super().__init__(n_objectives)
        self.archive: Any = None
        self._emitter: Any = None
        self._number = 0
        self._first: list[Trial] = []
        self._points: NDArray[np.float64] = np.empty((0, len(domain)))
        known = known_points(domain)
        self._generation = Generation(known if flag("seeds", seeds) else known[-1:])

    @property
    def ranges(self) -> dict[str, Range]:
        """The range of each objective, larger being better; empty while it is not known."""
        rows = [_qualities(trial) for trial in self._first if trial.measured]
        return {
            name: self._given.get(name) or derived_range(column)
            for name, column in zip(self._names, zip(*rows, strict=True), strict=False)
        }

    def _grid(self, settings: dict[str, Any], lowest: float) -> Any:  # noqa: ARG002 -- no threshold
        """Make the archive of pyribs.

        Args:
            settings: of any archive here.
            lowest: quality in the range, where thresholds begin.
        """
        return self._archives.GridArchive(**settings)

    def _emitter_settings(self) -> dict[str, Any]:
        """Say how candidates are ranked and selected."""
        return {"ranker": "2imp", "selection_rule": "filter", "restart_rule": "no_improvement"}

    def _place(self, quality: str) -> int:
        if quality not in self._names:
            hint = nearest(quality, self._names)
            raise ConfigError([f"quality: there is no objective '{quality}'; {hint}"])
        return self._names.index(quality)

    def _advance(self, trials: Sequence[Trial]) -> None:
        if self._emitter is None:
            self._begin(trials)
        else:
            self._learn(trials)

    def _begin(self, trials: Sequence[Trial]) -> None:
        """Set up the archive if the first points allow; draw uniform ones if not."""
        drawn = bool(self._first)
        self._first += trials
        ranges = self.ranges
        axes = [name for place, name in enumerate(self._names) if place != self._quality]
        flat = [name for name in axes if ranges and ranges[name][0] >= ranges[name][1]]
        if flat and drawn:
            self._stopped = (
                f"{self._name}: objective '{flat[0]}' was 0 for every point, so there is no range "
                f"to cut into bins; give one: ranges: {{{flat[0]}: [low, high]}}"
            )
        elif flat or not ranges:
            self._draw_uniform()
        else:
            self._set_up(ranges, [ranges[name] for name in axes])
            self._draw()

    def _set_up(self, ranges: Mapping[str, Range], axes: Sequence[Range]) -> None:
        n = len(self._domain)
        settings = {
            "solution_dim": n,
            "dims": [self._bins] * len(axes),
            "ranges": axes,
            "seed": self._seeds[0],
        }
        measured = [trial for trial in self._first if trial.measured]
        points = np.array([self._domain.to_unit(trial.genotype) for trial in measured])
        qualities = np.array([_qualities(trial) for trial in measured])
        best = float(qualities[:, self._quality].max())
        below = best - max(abs(best), 1.0) * _LEAST_ROOM
        self.archive = self._grid(settings, min(ranges[self._names[self._quality]][0], below))
        self._offer(points, qualities)
        self._emitter = self._emitters.EvolutionStrategyEmitter(
            self.archive,
            x0=points[np.argmax(qualities[:, self._quality])],
            sigma0=self._sigma0,
            es="cma_es" if n <= _MOST_GENES_IN_FULL else "sep_cma_es",
            batch_size=self._population,
            seed=self._seeds[1],
            **self._emitter_settings(),
        )

    def _offer(
        self, points: NDArray[np.float64], qualities: NDArray[np.float64]
    ) -> dict[str, NDArray[Any]]:
        """Add measured candidates to the archive; returns pyribs' status and value of each."""
        measures = np.delete(qualities, self._quality, axis=1)
        info: dict[str, NDArray[Any]] = self.archive.add(
            points, qualities[:, self._quality], measures
        )
        return info

    def _learn(self, trials: Sequence[Trial]) -> None:
        """Add a generation to the archive and tell the emitter what became of it."""
        done = np.array([trial.measured for trial in trials])
        if done.any():
            completed = np.array([trial.costs is not None for trial in trials])
            qualities = np.zeros((len(trials), len(self._names)))
            qualities[completed] = [_qualities(t) for t in trials if t.costs is not None]
            found = self._offer(self._points[done], qualities[done])
            value = found["value"]
            status = np.zeros(len(trials), dtype=np.int32)
            status[done] = found["status"]
            # a failure: not added, and by as much below the worst as the best is above it
            room = max(np.ptp(value), abs(value.min()), 1.0)
            values = np.full(len(trials), value.min() - room)
            values[done] = value
            estimated = np.flatnonzero(completed & ~done)
            order = np.argsort(qualities[estimated, self._quality], kind="stable")
            steps = np.arange(1, len(estimated) + 1) / (len(estimated) + 1)
            values[estimated[order]] = value.min() - room * (1 - steps)
            self._emitter.tell(
                self._points,
                qualities[:, self._quality],
                np.delete(qualities, self._quality, axis=1),
                {"status": status, "value": values},
            )
        self._draw()

    def _draw(self) -> None:
        """Sample the next generation."""
        self._number += 1
        self._points = np.array(self._emitter.ask())
        self._propose(reflected(self._points), f"{self._name}:gen{self._number}")

    def _draw_uniform(self) -> None:
        size = self._population or 4 + int(3 * np.log(len(self._domain)))
        points = self._uniform.random((size, len(self._domain)))
        self._propose(points, f"{self._name}:uniform")

    def _propose(self, points: NDArray[np.float64], origin: str) -> None:
        self._generation = Generation(
            [Proposal(self._domain.from_unit(point.tolist()), origin) for point in points]
        )


class CmaMae(CmaMe):
    """CMA-MAE: like CMA-ME, with cells whose thresholds rise slowly.

    Args:
        domain: what to vary; genes are continuous or integer.
        n_objectives: two or more; one is quality, the others are measures.
        seed: source of all randomness.
        objectives: names and goals; the study gives them.
        seeds: evaluate the domain's seeds before its initial point.
        quality: name of the objective that is maximised in every cell; the first by default.
        bins: cells along each other objective.
        ranges: objective name to [low, high] of its metric; by default from 15 % below the
            weakest to 15 % above the strongest known point. The low end of quality's is where
            thresholds begin: who is worse enters no cell.
        sigma0: first standard deviation, as a share of each gene's range.
        population: candidates a generation; 4 + floor(3 ln n) by default.
        learning_rate: of the thresholds: 1 is CMA-ME's archive, 0 never moves them.

    Raises:
        MissingExtra: pyribs is not installed.
        ConfigError: an option is out of range, or there are fewer than two objectives.
        SpaceError: a gene is categorical.
    """

    _name = "cma_mae"

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        objectives: Sequence[Objective],
        seeds: bool = True,
        quality: str | None = None,
        bins: int = 15,
        ranges: Mapping[str, Sequence[float]] | None = None,
        sigma0: float = 1 / 6,
        population: int | None = None,
        learning_rate: float = 0.01,
    ) -> None:
        self._rate = 0.0 if learning_rate == 0 else number("learning_rate", learning_rate, 0, 1)
        super().__init__(
            domain,
            n_objectives,
            seed,
            objectives=objectives,
            seeds=seeds,
            quality=quality,
            bins=bins,
            ranges=ranges,
            sigma0=sigma0,
            population=population,
        )

    def _grid(self, settings: dict[str, Any], lowest: float) -> Any:
        rate = {"learning_rate": self._rate, "threshold_min": lowest}
        return self._archives.GridArchive(**settings, **rate)

    def _emitter_settings(self) -> dict[str, Any]:
        return {"ranker": "imp", "selection_rule": "mu", "restart_rule": "basic"}


def reflected(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reflect coordinates at 0 and 1 until they are inside."""
    inside: NDArray[np.float64] = 1.0 - np.abs(1.0 - np.mod(points, 2.0))
    return inside


def _qualities(trial: Trial) -> tuple[float, ...]:
    """Return what the costs are as numbers of which larger is better."""
    return tuple(-bounded(cost) + 0.0 for cost in trial.costs or ())


def _import_ribs(name: str) -> tuple[ModuleType, ModuleType]:
    try:
        return importlib.import_module("ribs.archives"), importlib.import_module("ribs.emitters")
    except ImportError:
        raise MissingExtra(name, "ribs") from None
