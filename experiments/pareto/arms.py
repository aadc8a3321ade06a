"""What is compared: searches of the same space over the same items, each with its budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge import zoo
from evomerge.study import StudyConfig

#: Donors in the order in which they join, and the task each was trained on: an objective.
DONORS: Mapping[str, str] = {
    "sort-up": "sort_up",
    "flip": "flip",
    "count-bits-lora": "count_bits",
    "filter": "filter",
    "quarter": "quarter",
}
SEARCH_ITEMS = 64
HOLDOUT_ITEMS = 128
FEW, MANY = 40, 160
"""Evaluations of the searches that promise to need few, and of NSGA-II."""


def space(least: float, greatest: float) -> dict[str, Any]:
    """Return task arithmetic with one weight per donor."""
    weight = {"range": [least, greatest], "initial": "uniform"}
    return {
        "merge_method": "task_arithmetic",
        "parameters": {"normalize": False},
        "genes": {"weight": weight},
    }


@dataclass(frozen=True)
class Arm:
    """One way to search.

    Attributes:
        title: as the tables call it.
        search: the search section of a study; empty for the grid, which is no search.
        trials: evaluations.
        bounds: of each weight.
    """

    title: str
    search: Mapping[str, Any]
    trials: int = FEW
    bounds: tuple[float, float] = (0.0, 1.5)

    def study(self, items: Path, n_objectives: int, seed: int) -> StudyConfig:
        """Return the study file of one run with the first donors."""
        donors = list(DONORS)[:n_objectives]
        return StudyConfig.model_validate(
            {
                "name": "pareto",
                "seed": seed,
                "models": {"base": "zoo:base", "donors": {name: f"zoo:{name}" for name in donors}},
                "space": space(*self.bounds),
                "objectives": {
                    DONORS[name]: {
                        "fitness": "exact_match",
                        "search": str(items / f"{DONORS[name]}.search.jsonl"),
                        "holdout": str(items / f"{DONORS[name]}.holdout.jsonl"),
                        "batch_size": HOLDOUT_ITEMS,
                    }
                    for name in donors
                },
                "search": dict(self.search) or {"optimizer": "random"},
                "budget": {"trials": self.trials},
                "workers": {"backend": "inline", "threads": 1},
                "dtype": "float32",
            }
        )


def write_items(folder: Path) -> Path:
    """Write the first items of each task and split; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in DONORS.values():
        for split, count in (("search", SEARCH_ITEMS), ("holdout", HOLDOUT_ITEMS)):
            name = f"{task}.{split}.jsonl"
            text = (zoo.path() / "data" / name).read_text(encoding="utf-8")
            first = "".join(text.splitlines(keepends=True)[:count])
            (folder / name).write_text(first, encoding="utf-8")
    return folder


PUBLISHED: Mapping[str, Any] = {
    "optimizer": "map",
    "preset": "published",
    "seeds": False,
    "box": [0.0, 1.0],
    "design_size": 30,
    "batch": 10,
}
#: The released code searches [-3, 3] for coefficients, whatever was sampled.
WIDE = (-3.0, 3.0)

ARMS: Mapping[str, Arm] = {
    "grid": Arm("task arithmetic, one weight for all: a grid of 40", {}),
    "random": Arm("random", {"optimizer": "random"}),
    "nsga2": Arm("NSGA-II", {"optimizer": "nsga2", "population": 20}, MANY),
    "map": Arm("MAP", {"optimizer": "map"}),
    "bayesian_map": Arm("Bayesian MAP", {"optimizer": "bayesian_map"}),
    "nested_map": Arm("nested MAP", {"optimizer": "nested_map"}),
    "mm_mo": Arm("MM-MO", {"optimizer": "mm_mo"}),
    "mobo": Arm("`mobo`, asynchronous", {"optimizer": "mobo"}),
    "dirichlet": Arm("Dirichlet + Tchebycheff", {"optimizer": "dirichlet"}),
    "map-published": Arm("MAP as published", PUBLISHED, bounds=WIDE),
    "map-published-box": Arm(
        "… inside its sample and 10 % beyond",
        {**PUBLISHED, "trust": "box"},
        bounds=WIDE,
    ),
    "map-published-ridge": Arm(
        "… and the closed-form fit",
        {**PUBLISHED, "trust": "box", "fit": "ridge"},
        bounds=WIDE,
    ),
    "map-published-sobol": Arm(
        "… and a Sobol design",
        {**PUBLISHED, "trust": "box", "fit": "ridge", "design": "sobol"},
        bounds=WIDE,
    ),
    "map-published-anchors": Arm(
        "… and base, donors, uniform merge in it",
        {**PUBLISHED, "trust": "box", "fit": "ridge", "design": "sobol", "seeds": True},
        bounds=WIDE,
    ),
}
"""`map-published` and those after it mend one fault of the published code after the other."""
