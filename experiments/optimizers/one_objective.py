"""One objective: the mean of a problem's accuracies, searched with few evaluations.

    python experiments/optimizers/one_objective.py run --out runs/one_objective
    python experiments/optimizers/one_objective.py report --out runs/one_objective

As `benchmark.py`, which carries out the searches: what is told is noisy, files are continued, and
several `run` may work side by side for different problems or arms. A search's result is the trial
with the highest mean accuracy that it was told; it is worth its expected mean accuracy.

`run --smm-bench FOLDER` searches SMM-Bench instead: those of its benchmarks, unzipped, that are in
the folder. Their one accuracy has no noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path

import numpy as np
from arms import Arm, Posed
from benchmark import Costs, Pose, noisy, run_arm
from command_line import command_line
from pages import Searches, interval, rows_of, worth_at

from evomerge.spaces.domain import Domain
from evomerge.testing.problems import MERGE_PROBLEMS, SmmBench, merge_problem, smm_domain
from evomerge.testing.problems.smm_bench import SmmKind
from evomerge.testing.readme import publish

BUDGETS = (30, 60, 100)
ARMS: Mapping[str, Arm] = {
    "mobo": Arm("mobo", scalarize="mean", decided=attrgetter("n_start")),
    "cma_es": Arm("cma_es", scalarize="mean"),
    "cat_cma": Arm("cat_cma", scalarize="mean"),
    "sobol": Arm("sobol", scalarize="mean"),
}
SMM_BENCH: Mapping[str, SmmKind] = {"smm-bench-ps": "ps", "smm-bench-dfs": "dfs"}
"""Its benchmarks, by the names of their folders."""
PROBLEMS = (*MERGE_PROBLEMS, *SMM_BENCH)
MODEL = "mobo"
"""The arm that is compared with every other, seed by seed."""


def main() -> None:
    """Run the command line of the script."""
    parser, run = command_line(__doc__, seeds=10)
    run.add_argument("--optimizers", nargs="*", choices=ARMS, default=list(ARMS))
    which = run.add_mutually_exclusive_group()
    which.add_argument(
        "--problems", nargs="*", choices=MERGE_PROBLEMS, default=list(MERGE_PROBLEMS)
    )
    which.add_argument(
        "--smm-bench", type=Path, metavar="FOLDER", help=f"search its {' and '.join(SMM_BENCH)}"
    )
    options = parser.parse_args()
    if options.step == "report":
        publish(__file__, "one_objective", report_lines(options.out))
        return
    if options.smm_bench is None:
        poses = {problem: noisy(problem) for problem in options.problems}
    else:
        poses = smm_poses(options.smm_bench)
    for problem, pose in poses.items():
        for name in options.optimizers:
            file = options.out / problem / f"{name}.jsonl"
            run_arm(ARMS[name], pose, range(1, options.seeds + 1), BUDGETS, file, best_mean)


def smm_poses(folder: Path) -> dict[str, Pose]:
    """Return the benchmarks that are in a folder.

    Raises:
        DataError: there are none, or one is damaged.
    """
    found = [name for name in SMM_BENCH if (folder / name).is_dir()]
    problems = {name: SmmBench(SMM_BENCH[name], folder / name) for name in found or SMM_BENCH}
    return {name: always(problem) for name, problem in problems.items()}


def always(problem: Posed) -> Pose:
    """Return how searches meet a problem that has no noise."""
    return lambda _: problem


def domain_of(problem: str) -> Domain:
    """Return what is varied, of SMM-Bench without its files."""
    if problem in SMM_BENCH:
        return smm_domain(SMM_BENCH[problem])
    return merge_problem(problem).domain


def best_mean(problem: Posed, told: Costs, expected: Costs) -> float:  # noqa: ARG001
    """Return the expected mean accuracy of the trial that was told the best one."""
    best = int(np.argmin(np.mean(told, axis=1)))
    return round(-float(np.mean(expected[best])), 5)


def report_lines(out: Path) -> Iterator[str]:
    """Yield a table of each budget, and the differences."""
    searches = {
        (problem, name): rows
        for problem in PROBLEMS
        for name in ARMS
        if (rows := rows_of(out / problem / f"{name}.jsonl", told=ARMS[name].takes_budget()))
    }
    problems = [one for one in PROBLEMS if any(one == problem for problem, _ in searches)]
    heads = [f"{one} ({len(domain_of(one))} genes)" for one in problems]
    for budget in BUDGETS:
        yield from (f"#### After {budget} evaluations", "")
        yield f"| arm | {' | '.join(heads)} |"
        yield "|---" + "|---:" * len(problems) + "|"
        for name in ARMS:
            cells = [cell(values_at(searches, one, name, budget)) for one in problems]
            yield f"| {name} | {' | '.join(cells)} |"
        for name in ARMS:
            if name != MODEL:
                cells = [gap(searches, one, name, budget) for one in problems]
                yield f"| {MODEL} minus {name} | {' | '.join(cells)} |"
        yield ""


def values_at(searches: Searches, problem: str, name: str, budget: int) -> dict[int, float]:
    """Return what each seed's search was worth: of the search that was told of the budget."""
    rows = searches.get((problem, name), ())
    return worth_at(rows, budget, told=ARMS[name].takes_budget())


def cell(values: Mapping[int, float]) -> str:
    """Return a mean, its interval, and of how many."""
    return f"{interval(list(values.values()))} (n = {len(values)})" if values else ""


def gap(searches: Searches, problem: str, name: str, budget: int) -> str:
    """Return the difference of two arms on the same seeds."""
    one, other = (values_at(searches, problem, arm, budget) for arm in (MODEL, name))
    differences = [one[seed] - other[seed] for seed in sorted(set(one) & set(other))]
    return interval(differences, "+") if differences else ""


if __name__ == "__main__":
    main()
