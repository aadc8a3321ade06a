"""How much faster two real workers search than one, on Ray and as local processes.

    python experiments/scaling/zoo_workers.py run --out runs/scaling-zoo      # about 12 minutes
    python experiments/scaling/zoo_workers.py tables --out runs/scaling-zoo   # writes the table

The shipped models' study by random search, which never waits, with one thread a worker. The rate is
taken from the journal, from the first finished trial to the last, so that starts do not count.
Efficiency is the rate with two workers over twice the rate with one of the same seed; it cannot be
1 on two cores, which the driver and Ray's own processes share with the workers. It needs an idle
machine with at least two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
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


def main() -> None:
    """Run searches, or write what they showed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "tables"))
    parser.add_argument("--out", type=Path, default=Path("runs/scaling-zoo"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=100)
    options = parser.parse_args()
    if options.what == "tables":
        publish(__file__, "workers", lines(rows_of(options.out)))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in range(1, options.seeds + 1):
        for backend in BACKENDS:
            for count in COUNTS:
                run(options.out, backend, count, seed, options.trials)


def run(out: Path, backend: str, count: int, seed: int, trials: int) -> None:
    """Do one search and append its rate, unless it is there."""
    case = {"backend": backend, "workers": count, "seed": seed, "trials": trials}
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
    start_run(config, zoo.path(), folder)
    at = [event.at for event in read_events(folder) if event.kind == "finished"]
    shutil.rmtree(folder)
    row = case | {"rate": (len(at) - 1) / (at[-1] - at[0]), "load": os.getloadavg()[0]}
    with (out / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of rates and efficiencies."""
    trials = sorted({row["trials"] for row in rows})
    yield f"{' or '.join(map(str, trials))} trials a search, median and range over seeds."
    yield ""
    yield "| workers are | n | trials a second, 1 worker | 2 workers | efficiency |"
    yield "|---|---:|---:|---:|---:|"
    for backend in BACKENDS:
        rates = {
            count: {row["seed"]: row["rate"] for row in rows if matches(row, backend, count)}
            for count in COUNTS
        }
        both = sorted(rates[1].keys() & rates[2].keys())
        efficiencies = [rates[2][seed] / (2 * rates[1][seed]) for seed in both]
        cells = [spread([rates[count][seed] for seed in both], ".2f") for count in COUNTS]
        yield f"| {backend} | {len(both)} | {' | '.join(cells)} | {spread(efficiencies, '.3f')} |"


def matches(row: Mapping[str, Any], backend: str, count: int) -> bool:
    """Say whether a search ran so."""
    return (row["backend"], row["workers"]) == (backend, count)


if __name__ == "__main__":
    main()
