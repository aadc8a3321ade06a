"""Real merges of the zoo, evaluated item by item: the data of the test-bed's problems.

    python experiments/optimizers/collect.py evaluate --out runs/testbed   # an hour on one core
    python experiments/optimizers/collect.py refine --out runs/testbed     # some minutes
    python experiments/optimizers/collect.py pack --out runs/testbed       # half an hour

`evaluate` scores a design of points, see `studies.py`. `refine` adds points of the front of a
surrogate of what is known, in three rounds: a search goes where a surrogate is too hopeful, so
that is where it is corrected. `pack` fits the kernels, finds the reference fronts and writes the
files that are shipped.

Every finished evaluation is kept in `<out>/<problem>.jsonl` at once; the commands may be
interrupted and repeated, and continue where they were.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from packing import (
    costs_of,
    fit_all,
    packed,
    points_and_scores,
    spread_front,
    surrogate_of,
)
from rows import Row, cut_incomplete, read_rows
from studies import ITEMS, PLANS, Plan, design, write_items

import evomerge
from evomerge.spaces.domain import Domain
from evomerge.study import Prepared, prepare
from evomerge.study.scoring import baseline_recipes
from evomerge.testing.problems.storage import write_data
from evomerge.types import Completed, Genotype
from evomerge.workers import Job
from evomerge.workers.evaluator import Evaluator

DATA = Path(evomerge.__file__).parent / "testing" / "problems" / "data"
ROUNDS = 3
SHORT = 60
"""Generations of 200 by which a front is searched to refine it."""


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    for name, text in {
        "evaluate": "evaluate the designed points of each problem",
        "refine": "evaluate points of the front of what is known so far",
        "pack": "write the data files of the package",
    }.items():
        step = steps.add_parser(name, help=text)
        step.add_argument("--out", type=Path, required=True, help="where evaluations are kept")
        step.add_argument("--problems", nargs="*", choices=PLANS, default=list(PLANS))
    options = parser.parse_args()
    out = options.out.resolve()
    items = write_items(out / "items")
    for name in options.problems:
        plan = PLANS[name]
        study = prepare(plan.study(items, name), out)
        if options.step == "evaluate":
            evaluate_all(name, plan, study, design(plan, domain_of(study)), out)
        elif options.step == "refine":
            refine(name, plan, study, out)
        else:
            pack(name, plan, study, out)


def refine(name: str, plan: Plan, study: Prepared, out: Path) -> None:
    """Evaluate points of the surrogate's front, in rounds, until the plan's number is reached."""
    domain = domain_of(study)
    designed = set(design(plan, domain))
    for last in range(1, ROUNDS + 1):
        rows = read_rows(out / f"{name}.jsonl")
        known = {tuple(row["genotype"]) for row in rows}
        missing = plan.front * last // ROUNDS - len(known - designed)
        if missing <= 0:
            continue
        points, scores = points_and_scores(completed(rows), plan.tasks, domain)
        surrogate = surrogate_of(points, scores, domain, fit_all(points, scores, domain))
        chosen = list(spread_front(domain, surrogate, missing, known, SHORT))
        before = costs_of(np.array([domain.to_unit(one) for one in chosen]), surrogate)
        evaluate_all(name, plan, study, chosen, out)
        measured = {tuple(row["genotype"]): row for row in read_rows(out / f"{name}.jsonl")}
        _, scores = points_and_scores([measured[one] for one in chosen], plan.tasks, domain)
        gap = scores[:, :, :ITEMS].mean(axis=2).T + before
        print(
            f"{clock()} {name}, round {last}: measured minus expected accuracy on the front "
            f"{gap.mean(axis=0).round(3).tolist()}, deviation {gap.std(axis=0).round(3).tolist()}",
            flush=True,
        )


def pack(name: str, plan: Plan, study: Prepared, out: Path) -> None:
    """Write the data file of a problem."""
    rows = completed(read_rows(out / f"{name}.jsonl"))
    domain = domain_of(study)
    known = accuracies_of_models(plan, study)
    data, rates, noise = packed(domain, plan.tasks, rows, known, plan.generations)
    DATA.mkdir(exist_ok=True)
    write_data(DATA / f"{name}.npz", data, rates, noise)
    size = (DATA / f"{name}.npz").stat().st_size
    print(f"{clock()} {name}: {size / 1000:.0f} kB, {json.dumps(data.facts)}", flush=True)


def accuracies_of_models(plan: Plan, study: Prepared) -> dict[str, dict[str, float]]:
    """Score base and donors themselves on the search items."""
    evaluator = Evaluator(study.evaluator)
    result = {}
    for name, recipe in baseline_recipes(study).items():
        if name != "base" and not name.startswith("donor:"):
            continue
        outcome = evaluator.evaluate(Job(name, recipe, "search")).outcome
        if not isinstance(outcome, Completed):
            raise SystemExit(f"{name}: {outcome.message}")
        result[name.removeprefix("donor:")] = {
            task: float(np.mean(list(outcome.examples[task].values())[:ITEMS]))
            for task in plan.tasks
        }
    return result


def completed(rows: Sequence[Row]) -> list[Row]:
    """Return the evaluations that have scores."""
    return [row for row in rows if "scores" in row]


def domain_of(study: Prepared) -> Domain:
    """Return what a study varies."""
    domain = study.space.domain
    if not isinstance(domain, Domain):
        raise SystemExit("a test-bed problem needs genes, and a population has none")
    return domain


def evaluate_all(
    name: str, plan: Plan, study: Prepared, points: Sequence[Genotype], out: Path
) -> None:
    """Evaluate the points that were not yet."""
    file = out / f"{name}.jsonl"
    known = {tuple(row["genotype"]) for row in read_rows(file)}
    missing = [point for point in points if point not in known]
    print(f"{clock()} {name}: {len(missing)} of {len(points)} points to evaluate", flush=True)
    if not missing:
        return
    evaluator = Evaluator(study.evaluator)
    cut_incomplete(file)
    started = time.perf_counter()
    with file.open("a", encoding="utf-8") as stream:
        for done, genotype in enumerate(missing, 1):
            stream.write(json.dumps(evaluated(evaluator, plan, study, genotype)) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
            if done % 20 == 0 or done == len(missing):
                each = (time.perf_counter() - started) / done
                left = each * (len(missing) - done) / 60
                print(
                    f"{clock()} {name}: {done}/{len(missing)}, {each:.2f} s each, {left:.0f} min",
                    flush=True,
                )


def evaluated(evaluator: Evaluator, plan: Plan, study: Prepared, genotype: Genotype) -> Row:
    """Score one genotype; the 0/1 scores of a task are packed into bits, search items first."""
    result = evaluator.evaluate(Job("point", study.space.decode(genotype), "search"))
    if not isinstance(result.outcome, Completed):
        return {"genotype": genotype, "failed": result.outcome.message}
    scores = {}
    for task in plan.tasks:
        bits = np.array(list(result.outcome.examples[task].values()), dtype=bool)
        if bits.shape != (2 * ITEMS,):
            raise SystemExit(f"{task}: {bits.size} scores; expected {2 * ITEMS}")
        scores[task] = np.packbits(bits).tobytes().hex()
    return {"genotype": genotype, "scores": scores}


def clock() -> str:
    """Return the time of day."""
    return time.strftime("%H:%M:%S")


if __name__ == "__main__":
    main()
