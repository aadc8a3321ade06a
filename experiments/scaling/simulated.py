"""How many trials a second the driver keeps up with, and how long workers wait for it.

    python experiments/scaling/simulated.py run --out runs/scaling       # about 40 minutes, idle
    python experiments/scaling/simulated.py tables --out runs/scaling    # writes tables and picture

The search is the real one, on the shipped models' study: its optimizer, its space, its journal,
durable on the disk of `--out`, and `ClusterExecutor`. Workers are simulated in the same process and
sleep (`sleeping.py`). Time is real, so that whatever the driver does while a worker waits counts.

Throughput: 256 workers answer at once, so that the driver alone decides how many trials there are
a second. Idle share: evaluations take `--mean-s` on average (lognormal); of all workers together,
the share of their time from the end of one evaluation to the beginning of the next. The beginning
of a search, when all workers get their first job, and its end, when there is nothing left to ask
for, do not count.

Results are appended to a file; a search that is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from sleeping import SleepingCluster

from evomerge import zoo
from evomerge.journal import Journal
from evomerge.study import load_study, prepare
from evomerge.study.budgets.meter import Meter
from evomerge.study.history import History
from evomerge.study.interrupt import Interrupt
from evomerge.study.progress import silent
from evomerge.study.search import Search
from evomerge.testing.readme import publish
from evomerge.workers.cluster import ClusterExecutor, ClusterSpec
from evomerge.workers.cluster.slot import Order

OPTIMIZERS = ("random", "dirichlet", "moead", "sms_emoa")
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MANY = 256
N_ITEMS = 128
PICTURE = Path(__file__).resolve().with_name("simulated.png")


def main() -> None:
    """Run searches, or write what they showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "tables"))
    parser.add_argument("--out", type=Path, default=Path("runs/scaling"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=3000, help="of a search at full speed")
    parser.add_argument("--rounds", type=int, default=15, help="evaluations of each worker")
    parser.add_argument("--mean-s", type=float, default=1.0, help="of an evaluation")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--optimizers", nargs="+", default=OPTIMIZERS)
    options = parser.parse_args()
    if options.what == "run":
        options.out.mkdir(parents=True, exist_ok=True)
        for case in cases(options):
            run(options.out, case)
    else:
        rows = rows_of(options.out)
        publish(__file__, "throughput", throughput_lines(rows))
        publish(__file__, "idle", idle_lines(rows))
        draw(rows)


def cases(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """List the searches."""
    for seed in range(1, options.seeds + 1):
        for optimizer in options.optimizers:
            case = {"optimizer": optimizer, "seed": seed}
            for n_items in (0, N_ITEMS):
                yield case | {
                    "measured": "throughput",
                    "workers": MANY,
                    "trials": options.trials,
                    "mean_s": 0.0,
                    "items": n_items,
                }
            for workers in options.workers:
                yield case | {
                    "measured": "idle",
                    "workers": workers,
                    "trials": options.rounds * workers,
                    "mean_s": options.mean_s,
                    "items": 0,
                }


def run(out: Path, case: Mapping[str, Any]) -> None:
    """Do one search and append what was measured, unless it is there."""
    if any(all(row[key] == case[key] for key in case) for row in rows_of(out)):
        return
    study = prepare(
        load_study(
            zoo.path() / "study.yaml",
            [
                f"seed={case['seed']}",
                f"budget.trials={case['trials']}",
                f"search={{optimizer: {case['optimizer']}}}",
            ],
        ),
        zoo.path(),
    )
    cluster = SleepingCluster(case["mean_s"], case["seed"], case["items"])
    wanted = ClusterSpec("auto", case["workers"])
    executor = ClusterExecutor(cluster, wanted, Order(study.evaluator))
    folder = out / "journal"
    shutil.rmtree(folder, ignore_errors=True)
    with Journal(folder, create=True) as journal, Interrupt() as interrupt:
        journal.append("opened", study.record())
        history = History(study, journal, study.config.limits, Meter(time), silent)
        executor.wait(0.0)  # workers become ready before the clock starts
        started, used = time.perf_counter(), time.process_time()
        Search(history).run(executor, interrupt)
        seconds, used = time.perf_counter() - started, time.process_time() - used
    shutil.rmtree(folder)
    row = dict(case) | {
        "seconds": seconds,
        "cpu_s": used,
        "idle_share": cluster.idle_share if case["mean_s"] else None,
        "load": os.getloadavg()[0],
    }
    with (out / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def rows_of(out: Path) -> list[dict[str, Any]]:
    """Read what was measured."""
    file = out / "rows.jsonl"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def throughput_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of what the driver keeps up with."""
    found = [row for row in rows if row["measured"] == "throughput"]
    trials = sorted({row["trials"] for row in found})
    yield (
        f"{MANY} workers that answer at once, {' or '.join(map(str, trials))} trials a search, "
        "median and range over seeds; CPU is the driver's."
    )
    yield ""
    yield "| optimizer | items recorded | n | trials a second | CPU ms a trial |"
    yield "|---|---:|---:|---:|---:|"
    for optimizer, items in sorted({(row["optimizer"], row["items"]) for row in found}):
        own = [row for row in found if (row["optimizer"], row["items"]) == (optimizer, items)]
        rates = [row["trials"] / row["seconds"] for row in own]
        cpu = [1e3 * row["cpu_s"] / row["trials"] for row in own]
        recorded = f"3 × {items}" if items else "none"
        yield (
            f"| `{optimizer}` | {recorded} | {len(own)} | {spread(rates, '.0f')} | "
            f"{spread(cpu, '.2f')} |"
        )


def idle_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of what workers wait for the driver."""
    found = [row for row in rows if row["measured"] == "idle"]
    optimizers = [name for name in OPTIMIZERS if any(row["optimizer"] == name for row in found)]
    means = " or ".join(f"{mean_s:g} s" for mean_s in sorted({row["mean_s"] for row in found}))
    yield f"Evaluations of {means} on average; idle share of all workers, median and range."
    yield ""
    yield f"| workers | {' | '.join(f'`{name}`' for name in optimizers)} |"
    yield f"|---:|{'---:|' * len(optimizers)}"
    for workers in sorted({row["workers"] for row in found}):
        cells = [spread(shares(found, name, workers), ".2%") for name in optimizers]
        yield f"| {workers} | {' | '.join(cells)} |"


def shares(rows: Sequence[Mapping[str, Any]], optimizer: str, workers: int) -> list[float]:
    """Return the idle shares of an optimizer's searches with so many workers."""
    return [
        row["idle_share"]
        for row in rows
        if row["measured"] == "idle" and (row["optimizer"], row["workers"]) == (optimizer, workers)
    ]


def spread(values: Sequence[float], style: str) -> str:
    """Write a median and the range."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:{style}}"
    return f"{statistics.median(values):{style}} ({min(values):{style}} to {max(values):{style}})"


def draw(rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw idle share and throughput against workers."""
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    idle, rate = figure.subplots(1, 2)
    found = [row for row in rows if row["measured"] == "idle"]
    for name in OPTIMIZERS:
        points = sorted({row["workers"] for row in found if row["optimizer"] == name})
        if not points:
            continue
        medians = [100 * statistics.median(shares(found, name, n)) for n in points]
        idle.plot(points, medians, marker="o", markersize=3, label=name)
        rates = [
            statistics.median(
                row["trials"] / row["seconds"]
                for row in found
                if (row["optimizer"], row["workers"]) == (name, n)
            )
            for n in points
        ]
        rate.plot(points, rates, marker="o", markersize=3, label=name)
    idle.axhline(2.0, color="0.6", linewidth=0.8, linestyle=":")
    idle.set(xscale="log", ylim=(0, None), xlabel="workers", ylabel="idle share of workers, %")
    ideal = {row["workers"]: row["workers"] / row["mean_s"] for row in found}
    counts = sorted(ideal)
    rate.plot(counts, [ideal[n] for n in counts], color="0.6", linewidth=0.8, linestyle=":")
    rate.set(xscale="log", yscale="log", xlabel="workers", ylabel="trials a second")
    for axes in (idle, rate):
        axes.set_xticks(counts, [str(n) for n in counts])
        axes.minorticks_off()
    idle.legend(frameon=False)
    figure.savefig(PICTURE, dpi=150)


if __name__ == "__main__":
    main()
