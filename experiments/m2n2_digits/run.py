"""Runs the comparison on the digits; finished runs are kept.

    python experiments/m2n2_digits/run.py --out runs/m2n2_digits
    python experiments/m2n2_digits/run.py --out runs/m2n2_digits --start scratch --arms published ga

Every run adds a line to `results.jsonl` in that folder; runs that stand there are not repeated. A
group of seeds goes side by side in one process. The tables are made by `tables.py`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from arms import BUDGETS, COMPARISONS, MARKS, Comparison
from digits import Images, load
from driving import Course, drive
from specialists import Start, founders


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where results are kept")
    parser.add_argument("--start", choices=list(COMPARISONS), nargs="*", default=list(COMPARISONS))
    parser.add_argument("--arms", nargs="*", help="of all by default")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--side-by-side", type=int, default=10, help="seeds of one process")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.jsonl"
    train, test = load()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for start in options.start:
        for name, comparison in COMPARISONS[start].items():
            if options.arms and name not in options.arms:
                continue
            done = {one["seed"] for one in read(results) if of(one, start, name)}
            missing = [seed for seed in seeds if seed not in done]
            for first in range(0, len(missing), options.side_by_side):
                group = missing[first : first + options.side_by_side]
                run(results, start, name, comparison, group, train, test)


def run(
    results: Path,
    start: Start,
    name: str,
    comparison: Comparison,
    seeds: Sequence[int],
    train: Images,
    test: Images,
) -> None:
    """Run some seeds of one arm and write down what came of them."""
    begun = time.perf_counter()
    courses = drive(
        comparison.arm,
        [founders(start, seed, train) for seed in seeds],
        seeds,
        BUDGETS[start],
        train,
        test,
        batch=comparison.batch,
        marks=MARKS,
    )
    seconds = time.perf_counter() - begun
    with results.open("a", encoding="utf-8") as file:
        for seed, course in zip(seeds, courses, strict=True):
            line = {"start": start, "arm": name, "seed": seed, **figures(course)}
            file.write(json.dumps(line) + "\n")
    print(
        f"{time.strftime('%H:%M:%S')} {start} {name}: {len(seeds)} seeds, {seconds:.0f} s",
        flush=True,
    )


def figures(course: Course) -> dict[str, Any]:
    """Return what is kept of a search."""
    return {
        "train": round(100 * course.accuracy, 3),
        "test": round(100 * course.curve[-1][1], 3),
        "found_after": course.evaluations,
        "curve": [(mark, round(100 * accuracy, 3)) for mark, accuracy in course.curve],
    }


def read(results: Path) -> list[dict[str, Any]]:
    """Return all results so far."""
    if not results.exists():
        return []
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


def of(result: dict[str, Any], start: Start, name: str) -> bool:
    """Say whether a result is an arm's."""
    return bool(result["start"] == start and result["arm"] == name)


if __name__ == "__main__":
    main()
