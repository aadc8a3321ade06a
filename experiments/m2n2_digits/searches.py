"""Ways to search for good weights: M2N2 and what the paper compares it with.

`Population` runs the package's M2N2, whose special case without competition and matchmaker is the
genetic algorithm. CMA-ES over 19,210 weights would need a covariance matrix of 3 GB, so its
diagonal form stands in for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from cmaes import SepCMA
from digits import N_WEIGHTS, Floats, Layout, order, places
from numpy.typing import NDArray

from evomerge.optimizers.populations.examples import ScoreArray
from evomerge.optimizers.populations.m2n2 import M2n2
from evomerge.recipe.order import Granularity
from evomerge.spaces.populations import DenseBreeding, GaussianMutation
from evomerge.spaces.populations.dense import Noise, unit_normals
from evomerge.spaces.populations.operators import AngleScope, Operator
from evomerge.types import Completed, Failed, Genotype, Objective, Trial

Score: TypeAlias = Literal["solved", "confidence"]
"""Of an image: 1 if it is read right, or the probability given to its class."""

_OBJECTIVES = (Objective("digits"),)


@dataclass(frozen=True)
class Result:
    """What became of one individual.

    Attributes:
        scores: of the images, shape (n_images,); None if its weights are not finite.
        solved: which images it reads right, shape (n_images,).
        accuracy: share of the images read right; 0 for weights that are not finite.
        score: mean of the scores; 0 for weights that are not finite.
    """

    scores: NDArray[np.float32] | NDArray[np.bool_] | None
    solved: NDArray[np.bool_]
    accuracy: float
    score: float

    @classmethod
    def of(cls, scores: NDArray[Any], solved: NDArray[np.bool_], *, finite: bool) -> Result:
        """Return what became of an individual whose weights are finite, or not."""
        if not finite:
            return cls(None, solved, 0.0, 0.0)
        accuracy = np.count_nonzero(solved) / len(solved)
        return cls(scores, solved, accuracy, accuracy if scores is solved else float(scores.mean()))


class Search(Protocol):
    """Asks for individuals to be scored, and learns what became of them."""

    def ask(self, n: int) -> list[Floats]:
        """Return n individuals, float32 of shape (N_WEIGHTS,); founders come first."""
        ...

    def tell(self, results: Sequence[Result]) -> None:
        """Learn what became of the first of those whose results are not known yet."""
        ...


class Arm(Protocol):
    """A way to search, without founders and seed."""

    layout: Layout
    score: Score

    def start(self, founders: Sequence[Floats], task: Task) -> Search:
        """Begin a search from founders in the arm's layout."""
        ...


@dataclass(frozen=True)
class Task:
    """What a search is told.

    Attributes:
        seed: source of its randomness.
        budget: evaluations beside those of the founders.
        labels: of the images.
    """

    seed: int
    budget: int
    labels: NDArray[np.int64]


def normals(seed: int) -> Noise:
    """Return standard normal numbers by key, PyTorch's, which are four times as quick as NumPy's.

    Its generator takes 32 bits, which tell 4,000 seeds of a million keys apart.
    """
    generator = torch.Generator()

    def draw(key: int) -> Floats:
        generator.manual_seed((seed * 1_000_003 + key) % 2**32)
        return torch.empty(N_WEIGHTS).normal_(generator=generator).numpy()

    return draw


def in_layout(weights: Floats, layout: Layout) -> Floats:
    """Return weights in storage order in another order."""
    flat = np.empty_like(weights)
    flat[places(layout)] = weights
    return flat


@dataclass(frozen=True)
class Population:
    """M2N2 and its relatives.

    Attributes:
        options: of `M2n2`.
        layout: order of the weights.
        score: what individuals compete for.
        operator: of crossover.
        angle: of SLERP.
        granularity: where splits may fall.
        mutated_units: share of the hidden units that a mutation changes (layout 'unit').
    """

    options: Mapping[str, Any]
    layout: Layout = "storage"
    score: Score = "solved"
    operator: Operator = "slerp"
    angle: AngleScope = "global"
    granularity: Granularity = "element"
    mutated_units: float = 1.0

    def start(self, founders: Sequence[Floats], task: Task) -> Search:
        """Begin a search."""
        return _PopulationSearch(self, founders, task)


class _PopulationSearch:
    def __init__(self, arm: Population, founders: Sequence[Floats], task: Task) -> None:
        flat = order(arm.layout)
        self._breeding = DenseBreeding(
            {f"founder-{number}": one for number, one in enumerate(founders)},
            flat,
            operator=arm.operator,
            angle=arm.angle,
            granularity=arm.granularity,
            noise=(
                normals(task.seed)
                if arm.mutated_units == 1
                else unit_normals(flat, arm.mutated_units, task.seed)
            ),
        )
        self._optimizer = M2n2(
            self._breeding,
            1,
            task.seed,
            objectives=_OBJECTIVES,
            budget=task.budget,
            **arm.options,
        )
        self._items = tuple(str(number) for number in range(len(task.labels)))
        self._asked: list[tuple[int, Genotype]] = []
        self._count = 0

    def ask(self, n: int) -> list[Floats]:
        for _ in range(n):
            proposal = self._optimizer.ask(self._count)
            self._asked.append((self._count, proposal.genotype))
            self._count += 1
        return [self._breeding.individuals[number] for number, _ in self._asked[-n:]]

    def tell(self, results: Sequence[Result]) -> None:
        for (number, genotype), result in zip(self._asked, results, strict=False):
            self._optimizer.tell(self._trial(number, genotype, result))
        del self._asked[: len(results)]

    def _trial(self, number: int, genotype: Genotype, result: Result) -> Trial:
        if result.scores is None:
            failed = Failed("invalid", "the weights are not finite")
            return Trial(number, genotype, failed, None)
        examples = {"digits": ScoreArray(self._items, result.scores)}
        return Trial(
            number, genotype, Completed({"digits": result.score}, examples), (-result.score,)
        )


@dataclass(frozen=True)
class MapElites:
    """MAP-Elites over the accuracies on odd and on even digits, as published.

    Parents are drawn in proportion to accuracy, two different ones unless the accuracies of the
    archive add up to less than 2.

    Attributes:
        std: of mutation; 0 for none.
        bins: cells along each axis.
    """

    std: float = 0.0
    bins: int = 10
    layout: Layout = "storage"
    score: Score = "solved"

    def start(self, founders: Sequence[Floats], task: Task) -> Search:
        """Begin a search."""
        return _MapElitesSearch(self, founders, task)


class _MapElitesSearch:
    def __init__(self, arm: MapElites, founders: Sequence[Floats], task: Task) -> None:
        self._arm = arm
        names = {f"founder-{number}": one for number, one in enumerate(founders)}
        self._breeding = DenseBreeding(names, order(arm.layout), noise=normals(task.seed))
        self._family = self._breeding.family()
        self._random = np.random.default_rng([task.seed, 1])
        self._odd = task.labels % 2 == 1
        self._cells: dict[tuple[int, int], tuple[int, float]] = {}  # to individual and accuracy
        self._asked: list[int] = []
        self._count = 0

    def ask(self, n: int) -> list[Floats]:
        for _ in range(n):
            if self._count < len(self._breeding.seeds):
                genotype = self._breeding.seeds[self._count].genotype
            else:
                genotype = self._child()
            self._family.add(self._count, genotype)
            self._asked.append(self._count)
            self._count += 1
        return [self._breeding.individuals[number] for number in self._asked[-n:]]

    def tell(self, results: Sequence[Result]) -> None:
        for number, result in zip(self._asked, results, strict=False):
            shares = [float(result.solved[part].mean()) for part in (self._odd, ~self._odd)]
            odd, even = (min(int(share * self._arm.bins), self._arm.bins - 1) for share in shares)
            held = self._cells.get((odd, even))
            if result.scores is None or (held is not None and result.accuracy <= held[1]):
                self._family.discard(number)
                continue
            self._cells[odd, even] = (number, result.accuracy)
            if held is not None:
                self._family.discard(held[0])
        del self._asked[: len(results)]

    def _child(self) -> Genotype:
        numbers, qualities = zip(*self._cells.values(), strict=True)
        chances = np.array(qualities)
        total = chances.sum()
        one, other = self._random.choice(
            numbers, 2, p=chances / total if total else None, replace=bool(total < 2)
        )
        splits = self._breeding.draw_splits(self._random)
        mutation = GaussianMutation(self._count, self._arm.std) if self._arm.std else None
        return self._family.cross((int(one), int(other)), [self._random.random()], splits, mutation)


@dataclass(frozen=True)
class Ratios:
    """All merges of two founders at one ratio each, evenly spaced, without a split point.

    Attributes:
        operator: of the merge.
    """

    operator: Operator = "slerp"
    layout: Layout = "storage"
    score: Score = "solved"

    def start(self, founders: Sequence[Floats], task: Task) -> Search:
        """Begin a search."""
        return _RatioSearch(self, founders, task)


class _RatioSearch:
    def __init__(self, arm: Ratios, founders: Sequence[Floats], task: Task) -> None:
        names = {f"founder-{number}": one for number, one in enumerate(founders)}
        self._breeding = DenseBreeding(names, order(arm.layout), operator=arm.operator)
        self._family = self._breeding.family()
        for number, seed in enumerate(self._breeding.seeds):
            self._family.add(number, seed.genotype)
        self._founders = list(founders)
        self._ratios = iter(np.linspace(0, 1, task.budget).tolist())

    def ask(self, n: int) -> list[Floats]:
        if self._founders:
            first, self._founders = self._founders[:n], self._founders[n:]
            return first
        crosses = [self._family.cross((0, 1), [next(self._ratios)], None) for _ in range(n)]
        return [self._breeding.develop(one) for one in crosses]

    def tell(self, results: Sequence[Result]) -> None:
        """Learn nothing."""


@dataclass(frozen=True)
class SeparableCmaEs:
    """CMA-ES with a diagonal covariance, from the first founder, on accuracy.

    Attributes:
        sigma: of its first samples.
        population: samples of a generation; batches must be as large.
    """

    sigma: float = 0.01
    population: int = 20
    layout: Layout = "storage"
    score: Score = "solved"

    def start(self, founders: Sequence[Floats], task: Task) -> Search:
        """Begin a search."""
        return _CmaSearch(self, founders, task)


class _CmaSearch:
    def __init__(self, arm: SeparableCmaEs, founders: Sequence[Floats], task: Task) -> None:
        self._founders: list[Floats] = list(founders)
        self._cma = SepCMA(
            founders[0].astype(np.float64),
            arm.sigma,
            population_size=arm.population,
            seed=task.seed,
        )
        self._asked: list[NDArray[np.float64]] = []

    def ask(self, n: int) -> list[Floats]:
        if self._founders:
            first, self._founders = self._founders[:n], self._founders[n:]
            return first
        self._asked = [self._cma.ask() for _ in range(n)]
        return [one.astype(np.float32) for one in self._asked]

    def tell(self, results: Sequence[Result]) -> None:
        if self._asked:
            costs = [-result.accuracy for result in results]
            self._cma.tell(list(zip(self._asked, costs, strict=True)))
