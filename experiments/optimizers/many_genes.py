"""What is assumed of length scales, where there are many weights and few matter.

    python experiments/optimizers/many_genes.py run --out runs/many_genes
    python experiments/optimizers/many_genes.py report --out runs/many_genes

As `benchmark.py`, which carries out the searches, on the synthetic problems of `layered.py`:
two objectives, 48 and 96 weights. `mobo` is run with each of its assumptions; to 'importance' the
true ranks of the genes are told, which nobody has of real layers: it says what could be gained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from arms import Arm
from benchmark import Pose, run_arm, worth
from command_line import command_line
from layered import Layered
from pages import interval, rows_of, worth_at
from rows import Row

from evomerge.testing.readme import publish

BUDGETS = (30, 60, 100)
SIZES = (48, 96)
MODELS = ("mobo-saas", "mobo-ard", "mobo-importance")
OTHERS = ("dirichlet", "nsga2", "sobol")
ARMS = (*MODELS, *OTHERS)
YARDSTICK = "mobo-ard"
"""What `mobo` does by default; the other arms are compared with it by seed."""

Searches: TypeAlias = Mapping[tuple[int, str], Sequence[Row]]
"""(number of weights, arm) to its searches."""


def main() -> None:
    """Run the command line of the script."""
    parser, run = command_line(__doc__, seeds=10)
    run.add_argument("--optimizers", nargs="*", choices=ARMS, default=list(ARMS))
    run.add_argument("--sizes", nargs="*", type=int, choices=SIZES, default=list(SIZES))
    run.add_argument("--budgets", nargs="+", type=int, choices=BUDGETS, default=list(BUDGETS))
    options = parser.parse_args()
    if options.step == "report":
        publish(__file__, "many_genes", report_lines(options.out))
        return
    for size in options.sizes:
        arms = arms_of(Layered(size))
        for name in options.optimizers:
            file = file_of(options.out, size, name)
            seeds = range(1, options.seeds + 1)
            run_arm(arms[name], posed(size), seeds, options.budgets, file, worth)


def posed(size: int) -> Pose:
    """Return how searches meet a problem."""
    return lambda seed: Layered(size, seed=seed)


def arms_of(problem: Layered) -> Mapping[str, Arm]:
    """Return what is compared on a problem."""
    options: Mapping[str, Mapping[str, Any]] = {
        "mobo-saas": {"length_scales": "saas"},
        "mobo-ard": {"length_scales": "ard"},
        "mobo-importance": {"importance": problem.importance},
    }
    models = {name: Arm("mobo", options[name], decided=attrgetter("n_start")) for name in MODELS}
    return {**models, **{name: Arm(name) for name in OTHERS}}


def file_of(out: Path, size: int, name: str) -> Path:
    """Return where the searches of an arm are kept."""
    return out / f"layered-{size}" / f"{name}.jsonl"


def report_lines(out: Path) -> Iterator[str]:
    """Yield a table of each budget, and what the longest searches took."""
    searches = {
        (size, name): rows_of(file_of(out, size, name), told=name in MODELS)
        for size in SIZES
        for name in ARMS
    }
    if not any(searches.values()):
        yield "No search has been carried out."
        return
    for budget in BUDGETS:
        yield from (f"#### {budget} evaluations", "")
        yield from table(
            [f"{size} weights | minus `{YARDSTICK}`" for size in SIZES],
            {name: [compared(searches, size, name, budget) for size in SIZES] for name in ARMS},
        )
    yield from (f"#### Seconds of asking and telling, {BUDGETS[-1]} evaluations", "")
    yield from table(
        [f"{size} weights" for size in SIZES],
        {name: [seconds(searches[size, name]) for size in SIZES] for name in ARMS},
    )


def table(heads: Sequence[str], cells: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a table with a row for each arm."""
    yield f"| arm | {' | '.join(heads)} |"
    yield "|---" + "|---:" * " | ".join(heads).count("|") + "|---:|"
    for name, row in cells.items():
        yield f"| {name} | {' | '.join(row)} |"
    yield ""


def compared(searches: Searches, size: int, name: str, budget: int) -> str:
    """Return what an arm is worth, and how much that is above the yardstick."""
    own, yardstick = (
        worth_at(searches[size, arm], budget, told=arm in MODELS) for arm in (name, YARDSTICK)
    )
    both = sorted(set(own) & set(yardstick)) if name != YARDSTICK else []
    differences = [own[seed] - yardstick[seed] for seed in both]
    mean = f"{interval(list(own.values()))} (n = {len(own)})" if own else ""
    return f"{mean} | {interval(differences, '+') if differences else ''}"


def seconds(rows: Sequence[Row]) -> str:
    """Return the median over the longest searches."""
    sums = [
        sum(summary[-1] for call in ("ask", "tell") for summary in row[call].values()) / 1e3
        for row in rows
        if BUDGETS[-1] in row["budgets"]
    ]
    return f"{median(sums):.3g}" if sums else ""


if __name__ == "__main__":
    main()
