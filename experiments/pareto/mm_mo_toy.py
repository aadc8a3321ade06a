"""MM-MO on the digits toy: what the published reference point costs, and what MOBO gains.

    python experiments/pareto/mm_mo_toy.py --seeds 6
    python experiments/pareto/mm_mo_toy.py --seeds 5 --asynchrony
    python experiments/pareto/mm_mo_toy.py --seeds 10 --alive

The space is MM-MO's: a density and a weight for each of three experts in one DARE-TIES merge. Three
objectives: two accuracies in percent, maximised, and the L1 norm of the change, minimised. Thirty
evaluations a search, none of them a known point. Hypervolumes are divided by that of 2048 Sobol
points; accuracies count from 0, the norm from the largest of these points.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Callable

import numpy as np
import torch
from digits_toy import DareTies, build
from numpy.typing import NDArray
from scipy.stats import qmc

from evomerge.optimizers import build_optimizer
from evomerge.optimizers.gaussian_processes.acquisition import PublishedHypervolumeImprovement
from evomerge.optimizers.gaussian_processes.isolation import isolated
from evomerge.optimizers.gaussian_processes.models import fitted
from evomerge.optimizers.gaussian_processes.posterior import Surrogate
from evomerge.optimizers.gaussian_processes.transforms import published_targets, targets_of
from evomerge.optimizers.links import links_of
from evomerge.optimizers.protocol import Optimizer
from evomerge.pareto import hypervolume
from evomerge.spaces.domain import Domain, Gene
from evomerge.types import Completed, Objective, Trial

Floats = NDArray[np.float64]

EXPERTS, TASKS = (0, 2, 4), (0, 2)
BUDGET = 30
OBJECTIVES = (
    Objective("task0", "maximize", (0.0, 100.0), 400),
    Objective("task2", "maximize", (0.0, 100.0), 400),
    Objective("l1", "minimize", (0.0, None)),
)
DOMAIN = Domain(
    tuple(Gene(f"{kind}[{expert}]") for expert in EXPERTS for kind in ("density", "weight"))
)
LIGHT = {"candidates": 8, "samples": 32}  # qEHVI over all subsets of ten takes long
ELITES = {"elites": ["task0", "task2"]}
ARMS = {
    "random": ("random", {}),
    "sobol": ("sobol", {}),
    "mm-mo-published": ("mm_mo", {"preset": "mm-mo-published", **LIGHT, **ELITES}),
    "mm-mo": ("mm_mo", LIGHT),
    "mm-mo, elites by the accuracies": ("mm_mo", {**LIGHT, **ELITES}),
    "mm-mo, keep most certain": ("mm_mo", {"screen": "keep_most_certain", **LIGHT}),
    "mm-mo, no screen": ("mm_mo", {"screen": "none", **LIGHT}),
    "mm-mo, no variation, no screen": (
        "mm_mo",
        {"screen": "none", "weak_to_strong": False, **LIGHT},
    ),
    "mm-mo, no bounds told": ("mm_mo", LIGHT),
    "mobo": ("mobo", {}),
    "mobo, rerank": ("mobo", {"rerank": True}),
    "mobo, keep most uncertain": ("mobo", {"screen": "keep_most_uncertain"}),
    "mobo, no bounds told": ("mobo", {}),
    "mobo, norm without bounds": ("mobo", {}),
}


class Toy:
    """Scores of genotypes, each computed once, and what fronts of them are worth."""

    def __init__(self) -> None:
        self._merge = DareTies(build(), EXPERTS)
        self._known: dict[tuple[float, ...], tuple[Floats, Floats]] = {}
        sobol = qmc.Sobol(len(DOMAIN), scramble=True, seed=12345).random(2048)
        gold = [self.scores(tuple(row)) for row in sobol.tolist()]
        self._largest = max(search[2] for search, _ in gold)
        self._best = self._volumes(gold)

    def scores(self, genotype: tuple[float, ...]) -> tuple[Floats, Floats]:
        """Return (task 0, task 2, L1 norm) on search and on unseen items."""
        if genotype not in self._known:
            pair = (self._merge.scores(genotype, TASKS, unseen=unseen) for unseen in (False, True))
            first, second = (np.array(scores) for scores in pair)
            self._known[genotype] = (first, second)
        return self._known[genotype]

    def quality(self, genotypes: list[tuple[float, ...]]) -> Floats:
        """Return hypervolume / gold: three objectives; accuracies on search, on unseen items."""
        return self._volumes([self.scores(genotype) for genotype in genotypes]) / self._best

    def _volumes(self, scores: list[tuple[Floats, Floats]]) -> Floats:
        search, unseen = (np.array(part) for part in zip(*scores, strict=True))
        costs = np.column_stack([-search[:, :2] / 100, search[:, 2] / self._largest])
        return np.array(
            [
                hypervolume(costs, (0.0, 0.0, 1.0)),
                hypervolume(costs[:, :2], (0.0, 0.0)),
                hypervolume(-unseen[:, :2] / 100, (0.0, 0.0)),
            ]
        )

    def tell(self, optimizer: Optimizer, number: int, genotype: tuple[float, ...]) -> None:
        """Tell an optimizer what a genotype scored."""
        scores, _ = self.scores(genotype)
        metrics = {o.name: float(s) for o, s in zip(OBJECTIVES, scores, strict=True)}
        costs = tuple(o.cost(metrics[o.name]) for o in OBJECTIVES)
        optimizer.tell(Trial(number, genotype, Completed(metrics), costs))


def optimizer_of(arm: str, seed: int) -> Optimizer:
    """Build the optimizer of an arm."""
    name, options = ARMS[arm]
    objectives = OBJECTIVES
    if "no bounds" in arm:
        objectives = tuple(Objective(one.name, one.goal) for one in OBJECTIVES)
    if "norm without bounds" in arm:
        objectives = (*OBJECTIVES[:2], Objective("l1", "minimize"))
    return build_optimizer(
        name, DOMAIN, 3, seed, {"seeds": False, **options}, objectives=objectives, budget=BUDGET
    )


def search(toy: Toy, optimizer: Optimizer) -> list[tuple[float, ...]]:
    """Ask and tell one at a time; returns the genotypes."""
    genotypes = []
    for number in range(BUDGET):
        proposal = optimizer.ask(number)
        genotypes.append(proposal.genotype)
        toy.tell(optimizer, number, proposal.genotype)
    return genotypes


def asynchronous(
    toy: Toy, optimizer: Optimizer, seed: int, workers: int = 4
) -> tuple[list[tuple[float, ...]], float]:
    """Search with workers whose run times differ tenfold; returns genotypes and the share busy."""
    random = np.random.default_rng([seed, 99])
    running: list[tuple[float, int, tuple[float, ...]]] = []
    genotypes: list[tuple[float, ...]] = []
    now = busy = 0.0
    asked = 0
    while asked < BUDGET or running:
        while asked < BUDGET and len(running) < workers:
            proposal = optimizer.ask(asked)
            if proposal is None:
                break
            time = float(np.exp(random.uniform(0, np.log(10))))
            busy += time
            heapq.heappush(running, (now + time, asked, proposal.genotype))
            asked += 1
            last_start = now
        now, number, genotype = heapq.heappop(running)
        genotypes.append(genotype)
        toy.tell(optimizer, number, genotype)
        if asked == BUDGET and last_start is not None:
            # afterwards workers are idle for want of budget
            ends, last_start = [now, *(end for end, _, _ in running)], None
            busy -= sum(end - min(ends) for end in ends)
            span = min(ends)
    return genotypes, busy / (workers * span)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--asynchrony", action="store_true", help="four workers against one")
    parser.add_argument("--alive", action="store_true", help="where improvement is not 0")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    toy = Toy()
    if arguments.asynchrony:
        compare(toy, arguments.seeds, "mobo")
        return
    if arguments.alive:
        alive(toy, arguments.seeds)
        return
    print(f"{BUDGET} evaluations, n={arguments.seeds} seeds; hypervolume / gold, mean ± std")
    print(f"{'':36}{'3 objectives':>16}{'accuracies, search / unseen':>34}")
    for arm in arguments.arms:
        rows = np.array(
            [toy.quality(search(toy, optimizer_of(arm, seed))) for seed in range(arguments.seeds)]
        )
        mean, std = rows.mean(axis=0), rows.std(axis=0, ddof=1)
        texts = [f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, std, strict=True)]
        print(f"{arm:36}{texts[0]:>16}{texts[1]:>18}{texts[2]:>16}", flush=True)


def alive(toy: Toy, n_seeds: int) -> None:
    """Print where expected improvement is not 0, by the reference point and the unit of scores."""
    candidates = qmc.Sobol(len(DOMAIN), scramble=True, seed=1).random(256)
    shares: dict[tuple[str, str], list[float]] = {}
    for seed in range(n_seeds):
        start = np.random.default_rng(seed).random((10, len(DOMAIN)))
        scores = np.array([toy.scores(tuple(row))[0] for row in start.tolist()])
        for unit, divisor in (("percent", 1.0), ("fractions", 100.0)):
            costs = np.column_stack([-scores[:, :2] / divisor, scores[:, 2]])
            links = links_of((), 3)
            for rule, targets in (
                ("as published", published_targets(costs)),
                ("corrected", targets_of(costs, links)),
            ):
                with isolated(0):
                    surrogate = Surrogate(fitted(start, targets.values, targets.noise))
                    nowhere = np.zeros((0, len(DOMAIN)))
                    worth = PublishedHypervolumeImprovement(
                        surrogate, start, nowhere, targets.reference, 128, 0
                    )
                    share = (worth(torch.as_tensor(candidates)) > 1e-12).double().mean()
                shares.setdefault((rule, unit), []).append(float(share))
    print(f"share of 256 candidates with EHVI > 1e-12, n={n_seeds} random starts of 10 points")
    for (rule, unit), found in shares.items():
        print(f"{rule:14}{unit:12}{np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}")


def compare(toy: Toy, n_seeds: int, arm: str) -> None:
    """Print final hypervolumes of four workers and of one, and how busy the four are."""
    build_one: Callable[[int], Optimizer] = lambda seed: optimizer_of(arm, seed)  # noqa: E731
    alone, four, shares = [], [], []
    for seed in range(n_seeds):
        alone.append(toy.quality(search(toy, build_one(seed)))[0])
        genotypes, share = asynchronous(toy, build_one(seed), seed)
        four.append(toy.quality(genotypes)[0])
        shares.append(share)
    print(f"{arm}, {BUDGET} evaluations, n={n_seeds} seeds, run times spread tenfold")
    print(f"one worker    {np.mean(alone):.3f} ± {np.std(alone, ddof=1):.3f}")
    print(f"four workers  {np.mean(four):.3f} ± {np.std(four, ddof=1):.3f}")
    print(f"ratio {np.mean(four) / np.mean(alone):.3f}; workers busy {np.min(shares):.2f} at least")


if __name__ == "__main__":
    main()
