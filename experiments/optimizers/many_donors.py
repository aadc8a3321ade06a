"""Eight and sixteen donors: what Nested MAP is for, on merges in closed form.

    python experiments/optimizers/many_donors.py run --out runs/many_donors
    python experiments/optimizers/many_donors.py report --out runs/many_donors

As `benchmark.py`, which carries out the searches. The problems are synthetic: nobody has fitted
them on merges. Every seed draws a problem of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache, cached_property, partial
from operator import attrgetter
from pathlib import Path

import numpy as np
from arms import Arm
from benchmark import run_arm, worth
from command_line import command_line
from numpy.typing import ArrayLike, NDArray
from pages import Searches, interval, rows_of, worth_at
from pymoo.util.ref_dirs import get_reference_directions
from scipy.optimize import minimize
from scipy.special import expit

from evomerge.pareto import Anchors, anchored_hypervolume
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.testing.readme import publish
from evomerge.types import Completed, Genotype, Objective, Trial

Floats = NDArray[np.float64]

BUDGETS = (60, 100, 200, 300)
ARMS: Mapping[str, Arm] = {
    "nested_map": Arm("nested_map"),
    "nested_map, 6 points": Arm("nested_map", {"points": 6}),
    "map": Arm("map"),
    "mobo": Arm("mobo", decided=attrgetter("n_start")),
    "dirichlet": Arm("dirichlet"),
    "nsga2": Arm("nsga2"),
    "random": Arm("random"),
}
MODEL = "nested_map"
"""The arm that is compared with every other, seed by seed."""
PROBLEMS = {
    f"{donors} donors, {tasks} tasks": (donors, tasks) for donors in (8, 16) for tasks in (2, 3)
}
N_ITEMS = 64
HIGHEST = 1.5
CURVE, LENGTH = 0.6, 0.01
DIVISIONS = {2: 199, 3: 40}
"""Of the simplex of weights that the reference front is found by: 200 and 861 of them."""


def main() -> None:
    """Run the command line of the script."""
    parser, run = command_line(__doc__, seeds=20)
    run.add_argument("--optimizers", nargs="*", choices=ARMS, default=list(ARMS))
    run.add_argument("--problems", nargs="*", choices=PROBLEMS, default=list(PROBLEMS))
    run.add_argument("--budgets", nargs="+", type=int, choices=BUDGETS, default=list(BUDGETS))
    options = parser.parse_args()
    if options.step == "report":
        publish(__file__, "many_donors", report_lines(options.out))
        return
    for problem in options.problems:
        for name in options.optimizers:
            file = options.out / problem / f"{name}.jsonl"
            seeds = range(1, options.seeds + 1)
            run_arm(ARMS[name], partial(drawn, problem), seeds, options.budgets, file, worth)


class ManyDonors:
    """Accuracies of tasks that share donors.

    Donor d has learnt task d mod k. With weights w, of which those of a task's own donors are v,

        logit_k = -1.5 + sum gain_d v_d - sum harm_kd w_d - 0.6 (|v|^2 + (sum v)^2) - 0.01 (sum w)^3

    where the harm is that of other donors: a donor helps up to a point, own donors overlap, others
    interfere, and a long merge loses everything. Gains are drawn from [2, 4], harms from [0, 0.4].
    The logits are concave, so that each maximum of a weighted sum of them is on the front.

    Attributes:
        name: of the problem, one of `PROBLEMS`.
        domain: a weight in [0, 1.5] for each donor, linear.
        objectives: accuracies in [0, 1].
        n_objectives: how many.
    """

    def __init__(self, name: str, seed: int) -> None:
        n_donors, n_tasks = PROBLEMS[name]
        random = np.random.default_rng([n_donors, n_tasks, seed])
        self.name = name
        self.n_objectives = n_tasks
        self.objectives = tuple(
            Objective(f"task{k}", bounds=(0.0, 1.0), n_items=N_ITEMS) for k in range(n_tasks)
        )
        self.domain = weights(n_donors)
        self._seed = seed
        self._own = np.arange(n_donors) % n_tasks == np.arange(n_tasks)[:, None]
        gains, harms = random.uniform(2, 4, n_donors), random.uniform(0, 0.4, self._own.shape)
        self._slopes = np.where(self._own, gains, -harms)
        base, *donors = (self._metrics(one.genotype) for one in self.domain.seeds[:-1])
        self._anchors = Anchors.of(self.objectives, base, donors)

    def expected_costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Return minus the accuracies, without noise."""
        return tuple((-expit(self._logits(np.array(genotype, dtype=float)))).tolist())

    def completed(self, number: int, genotype: Genotype) -> Trial:
        """Draw how many of the items are right; genotype and seed decide the draw."""
        text = json.dumps([self.name, self._seed, *genotype]).encode()
        key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
        random = np.random.Generator(np.random.Philox(key=key))
        right = random.binomial(N_ITEMS, -np.array(self.expected_costs(genotype)))
        return Trial(number, genotype, Completed({}), tuple((-right / N_ITEMS).tolist()))

    def normalised_hypervolume(self, costs: ArrayLike) -> float:
        """Return the anchored hypervolume of costs, over that of the reference front."""
        return self._volume(costs) / self._front_volume

    @cached_property
    def front_costs(self) -> list[tuple[float, ...]]:
        """Costs of the merges that are best by many weightings of the logits."""
        n_genes, found = len(self.domain), []
        start = np.full(n_genes, 1 / n_genes)
        for weighting in get_reference_directions(
            "das-dennis", self.n_objectives, n_partitions=DIVISIONS[self.n_objectives]
        ):
            start = minimize(
                lambda w, by=weighting: -by @ self._logits(w),
                start,
                jac=lambda w, by=weighting: -by @ self._derivatives(w),
                bounds=[(0, HIGHEST)] * n_genes,
                method="L-BFGS-B",
            ).x
            found.append(self.expected_costs(tuple(start.tolist())))
        return found

    @cached_property
    def _front_volume(self) -> float:
        return self._volume(self.front_costs)

    def _logits(self, w: Floats) -> Floats:
        own = self._own * w
        overlap = (own**2).sum(axis=1) + own.sum(axis=1) ** 2
        return np.asarray(-1.5 + self._slopes @ w - CURVE * overlap - LENGTH * w.sum() ** 3)

    def _derivatives(self, w: Floats) -> Floats:
        """Return the derivative of each logit by each weight, (n_tasks, n_donors)."""
        own = self._own * w
        overlap = 2 * own + 2 * self._own * own.sum(axis=1, keepdims=True)
        return np.asarray(self._slopes - CURVE * overlap - 3 * LENGTH * w.sum() ** 2)

    def _metrics(self, genotype: Genotype) -> dict[str, float]:
        costs = self.expected_costs(genotype)
        return {one.name: -cost for one, cost in zip(self.objectives, costs, strict=True)}

    def _volume(self, costs: ArrayLike) -> float:
        zero, one = np.array(self._anchors.zero), np.array(self._anchors.one)
        return anchored_hypervolume((-np.asarray(costs) - zero) / (one - zero))


@cache
def drawn(name: str, seed: int) -> ManyDonors:
    """Return a problem, one object for all arms: its front takes a second."""
    return ManyDonors(name, seed)


def weights(n_donors: int) -> Domain:
    """Return a weight for each donor, with base, donors and the uniform merge as known points."""
    genes = tuple(
        Gene(f"weight[d{i}]", low=0.0, high=HIGHEST, initial=1 / n_donors) for i in range(n_donors)
    )
    donors = [Seed(f"d{i}", tuple(row)) for i, row in enumerate(np.eye(n_donors).tolist())]
    base, uniform = (
        Seed(name, (weight,) * n_donors)
        for name, weight in (("base", 0.0), ("uniform", 1 / n_donors))
    )
    return Domain(genes, (base, *donors, uniform), linear=True)


def report_lines(out: Path) -> Iterator[str]:
    """Yield a table of each budget, and the differences."""
    searches = {
        (problem, name): rows
        for problem in PROBLEMS
        for name in ARMS
        if (rows := rows_of(out / problem / f"{name}.jsonl", told=ARMS[name].takes_budget()))
    }
    for budget in BUDGETS:
        yield from (f"#### {budget} evaluations", "")
        yield f"| arm | {' | '.join(PROBLEMS)} |"
        yield "|---" + "|---:" * len(PROBLEMS) + "|"
        for name in ARMS:
            yield row_of(name, [values_at(searches, one, name, budget) for one in PROBLEMS], "")
        for name in ARMS:
            if name != MODEL:
                gaps = [gaps_at(searches, one, name, budget) for one in PROBLEMS]
                yield row_of(f"{MODEL} minus {name}", gaps, "+")
        yield ""


def row_of(title: str, cells: list[list[float]], sign: str) -> str:
    """Return a line of a table: means, intervals, and of how many where these are not 20."""
    texts = [
        interval(one, sign) + ("" if len(one) == 20 else f" (n = {len(one)})") if one else ""
        for one in cells
    ]
    return f"| {title} | {' | '.join(texts)} |"


def by_seed(searches: Searches, problem: str, name: str, budget: int) -> dict[int, float]:
    """Return what each seed's search was worth: of the search that was told of the budget."""
    rows = searches.get((problem, name), ())
    return worth_at(rows, budget, told=ARMS[name].takes_budget())


def values_at(searches: Searches, problem: str, name: str, budget: int) -> list[float]:
    """Return what searches were worth."""
    return list(by_seed(searches, problem, name, budget).values())


def gaps_at(searches: Searches, problem: str, name: str, budget: int) -> list[float]:
    """Return the differences of `MODEL` and an arm on the same seeds."""
    one, other = (by_seed(searches, problem, arm, budget) for arm in (MODEL, name))
    return [one[seed] - other[seed] for seed in sorted(set(one) & set(other))]


if __name__ == "__main__":
    main()
