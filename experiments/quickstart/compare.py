"""Does the search find something? Optimizers at equal budget, on items they never saw.

    python experiments/quickstart/compare.py --out /tmp/compare --seeds 5

Runs the quickstart study with NSGA-II, CMA-ES on the mean, and random search, several seeds each
(finished runs are kept and interrupted ones resumed), and prints a table of held-out figures:

- hypervolume of the run's front, anchored at 0 = base and 1 = best donor of each task, reference
  -0.1 in each; the baselines' is that of base, donors, uniform merge and the whole λ grid together;
- the mean over tasks of the run's best scalar recipe, chosen by its mean on the search items.

Intervals are Student's t over seeds. The λ grid's best point is chosen on the search items, as a
user would have to; the best of the grid on the hold-out items themselves is printed beside it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from evomerge import zoo
from evomerge.journal import read_events
from evomerge.pareto import Anchors, anchored_hypervolume
from evomerge.study import StudyConfig, load_study, prepare, resume_run, start_run
from evomerge.study.scoring import LAMBDA, baseline_recipes
from evomerge.types import Objective
from evomerge.workers import Job, LocalExecutor

SEARCHES: dict[str, tuple[str, ...]] = {
    "NSGA-II": (),
    "CMA-ES on the mean": ("search={optimizer: cma_es, scalarize: mean}",),
    "random": ("search={optimizer: random}",),
}
Scores = Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """What one run is worth on hold-out items."""

    volume: float
    mean: float
    search_mean: float
    members: int
    minutes: float


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], help="override a key of the study")
    options = parser.parse_args()
    study = zoo.path() / "study.yaml"
    config = load_study(study, options.set)
    baselines = score_baselines(config, study.parent)
    objectives = [Objective(name) for name in config.objectives]
    anchors = anchored(objectives, baselines)
    results = {
        name: [
            evaluate(run(study, options, name, changes, seed), objectives, anchors)
            for seed in range(1, options.seeds + 1)
        ]
        for name, changes in SEARCHES.items()
    }
    print_tables(config, objectives, anchors, baselines, results)


def run(
    study: Path, options: argparse.Namespace, name: str, changes: Sequence[str], seed: int
) -> Path:
    """Carry one run to its end, whatever of it exists already."""
    out: Path = options.out / f"{name.replace(' ', '-').lower()}-{seed}"
    overrides = [*options.set, *changes, f"seed={seed}", "front.baselines=[]"]
    if (out / "journal.sqlite").exists() and read_events(out):
        resume_run(out)
    else:
        start_run(load_study(study, overrides), study.parent, out)
    print(f"{time.strftime('%H:%M:%S')} {out.name}", flush=True)
    return out


def score_baselines(config: StudyConfig, folder: Path) -> dict[str, dict[str, Scores]]:
    """Score base, donors, uniform merge and the whole λ grid on both splits."""
    study = prepare(config, folder)
    workers = LocalExecutor(study.evaluator, count=config.workers.count)
    scores: dict[str, dict[str, Scores]] = {}
    try:
        recipes = baseline_recipes(study)
        for name, recipe in recipes.items():
            for split in ("search", "holdout"):
                workers.submit(Job(name, recipe, split))
        for _ in range(2 * len(recipes)):
            (result,) = workers.wait()
            scores.setdefault(result.job.id, {})[result.job.split] = result.outcome.metrics
    finally:
        workers.close()
    return {name: scores[name] for name in recipes}


def anchored(
    objectives: Sequence[Objective], baselines: Mapping[str, Mapping[str, Scores]]
) -> Anchors:
    """Anchor hold-out scores at the base and the best donor of each task."""
    donors = [s["holdout"] for name, s in baselines.items() if name.startswith("donor:")]
    return Anchors.of(objectives, baselines["base"]["holdout"], donors)


def evaluate(out: Path, objectives: Sequence[Objective], anchors: Anchors) -> Result:
    """Read a finished run."""
    events = read_events(out)
    search = {
        f"trial-{event.trial:06d}": event.payload["metrics"]
        for event in events
        if event.kind == "finished" and "metrics" in event.payload
    }
    holdout = {
        event.payload["name"]: event.payload["metrics"]
        for event in events
        if event.kind == "scored" and event.payload["split"] == "holdout"
    }
    best = max(holdout, key=lambda name: mean(search[name], objectives))
    volume = anchored_hypervolume(anchors.scale_all(list(holdout.values())))
    return Result(
        float(volume),
        mean(holdout[best], objectives),
        mean(search[best], objectives),
        len(holdout),
        (events[-1].at - events[0].at) / 60,
    )


def mean(scores: Scores, objectives: Sequence[Objective]) -> float:
    """Average over tasks."""
    return float(np.mean([scores[objective.name] for objective in objectives]))


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % Student interval."""
    array = np.array(values)
    half = stats.t.ppf(0.975, len(array) - 1) * stats.sem(array) if len(array) > 1 else np.nan
    return f"{array.mean():.3f} ± {half:.3f}"


def print_tables(
    config: StudyConfig,
    objectives: Sequence[Objective],
    anchors: Anchors,
    baselines: Mapping[str, Mapping[str, Scores]],
    results: Mapping[str, Sequence[Result]],
) -> None:
    """Print markdown."""
    names = [objective.name for objective in objectives]
    print(f"\n| model, held-out | {' | '.join(names)} | mean |")
    print("|---" * (len(names) + 2) + "|")
    for name, scores in baselines.items():
        cells = " | ".join(f"{scores['holdout'][task]:.3f}" for task in names)
        print(f"| {name} | {cells} | {mean(scores['holdout'], objectives):.3f} |")
    grid = [name for name in baselines if name.startswith(LAMBDA)]
    chosen = max(grid, key=lambda name: mean(baselines[name]["search"], objectives))
    point = mean(baselines[chosen]["holdout"], objectives)
    lucky = max(mean(baselines[name]["holdout"], objectives) for name in grid)
    donor = max(
        mean(s["holdout"], objectives) for n, s in baselines.items() if n.startswith("donor:")
    )
    volume = anchored_hypervolume(anchors.scale_all([s["holdout"] for s in baselines.values()]))
    print(f"\nbest grid point on the search items: {chosen}, held-out mean {point:.3f}")
    print(f"best grid point on the hold-out items themselves: {lucky:.3f}; best donor {donor:.3f}")
    print(f"hypervolume of all baselines together: {volume:.3f}\n")
    print(
        f"| {config.budget.trials} trials, n = {len(next(iter(results.values())))} | hypervolume |"
        " runs above the baselines | best scalar recipe, mean | its search mean |"
        " gain over the grid point | runs above it | minutes |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, runs in results.items():
        means = [one.mean for one in runs]
        print(
            f"| {name} | {interval([one.volume for one in runs])} |"
            f" {sum(one.volume > volume for one in runs)}/{len(runs)} |"
            f" {interval(means)} | {interval([one.search_mean for one in runs])} |"
            f" {interval([one - point for one in means])} |"
            f" {sum(one > point for one in means)}/{len(runs)} |"
            f" {np.mean([one.minutes for one in runs]):.1f} |"
        )
    for name in ("CMA-ES on the mean", "random"):
        pairs = zip(results["NSGA-II"], results[name], strict=True)
        gains = [ours.volume - theirs.volume for ours, theirs in pairs]
        print(f"\nNSGA-II minus {name}, hypervolume, paired by seed: {interval(gains)}")


if __name__ == "__main__":
    main()
