"""How many scores of single items reach what CMA-ES reaches when it scores everything.

    pip install -e '.[zoo]'                                      # reasoning-gym draws the items
    python experiments/evaluation_economy/economy.py run --out runs/economy
    python experiments/evaluation_economy/economy.py report --out runs/economy

`run` carries every arm (`economy_arms.py`) through every seed; an interrupted run is resumed. Then
it scores on other items whatever was the best so far by the search items at any time. `report`
writes the tables into the README.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from economy_arms import ARMS, SEEDS, study, write_items
from economy_tables import report_lines

from evomerge.journal import Event, outcome_from_json
from evomerge.recipe import Recipe, fingerprint
from evomerge.study import StudyConfig, open_study, prepare, resume_run, start_run
from evomerge.study.course import Course
from evomerge.study.run import ExecutorFactory
from evomerge.testing.readme import publish
from evomerge.types import Completed
from evomerge.workers import Job
from evomerge.workers.inline import InlineExecutor

Judge: TypeAlias = Callable[[Recipe], float]


@dataclass(frozen=True)
class Best:
    """Who was the best so far, from some number of scored items on.

    Attributes:
        items: scores of single search items that were paid for by then.
        trial: its number.
        search: its mean over the tasks on all search items.
    """

    items: int
    trial: int
    search: float


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    run = steps.add_parser("run", help="carry out the searches")
    run.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    run.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    report = steps.add_parser("report", help="write the tables into the README")
    for step in (run, report):
        step.add_argument("--out", type=Path, required=True, help="where runs are kept")
    options = parser.parse_args()
    if options.step == "report":
        publish(__file__, "economy", report_lines(options.out))
        return
    items = write_items(options.out.resolve() / "items")
    for seed in options.seeds:
        for name in options.arms:
            carry_out(name, seed, items, options.out)


def carry_out(
    name: str,
    seed: int,
    items: Path,
    out: Path,
    *,
    executor: ExecutorFactory | None = None,
    judge: Judge | None = None,
) -> None:
    """Carry one run to its end and write what its best were worth on hold-out items.

    Args:
        name: of the arm.
        seed: of the run.
        items: the folder of the items.
        out: where runs are kept.
        executor: builds the workers; those of the study by default.
        judge: says what a merge is worth; its score on hold-out items by default.
    """
    result = out / f"{name}-{seed}.json"
    if result.exists():
        return
    run = out / f"{name}-{seed}"
    config = study(ARMS[name], items, seed)
    if (run / "journal.sqlite").exists():
        resume_run(run, executor=executor)
    else:
        start_run(config, Path(), run, executor=executor)
    outline, events = open_study(run)
    course = Course.of(outline, events)
    genotypes = {e.trial: tuple(e.payload["genotype"]) for e in events if e.kind == "asked"}
    judge = judge or on_holdout(config)
    worths: dict[str, float] = {}
    rows = []
    for best in bests(events, outline.config.objectives, config_items(config, items)):
        recipe = course.decode(best.trial, genotypes[best.trial])
        key = fingerprint(recipe)
        if key not in worths:
            worths[key] = judge(recipe)
        rows.append(
            {
                "items": best.items,
                "search": best.search,
                "holdout": worths[key],
                "genotype": genotypes[best.trial],
            }
        )
    spent = sum(count for count, _ in paid(events, config_items(config, items)))
    result.write_text(json.dumps({"bests": rows, "items": spent}), encoding="utf-8")
    print(f"{time.strftime('%H:%M:%S')} {run.name}: {spent} items", flush=True)


def on_holdout(config: StudyConfig) -> Judge:
    """Return what scores a merge on all hold-out items: the mean over the tasks."""
    workers = InlineExecutor(prepare(config, Path()).evaluator)

    def judge(recipe: Recipe) -> float:
        workers.submit(Job("best", recipe, "holdout"))
        outcome = workers.wait()[0].outcome
        if not isinstance(outcome, Completed):
            raise SystemExit(f"a merge cannot be scored on hold-out items: {outcome.message}")
        return float(np.mean([*outcome.metrics.values()]))

    return judge


def config_items(config: StudyConfig, items: Path) -> int:
    """Return how many search items a candidate has over all tasks."""
    return sum(
        len((items / f"{name}.search.jsonl").read_text(encoding="utf-8").splitlines())
        for name in config.objectives
    )


def paid(events: list[Event], n_items: int) -> Iterator[tuple[int, Event]]:
    """Yield how many items every event of the search paid for."""
    with_rungs = any(event.kind == "measured" for event in events)
    seen: dict[int | None, int] = {}
    for event in events:
        count = 0
        if event.kind == "measured":
            count = event.payload["n_items"]
            seen[event.trial] = seen.get(event.trial, 0) + count
        elif event.kind == "finished" and not with_rungs and "same_as" not in event.payload:
            count = n_items
        yield count, event


def bests(events: list[Event], objectives: Mapping[str, Any], n_items: int) -> Iterator[Best]:
    """Yield whoever became the best that was scored on all items, and what was paid by then."""
    total, best = 0, -np.inf
    for count, event in paid(events, n_items):
        total += count
        if event.kind != "finished" or event.trial is None:
            continue
        outcome = outcome_from_json(event.payload)
        if not isinstance(outcome, Completed) or outcome.errors:
            continue
        mean = float(np.mean([outcome.metrics[name] for name in objectives]))
        if mean > best:
            best = mean
            yield Best(total, event.trial, mean)


if __name__ == "__main__":
    main()
