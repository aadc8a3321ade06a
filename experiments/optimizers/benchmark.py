"""Every optimizer on the test-bed of fitted merge problems.

    python experiments/optimizers/benchmark.py run --out runs/optimizers
    python experiments/optimizers/benchmark.py report --out runs/optimizers

`run` appends a line for every finished search to `<out>/<problem>/<arm>.jsonl`; it may be
interrupted and repeated, and several may run side by side for different arms or problems. `report`
writes the tables and the picture into the README.

A search is told noisy accuracies of 64 items. Its result is the non-dominated set of what it was
told; that set is worth the hypervolume of its expected accuracies, over that of the reference
front. An optimizer that is told its budget is run for every budget, any other once for all; so are
budgets of which it can be said that one search is the beginning of the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from arms import ARMS, Arm, Posed
from command_line import command_line
from pages import publish_all
from rows import cut_incomplete, read_rows
from threadpoolctl import threadpool_limits

from evomerge.allocation import keep_freed_memory
from evomerge.errors import UserError
from evomerge.pareto import non_dominated
from evomerge.testing.problems import MERGE_PROBLEMS, MergeProblem, merge_problem

BUDGETS = (30, 60, 100, 300, 1000)
CHECKPOINTS = (5, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 300, 450, 600, 800, 1000)
"""Numbers of evaluations at which the result so far is judged."""

Costs: TypeAlias = Sequence[tuple[float, ...]]
Judge: TypeAlias = Callable[[Any, Costs, Costs], float]
"""A problem, the costs a search was told and the expected ones of the same trials → what its
result is worth."""
Pose: TypeAlias = Callable[[int], Posed]
"""Seed of a search → the problem with the noise that this search meets."""


def main() -> None:
    """Run the command line of the script."""
    parser, run = command_line(__doc__, seeds=20)
    run.add_argument("--optimizers", nargs="*", choices=ARMS, default=list(ARMS))
    run.add_argument("--problems", nargs="*", choices=MERGE_PROBLEMS, default=list(MERGE_PROBLEMS))
    run.add_argument("--budgets", nargs="+", type=int, choices=BUDGETS, default=list(BUDGETS))
    options = parser.parse_args()
    if options.step == "report":
        publish_all(options.out, BUDGETS, CHECKPOINTS)
        return
    for problem in options.problems:
        for arm in options.optimizers:
            seeds = range(1, options.seeds + 1)
            file = options.out / problem / f"{arm}.jsonl"
            run_arm(ARMS[arm], noisy(problem), seeds, options.budgets, file, worth)


def noisy(name: str) -> Pose:
    """Return how searches meet a merge problem."""
    return lambda seed: merge_problem(name, noise=True, seed=seed)


def run_arm(
    arm: Arm, pose: Pose, seeds: Sequence[int], budgets: Sequence[int], file: Path, judge: Judge
) -> None:
    """Carry out the searches of one arm on one problem that are not in the file yet."""
    about, code = f"{pose(0).name} {file.stem}", commit()
    try:
        todo = missing(arm, pose(0), seeds, budgets, file)
    except UserError as error:
        print(f"{clock()} {about}: left out: {error}", flush=True)
        return
    if not todo:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    cut_incomplete(file)
    keep_freed_memory()  # as in a run
    started = time.perf_counter()
    with file.open("a", encoding="utf-8") as stream:
        for seed, together in todo:
            with threadpool_limits(1, user_api="blas"):  # as in a run
                found = search(arm, pose(seed), seed, max(together), judge)
            row = {**found, "budgets": together, "commit": code}
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    took = time.perf_counter() - started
    print(f"{clock()} {about}: {len(todo)} searches in {took:.0f} s", flush=True)


@cache
def commit() -> str | None:
    """Return the commit of these files, with '+' where they differ from it; None in no checkout.

    As it is when it is first asked for: a checkout may go on while searches run.
    """
    command = ("git", "describe", "--always", "--exclude=*", "--dirty=+")
    try:
        said = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def missing(
    arm: Arm, problem: Posed, seeds: Sequence[int], budgets: Sequence[int], file: Path
) -> list[tuple[int, list[int]]]:
    """Return seed and budgets of every search that is still to be carried out.

    Raises:
        UserError: the arm cannot search the problem, with any of the budgets.
    """
    told = sorted(budgets) if arm.takes_budget() else [max(budgets)]
    refusals = {}
    alike: dict[int, list[int]] = {}
    for budget in told:
        try:
            optimizer = arm.build(problem, 0, budget)
        except UserError as error:
            refusals[budget] = error
            continue
        alike.setdefault(arm.decided(optimizer) if arm.decided else budget, []).append(budget)
    if refusals and len(refusals) == len(told):
        raise refusals[told[-1]]
    for budget, error in refusals.items():
        print(f"{clock()} {problem.name}: budget {budget} left out: {error}", flush=True)
    known = {(row["seed"], budget) for row in read_rows(file) for budget in row["budgets"]}
    return [
        (seed, together)
        for together in alike.values()
        for seed in seeds
        if not {(seed, budget) for budget in together} <= known
    ]


def search(arm: Arm, problem: Posed, seed: int, budget: int, judge: Judge) -> Mapping[str, Any]:
    """Carry out one search with one worker.

    Returns:
        'curve': the result's worth at each checkpoint up to the budget. 'ask' and 'tell': median,
        95th percentile, maximum and sum of the milliseconds of the calls after each checkpoint and
        up to the next, by the latter. 'evaluated': how many trials there were; fewer than the
        budget where the algorithm ended.
    """
    optimizer = arm.build(problem, seed, budget)
    told: list[tuple[float, ...]] = []
    expected: list[tuple[float, ...]] = []
    times: dict[str, list[float]] = {"ask": [], "tell": []}
    while len(told) < budget and optimizer.stop_reason() is None:
        before = time.perf_counter()
        proposal = optimizer.ask(len(told))
        times["ask"].append(1e3 * (time.perf_counter() - before))
        if proposal is None:
            if optimizer.stop_reason() is not None:
                break
            raise SystemExit(f"{arm.optimizer} waits at trial {len(told)} although all are told")
        trial = problem.completed(len(told), proposal.genotype)
        if trial.costs is None:
            raise SystemExit(f"{problem.name}: trial {len(told)} has no costs")
        told.append(trial.costs)
        expected.append(problem.expected_costs(proposal.genotype))
        before = time.perf_counter()
        optimizer.tell(trial)
        times["tell"].append(1e3 * (time.perf_counter() - before))
    points = [one for one in CHECKPOINTS if one <= budget]
    return {
        "seed": seed,
        "budget": budget,
        "evaluated": len(told),
        "curve": {n: judge(problem, told[:n], expected[:n]) for n in points},
        **{
            call: {
                end: summary(values[start:end])
                for start, end in zip([0, *points], points, strict=False)
                if values[start:end]
            }
            for call, values in times.items()
        },
    }


def worth(problem: MergeProblem, told: Costs, expected: Costs) -> float:
    """Return the normalised hypervolume of what is non-dominated by what the search was told."""
    front = non_dominated(np.array(told))
    return round(problem.normalised_hypervolume(np.array(expected)[front]), 5)


def summary(milliseconds: Sequence[float]) -> list[float]:
    """Return median, 95th percentile, maximum and sum."""
    values = [*np.percentile(milliseconds, [50, 95, 100]), sum(milliseconds)]
    return [round(float(one), 4) for one in values]


def clock() -> str:
    """Return the time of day."""
    return time.strftime("%H:%M:%S")


if __name__ == "__main__":
    main()
