"""Merge problems that take no models: surrogates fitted on real evaluations of the shipped zoo.

`experiments/optimizers/collect.py` evaluated the merges and packed what is in `data/`; its README
says what each problem is and how well the surrogates predict merges that they were not fitted on.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.errors import UserError, nearest
from evomerge.pareto import Anchors, anchored_hypervolume
from evomerge.testing.problems.storage import MergeData, read_data
from evomerge.testing.problems.surrogate import Floats, Kept
from evomerge.types import Completed, Failed, FailureKind, Genotype, Objective, Trial

MERGE_PROBLEMS = ("two", "three", "five", "two-layers", "three-layers", "five-layers", "paths")
"""The shipped problems: as many donors and objectives as the name says ('paths': three); weights
for all layers together or for each of four, or paths through the donors' layers."""


class MergeProblem:
    """A fitted problem; has all that `Problem` has.

    Costs are minus the accuracies. With noise, every item is answered or not by a draw with its own
    probability, which the genotype and the seed decide: the same genotype always has the same
    scores, as a real merge has.

    Attributes:
        name: for reports.
        domain: what is varied.
        objectives: accuracies in [0, 1].
        n_objectives: how many.
        noise: whether `costs` are drawn or expected.
        seed: of the draws.
        data: what the problem is made of.
    """

    def __init__(self, name: str, data: MergeData, *, noise: bool = False, seed: int = 0) -> None:
        self.name = name
        self.data = data
        self.domain = data.domain
        self.noise = noise
        self.seed = seed
        n_items = data.surrogate.n_items
        self.objectives = tuple(
            Objective(task, bounds=(0.0, 1.0), n_items=n_items) for task in data.tasks
        )
        self.n_objectives = len(self.objectives)
        self._anchors = Anchors.of(self.objectives, data.base, list(data.donors.values()))

    @property
    def reference_front(self) -> Floats:
        """Expected costs of points of the best known front, (n_points, n_objectives)."""
        return self.data.front_costs

    def costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Return what a search is told: drawn with noise, else expected. A pure function."""
        if not self.noise:
            return self.expected_costs(genotype)
        return tuple((-self._answered(genotype).mean(axis=1)).tolist())

    def expected_costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Return the costs without noise, on the items that a search sees."""
        return self._costs(genotype, "search")

    def holdout_costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Return the costs without noise, on items that no search sees."""
        return self._costs(genotype, "holdout")

    def completed(self, number: int, genotype: Genotype) -> Trial:
        """Evaluate a genotype; with noise, its scores item by item are in the outcome."""
        if not self.noise:
            costs = self.expected_costs(genotype)
            return Trial(number, genotype, Completed(self._metrics(costs)), costs)
        answered = self._answered(genotype)
        costs = tuple((-answered.mean(axis=1)).tolist())
        examples = {
            objective.name: {f"item{i}": float(one) for i, one in enumerate(row)}
            for objective, row in zip(self.objectives, answered, strict=True)
        }
        return Trial(number, genotype, Completed(self._metrics(costs), examples), costs)

    def failed(self, number: int, genotype: Genotype, kind: FailureKind = "error") -> Trial:
        """Fail a genotype."""
        return Trial(number, genotype, Failed(kind, "failed on purpose"), None)

    def normalised_hypervolume(self, costs: ArrayLike) -> float:
        """Return the hypervolume of costs, (n_points, n_objectives), over that of the front.

        Anchored as `evomerge.pareto.anchors` says: base 0, best donor 1, reference point -0.1.
        The whole reference front is meant; `reference_front` keeps at most 1000 points of it.
        """
        zero, one = np.array(self._anchors.zero), np.array(self._anchors.one)
        scaled = (-np.asarray(costs, dtype=np.float64) - zero) / (one - zero)
        return anchored_hypervolume(scaled) / self.data.front_volume

    def _costs(self, genotype: Genotype, kept: Kept) -> tuple[float, ...]:
        point = np.array(self.domain.to_unit(genotype))
        return tuple((-self.data.surrogate.accuracies(point, kept)).tolist())

    def _answered(self, genotype: Genotype) -> NDArray[np.bool_]:
        """Draw whether each item is answered, (n_objectives, n_items)."""
        chances = self.data.surrogate.probabilities(np.array(self.domain.to_unit(genotype)))
        text = json.dumps([self.name, self.seed, *genotype]).encode()
        key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
        draws = np.random.Generator(np.random.Philox(key=key)).random(chances.shape)
        return np.asarray(draws < chances)

    def _metrics(self, costs: tuple[float, ...]) -> dict[str, float]:
        return {one.name: -cost for one, cost in zip(self.objectives, costs, strict=True)}


def merge_problem(name: str, noise: bool = False, *, seed: int = 0) -> MergeProblem:
    """Return a fitted problem.

    Args:
        name: one of `MERGE_PROBLEMS`.
        noise: draw the score of every item, or give expected accuracies.
        seed: of the draws.

    Raises:
        UserError: there is no problem of that name.
    """
    if name not in MERGE_PROBLEMS:
        raise UserError(f"there is no merge problem '{name}'; {nearest(name, MERGE_PROBLEMS)}")
    return MergeProblem(name, _shipped(name), noise=noise, seed=seed)


@cache
def _shipped(name: str) -> MergeData:
    resource = files("evomerge.testing.problems") / "data" / f"{name}.npz"
    with as_file(resource) as path, np.load(path, allow_pickle=False) as content:
        return read_data(content)
