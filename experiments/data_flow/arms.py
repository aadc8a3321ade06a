"""What is compared: each arm is a study of its own over the same pair, items and budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evomerge.study import StudyConfig

Space = Mapping[str, Any]
Search = Mapping[str, Any]

#: A path starts as the language expert alone, the better one at the target, and as in the paper the
#: one whose embeddings and head know the language; layers of the other are taken into it.
DONORS = ("language", "reasoning")
OBJECTIVE = "answers"

MERGE: Space = {
    "merge_method": "task_arithmetic",
    "parameters": {"normalize": False},
    "genes": {"weight": {"range": [0.0, 1.5], "initial": "uniform"}},
}
#: A weight for each donor and pair of layers; embeddings and head are the same in both.
MERGE_LAYERS: Space = {
    **MERGE,
    "genes": {"weight": {"range": [0.0, 1.5], "initial": "uniform", "layers": 2}},
}
#: The shipped depthwise space, its ends free: of six layers two fixed ones would be a third.
DEPTHWISE: Space = {
    "path": "depthwise",
    "fixed_ends": False,
    "limits": {"max_growth": 1.5},
    "start": {"own": 0.9, "other": 0.03},
}
WIDE: Space = {**DEPTHWISE, "window": 1, "stack": 2}
#: The paper's, held to twice the layers of one donor.
SLOTS: Space = {
    "path": "slots",
    "limits": {"max_growth": 2.0},
    "start": {"own": 0.977, "other": 0.03},
}
SEQUENCE: Space = {"path": "sequence", "limits": {"max_growth": 1.5, "max_uses": 3}}
ANYWHERE = {"at": "random", "own": 0.5, "other": 0.5}

CMA: Search = {"optimizer": "cma_es"}
CAT: Search = {"optimizer": "cat_cma"}
MARGIN: Search = {"optimizer": "cma_wm"}
NSGA: Search = {"optimizer": "nsga2", "population": 20}
TPE: Search = {"optimizer": "optuna", "sampler_options": {"multivariate": True, "group": True}}
RANDOM: Search = {"optimizer": "random"}


@dataclass(frozen=True)
class Arm:
    """One way to search.

    Attributes:
        title: as the tables call it.
        space: what is searched; of a hybrid, what its second stage searches.
        search: how.
        donors: their order; the first is A of a path.
        hybrid: half of the trials search MERGE first, whose best becomes A.
    """

    title: str
    space: Space
    search: Search
    donors: tuple[str, ...] = DONORS
    hybrid: bool = False

    def study(self, pair: Path, seed: int, trials: int, workers: int) -> StudyConfig:
        """Return the study file of one run."""
        many = {"backend": "local", "count": workers, "threads": 1}
        study: dict[str, Any] = {
            "name": "data-flow",
            "seed": seed,
            "models": {
                "base": str(pair / "models" / "base"),
                "donors": {name: str(pair / "models" / name) for name in self.donors},
            },
            "objectives": {
                OBJECTIVE: {
                    "fitness": "./fitness.py:answers",
                    "metric": "surprise",
                    "goal": "minimize",
                    "search": str(pair / "data" / "search.jsonl"),
                    "holdout": str(pair / "data" / "holdout.jsonl"),
                }
            },
            "workers": many if workers > 1 else {"backend": "inline", "threads": 1},
            "front": {"size": 1, "baselines": []},
            "dtype": "float32",
        }
        if not self.hybrid:
            study |= {"space": self.space, "search": self.search, "budget": {"trials": trials}}
            return StudyConfig.model_validate(study)
        merge = {"name": "merge", "space": MERGE, "search": CMA, "trials": trials // 2}
        layers = {
            "name": "layers",
            "space": self.space,
            "search": self.search,
            "trials": trials - trials // 2,
            "take": {"merged": {"stage": "merge", "pick": "best"}},
            "donors": ["merged", *self.donors],
        }
        return StudyConfig.model_validate(study | {"stages": [merge, layers]})


_DFS = Arm("data flow: depthwise, CatCMAwM", DEPTHWISE, CAT)
_SLOTS = Arm("slots, r = 2, CatCMAwM", {**SLOTS, "repeats": 2}, CAT)

ARMS: dict[str, Arm] = {
    "ps": Arm("parameters: task arithmetic, CMA-ES", MERGE, CMA),
    "ps-layers": Arm("parameters: the same by pairs of layers, CMA-ES", MERGE_LAYERS, CMA),
    "dfs": _DFS,
    "hybrid": Arm("hybrid: parameters, then data flow", DEPTHWISE, CAT, hybrid=True),
    "joint": Arm("joint: both in one genotype", {"merge": MERGE, "layers": DEPTHWISE}, CAT),
    "random": replace(_DFS, title="random paths, drawn near A", search=RANDOM),
    "random-any": replace(
        _DFS,
        title="random paths, drawn anywhere",
        space={**DEPTHWISE, "start": ANYWHERE},
        search=RANDOM,
    ),
    "unscaled": replace(_DFS, title="scales fixed at 1", space={**DEPTHWISE, "scales": "none"}),
    "swapped": replace(_DFS, title="donors in the other order", donors=DONORS[::-1]),
    "far": replace(_DFS, title="not started near A", space={**DEPTHWISE, "start": ANYWHERE}),
    "wide": replace(_DFS, title="neighbouring depths and two layers a depth", space=WIDE),
    "full": replace(
        _DFS, title="scales of the whole hidden state", space={**DEPTHWISE, "scaling": "full"}
    ),
    "slots-1": replace(_SLOTS, title="slots, r = 1, CatCMAwM", space={**SLOTS, "repeats": 1}),
    "slots-2": _SLOTS,
    "slots-3": replace(_SLOTS, title="slots, r = 3, CatCMAwM", space={**SLOTS, "repeats": 3}),
    "dfs-nsga2": replace(_DFS, title="depthwise, NSGA-II", search=NSGA),
    "dfs-tpe": replace(_DFS, title="depthwise, TPE", search=TPE),
    "slots-cma-wm": replace(_SLOTS, title="slots, r = 2, CMAwM", search=MARGIN),
    "slots-cma-es": replace(_SLOTS, title="slots, r = 2, CMA-ES, relaxed", search=CMA),
    "slots-nsga2": replace(_SLOTS, title="slots, r = 2, NSGA-II", search=NSGA),
    "slots-tpe": replace(_SLOTS, title="slots, r = 2, TPE", search=TPE),
    "slots-random": replace(_SLOTS, title="slots, r = 2, random", search=RANDOM),
    "sequence": Arm("sequences, NSGA-II with its operators", SEQUENCE, NSGA),
    "sequence-random": Arm("sequences, random", SEQUENCE, RANDOM),
}
#: The tables of the report: which arms, and which of them the others are compared with.
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Spaces": (
        "dfs",
        ("ps", "ps-layers", "dfs", "hybrid", "joint", "random", "random-any"),
    ),
    "Ablations": (
        "dfs",
        ("dfs", "unscaled", "swapped", "far", "wide", "full", "slots-1", "slots-2", "slots-3"),
    ),
    "Optimizers on the depthwise space": ("dfs", ("dfs", "dfs-nsga2", "dfs-tpe", "random")),
    "Optimizers on the slots, r = 2": (
        "slots-2",
        (
            "slots-2",
            "slots-cma-wm",
            "slots-cma-es",
            "slots-nsga2",
            "slots-tpe",
            "slots-random",
        ),
    ),
    "Free sequences": ("sequence", ("sequence", "sequence-random")),
}
