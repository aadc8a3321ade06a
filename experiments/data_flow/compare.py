"""What is found in layer paths, in weights and in both, at equal budget, on items never searched.

    python experiments/data_flow/train_pair.py --out runs/pair
    python experiments/data_flow/compare.py run --pair runs/pair --out runs/data-flow
    python experiments/data_flow/compare.py report --out runs/data-flow

`run` carries every arm (see `arms.py`) through every seed; finished runs are kept and interrupted
ones resumed. `report` reads the runs and writes its tables into the README: figures of each run's
best trial, chosen by its surprise on the search items, on 400 others. ± is a standard deviation
over seeds. Intervals of differences are of 95 %: for surprise from a bootstrap over seeds and items
together (both arms of a seed on the same items), for exact matches from Student's t over seeds,
paired by seed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from arms import ARMS, OBJECTIVE, TABLES
from fixed import score_fixed
from numpy.typing import NDArray
from scipy import stats

from evomerge.journal import Event, read_events
from evomerge.journal.examples import read_examples
from evomerge.study import resume_run, start_run
from evomerge.testing.readme import publish

FOLDER = Path(__file__).resolve().parent
FIXED = "fixed.json"
RESAMPLES = 4000


@dataclass(frozen=True)
class Result:
    """What one run found.

    Attributes:
        search: surprise of its best trial on the search items.
        surprise: the same recipe's on the held-out items.
        exact: share of held-out items it answers right.
        items: its surprise on each held-out item, in the items' order.
        evaluated: trials that were evaluated; the others had a recipe that was known already.
        minutes: between the first and the last event.
    """

    search: float
    surprise: float
    exact: float
    items: NDArray[np.float64]
    evaluated: int
    minutes: float


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    run = steps.add_parser("run", help="carry out the searches")
    run.add_argument("--pair", type=Path, required=True, help="what train_pair.py wrote")
    run.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    run.add_argument("--seeds", type=int, default=5)
    run.add_argument("--trials", type=int, default=100)
    run.add_argument("--workers", type=int, default=1)
    report = steps.add_parser("report", help="write the tables into the README")
    for step in (run, report):
        step.add_argument("--out", type=Path, required=True, help="where runs are kept")
    options = parser.parse_args()
    if options.step == "report":
        publish(__file__, "compare", report_lines(options.out))
        return
    for name in options.arms:
        for seed in range(1, options.seeds + 1):
            run_one(name, seed, options)
    if not (options.out / FIXED).exists():
        scores = score_fixed(options.pair.resolve())
        (options.out / FIXED).write_text(json.dumps(scores, indent=1), encoding="utf-8")


def run_one(name: str, seed: int, options: argparse.Namespace) -> None:
    """Carry one run to its end, whatever of it exists already."""
    out: Path = options.out / f"{name}-{seed}"
    if (out / "journal.sqlite").exists() and read_events(out):
        resume_run(out)
    else:
        study = ARMS[name].study(options.pair.resolve(), seed, options.trials, options.workers)
        start_run(study, FOLDER, out)
    print(f"{time.strftime('%H:%M:%S')} {out.name}", flush=True)


def report_lines(out: Path) -> Iterator[str]:
    """Yield every table of which there are runs."""
    results = {name: read_arm(out, name) for name in ARMS}
    if (out / FIXED).exists():
        yield from fixed_lines(json.loads((out / FIXED).read_text(encoding="utf-8")))
    for title, (reference, names) in TABLES.items():
        found = {name: results[name] for name in names if results[name]}
        if found:
            yield from table_lines(title, reference, results[reference], found)


def read_arm(out: Path, name: str) -> dict[int, Result]:
    """Read the finished runs of an arm, by seed."""
    found: dict[int, Result] = {}
    for folder in sorted(out.glob(f"{name}-*")):
        seed = folder.name.removeprefix(f"{name}-")
        if not seed.isdecimal():
            continue
        events = read_events(folder)
        if any(event.kind == "scored" for event in events):
            found[int(seed)] = read_run(folder, events)
    return dict(sorted(found.items()))


def read_run(folder: Path, events: Sequence[Event]) -> Result:
    """Read a finished run: its best trial, which alone was scored on held-out items."""
    scored = next(event for event in events if event.kind == "scored")
    number = int(scored.payload["name"].removeprefix("trial-"))
    finished = [event for event in events if event.kind == "finished"]
    best = next(event for event in finished if event.trial == number)
    items = read_examples(folder, scored.payload["examples"])[OBJECTIVE]
    return Result(
        best.payload["metrics"][OBJECTIVE],
        scored.payload["metrics"][OBJECTIVE],
        scored.payload["notes"][f"{OBJECTIVE}/exact"],
        np.array([items[name] for name in sorted(items)]),
        sum("same_as" not in event.payload for event in finished),
        (events[-1].at - events[0].at) / 60,
    )


def fixed_lines(scores: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield the table of what needs no search."""
    yield from ("", "### Without a search", "")
    yield "| recipe | surprise, search | surprise, held-out | exact, held-out |"
    yield "|---|---:|---:|---:|"
    for name, row in scores.items():
        yield f"| {name} | {row['search']:.3f} | {row['surprise']:.3f} | {row['exact']:.3f} |"


def table_lines(
    title: str,
    reference: str,
    compared: Mapping[int, Result],
    arms: Mapping[str, Mapping[int, Result]],
) -> Iterator[str]:
    """Yield one table, with the differences from its reference arm."""
    against = ARMS[reference].title
    yield from ("", f"### {title}", "")
    yield (
        "| arm | n | surprise, search | surprise, held-out | exact, held-out | "
        f"surprise minus that of *{against}* | exact minus its | evaluated | minutes |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for name, runs in arms.items():
        values = list(runs.values())
        pairs = [(runs[seed], compared[seed]) for seed in runs if seed in compared]
        own = name == reference or not pairs
        yield (
            f"| {ARMS[name].title} | {len(values)} |"
            f" {spread([one.search for one in values])} |"
            f" {spread([one.surprise for one in values])} |"
            f" {spread([one.exact for one in values])} |"
            f" {'' if own else surprise_difference(pairs)} |"
            f" {'' if own else exact_difference(pairs)} |"
            f" {np.mean([one.evaluated for one in values]):.0f} |"
            f" {np.mean([one.minutes for one in values]):.1f} |"
        )


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation over seeds."""
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


def surprise_difference(pairs: Sequence[tuple[Result, Result]]) -> str:
    """Return the mean difference and its bootstrap interval over seeds and items."""
    gaps = np.array([ours.items - theirs.items for ours, theirs in pairs])  # (n_seeds, n_items)
    n_seeds, n_items = gaps.shape
    random = np.random.default_rng(0)
    means = [
        gaps[random.integers(n_seeds, size=n_seeds)][
            :, random.integers(n_items, size=n_items)
        ].mean()
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{gaps.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def exact_difference(pairs: Sequence[tuple[Result, Result]]) -> str:
    """Return the mean difference and its Student interval over seeds."""
    gaps = [ours.exact - theirs.exact for ours, theirs in pairs]
    if len(gaps) < 2:
        return f"{np.mean(gaps):+.3f}"
    half = stats.t.ppf(0.975, len(gaps) - 1) * stats.sem(gaps)
    return f"{np.mean(gaps):+.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
