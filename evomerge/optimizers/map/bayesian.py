"""Bayesian MAP: sample where the surrogates are wrong (Li et al. 2024, arXiv 2406.07529, Sec. 4).

Directions from the base are divided into bins; each update draws more points in the bins whose
points the surrogates predict worst. Despite its name there is no posterior and no acquisition.

The released code scores bins by the first points only, forgets its prior, never visits an empty bin
and leaves the last batch out of the fit; here every point counts, a bin's weight is its last weight
times the softmax of its score (standardised over bins, temperature 1), summed over objectives, and
empty bins score as the worst do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from evomerge.errors import ConfigError
from evomerge.optimizers.arguments import checked_domain, integer, not_negative
from evomerge.optimizers.generation import Generation
from evomerge.optimizers.map.amortised import BATCH, LARGEST_BATCH
from evomerge.optimizers.map.quadratic import RIDGE, Quadratic, n_coefficients
from evomerge.optimizers.map.region import Region
from evomerge.optimizers.map.search import SPARE, SurrogateSearch, check_budget
from evomerge.optimizers.map.surrogate_front import (
    GENERATIONS,
    POPULATION,
    chosen,
    predicted_front,
)
from evomerge.optimizers.mixed_variation import snapped
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.spaces.domain import Domain
from evomerge.types import Objective, Trial

Floats = npt.NDArray[np.float64]

MOST_GENES = 10
"""Bins are 2^(n - 1) for n genes; the released code warns above 6."""
REMOVALS = 30
REMOVED = 0.2
SPREAD_WEIGHT = 0.5
RADIUS = (0.2, 0.8)


class BayesianMap(SurrogateSearch):
    """MAP with error-targeted sampling.

    Args:
        domain: 2 to 10 numeric genes.
        n_objectives: any number.
        seed: source of all randomness.
        seeds: evaluate the domain's seeds and initial point first; they belong to the design.
        objectives: told by the study; their bounds choose the links.
        budget: told by the study; it is divided into design, updates and a last batch of 15.
        design_size: points before the first fit; by default p + 3, or half of what the last batch
            leaves where that is more.
        updates: how often bins are scored and sampled; never, and a note says so, where the budget
            leaves no trials for it.
        batch: trials proposed from the final fit; what the budget leaves, at most 40, by default.
        box: [least, greatest] of every gene in its own units: what is sampled; by default from the
            base to the donors, and less far for many donors (`starting.start_box`). Where no gene
            is continuous, what lies outside too, once the box has nothing new.
        ridge: of the fits; with 0 they are least squares, of the least norm where that is open.
        generations: of the search on the surrogates, 100 points each.

    Attributes:
        notes: how well the surrogates fit.

    Raises:
        ConfigError: a gene is no number, an option is out of range, or there are too few trials.
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
        design_size: int | None = None,
        updates: int = 3,
        batch: int | None = None,
        box: Sequence[float] | None = None,
        ridge: float = RIDGE,
        generations: int = GENERATIONS,
    ) -> None:
        n_objectives = integer("n_objectives", n_objectives, 1)
        ridge = not_negative("ridge", ridge)
        super().__init__("bayesian_map", checked_domain(domain), n_objectives, objectives, ridge)
        n_genes = len(domain)
        if not 2 <= n_genes <= MOST_GENES:
            raise ConfigError(
                [
                    f"optimizer: 'bayesian_map' divides directions into bins and takes 2 to "
                    f"{MOST_GENES} genes, the space has {n_genes}; use map or mobo"
                ]
            )
        self._seed = integer("seed", seed, 0)
        self._generations = integer("generations", generations, 1)
        self._region = Region.of(domain, box)
        self._batch = None if batch is None else integer("batch", batch, 1)
        known = self._known_points(seeds=seeds)
        p = n_coefficients(n_genes)
        last = self._batch or BATCH
        free = None if budget is None else budget - last
        default = p + SPARE if free is None else max(p + SPARE, free // 2)
        size = default if design_size is None else integer("design_size", design_size, 1)
        size = max(size, len(known))
        what = (
            "its design" if free is None else f"a budget of {budget} trials, {last} of them last,"
        )
        check_budget(self._name, domain, size if free is None else min(size, free), what)
        updates = integer("updates", updates, 0)
        each = BATCH if free is None else (free - size) // updates if updates else 0
        self._updates = updates if each > 0 else 0
        if updates and not self._updates:
            self.notes.append(
                f"bayesian_map: {budget} trials leave none for updates; this is map with another "
                "design"
            )
        self._each = each
        self._left = None if budget is None else budget - size
        self._round = 0
        self._bins = Bins(n_genes)
        self._weights: Floats | None = None
        self._base = np.array(domain.to_unit(base_of(domain)))
        random = np.random.default_rng([self._seed, 0])
        design = self._sampled(max(size - len(known), 0), random, "bayesian_map:design")
        self._generation = Generation([*known, *design])

    def _advance(self, trials: Sequence[Trial]) -> None:
        self._learn(trials)
        self._round += 1
        if self._left is not None and self._left <= 0:
            self._left = None
        random = np.random.default_rng([self._seed, self._round])
        updating = self._round <= self._updates
        count = self._each if updating else self._batch or min(self._left or BATCH, LARGEST_BATCH)
        if not self._fits:
            proposals: list[Proposal] = []
        elif updating:
            points = self._where_wrong(self._noted(self._fitted()), count, random)
            proposals = self._proposals(points, f"bayesian_map:update{self._round}")
        else:
            proposals = self._from_front(self._noted(self._fitted()), count, random)
        missing = max(count - len(proposals), 0)
        proposals += self._sampled(missing, random, f"bayesian_map:fill{self._round}")
        if proposals and not self._fits:
            self.notes.append("bayesian_map: too few trials completed to fit; sampling goes on")
        self._go_on(proposals)

    def _where_wrong(
        self, surrogates: Sequence[Quadratic], count: int, random: np.random.Generator
    ) -> Floats:
        """Draw points in the bins whose points are predicted worst, (count, n_genes)."""
        points, costs = np.array(self._points), np.array(self._costs)
        uncertain = np.array(self._errors) ** 2  # of estimates: no fault of the surrogate
        bins = self._bins.of(points - self._base)
        weights = np.ones(self._bins.count) if self._weights is None else self._weights
        updated = np.zeros(self._bins.count)
        for one, column, variance in zip(surrogates, costs.T, uncertain.T, strict=True):
            errors = np.maximum((one.costs(points) - column) ** 2 - variance, 0.0)
            updated += weights * softmax(standardised(scores(errors, bins, self._bins, random)))
        self._weights = updated / updated.sum()
        drawn = random.choice(self._bins.count, size=count, p=self._weights)
        directions = np.array([self._bins.draw(int(one), random) for one in drawn])
        # One unit of length reaches a face of the domain along a single gene.
        radius = random.uniform(*RADIUS, size=(count, 1))
        low, high = self._region.low, self._region.high
        return np.asarray(np.clip(self._base + radius * directions, low, high))

    def _from_front(
        self, surrogates: Sequence[Quadratic], count: int, random: np.random.Generator
    ) -> list[Proposal]:
        low, high = self._region.searched
        start = low + random.random((POPULATION, len(self._domain))) * (high - low)
        start[: len(self._points)] = np.array(self._points)[-POPULATION:]
        found = predicted_front(
            surrogates,
            low,
            high,
            int(random.integers(2**31)),
            start=start,
            generations=self._generations,
            canonical=partial(snapped, domain=self._domain),
        )
        picked = chosen(found, count, np.array(self._tried))
        return self._proposals(picked, f"bayesian_map:front{self._round}")


class Bins:
    """Directions of the positive orthant, divided by their hyperspherical angles.

    Args:
        n_genes: n; there are n - 1 angles in [0, pi / 2], each cut into 4 for n < 4, else into 2.
    """

    def __init__(self, n_genes: int) -> None:
        self._parts = 4 if n_genes < 4 else 2
        self._angles = n_genes - 1
        self.count: int = self._parts**self._angles

    def of(self, vectors: Floats) -> npt.NDArray[np.intp]:
        """Return the bin of each vector, (n_points,); negative coordinates count as 0."""
        positive = np.maximum(vectors, 0.0)
        rest = np.sqrt(np.cumsum(positive[:, ::-1] ** 2, axis=1)[:, ::-1])
        angles = np.arctan2(rest[:, 1:], positive[:, :-1])
        share = np.minimum((angles / (math.pi / 2) * self._parts).astype(np.intp), self._parts - 1)
        powers = self._parts ** np.arange(self._angles, dtype=np.intp)
        return np.asarray(share @ powers)

    def draw(self, number: int, random: np.random.Generator) -> Floats:
        """Draw a direction of a bin, a vector of length 1, its angles uniform."""
        share = [(number // self._parts**k) % self._parts for k in range(self._angles)]
        angles = (np.array(share) + random.random(self._angles)) / self._parts * (math.pi / 2)
        sines = np.concatenate([[1.0], np.cumprod(np.sin(angles))])
        return np.asarray(sines * np.concatenate([np.cos(angles), [1.0]]))


def scores(
    errors: Floats, bins: npt.NDArray[np.intp], grid: Bins, random: np.random.Generator
) -> Floats:
    """Return how wrong a surrogate is in each bin, (n_bins,); an empty bin is as bad as the worst.

    The mean squared error and half the standard deviation it has when a fifth of the bin's points
    is left out, 30 times, each time of all points.
    """
    result = np.full(grid.count, -np.inf)
    order = np.argsort(bins, kind="stable")
    filled, starts = np.unique(bins[order], return_index=True)
    for number, own in zip(filled, np.split(errors[order], starts[1:]), strict=True):
        result[number] = own.mean()
        if len(own) > 1:  # a point alone is never left out
            kept = round(len(own) * (1 - REMOVED))
            drawn = random.permuted(np.tile(own, (REMOVALS, 1)), axis=1)[:, :kept]
            result[number] += SPREAD_WEIGHT * float(drawn.mean(axis=1).std())
    return np.where(np.isneginf(result), result.max(), result)


def standardised(values: Floats) -> Floats:
    """Return values with mean 0 and standard deviation 1; zeros when all are equal."""
    deviation = float(values.std())
    return np.asarray((values - values.mean()) / deviation if deviation > 0 else values * 0.0)


def softmax(values: Floats) -> Floats:
    """Return probabilities in proportion to exp(value)."""
    exponentials = np.exp(values - values.max())
    return np.asarray(exponentials / exponentials.sum())


def base_of(domain: Domain) -> tuple[float | int | str, ...]:
    """Return the point that directions start from: the seed named 'base', or every gene's least."""
    for seed in domain.seeds:
        if seed.name == "base":
            return seed.genotype
    return tuple(gene.low if gene.kind == "continuous" else int(gene.low) for gene in domain.genes)
