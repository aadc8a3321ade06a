"""What the forms of MAP share: fitting on what was told, and choosing the next batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from evomerge.errors import ConfigError
from evomerge.optimizers.arguments import flag
from evomerge.optimizers.costs import bounded
from evomerge.optimizers.exhaustion import drawn_anew, exhausted
from evomerge.optimizers.generation import Generation, Generational
from evomerge.optimizers.known_points import known_points
from evomerge.optimizers.links import links_of
from evomerge.optimizers.map.quadratic import Quadratic, fit_all, n_coefficients
from evomerge.optimizers.map.region import Region
from evomerge.optimizers.protocol import Proposal
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype, Objective, Trial

Floats = npt.NDArray[np.float64]

SPARE = 3
"""A quadratic is fitted from p + 3 points on; fewer leave nothing to judge the fit by."""
TRUSTED = 0.5
"""Below this leave-one-out R2 a surrogate is said to be of little use."""


class SurrogateSearch(Generational):
    """Collects evaluated points, fits one quadratic per objective, and proposes batches.

    Where no gene is continuous no genotype is proposed twice: a merge gives the same costs again.
    Such a search ends when neither surrogates nor samples have a new one. A subclass sets
    `_region` and `_left`, the trials that its budget leaves, before its first proposal.

    Args:
        domain: numeric genes.
        n_objectives: any number.
        objectives: their bounds choose the links; costs are taken as they are without them.
        ridge: of the fits.

    Attributes:
        notes: what the user should know of the fits, in the order in which it was found.

    Raises:
        ConfigError: a gene is categorical.
    """

    _region: Region
    _left: int | None

    def __init__(
        self,
        name: str,
        domain: Domain,
        n_objectives: int,
        objectives: Sequence[Objective],
        ridge: float,
    ) -> None:
        super().__init__(n_objectives)
        check_numeric(name, domain)
        self._name = name
        self._domain = domain
        self._n_objectives = n_objectives
        self._links = links_of(objectives, n_objectives)
        self._titles = titles_of(objectives, n_objectives)
        self._ridge = ridge
        self._points: list[list[float]] = []
        self._costs: list[list[float]] = []
        self._errors: list[list[float]] = []
        self._tried: list[list[float]] = []
        self._finite = all(gene.kind != "continuous" for gene in domain.genes)
        self._proposed: set[Genotype] = set()
        self.notes: list[str] = []

    def _learn(self, trials: Sequence[Trial]) -> None:
        """Keep what was evaluated; failed points are not proposed again."""
        for trial in trials:
            point = self._domain.to_unit(trial.genotype)
            self._tried.append(point)
            if trial.costs is not None:
                self._points.append(point)
                self._costs.append([bounded(cost) for cost in trial.costs])
                self._errors.append(list(trial.errors) or [0.0] * self._n_objectives)

    @property
    def _fits(self) -> bool:
        """Whether there are enough points to fit."""
        return len(self._points) >= n_coefficients(len(self._domain)) + SPARE

    def _fitted(self) -> list[Quadratic]:
        """Fit every objective, estimates by their errors."""
        points, costs, errors = map(np.array, (self._points, self._costs, self._errors))
        links = [link.fitted(column) for link, column in zip(self._links, costs.T, strict=True)]
        return fit_all(points, costs, links, self._ridge, errors)

    def _noted(self, surrogates: list[Quadratic]) -> list[Quadratic]:
        """Return surrogates that will be searched, having noted how good they are."""
        self.notes += fit_notes(self._name, self._titles, surrogates)
        return surrogates

    def _genotype(self, point: Floats) -> Genotype:
        return self._domain.from_unit(point.tolist())

    def _known_points(self, *, seeds: bool) -> list[Proposal]:
        """Return what is proposed first, where seeds are."""
        known = known_points(self._domain) if flag("seeds", seeds) else ()
        self._proposed |= {one.genotype for one in known}
        return list(known)

    def _proposals(self, points: Floats, origin: str) -> list[Proposal]:
        """Return proposals of points; on a finite domain, those that were not made before."""
        proposals = [Proposal(self._genotype(point), origin) for point in points]
        if self._finite:
            proposals = [one for one in proposals if self._claim(one.genotype)]
        return proposals

    def _claim(self, genotype: Genotype) -> bool:
        """Have a genotype count as proposed; says whether it did not before."""
        new = genotype not in self._proposed
        self._proposed.add(genotype)
        return new

    def _sampled(self, count: int, random: np.random.Generator, origin: str) -> list[Proposal]:
        """Sample the region; of a finite domain only new genotypes, where it has no more anywhere.

        Fewer than `count` where the domain has no more either.
        """
        unit = sobol(len(self._domain), count, random)
        proposals = self._proposals(self._region.sample(unit), origin)
        while self._finite and len(proposals) < count:
            genotype = self._new_genotype(random)
            if genotype is None:
                break
            proposals.append(Proposal(genotype, origin))
        return proposals

    def _new_genotype(self, random: np.random.Generator) -> Genotype | None:
        """Draw a genotype in the region, or where it has no new one anywhere in the domain."""

        def inside() -> Genotype:
            return self._genotype(self._region.sample(random.random(len(self._domain))))

        def anywhere() -> Genotype:
            return self._genotype(random.random(len(self._domain)))

        return drawn_anew(inside, self._claim) or drawn_anew(anywhere, self._claim)

    def _go_on(self, proposals: Sequence[Proposal]) -> None:
        """Propose these next; without any the search is over."""
        if not proposals:
            self._stopped = exhausted(self._name)
            return
        if self._left is not None:
            self._left -= len(proposals)
        self._generation = Generation(proposals)


def titles_of(objectives: Sequence[Objective], n_objectives: int) -> list[str]:
    """Return what notes call the objectives."""
    return [one.name for one in objectives] or [f"objective {k + 1}" for k in range(n_objectives)]


def sobol(n_genes: int, count: int, random: np.random.Generator) -> Floats:
    """Return the first points of a scrambled Sobol sequence, (count, n_genes)."""
    if count <= 0:
        return np.empty((0, n_genes))
    engine = qmc.Sobol(n_genes, scramble=True, seed=random)
    return np.asarray(engine.random(2 ** math.ceil(math.log2(count)))[:count])


def check_numeric(name: str, domain: Domain) -> None:
    """Refuse genes that a polynomial cannot vary.

    Raises:
        ConfigError: naming the gene, and what would take it.
    """
    for gene in domain.genes:
        if gene.kind == "categorical":
            raise ConfigError(
                [
                    f"optimizer: '{name}' fits polynomials and gene '{gene.name}' is a choice; "
                    "use nsga2, mobo, or optuna with sampler: tpe"
                ]
            )


def check_budget(name: str, domain: Domain, points: int, what: str) -> None:
    """Refuse a quadratic that so many points cannot determine.

    Raises:
        ConfigError: with the number that would do.
    """
    p = n_coefficients(len(domain))
    if points < p + SPARE:
        raise ConfigError(
            [
                f"optimizer: '{name}' fits {p} coefficients in {len(domain)} genes and {what} "
                f"leaves {points} points for that; it needs {p + SPARE}. Give it "
                f"{p + SPARE - points} more, search fewer genes, or use mobo or nsga2"
            ]
        )


def fit_notes(name: str, titles: Sequence[str], surrogates: Sequence[Quadratic]) -> list[str]:
    """Say how good each surrogate is, and warn of those that are not."""
    notes = []
    for title, one in zip(titles, surrogates, strict=True):
        p = len(one.beta)
        if one.rank < p:
            notes.append(
                f"{name}: {title}: the {one.n_points} points determine {one.rank} of {p} "
                "coefficients; what the others are is the choice of the fit"
            )
        if np.isnan(one.r2):
            notes.append(f"{name}: {title}: all {one.n_points} points tie; nothing to fit")
            continue
        line = (
            f"{name}: {title}: {p} coefficients from {one.n_points} points, adjusted R2 "
            f"{one.adjusted_r2:.2f}"
        )
        if not np.isnan(one.loo_r2):
            line += f", leave-one-out R2 {one.loo_r2:.2f}, error {one.loo_error:.2g}"
        if one.loo_r2 < TRUSTED:
            line += "; predicts little: trust what was evaluated"
        notes.append(line)
    return notes
