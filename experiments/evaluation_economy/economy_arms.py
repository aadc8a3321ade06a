"""What is compared: searches with everything scored, with rungs, and with estimators."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.study import StudyConfig

SEEDS = (1, 2, 3, 4, 5)
DONORS: Mapping[str, str] = {"sort-up": "sort_up", "flip": "flip", "count-bits-lora": "count_bits"}
"""Donor to the task it was trained on, an objective."""
SEARCH_ITEMS, HOLDOUT_ITEMS = 500, 1500
WHOLE = 300
"""Trials of the search that scores everything."""
DRAWN_FROM: Mapping[str, int] = {"search": 77, "holdout": 79}
"""Seeds of the items."""
ZOO_SEED = 0
"""What the zoo was trained with."""
CMA_ES: Mapping[str, Any] = {"optimizer": "cma_es", "scalarize": "mean"}
MOBO: Mapping[str, Any] = {"optimizer": "mobo", "scalarize": "mean"}
LADDER: Mapping[str, Any] = {"items": [50], "promote": 0.2}
KNOWN_CLIMB: Mapping[str, Any] = {"measure_known": False}
GMP_IRT: Mapping[str, Any] = {"estimator": "gmp_irt"}


@dataclass(frozen=True)
class Arm:
    """One way to search.

    Attributes:
        title: as the tables call it.
        search: the section of the study.
        rungs: likewise; none scores everything.
        share: of what scoring everything costs that the search may spend.
    """

    title: str
    search: Mapping[str, Any]
    rungs: Mapping[str, Any] | None = None
    share: float = 0.1


ARMS: Mapping[str, Arm] = {
    "whole": Arm("CMA-ES, everything scored", CMA_ES, share=1.0),
    "mobo-rungs": Arm("Gaussian process, rungs", MOBO, {**LADDER, **KNOWN_CLIMB}),
    "mobo-gmp-irt": Arm("Gaussian process, rungs, gmp-IRT", MOBO, {**LADDER, **GMP_IRT}),
    "mobo": Arm("Gaussian process, everything scored", MOBO),
    "cma-rungs": Arm("CMA-ES, rungs", CMA_ES, LADDER),
}


def study(arm: Arm, items: Path, seed: int) -> StudyConfig:
    """Return the study file of one run."""
    whole = WHOLE * SEARCH_ITEMS * len(DONORS)
    if arm.rungs is None:
        budget = {"trials": round(arm.share * WHOLE)}
    else:
        budget = {"items": round(arm.share * whole)}
    values: dict[str, Any] = {
        "name": "economy",
        "seed": seed,
        "models": {"base": "zoo:base", "donors": {name: f"zoo:{name}" for name in DONORS}},
        "space": "task_arithmetic",
        "objectives": {
            task: {
                "fitness": "exact_match",
                "search": str(items / f"{task}.search.jsonl"),
                "holdout": str(items / f"{task}.holdout.jsonl"),
                "batch_size": 200,
            }
            for task in DONORS.values()
        },
        "search": dict(arm.search),
        "budget": budget,
        "front": {"size": 1, "baselines": []},
        "workers": {"backend": "inline", "threads": 1},
        "dtype": "float32",
    }
    if arm.rungs is not None:
        values["rungs"] = dict(arm.rungs)
    return StudyConfig.model_validate(values)


def write_items(folder: Path) -> Path:
    """Draw items that neither the zoo's training nor its files have; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"search": SEARCH_ITEMS, "holdout": HOLDOUT_ITEMS}
    files = {
        (task, split): folder / f"{task}.{split}.jsonl"
        for task in DONORS.values()
        for split in counts
    }
    if all(file.exists() for file in files.values()):
        return folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "zoo"))
    from tasks import TASKS, draw, draw_splits  # noqa: PLC0415  # needs reasoning-gym

    _, taken = draw_splits(ZOO_SEED)
    for task in DONORS.values():
        for split, count in counts.items():
            drawn = draw(TASKS[task], split, count, DRAWN_FROM[split], taken)
            rows = [
                {"id": f"{task}-{split}-{number:04d}", "prompt": item.prompt, "answer": item.answer}
                for number, item in enumerate(drawn)
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            files[task, split].write_text(text, encoding="utf-8")
    return folder
