"""MAP: the front from a few dozen merges (Li et al. 2024, arXiv 2406.07529).

1. The known points, then Sobol points, fill a design of K trials.
2. One quadratic per objective is fitted to them (see `quadratic`).
3. The surrogates' front is searched, inside what was sampled and a margin.
4. A batch of its points is evaluated, spread over the front; fits and batches repeat while the
   budget lasts. What is returned is the front of everything that was evaluated, never a prediction.

`preset: published` keeps what the released code does and should not be used for anything but
comparison: see `published`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from evomerge.errors import ConfigError
from evomerge.optimizers.arguments import (
    checked_domain,
    choice,
    integer,
    not_negative,
    of_preset,
)
from evomerge.optimizers.generation import Generation
from evomerge.optimizers.map import published
from evomerge.optimizers.map.quadratic import RIDGE, Quadratic, n_coefficients
from evomerge.optimizers.map.region import MARGIN, Region
from evomerge.optimizers.map.search import SurrogateSearch, check_budget, sobol
from evomerge.optimizers.map.surrogate_front import (
    GENERATIONS,
    POPULATION,
    Predicted,
    chosen,
    predicted_front,
)
from evomerge.optimizers.mixed_variation import snapped
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.spaces.domain import Domain
from evomerge.types import Objective, Trial

Floats = npt.NDArray[np.float64]

BATCH = 15
LARGEST_BATCH = 40
"""Beyond this a batch is split, so that the next one is chosen by what this one found."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "evomerge": {
        "design": "sobol",
        "fit": "ridge",
        "search": "auto",
        "generations": GENERATIONS,
        "trust": "box",
    },
    "published": {
        "design": "grid",
        "fit": "least_squares",
        "search": "released_nsga3",
        "generations": published.GENERATIONS,
        "trust": "none",
    },
}


class Map(SurrogateSearch):
    """Model merging with amortised Pareto fronts.

    Args:
        domain: numeric genes; a design of p + 3 points must fit the budget, p = (n + 1)(n + 2) / 2.
        n_objectives: any number.
        seed: source of all randomness.
        seeds: evaluate the domain's seeds and initial point first; they belong to the design.
        objectives: told by the study; their bounds choose the links of the surrogates.
        budget: told by the study; without one, batches follow one another for ever.
        preset: 'evomerge', or 'published' for the released code's choices of the options below.
        design_size: K; by default 60 % of the budget and 5 % for each gene, at least 2 p, and
            leaving 15 trials.
        batch: trials proposed from one fit; by default what the budget leaves, at most 40.
        box: [least, greatest] of every gene in its own units: what is sampled; by default from the
            base to the donors, and less far for many donors (`starting.start_box`). Where no gene
            is continuous, what lies outside too, once the box has nothing new.
        trust: where surrogates are searched: 'box' in what was sampled and 10 % beyond, 'leverage'
            wherever no point's leverage exceeds the largest fitted one, 'none' everywhere.
        ridge: of the fits; with 0 they are least squares, of the least norm where that is open.
        design: 'sobol', or 'grid', the released sampler, whose design is singular for 8 genes.
        fit: 'ridge', or 'least_squares', the released one.
        generations: of the search on the surrogates, 100 points each.
        search: 'auto' (NSGA-II, or NSGA-III from four objectives on) or 'released_nsga3'.

    Attributes:
        notes: how well the surrogates fit.

    Raises:
        ConfigError: a gene is no number, an option is out of range, or the budget is too small for
            the number of genes.
    """

    needs = Needs(objectives="any", generations=True)

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        seeds: bool = True,
        objectives: Sequence[Objective] = (),
        budget: int | None = None,
        preset: str = "evomerge",
        design_size: int | None = None,
        batch: int | None = None,
        box: Sequence[float] | None = None,
        trust: str | None = None,
        ridge: float = RIDGE,
        design: str | None = None,
        fit: str | None = None,
        search: str | None = None,
        generations: int | None = None,
    ) -> None:
        n_objectives = integer("n_objectives", n_objectives, 1)
        super().__init__(
            "map", checked_domain(domain), n_objectives, objectives, not_negative("ridge", ridge)
        )
        given = partial(of_preset, PRESETS, preset)
        self._seed = integer("seed", seed, 0)
        self._trust = choice("trust", given("trust", trust), ("box", "leverage", "none"))
        self._design = choice("design", given("design", design), ("sobol", "grid"))
        self._fit = choice("fit", given("fit", fit), ("ridge", "least_squares"))
        released = choice("search", given("search", search), ("auto", "released_nsga3"))
        self._released = released == "released_nsga3"
        if self._released and n_objectives < 2:
            raise ConfigError(["search: released_nsga3 needs two or more objectives"])
        self._generations = integer("generations", given("generations", generations), 1)
        self._region = Region.of(domain, box, MARGIN if self._trust == "box" else 1.0)
        self._batch = None if batch is None else integer("batch", batch, 1)
        known = self._known_points(seeds=seeds)
        size = self._design_size(design_size, budget, len(known))
        self._left = None if budget is None else budget - size
        self._round = 0
        self._extended = False
        self._generation = Generation([*known, *self._designed(max(size - len(known), 0))])

    def _design_size(self, given: int | None, budget: int | None, n_known: int) -> int:
        n_genes = len(self._domain)
        p = n_coefficients(n_genes)
        if given is not None:
            size = max(integer("design_size", given, 1), n_known)
            check_budget(self._name, self._domain, size, f"design_size {given}")
            return size
        if budget is None:
            return max(2 * p, BATCH, n_known)
        share = min(0.6 + 0.05 * n_genes, 1.0)
        size = min(max(2 * p, math.ceil(share * budget)), budget - BATCH)
        size = max(size, n_known)
        check_budget(self._name, self._domain, size, f"a budget of {budget} trials")
        return size

    def _designed(self, count: int) -> list[Proposal]:
        random = np.random.default_rng([self._seed, 0])
        if self._design == "sobol":
            return self._sampled(count, random, "map:design")
        grid = published.grid_design(len(self._domain), count, random)
        return self._proposals(self._region.sample(grid), "map:design")

    def _advance(self, trials: Sequence[Trial]) -> None:
        self._learn(trials)
        self._round += 1
        if self._left is not None and self._left <= 0:
            self._left = None  # the budget was extended: go on batch by batch
        count = self._batch or min(self._left or BATCH, LARGEST_BATCH)
        proposals = self._from_surrogates(count) if self._fits else self._filled([], count)
        if proposals and not self._fits:
            self.notes.append(
                f"map: only {len(self._points)} trials completed, too few to fit; sampling goes on"
            )
        self._go_on(proposals)

    def _from_surrogates(self, count: int) -> list[Proposal]:
        surrogates = self._surrogates()
        found = self._search(surrogates)
        faces = self._region.crowded_faces(found.front) if found.n_front else []
        if faces and self._trust == "box" and not self._extended:
            wider = self._extension(faces, count)
            if wider:
                return wider
        self._extended = False
        picked = chosen(found, count, np.array(self._tried))
        return self._filled(self._proposals(picked, f"map:front{self._round}"), count)

    def _filled(self, proposals: list[Proposal], count: int) -> list[Proposal]:
        """Fill a batch up with samples where the surrogates have too few distinct points."""
        random = np.random.default_rng([self._seed, self._round, 1])
        missing = max(count - len(proposals), 0)
        return proposals + self._sampled(missing, random, f"map:fill{self._round}")

    def _surrogates(self) -> list[Quadratic]:
        surrogates = self._fitted()
        if self._fit == "ridge":
            return self._noted(surrogates)
        points, costs = np.array(self._points), np.array(self._costs)
        result = []
        for title, ridge, column in zip(self._titles, surrogates, costs.T, strict=True):
            one, remark = published.fit_from_ones(points, column, ridge.link)
            if remark:
                self.notes.append(f"map: {title}: {remark}")
            result.append(one or ridge)
        return self._noted(result)

    def _search(self, surrogates: Sequence[Quadratic]) -> Predicted:
        everywhere = self._trust != "box"
        n_genes = len(self._domain)
        low, high = self._region.searched
        if everywhere:
            low, high = np.zeros(n_genes), np.ones(n_genes)
        random = np.random.default_rng([self._seed, self._round, 0])
        start = low + random.random((POPULATION, n_genes)) * (high - low)
        if not self._released:  # the evaluated points are the best guesses there are
            start[: len(self._points)] = np.array(self._points)[-POPULATION:]
        return predicted_front(
            surrogates,
            low,
            high,
            int(random.integers(2**31)),
            start=start,
            limit_leverage=self._trust == "leverage",
            generations=self._generations,
            algorithm=published.released_nsga3 if self._released else None,
            canonical=partial(snapped, domain=self._domain),
        )

    def _extension(self, faces: Sequence[tuple[int, bool]], count: int) -> list[Proposal]:
        """Sample behind the faces at which the predicted front crowds, before proposing there."""
        larger = self._region.extended(faces)
        names = ", ".join(self._domain.genes[gene].name for gene, _ in faces)
        self.notes.append(f"map: the front reaches the edge of what was sampled in {names}; wider")
        each = max(1, min(count, max(len(faces), count // 3)) // len(faces))
        random = np.random.default_rng([self._seed, self._round, 2])
        points = [
            self._region.added(larger, face).sample(sobol(len(self._domain), each, random))
            for face in faces
        ]
        self._region = larger
        self._extended = True
        return self._proposals(np.vstack(points)[:count], f"map:wider{self._round}")
