"""One arm in a process of its own: prints what each candidate used, and its scores, as JSON.

    python experiments/vs_mergekit_evolve/arm.py disk-1 FOLDER

`compare.py` starts it. FOLDER is a workload. The first candidate warms up and is not counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from clock import Parts, Used, peak_mib, used
from ours import BOOKKEEPING, search, watched
from workload import Workload

PARTS = "parts"
"""Not an arm: where the time of a candidate goes."""

Scores = Mapping[str, float]
Finished = Callable[[], None]


@dataclass(frozen=True)
class Arm:
    """One way to evaluate the candidates.

    Attributes:
        title: as the tables call it.
        batch_size: likewise.
        run: evaluates all candidates and says when each is finished.
        equal: names the arms that must have the same scores; '' where there are none.
    """

    title: str
    batch_size: str
    run: Callable[[Workload, Finished], list[Scores]]
    equal: str = ""


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("arm", choices=[*ARMS, PARTS])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    workload = Workload(options.folder)
    row = shares(workload) if options.arm == PARTS else measure(ARMS[options.arm], workload)
    print(json.dumps(row))


def measure(arm: Arm, workload: Workload) -> dict[str, Any]:
    """Evaluate all candidates by one arm."""
    started = used()
    marks: list[Used] = []
    peak = 0.0

    def finished() -> None:
        nonlocal peak
        marks.append(used())
        peak = peak_mib()

    scores = arm.run(workload, finished)
    spans = [
        Used(after.cpu_s - before.cpu_s, after.wall_s - before.wall_s)
        for before, after in pairwise(marks)
    ]
    return {
        "cpu_s": sum(span.cpu_s for span in spans) / len(spans),
        "wall_s": sum(span.wall_s for span in spans) / len(spans),
        "first_wall_s": marks[0].wall_s - started.wall_s,
        "peak_mib": peak,
        "scores": [{task: float(value) for task, value in one.items()} for one in scores],
    }


def shares(workload: Workload) -> dict[str, Any]:
    """Evaluate all candidates by `fitness: lm_eval`, in this process, and time its parts."""
    parts = Parts(BOOKKEEPING)
    seen: list[dict[str, Used]] = []

    def finished() -> None:
        seen.append(parts.read())

    with watched(parts), tempfile.TemporaryDirectory() as folder:
        objectives = workload.harness_objectives()
        search(workload, objectives, Path(folder, "run"), backend="inline", finished=finished)
    first, last, counted = seen[0], seen[-1], len(seen) - 1
    return {
        part: {
            "cpu_s": (spent.cpu_s - first[part].cpu_s) / counted,
            "wall_s": (spent.wall_s - first[part].wall_s) / counted,
        }
        for part, spent in last.items()
    }


def _theirs(workload: Workload, finished: Finished, *, kind: str, rows: int | None) -> list[Scores]:
    import theirs  # noqa: PLC0415  # mergekit and its methods, which ours is not to pay for

    evaluator = getattr(theirs, kind)(workload, rows)
    scores = []
    for genotype in workload.genotypes:
        scores.append(evaluator.evaluate(genotype))
        finished()
    return scores


def _harness(workload: Workload, finished: Finished, **options: Any) -> list[Scores]:
    return _ours(workload, workload.harness_objectives(**options), finished)


def _own(workload: Workload, finished: Finished, *, batch_size: int) -> list[Scores]:
    return _ours(workload, workload.own_objectives(batch_size), finished)


def _ours(workload: Workload, objectives: Any, finished: Finished) -> list[Scores]:
    with tempfile.TemporaryDirectory() as folder:
        return search(workload, objectives, Path(folder, "run"), backend="local", finished=finished)


ARMS: Mapping[str, Arm] = {
    "disk-1": Arm("(a) on disk", "1, its default", partial(_theirs, kind="OnDisk", rows=None), "1"),
    "memory-1": Arm("(b) in memory", "1, always", partial(_theirs, kind="InMemory", rows=1)),
    "ours-1": Arm("`lm_eval`", "1", partial(_harness, batch_size=1), "1"),
    "disk-16": Arm("(a) on disk", "16", partial(_theirs, kind="OnDisk", rows=16), "16"),
    "memory-16": Arm("(b) in memory", "16", partial(_theirs, kind="InMemory", rows=16)),
    "ours-16": Arm("`lm_eval`", "16", partial(_harness, batch_size=16), "16"),
    "own-16": Arm("`exact_match`, `multiple_choice`", "16", partial(_own, batch_size=16)),
    "disk-64": Arm("(a) on disk", "64", partial(_theirs, kind="OnDisk", rows=64), "64"),
    "memory-64": Arm("(b) in memory", "64", partial(_theirs, kind="InMemory", rows=64)),
    "ours": Arm("`lm_eval`", "64, our default", _harness, "64"),
    "shared": Arm("`lm_eval`, `share_contexts`", "64", partial(_harness, share_contexts=True)),
    "drafts": Arm("`lm_eval`, `drafts`", "64", partial(_harness, drafts=True)),
    "both": Arm(
        "`lm_eval`, `drafts`, `share_contexts`",
        "64",
        partial(_harness, drafts=True, share_contexts=True),
    ),
    "own": Arm("`exact_match`, `multiple_choice`", "64", partial(_own, batch_size=64)),
}

if __name__ == "__main__":
    main()
