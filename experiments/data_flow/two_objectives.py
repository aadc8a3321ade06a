"""Optimizers of several objectives on layer paths of two zoo experts, at equal budget.

    python experiments/data_flow/two_objectives.py --out runs/two-objectives

Sorting and spelling backwards, negative log-likelihood each, over a depthwise space of the
experts `sort-up` and `flip`. Writes into the README, for each optimizer, the hypervolume of its
front on held-out items (0 is the base, 1 the better expert of each task), mean ± standard deviation
over seeds, and the difference from random search, paired by seed, with Student's 95 % interval.
Finished runs are kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

from evomerge import collect_front
from evomerge.report.analysis import analyse
from evomerge.study import StudyConfig, start_run
from evomerge.testing.readme import publish

OPTIMIZERS = {
    "random": {"optimizer": "random"},
    "como_cat_cma": {"optimizer": "como_cat_cma"},
    "nsga2": {"optimizer": "nsga2", "population": 20},
    "optuna, TPE": {
        "optimizer": "optuna",
        "sampler_options": {"multivariate": True, "group": True},
    },
}


def main() -> None:
    """Run every optimizer from every seed and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--only", choices=OPTIMIZERS, help="carry out these runs, write nothing")
    options = parser.parse_args()
    if options.only:
        for seed in range(1, options.seeds + 1):
            path = options.out / f"{options.only.split(',')[0]}-{seed}"
            volume(path, options.only, seed, options.trials)
        return
    volumes = {
        name: [
            volume(options.out / f"{name.split(',')[0]}-{seed}", name, seed, options.trials)
            for seed in range(1, options.seeds + 1)
        ]
        for name in OPTIMIZERS
    }
    lines = [
        f"| {options.trials} trials, n = {options.seeds} | hypervolume, held-out | minus random |",
        "|---|---:|---:|",
    ]
    for name, found in volumes.items():
        gain = "" if name == "random" else difference(found, volumes["random"])
        lines.append(f"| {name} | {np.mean(found):.3f} ± {np.std(found, ddof=1):.3f} | {gain} |")
    publish(__file__, "two objectives", lines)


def volume(out: Path, name: str, seed: int, trials: int) -> float:
    """Return the held-out hypervolume of a run's front, after running it if it is not there."""
    if not out.exists():
        start_run(study(name, seed, trials), Path.cwd(), out)
    volumes = analyse(collect_front(out)).volumes
    if volumes is None or volumes.front_holdout is None:
        raise SystemExit(f"{out} has no held-out hypervolume; remove it and run it again")
    return volumes.front_holdout


def study(name: str, seed: int, trials: int) -> StudyConfig:
    """Return the study of one run."""
    return StudyConfig.model_validate(
        {
            "name": "two-objectives",
            "seed": seed,
            "dtype": "float32",
            "models": {
                "base": "zoo:base",
                "donors": {"sort-up": "zoo:sort-up", "flip": "zoo:flip"},
            },
            "space": {"path": "depthwise", "fixed_ends": False, "window": 1, "stack": 2},
            "objectives": {
                task: {
                    "fitness": "negative_log_likelihood",
                    "search": f"zoo:{task}.search.jsonl",
                    "holdout": f"zoo:{task}.holdout.jsonl",
                    "limit": 128,
                }
                for task in ("sort_up", "flip")
            },
            "search": OPTIMIZERS[name],
            "budget": {"trials": trials},
            "workers": {"backend": "inline", "threads": 1},
            "front": {"size": 8, "baselines": ["base", "donors"]},
        }
    )


def difference(found: list[float], others: list[float]) -> str:
    """Write the mean paired difference and its 95 % interval."""
    gains = np.subtract(found, others)
    half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
    return f"{gains.mean():+.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
