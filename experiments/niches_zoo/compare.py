"""M2N2 and CycleQD on the zoo, against searches of weights, at equal evaluations.

    python experiments/niches_zoo/compare.py run --out runs/niches-zoo
    python experiments/niches_zoo/compare.py score --out runs/niches-zoo
    python experiments/niches_zoo/compare.py report --out runs/niches-zoo

`run` carries every arm (see `arms.py`) through every seed; finished runs are kept and interrupted
ones resumed. `score` then scores, on held-out items of all tasks, each run's best trial (the one of
the highest mean over the search items), and what needs no search: base, donors, uniform average and
a grid of one weight for all. `report` writes the tables into the README.

Every figure is of held-out items. ± is a sample standard deviation over seeds; intervals of
differences are Student's 95 %, paired by seed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from arms import ARMS, OBJECTIVES, UNNAMED, Arm, write_items
from scipy import stats

from evomerge.journal import read_events
from evomerge.pareto import Anchors, anchored_hypervolume
from evomerge.recipe import Recipe
from evomerge.study import open_study, prepare, resume_run, start_run
from evomerge.study.config import StudyConfig
from evomerge.study.course import Course
from evomerge.study.scoring import LAMBDA, baseline_recipes
from evomerge.testing.readme import publish
from evomerge.types import Completed, Objective
from evomerge.workers import Job, LocalExecutor

FOLDER = Path(__file__).resolve().parent
UNNAMED_FILE = "unnamed.json"
FIXED_FILE = "fixed.json"
BEST = "best"
REFERENCE = "nsga2"
Scores = Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """What one run is worth on held-out items.

    Attributes:
        volume: hypervolume of its front, 0 = base and 1 = best donor of each task.
        scores: of its best trial, by task, the unnamed ones included.
        search_mean: of that trial, on the search items.
        evaluated: trials that were evaluated; the others had a recipe that was known already.
        minutes: between the first and the last event.
    """

    volume: float
    scores: Scores
    search_mean: float
    evaluated: int
    minutes: float

    @property
    def mean(self) -> float:
        """Mean over the named tasks."""
        return float(np.mean([self.scores[task] for task in OBJECTIVES]))


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    run = steps.add_parser("run", help="carry out the searches")
    run.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    run.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3, 4, 5])
    run.add_argument("--trials", type=int, default=100)
    scored = steps.add_parser("score", help="score what was found on all tasks")
    report = steps.add_parser("report", help="write the tables into the README")
    for step in (run, scored, report):
        step.add_argument("--out", type=Path, required=True, help="where runs are kept")
    options = parser.parse_args()
    if options.step == "report":
        publish(__file__, "compare", report_lines(options.out))
        return
    items = write_items(options.out.resolve() / "items")
    if options.step == "score":
        score_all(options.out, items)
        return
    for seed in options.seeds:
        for name in options.arms:
            run_one(ARMS[name], options.out / f"{name}-{seed}", items, seed, options.trials)


def run_one(arm: Arm, out: Path, items: Path, seed: int, trials: int) -> None:
    """Carry one run to its end, whatever of it exists already."""
    if (out / "journal.sqlite").exists() and read_events(out):
        resume_run(out)
    else:
        start_run(arm.study(items, seed, trials), FOLDER, out)
    print(f"{time.strftime('%H:%M:%S')} {out.name}", flush=True)


def best_trial(out: Path) -> int:
    """Return the trial of the highest mean over the search items."""
    found = {
        event.trial: np.mean(list(event.payload["metrics"].values()))
        for event in read_events(out)
        if event.kind == "finished" and "metrics" in event.payload
    }
    return max(found, key=lambda number: (found[number], -number))


def score_all(out: Path, items: Path) -> None:
    """Score every run's best trial, and what needs no search, where that was not done yet."""
    config = ARMS[REFERENCE].study(items, 0, 1)
    study = prepare(all_tasks(config), FOLDER)
    wanted: dict[Path, Mapping[str, Recipe]] = {}
    if not (out / FIXED_FILE).exists():
        wanted[out / FIXED_FILE] = baseline_recipes(study)
    for folder in runs_of(out):
        if not (folder / UNNAMED_FILE).exists():
            wanted[folder / UNNAMED_FILE] = {BEST: best_recipe(folder)}
    workers = LocalExecutor(study.evaluator, count=1)
    try:
        for file, recipes in wanted.items():
            found = {name: holdout_scores(workers, one) for name, one in recipes.items()}
            content = found.get(BEST, found)
            file.write_text(json.dumps(content, indent=1), encoding="utf-8")
            print(f"{time.strftime('%H:%M:%S')} {file}", flush=True)
    finally:
        workers.close()


def runs_of(out: Path) -> list[Path]:
    """Return the folders of finished runs."""
    folders = [path.parent for path in sorted(out.glob("*/journal.sqlite"))]
    return [one for one in folders if any(event.kind == "scored" for event in read_events(one))]


def best_recipe(out: Path) -> Recipe:
    """Return the recipe of a run's best trial."""
    study, events = open_study(out)
    number = best_trial(out)
    genotypes = {event.trial: event.payload for event in events if event.kind == "asked"}
    return Course.of(study, events).decode(number, tuple(genotypes[number]["genotype"]))


def all_tasks(config: StudyConfig) -> StudyConfig:
    """Return a study of the same models with all tasks, named and unnamed, as objectives."""
    parts = {
        task: {
            "fitness": "exact_match",
            "search": f"zoo:{task}.search.jsonl",
            "holdout": f"zoo:{task}.holdout.jsonl",
        }
        for task in (*OBJECTIVES, *UNNAMED)
    }
    changed = config.model_dump(mode="json", exclude={"front"})
    return StudyConfig.model_validate({**changed, "objectives": parts})


def holdout_scores(workers: LocalExecutor, recipe: Recipe) -> dict[str, float]:
    """Score a recipe on the held-out items of every task."""
    workers.submit(Job("holdout", recipe, "holdout"))
    (result,) = workers.wait()
    if not isinstance(result.outcome, Completed):
        raise SystemExit(f"a recipe cannot be scored: {result.outcome.message}")
    return dict(result.outcome.metrics)


def read_run(out: Path, anchors: Anchors) -> Result:
    """Read a finished run."""
    events = read_events(out)
    finished = [event for event in events if event.kind == "finished"]
    members = [
        {task: event.payload["metrics"][task] for task in OBJECTIVES}
        for event in events
        if event.kind == "scored" and event.payload["split"] == "holdout"
    ]
    number = best_trial(out)
    best = next(event for event in finished if event.trial == number)
    return Result(
        float(anchored_hypervolume(anchors.scale_all(members))),
        json.loads((out / UNNAMED_FILE).read_text(encoding="utf-8")),
        float(np.mean(list(best.payload["metrics"].values()))),
        sum("same_as" not in event.payload for event in finished),
        (events[-1].at - events[0].at) / 60,
    )


def report_lines(out: Path) -> Iterator[str]:
    """Yield the tables."""
    fixed = json.loads((out / FIXED_FILE).read_text(encoding="utf-8"))
    objectives = [Objective(task) for task in OBJECTIVES]
    donors = [scores for name, scores in fixed.items() if name.startswith("donor:")]
    anchors = Anchors.of(objectives, fixed["base"], donors)
    results: dict[str, dict[int, Result]] = {}
    for name in ARMS:
        folders = [
            path
            for path in out.glob(f"{name}-*")
            if path.name.removeprefix(f"{name}-").isdecimal() and (path / UNNAMED_FILE).exists()
        ]
        runs = {int(path.name.rpartition("-")[2]): read_run(path, anchors) for path in folders}
        if runs:
            results[name] = dict(sorted(runs.items()))
    yield from found_lines(results, fixed, anchors)
    yield from unnamed_lines(results, fixed)


def found_lines(
    results: Mapping[str, Mapping[int, Result]], fixed: Mapping[str, Scores], anchors: Anchors
) -> Iterator[str]:
    """Yield what was searched for."""
    yield from ("### What was searched for", "")
    yield (
        f"| arm | n | hypervolume | minus that of *{ARMS[REFERENCE].title}* | best trial's mean |"
        f" minus its | its search mean | evaluated | minutes |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for name, runs in results.items():
        values = list(runs.values())
        pairs = [
            (runs[seed], results[REFERENCE][seed])
            for seed in runs
            if name != REFERENCE and seed in results.get(REFERENCE, {})
        ]
        yield (
            f"| {ARMS[name].title} | {len(values)} | {spread([one.volume for one in values])} |"
            f" {difference([a.volume - b.volume for a, b in pairs])} |"
            f" {spread([one.mean for one in values])} |"
            f" {difference([a.mean - b.mean for a, b in pairs])} |"
            f" {spread([one.search_mean for one in values])} |"
            f" {np.mean([one.evaluated for one in values]):.0f} |"
            f" {np.mean([one.minutes for one in values]):.1f} |"
        )
    grid = {name: row for name, row in fixed.items() if name.startswith(LAMBDA)}
    best = max(grid, key=lambda name: named_mean(grid[name]))
    rows = {name: row for name, row in fixed.items() if name not in grid} | {
        f"{best}, the grid's best on these very items": grid[best]
    }
    for name, row in rows.items():
        yield f"| {name} | | | | {named_mean(row):.3f} | | | | |"
    every = anchored_hypervolume(
        anchors.scale_all([{task: row[task] for task in OBJECTIVES} for row in fixed.values()])
    )
    yield f"| all of these and the grid together | | {float(every):.3f} | | | | | | |"
    yield ""


def unnamed_lines(
    results: Mapping[str, Mapping[int, Result]], fixed: Mapping[str, Scores]
) -> Iterator[str]:
    """Yield each task's score, those that no fitness named apart."""
    tasks = (*OBJECTIVES, *UNNAMED)
    yield from ("### Task by task: the best trial of each run", "")
    yield f"| arm | {' | '.join(tasks)} | mean of {', '.join(UNNAMED)} |"
    yield "|---" + "|---:" * (len(tasks) + 1) + "|"
    for name in ("base", "uniform", *(one for one in fixed if one.startswith("donor:"))):
        row = fixed[name]
        cells = " | ".join(f"{row[task]:.3f}" for task in tasks)
        yield f"| {name} | {cells} | {unnamed_mean(row):.3f} |"
    for name, runs in results.items():
        values = [one.scores for one in runs.values()]
        cells = " | ".join(spread([row[task] for row in values]) for task in tasks)
        yield (
            f"| {ARMS[name].title} | {cells} | {spread([unnamed_mean(row) for row in values])} |"
        )


def named_mean(scores: Scores) -> float:
    """Average over the tasks that were searched for."""
    return float(np.mean([scores[task] for task in OBJECTIVES]))


def unnamed_mean(scores: Scores) -> float:
    """Average over the tasks that no fitness named."""
    return float(np.mean([scores[task] for task in UNNAMED]))


def spread(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation over seeds."""
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


def difference(gaps: Sequence[float]) -> str:
    """Return the mean difference and its Student interval over seeds."""
    if not gaps:
        return ""
    if len(gaps) < 2:
        return f"{np.mean(gaps):+.3f}"
    half = stats.t.ppf(0.975, len(gaps) - 1) * stats.sem(gaps)
    return f"{np.mean(gaps):+.3f} [{np.mean(gaps) - half:+.3f}, {np.mean(gaps) + half:+.3f}]"


if __name__ == "__main__":
    main()
