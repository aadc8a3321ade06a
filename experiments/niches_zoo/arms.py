"""What is compared: each arm is a study of its own over the same models, items and budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge import zoo
from evomerge.study import StudyConfig

DONORS = {"sort-up": "zoo:sort-up", "flip": "zoo:flip", "count-bits": "zoo:count-bits-lora"}
OBJECTIVES = ("sort_up", "flip", "count_bits")
#: Capabilities that no fitness names: 'turn' the base has, the other two it half has.
UNNAMED = ("turn", "sort_down", "filter")
SEARCH_ITEMS = 64

Space = str | Mapping[str, Any]

NICHES: Mapping[str, Any] = {
    "population": "task_vectors",
    "operator": "slerp",
    "layout": "unit",
    "granularity": "unit",
}
#: As published: splits between any two numbers of the files as they are stored.
STORED: Mapping[str, Any] = {**NICHES, "layout": "storage", "granularity": "element"}
VECTORS: Mapping[str, Any] = {"population": "task_vectors", "operator": "linear"}


@dataclass(frozen=True)
class Arm:
    """One way to search.

    Attributes:
        title: as the tables call it.
        space: what is searched.
        search: how.
    """

    title: str
    space: Space
    search: Mapping[str, Any]

    def study(self, items: Path, seed: int, trials: int) -> StudyConfig:
        """Return the study file of one run."""
        return StudyConfig.model_validate(
            {
                "name": "niches-zoo",
                "seed": seed,
                "models": {"base": "zoo:base", "donors": DONORS},
                "space": self.space,
                "objectives": {
                    task: {
                        "fitness": "exact_match",
                        "search": str(items / f"{task}.jsonl"),
                        "holdout": f"zoo:{task}.holdout.jsonl",
                    }
                    for task in OBJECTIVES
                },
                "search": self.search,
                "budget": {"trials": trials},
                "workers": {"count": 1, "threads": 1},
                "front": {"size": 6, "baselines": []},
                "dtype": "float32",
            }
        )


def write_items(folder: Path) -> Path:
    """Write the first search items of each objective; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in OBJECTIVES:
        lines = (zoo.path() / "data" / f"{task}.search.jsonl").read_text(encoding="utf-8")
        first = "".join(lines.splitlines(keepends=True)[:SEARCH_ITEMS])
        (folder / f"{task}.jsonl").write_text(first, encoding="utf-8")
    return folder


MEAN: Mapping[str, Any] = {"optimizer": "cma_es", "scalarize": "mean"}
NSGA: Mapping[str, Any] = {"optimizer": "nsga2", "population": 20}
RANDOM: Mapping[str, Any] = {"optimizer": "random"}

ARMS: Mapping[str, Arm] = {
    "m2n2": Arm("M2N2, by unit", NICHES, {"optimizer": "m2n2"}),
    "m2n2-beta": Arm(
        "M2N2, by unit, w ~ Beta(.3, .3)", NICHES, {"optimizer": "m2n2", "mix_beta": 0.3}
    ),
    "m2n2-stored": Arm("M2N2, as published", STORED, {"optimizer": "m2n2", "preset": "paper"}),
    "cycle-qd": Arm("CycleQD, seeds' singular values", VECTORS, {"optimizer": "cycle_qd"}),
    "cycle-qd-wide": Arm(
        "CycleQD, w ~ N(1, .5)", VECTORS, {"optimizer": "cycle_qd", "mix_std": 0.5}
    ),
    "cycle-qd-paper": Arm(
        "CycleQD, as in the paper", VECTORS, {"optimizer": "cycle_qd", "preset": "paper"}
    ),
    "cycle-qd-released": Arm(
        "CycleQD, as released", VECTORS, {"optimizer": "cycle_qd", "preset": "released"}
    ),
    "nsga2": Arm("NSGA-II, 3 weights", "task_arithmetic", NSGA),
    "nsga2-parts": Arm("NSGA-II, 9 weights", "attention_mlp", NSGA),
    "cma": Arm("CMA-ES, 3 weights", "task_arithmetic", MEAN),
    "cma-parts": Arm("CMA-ES, 9 weights", "attention_mlp", MEAN),
    "random": Arm("random, 3 weights", "task_arithmetic", RANDOM),
    "random-parts": Arm("random, 9 weights", "attention_mlp", RANDOM),
}
