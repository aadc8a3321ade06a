"""What a candidate costs in evomerge and in mergekit-evolve: same merges, tasks, items, machine.

    python experiments/vs_mergekit_evolve/compare.py run --out runs/speed      # an hour on one core
    python experiments/vs_mergekit_evolve/compare.py report --out runs/speed

`run` starts every arm (see `arm.py`) in a process of its own, arm after arm, and all of them again
for every repeat; each result is kept at once, and an interrupted run continues. Arms whose scores
must be equal are compared. `report` writes the tables into the README.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arm import ARMS, PARTS
from workload import Workload, build

from evomerge.testing.readme import publish

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Setting:
    """What is measured together.

    Attributes:
        title: as the tables call it.
        size: of the models, 'zoo' or 'large'.
        items: of each of the three tasks.
        candidates: one more than are counted.
        arms: by name, in the order in which they take turns.
    """

    title: str
    size: str
    items: int
    candidates: int
    arms: Sequence[str] = tuple(ARMS)


FEW = ("disk-1", "memory-1", "ours", "shared", "drafts", "both")
"""Of most settings; the others say what changes with one thing alone."""

SETTINGS: Mapping[str, Setting] = {
    "zoo-8": Setting("0.87M parameters, 3 × 8 items", "zoo", 8, 16, FEW),
    "zoo-32": Setting("0.87M parameters, 3 × 32 items", "zoo", 32, 6),
    "zoo-128": Setting("0.87M parameters, 3 × 128 items", "zoo", 128, 4, FEW),
    "large-16": Setting(
        "85M parameters, 3 × 16 items",
        "large",
        16,
        2,
        ("disk-1", "memory-1", "memory-64", "ours", "shared", "drafts"),
    ),
}


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    run = steps.add_parser("run", help="measure")
    run.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    run.add_argument("--repeats", type=int, default=3)
    report = steps.add_parser("report", help="write the tables into the README")
    for step in (run, report):
        step.add_argument("--out", type=Path, required=True, help="where results are kept")
    options = parser.parse_args()
    if options.step == "report":
        from tables import report_lines  # noqa: PLC0415  # imports this module

        publish(__file__, "compare", report_lines(options.out))
        return
    for name in options.settings:
        measure(options.out / name, SETTINGS[name], options.repeats)


def measure(out: Path, setting: Setting, repeats: int) -> None:
    """Run every arm of a setting so many times, as far as that is not done yet."""
    folder = out / "workload"
    if not (folder / "genotypes.json").exists():
        build(folder, size=setting.size, items=setting.items, candidates=setting.candidates)
    results = out / "results.jsonl"
    for repeat in range(repeats):
        for name in (*setting.arms, PARTS):
            if (name, repeat) in {(row["arm"], row["repeat"]) for row in read(results)}:
                continue
            row = {"arm": name, "repeat": repeat, **run_arm(name, Workload(folder.resolve()))}
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            require_equal(read(results))
            print(f"{out.name} {name} {repeat}", flush=True)


def run_arm(name: str, workload: Workload) -> dict[str, Any]:
    """Run an arm in a process of its own, on one thread.

    Raises:
        RuntimeError: it fails; what it said last is in the message.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "arm.py"), name, str(workload.folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"arm '{name}' fails: {done.stderr[-2000:]}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def require_equal(rows: Sequence[Mapping[str, Any]]) -> None:
    """Compare the scores of arms that compute the same numbers, and of repeats.

    Raises:
        RuntimeError: some differ.
    """
    first: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row["arm"] == PARTS:
            continue
        key = ARMS[row["arm"]].equal or row["arm"]
        known = first.setdefault(key, row)
        if row["scores"] != known["scores"]:
            raise RuntimeError(f"'{row['arm']}' and '{known['arm']}' do not score the same")


def read(file: Path) -> list[dict[str, Any]]:
    """Read the results there are."""
    return list(_rows(file)) if file.exists() else []


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    main()
