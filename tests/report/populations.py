"""Journals of population searches over invented models: plain arrays, bred and scored for real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evomerge.journal import Journal, outcome_to_json
from evomerge.optimizers.archives import GridArchive
from evomerge.optimizers.archives.watch import Niche, NicheMap
from evomerge.optimizers.build import OPTIMIZERS
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.recipe.order import Block, Member, Order
from evomerge.spaces.populations import DenseBreeding, GaussianMutation
from evomerge.types import Completed, Failed, Objective, Trial

SIZE = 240
TASKS = ("sort", "copy", "count")
N_EXAMPLES = 24
M2N2 = "evomerge.optimizers.populations.m2n2:M2n2"
GRIDS = "tests.report.populations:Grids"


class GridWatch:
    """One grid a task, measured by the scores of the others."""

    needs_examples = False

    def __init__(self, objectives, bins):
        self._names = [objective.name for objective in objectives]
        self._signs = [-objective.cost(1.0) for objective in objectives]
        self._bins = bins
        self._others = [
            [k for k in range(len(objectives)) if k != task] for task in range(len(objectives))
        ]
        self._archives = [
            GridArchive(dims=[bins] * len(others), ranges=[(0.1, 0.8)] * len(others))
            for others in self._others
        ]

    def tell(self, trial):
        if trial.costs is not None:
            scores = [trial.outcome.metrics[name] for name in self._names]
            for task, archive in enumerate(self._archives):
                quality = scores[task] * self._signs[task]
                archive.add_single(trial.number, quality, [scores[k] for k in self._others[task]])

    def maps(self):
        return tuple(self._map(task) for task in range(len(self._names)))

    def _map(self, task):
        archive = self._archives[task]
        niches = tuple(
            Niche(
                one.solution,
                one.objective,
                measures=one.measures,
                cell=archive.int_to_grid_index(one.index),
            )
            for one in archive.elites()
        )
        best = archive.best_elite
        return NicheMap(
            self._names[task],
            niches,
            archive.cells,
            len(archive),
            axes=tuple(self._names[k] for k in self._others[task]),
            bounds=tuple(zip(archive.lower_bounds, archive.upper_bounds, strict=True)),
            bins=archive.dims,
            clipped=archive.clipped,
            champion=best and best.solution,
        )


class Grids:
    """Mates individuals at random; the archives are only watched."""

    needs = Needs(breeds=True)

    def __init__(self, domain, n_objectives, seed, *, objectives, budget=None, bins=8, std=0.0):
        self._domain, self._seed, self._std = domain, seed, std
        self.family = domain.family()
        self.niches = self.watch(n_objectives, objectives=objectives, budget=budget, bins=bins)
        self._alive: list[int] = []

    @staticmethod
    def watch(n_objectives, *, objectives, budget=None, bins=8, std=0.0):
        return GridWatch(objectives, bins)

    def ask(self, number):
        if len(self._alive) < len(self._domain.seeds):
            seed = self._domain.seeds[len(self._alive)]
            proposal = Proposal(seed.genotype, f"seed:{seed.name}")
        else:
            random = np.random.default_rng([self._seed, number])
            a, b = (int(one) for one in random.choice(self._alive, 2, replace=False))
            mutation = GaussianMutation(number, self._std) if self._std else None
            splits = self._domain.draw_splits(random)
            ratios = [float(random.random())]
            proposal = Proposal(self.family.cross((a, b), ratios, splits, mutation), "grids")
        self.family.add(number, proposal.genotype)
        self._alive.append(number)
        return proposal

    def tell(self, trial):
        self.niches.tell(trial)

    def stop_reason(self):
        return None


def order() -> Order:
    return Order([("", [Block((Member.whole("w", (SIZE, 1)),), SIZE)])])


def specialists(n: int) -> dict[str, np.ndarray]:
    """Donors that are good in a third of the positions each, and noisy elsewhere."""
    rng = np.random.default_rng(11)
    donors = {}
    for index in range(n):
        values = rng.normal(0.0, 0.25, SIZE)
        values[index::n] = 1.0 + rng.normal(0, 0.1, len(values[index::n]))
        donors[f"d{index}"] = values.astype(np.float32)
    return donors


def examples_of(values: np.ndarray, tasks=TASKS) -> dict[str, dict[str, float]]:
    """Example j of task k is solved where a position that donor k is good at stayed strong."""
    rng = np.random.default_rng(5)
    scores = {}
    for index, name in enumerate(tasks):
        places = rng.choice(np.arange(index, SIZE, len(tasks)), N_EXAMPLES, replace=False)
        hits = values[places] > rng.uniform(0.3, 1.1, N_EXAMPLES)
        scores[name] = {f"{name}-{j}": float(hit) for j, hit in enumerate(hits)}
    return scores


class Evaluated:
    """What a run of `write_population` did, held in full."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.values: dict[int, np.ndarray] = {}
        self.examples: dict[int, dict[str, dict[str, float]]] = {}
        self.optimizer: Any = None


def write_population(
    run: Path,
    optimizer: str = M2N2,
    n_trials: int = 60,
    donors: Mapping[str, np.ndarray] | None = None,
    *,
    tasks: tuple[str, ...] = TASKS,
    goals: Mapping[str, str] | None = None,
    fails: Callable[[int], bool] = lambda number: number % 17 == 5,
    in_flight: int = 3,
    scored: bool = False,
    operator: str = "linear",
    stages: int = 1,
    front: int = 6,
    **options: Any,
) -> Evaluated:
    """Breed a population and write its journal; results come out of order."""
    donors = dict(donors or specialists(len(tasks)))
    goals = {name: (goals or {}).get(name, "maximize") for name in tasks}
    objectives = tuple(Objective(name, goal) for name, goal in goals.items())
    search = {"optimizer": optimizer, "scalarize": None, **options}
    study: dict[str, Any] = {
        "name": "invented",
        "space": "invented",
        "objectives": {name: {"fitness": "invented"} for name in tasks},
        "search": search,
        "budget": {"trials": n_trials, "hours": None},
        "front": {"size": front},
        "models": {"base": "/b", "donors": dict.fromkeys(donors, "/models")},
    }
    if stages > 1:
        del study["search"], study["space"]
        study["budget"]["trials"] = None
        study["stages"] = [
            {"name": f"part{k}", "space": "invented", "search": search, "trials": n_trials}
            for k in range(stages)
        ]
    opening = {
        "study": study,
        "folder": str(run.parent),
        "models": {
            "base": {"path": "/b"},
            "donors": {name: {"path": f"/{name}"} for name in donors},
        },
        "objectives": goals,
        "genes": [],
        "space": None,
    }
    done = Evaluated()
    rng = np.random.default_rng(3)
    asked = 0
    with Journal(run, create=True) as journal:
        journal.append("opened", opening)
        for stage in range(stages):
            if stages > 1:
                staged = {"stage": f"part{stage}", "part": 0, "parts": 1, "trials": n_trials}
                journal.append("staged", staged | {"chosen": {}, "donors": {}})
            breeding = DenseBreeding(donors, order(), operator=operator)
            kind = OPTIMIZERS.load(optimizer)
            done.optimizer = kind(
                breeding, len(tasks), 7 + stage, objectives=objectives, budget=n_trials, **options
            )
            waiting: dict[int, tuple] = {}
            end = asked + n_trials
            while asked < end or waiting:
                while asked < end and len(waiting) < in_flight:
                    proposal = done.optimizer.ask(asked)
                    if proposal is None:  # it waits for what is in flight
                        break
                    payload = {"genotype": list(proposal.genotype), "origin": proposal.origin}
                    journal.append("asked", payload, trial=asked)
                    waiting[asked] = proposal.genotype
                    done.values[asked] = breeding.develop(proposal.genotype).copy()
                    breeding.individuals.setdefault(asked, done.values[asked])
                    asked += 1
                number = sorted(waiting)[int(rng.integers(len(waiting)))]
                genotype = waiting.pop(number)
                found = examples_of(done.values[number], tasks)
                outcome: Any = Completed(
                    {name: float(np.mean(list(items.values()))) for name, items in found.items()},
                    found,
                )
                if number >= len(donors) and fails(number):
                    outcome = Failed("error", f"RuntimeError: cause {number % 2}\nmore", "")
                file = None
                if isinstance(outcome, Completed):
                    file = journal.write_examples(f"trial-{number:06d}.search", found)
                    done.examples[number] = found
                journal.append("finished", outcome_to_json(outcome, file), trial=number)
                costs = None
                if isinstance(outcome, Completed):
                    costs = tuple(one.cost(outcome.metrics[one.name]) for one in objectives)
                trial = Trial(number, genotype, outcome, costs)
                done.optimizer.tell(trial)
                done.trials.append(trial)
        if scored:
            rows = {"base": dict.fromkeys(tasks, 0.1)}
            for name, values in donors.items():
                items = examples_of(values, tasks)
                rows[f"donor:{name}"] = {
                    task: float(np.mean(list(items[task].values()))) for task in tasks
                }
            for name, metrics in rows.items():
                journal.append("scored", {"name": name, "split": "search", "metrics": metrics})
    return done
