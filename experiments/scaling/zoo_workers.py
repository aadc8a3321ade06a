"""How much faster two real workers search than one, on Ray and as local processes.

    python experiments/scaling/zoo_workers.py run --out runs/scaling-zoo      # about 20 minutes
    python experiments/scaling/zoo_workers.py tables --out runs/scaling-zoo   # writes the table

The shipped models' study by random search, which never waits, with one thread a worker. The rate is
taken from the journal, from the first finished trial to the last, so that starts do not count.
Efficiency is the rate with two workers over twice the rate with one of the same seed. A machine's
speed drifts by more than what is measured here: each seed has four searches, with one worker, two,
two and one, and a rate is that of both of a kind. Efficiency cannot be 1 on two cores, which the
driver and Ray's own processes share with the workers. The first trial is waited for from the call
on: models are loaded, fitnesses rehearsed. It needs an idle machine with at least two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import harmonic_mean
from typing import Any

from simulated import rows_of, spread

from evomerge import zoo
from evomerge.journal import read_events
from evomerge.study import load_study, start_run
from evomerge.testing.readme import publish

BACKENDS: Mapping[str, str] = {
    "Ray": "{{backend: ray, address: local, count: {count}, threads: 1}}",
    "local": "{{count: {count}, threads: 1}}",
}
COUNTS = (1, 2)
TURNS = (1, 2, 2, 1)
"""Workers of the searches of a seed, in their order."""


def main() -> None:
    """Run searches, or write what they showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "tables"))
    parser.add_argument("--out", type=Path, default=Path("runs/scaling-zoo"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=60)
    options = parser.parse_args()
    if options.what == "tables":
        publish(__file__, "workers", lines(rows_of(options.out)))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in range(1, options.seeds + 1):
        for backend in BACKENDS:
            for turn in range(len(TURNS)):
                run(options.out, backend, turn, seed, options.trials)


def run(out: Path, backend: str, turn: int, seed: int, trials: int) -> None:
    """Do one search and append its rate, unless it is there."""
    count = TURNS[turn]
    case = {"backend": backend, "turn": turn, "workers": count, "seed": seed, "trials": trials}
    if any(all(row[key] == case[key] for key in case) for row in rows_of(out)):
        return
    config = load_study(
        zoo.path() / "study.yaml",
        [
            f"seed={seed}",
            f"budget.trials={trials}",
            "search={optimizer: random}",
            "front={size: 1, baselines: []}",
            f"workers={BACKENDS[backend].format(count=count)}",
        ],
    )
    folder = out / "journal"
    shutil.rmtree(folder, ignore_errors=True)
    called = time.time()
    start_run(config, zoo.path(), folder)
    at = [event.at for event in read_events(folder) if event.kind == "finished"]
    shutil.rmtree(folder)
    rate = (len(at) - 1) / (at[-1] - at[0])
    row = case | {"rate": rate, "first_s": at[0] - called, "load": os.getloadavg()[0]}
    with (out / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of rates and efficiencies."""
    trials = sorted({row["trials"] for row in rows})
    yield (
        f"{' or '.join(map(str, trials))} trials a search, two searches of a kind for each seed; "
        "median and range over seeds."
    )
    yield ""
    yield (
        "| workers are | n | trials a second, 1 worker | 2 workers | efficiency "
        "| seconds to the first of 2 |"
    )
    yield "|---|---:|---:|---:|---:|---:|"
    for backend in BACKENDS:
        rates = {count: rates_of(rows, backend, count) for count in COUNTS}
        both = sorted(rates[1].keys() & rates[2].keys())
        efficiencies = [rates[2][seed] / (2 * rates[1][seed]) for seed in both]
        cells = [spread([rates[count][seed] for seed in both], ".2f") for count in COUNTS]
        first = [row["first_s"] for row in rows if (row["backend"], row["workers"]) == (backend, 2)]
        cells += [spread(efficiencies, ".3f"), spread(first, ".1f")]
        yield f"| {backend} | {len(both)} | {' | '.join(cells)} |"


def rates_of(rows: Sequence[Mapping[str, Any]], backend: str, count: int) -> dict[int, float]:
    """Return for each seed the rate of its searches of a kind, as if they were one."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if (row["backend"], row["workers"]) == (backend, count):
            found.setdefault(row["seed"], []).append(row["rate"])
    return {seed: harmonic_mean(own) for seed, own in found.items()}


if __name__ == "__main__":
    main()
