"""How the best settings were found: on training images alone.

    python experiments/m2n2_digits/explore.py --out runs/m2n2_digits

Searches learn from the first 1,150 training images; what is compared is the accuracy on the last
287, which they do not see, of the model that is best on the first. The test images are not touched.
Each line of the table differs from the settings found in the one thing it names.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from arms import COMPARISONS, FOUND
from digits import load
from driving import drive
from run import read
from searches import Population
from specialists import Start, founders
from tables import interval

from evomerge.testing.readme import publish

_N_FIT = 1_150
_BUDGETS: Mapping[Start, int] = {"pairs": 3_000, "scratch": 5_000}
_FIRST_SEED = 100  # not those of the comparison


def variants(start: Start) -> dict[str, Population]:
    """Return what is compared, by name."""

    def options(**changes: Any) -> Population:
        return replace(FOUND, options={**FOUND.options, **changes})

    published = COMPARISONS[start]["published"].arm
    if not isinstance(published, Population):
        raise TypeError(published)
    return {
        "published settings": published,
        "settings found": FOUND,
        "layout storage, mutation of all weights, std 0.01": replace(
            options(mutation_std=0.01), layout="storage", mutated_units=1.0
        ),
        "mutation of all weights, std 0.01": replace(options(mutation_std=0.01), mutated_units=1.0),
        "no mutation": options(mutation_std=0.0),
        "scores 0 or 1": replace(options(capacity="binary"), score="solved"),
        "alpha 1": options(alpha=1.0),
        "alpha 3": options(alpha=3.0),
        "no matchmaker": options(matchmaker=False),
        "no split point": options(split=False),
        "mix ratios Beta(0.3, 0.3)": options(mix_beta=0.3),
        "splits between units": replace(FOUND, granularity="unit"),
        "linear": replace(FOUND, operator="linear"),
        "archive of 10": options(archive_size=10),
        "archive of 40": options(archive_size=40),
    }


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where results are kept")
    parser.add_argument("--start", choices=list(_BUDGETS), nargs="*", default=list(_BUDGETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="variants by name")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "explored.jsonl"
    images, _ = load()
    fit, held_out = images.part(slice(_N_FIT)), images.part(slice(_N_FIT, None))
    seeds = range(_FIRST_SEED, _FIRST_SEED + options.seeds)
    for start in options.start:
        for name, arm in variants(start).items():
            done = {(one["start"], one["variant"]) for one in read(results)}
            if (start, name) in done or (options.only and name not in options.only):
                continue
            models = [founders(start, seed, fit) for seed in seeds]
            courses = drive(arm, models, seeds, _BUDGETS[start], fit, held_out)
            line = {
                "start": start,
                "variant": name,
                "train": [round(100 * course.accuracy, 3) for course in courses],
                "held_out": [round(100 * course.curve[-1][1], 3) for course in courses],
            }
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{time.strftime('%H:%M:%S')} {start} {name}", flush=True)
    publish(__file__, "explored", table(read(results)))


def table(found: list[dict[str, Any]]) -> Iterable[str]:
    """Yield a line for each variant."""
    by_name = {(one["start"], one["variant"]): one for one in found}
    titles = [f"{start}, {_BUDGETS[start]:,} evaluations" for start in _BUDGETS]
    yield f"| held-out training images, n = 3 | {' | '.join(titles)} |"
    yield "|---|---|---|"
    for name in variants("scratch"):
        cells = []
        for start in _BUDGETS:
            one = by_name.get((start, name))
            cells.append(
                f"{interval(one['held_out'])} (fitted: {np.mean(one['train']):.1f})" if one else ""
            )
        yield f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
