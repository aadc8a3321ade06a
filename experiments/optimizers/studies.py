"""The merges that are evaluated: donors, objectives and space of every problem, and the design."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from evomerge import zoo
from evomerge.spaces.domain import Domain
from evomerge.study import StudyConfig
from evomerge.types import GeneValue, Genotype

ITEMS = 64
"""Of each task and each split."""

TASKS = {
    "sort-up": "sort_up",
    "flip": "flip",
    "count-bits-lora": "count_bits",
    "filter": "filter",
    "quarter": "quarter",
}
"""Each donor and the task that it was trained on: its objective."""

PAIR = ("sort-up", "flip")
TRIPLE = (*PAIR, "count-bits-lora")

GLOBAL: Mapping[str, Any] = {
    "merge_method": "task_arithmetic",
    "parameters": {"normalize": False},
    "genes": {"weight": {"range": [0.0, 1.5], "initial": "uniform"}},
}
LAYERS: Mapping[str, Any] = {
    **GLOBAL,
    "genes": {"weight": {"range": [0.0, 1.5], "initial": "uniform", "layers": 1}},
}
#: The shipped 'depthwise' with free ends: of four layers, fixed ones would leave two to choose.
PATHS: Mapping[str, Any] = {
    "path": "depthwise",
    "scale_range": [0.4, 1.6],
    "scale_spread": 0.1,
    "limits": {"max_growth": 1.2},
    "start": {"own": 0.9, "other": 0.03},
    "fixed_ends": False,
}


@dataclass(frozen=True)
class Plan:
    """What is evaluated for one problem.

    Attributes:
        donors: names of shipped models; the objectives are their tasks.
        space: what is searched.
        side: points a side of a full grid over all genes; 0 where there is none.
        box: points of a scrambled Sobol sequence over the whole box.
        mixed: points where merges work: see `_mixed`.
        front: points on the front of a surrogate of all the others, see `collect.py refine`.
        generations: of the long runs that find the reference front, where there is no grid for it.
    """

    donors: tuple[str, ...]
    space: Mapping[str, Any]
    side: int = 0
    box: int = 0
    mixed: int = 0
    front: int = 0
    generations: int = 300

    @property
    def tasks(self) -> tuple[str, ...]:
        """The objectives, in order."""
        return tuple(TASKS[donor] for donor in self.donors)

    def study(self, items: Path, name: str) -> StudyConfig:
        """Return the study; `items` is the folder that `write_items` filled."""
        return StudyConfig.model_validate(
            {
                "name": name,
                "models": {
                    "base": "zoo:base",
                    "donors": {donor: f"zoo:{donor}" for donor in self.donors},
                },
                "space": self.space,
                "objectives": {
                    task: {
                        "fitness": "exact_match",
                        "search": str(items / f"{task}.jsonl"),
                        "batch_size": 2 * ITEMS,
                    }
                    for task in self.tasks
                },
                "search": {"optimizer": "random"},
                "budget": {"trials": 1},
                "workers": {"backend": "inline", "threads": 1},
                "front": {"baselines": ["base", "donors"]},
                "dtype": "float32",
            }
        )


PLANS: Mapping[str, Plan] = {
    "two": Plan(PAIR, GLOBAL, side=21),
    "three": Plan(TRIPLE, GLOBAL, box=300, mixed=500, front=60),
    "three-layers": Plan(TRIPLE, LAYERS, box=300, mixed=900, front=150),
    "five": Plan(tuple(TASKS), GLOBAL, box=200, mixed=600, front=120),
    "two-layers": Plan(PAIR, LAYERS, box=300, mixed=500, front=100),
    "paths": Plan(TRIPLE, PATHS, box=200, mixed=500, front=100),
    "five-layers": Plan(tuple(TASKS), LAYERS, box=200, mixed=900, front=150, generations=1000),
}
"""In the order in which they are collected."""


def write_items(folder: Path) -> Path:
    """Write for each task the first items of its search and of its hold-out split, in this order.

    One file, so that both are scored by one generation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for task in TASKS.values():
        lines: list[str] = []
        for split in ("search", "holdout"):
            text = (zoo.path() / "data" / f"{task}.{split}.jsonl").read_text(encoding="utf-8")
            lines += text.splitlines(keepends=True)[:ITEMS]
        (folder / f"{task}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def design(plan: Plan, domain: Domain, seed: int = 0) -> list[Genotype]:
    """Return the genotypes to evaluate, each once: known points, grid, box, where merges work."""
    points: dict[Genotype, None] = {}
    found = [one.genotype for one in domain.seeds] + [domain.initial]
    if plan.side:
        steps = np.linspace(0, 1, plan.side)
        found += [domain.from_unit(row) for row in itertools.product(steps, repeat=len(domain))]
    if plan.box:
        sobol = qmc.Sobol(len(domain), scramble=True, rng=np.random.default_rng([seed, 0]))
        rows = sobol.random(2 ** math.ceil(math.log2(plan.box)))[: plan.box]
        found += [domain.from_unit(row) for row in rows.tolist()]
    random = np.random.default_rng([seed, 1])
    draw = _paths if domain.genes[0].kind == "categorical" else _mixed
    found += list(itertools.islice(draw(plan, domain, random), plan.mixed))
    for genotype in found:
        points.setdefault(domain.canonical(domain.checked(genotype)))
    return list(points)


def _mixed(plan: Plan, domain: Domain, random: np.random.Generator) -> Iterator[Genotype]:
    """Draw weights whose sum is moderate: over most of a box of many donors all is destroyed.

    The donors share a sum of 0.3 to 3 by a Dirichlet(0.7) draw, the same in all layers, and each
    weight of a layer group differs from its donor's by a normal deviate of standard deviation 0.25
    (for a third of the draws 0.1).
    """
    n_donors = len(plan.donors)
    groups = len(domain) // n_donors
    low = np.array([gene.low for gene in domain.genes])
    high = np.array([gene.high for gene in domain.genes])
    while True:
        shares = random.dirichlet([0.7] * n_donors) * random.uniform(0.3, 3.0)
        weights: NDArray[np.float64] = np.repeat(np.minimum(shares, 1.5), groups)
        if groups > 1:
            weights = weights + random.choice([0.1, 0.25, 0.25]) * random.normal(size=len(domain))
        yield tuple(np.clip(weights, low, high).tolist())


def _paths(plan: Plan, domain: Domain, random: np.random.Generator) -> Iterator[Genotype]:
    """Yield every choice of one donor a depth, then draws where a search starts, and off donors.

    Two of three of the drawn paths are a donor's own with each gene drawn anew with
    probability 0.35, a scale by a normal deviate of standard deviation 0.2.
    """
    chosen = [gene for gene in domain.genes if gene.kind == "categorical"]
    rest = tuple(gene.initial for gene in domain.genes[len(chosen) :])
    for donors in itertools.product(range(len(plan.donors)), repeat=len(chosen)):
        yield (*(g.choices[d] for g, d in zip(chosen, donors, strict=True)), *rest)
    while True:
        yield domain.draw(random)
        for _ in range(2):
            donor = int(random.integers(len(plan.donors)))
            values: list[GeneValue] = []
            for gene in domain.genes:
                anew = random.random() < 0.35
                if gene.kind == "categorical":
                    pick = int(random.integers(len(gene.choices))) if anew else donor
                    values.append(gene.choices[pick])
                else:
                    value = float(gene.initial) + (0.2 if anew else 0.0) * random.normal()
                    values.append(float(np.clip(value, gene.low, gene.high)))
            yield domain.canonical(tuple(values))
