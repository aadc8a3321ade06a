"""The tables and the picture of the README."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TypeAlias

import matplotlib as mpl
import numpy as np
from arms import ARMS
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rows import Row, read_rows
from scipy import stats

from evomerge.errors import UserError
from evomerge.optimizers.auto import choose
from evomerge.testing.problems import MERGE_PROBLEMS, merge_problem
from evomerge.testing.readme import publish

FOLDER = Path(__file__).resolve().parent
PICTURE = FOLDER / "curves.png"
YARDSTICK = "nsga2"
CHOOSERS = {"auto": True, "auto, without BoTorch": False}
"""`auto` by what it may choose from: whether Gaussian processes are installed."""
RESAMPLES = 2000
SEEDS = 20
"""That a cell should have."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "a weight for each donor": ("two", "three", "five"),
    "weights by layer": ("two-layers", "three-layers", "five-layers"),
    "paths": ("paths",),
    "all problems": MERGE_PROBLEMS,
}

Floats: TypeAlias = NDArray[np.float64]
Searches: TypeAlias = Mapping[tuple[str, str], Sequence[Row]]
"""(problem, arm) to its searches."""


def publish_all(out: Path, budgets: Sequence[int], checkpoints: Sequence[int]) -> None:
    """Write everything that is known."""
    publish(__file__, "problems", problem_lines())
    searches = {
        (problem, arm): rows
        for problem in MERGE_PROBLEMS
        for arm in ARMS
        if (rows := rows_of(out / problem / f"{arm}.jsonl", told=takes_budget(arm)))
    }
    publish(__file__, "benchmark", benchmark_lines(with_chooser(searches, budgets), budgets))
    draw(searches, budgets, checkpoints)


def with_chooser(searches: Searches, budgets: Sequence[int]) -> Searches:
    """Add what `auto` finds: what the optimizer it chooses for a problem and a budget found."""
    chosen: dict[tuple[str, str], list[Row]] = {}
    for problem in MERGE_PROBLEMS:
        known = merge_problem(problem)
        for (chooser, has_botorch), budget in product(CHOOSERS.items(), budgets):
            name = choose(known.domain, known.n_objectives, budget, has_botorch=has_botorch).name
            rows = searches.get((problem, name), ())
            found = values_at(rows, name, budget)
            chosen.setdefault((problem, chooser), []).extend(
                {"seed": seed, "budgets": [budget], "curve": {str(budget): value}}
                for seed, value in found.items()
            )
    return {**searches, **{key: rows for key, rows in chosen.items() if rows}}


def rows_of(file: Path, *, told: bool) -> list[Row]:
    """Read the searches of an arm on a problem, and say where two of them disagree.

    Args:
        file: that has them.
        told: as in `worth_at`.
    """
    rows = read_rows(file)
    for budget, seeds in disagreeing(rows, told=told).items():
        print(
            f"{file}: after {budget} evaluations rows of seed {', '.join(map(str, seeds))} differ "
            "and the latest counts; delete the others",
            file=sys.stderr,
        )
    return rows


def disagreeing(rows: Sequence[Row], *, told: bool) -> dict[int, list[int]]:
    """Return by budget the seeds whose searches have different results there."""
    seeds: dict[int, list[int]] = {}
    for budget in sorted({budget for row in rows for budget in row["budgets"]}):
        values: dict[int, set[float]] = {}
        for row in rows:
            for seed, value in worth_at([row], budget, told=told).items():
                values.setdefault(seed, set()).add(value)
        differ = sorted(seed for seed, found in values.items() if len(found) > 1)
        if differ:
            seeds[budget] = differ
    return seeds


def values_at(rows: Sequence[Row], arm: str, budget: int) -> dict[int, float]:
    """Return what each seed's search was worth at a budget: of the search that was told of it."""
    return worth_at(rows, budget, told=takes_budget(arm))


def worth_at(rows: Sequence[Row], budget: int, *, told: bool) -> dict[int, float]:
    """Return what each seed's search was worth at a budget.

    Args:
        rows: the searches of an arm on a problem.
        budget: in evaluations.
        told: searches know of their budget, so that one of a larger budget is another one.
    """
    return {
        row["seed"]: row["curve"][str(budget)]
        for row in rows
        if budget in row["budgets"] or (not told and row["budget"] > budget)
    }


def takes_budget(arm: str) -> bool:
    """Say whether an arm's searches are read at their own budget only."""
    if arm in CHOOSERS:
        return True
    try:
        return ARMS[arm].takes_budget()
    except UserError:
        return True


def problem_lines() -> Iterator[str]:
    """Yield what the problems are."""
    yield (
        "| problem | genes | objectives | merges evaluated | R² | … where merges work |"
        " error there | drawn there | reference front | its volume | of one run alone |"
        " measured | ms, and with noise |"
    )
    yield "|---|---:|---:|---:|---|---|---:|---:|---|---:|---:|---:|---:|"
    for name in MERGE_PROBLEMS:
        data = merge_problem(name).data
        tasks = data.facts["tasks"].values()
        front = data.facts["front"]
        alone = ", ".join(f"{run:.1%}" for run in front["runs"]) if len(front["runs"]) > 1 else ""
        yield (
            f"| `{name}` | {len(data.domain)} | {len(data.tasks)} | {data.facts['evaluations']} |"
            f" {within(task['r2'] for task in tasks)} |"
            f" {within(task['r2_works'] for task in tasks)} |"
            f" {root_mean(task['rmse_works'] for task in tasks):.3f} |"
            f" {root_mean(task['drawn_works'] for task in tasks):.3f} |"
            f" {front['points']} points, {front['found_by']} |"
            f" {data.front_volume:.3g} | {alone} | {front['volume_measured']:.3g} |"
            f" {milliseconds(name, False):.2f}, {milliseconds(name, True):.2f} |"
        )
    yield ""


def milliseconds(name: str, noise: bool) -> float:
    """Return the median time of an evaluation at drawn points."""
    problem = merge_problem(name, noise)
    random = np.random.default_rng(0)
    found = []
    for _ in range(300):
        genotype = problem.domain.draw(random)
        before = time.perf_counter()
        problem.costs(genotype)
        found.append(1e3 * (time.perf_counter() - before))
    return float(np.median(found))


def within(values: Iterable[float]) -> str:
    """Return median, least and greatest."""
    found = list(values)
    return f"{np.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def root_mean(values: Iterable[float]) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean([value**2 for value in values])))


def benchmark_lines(searches: Searches, budgets: Sequence[int]) -> Iterator[str]:
    """Yield what was found, ranks, and what it cost."""
    counts = {len({row["seed"] for row in rows}) for rows in searches.values()}
    if not counts:
        yield "No search has been carried out."
        return
    yield f"n = {min(counts)} to {max(counts)} seeds." if len(counts) > 1 else f"n = {counts.pop()}"
    yield ""
    for budget in budgets:
        yield from worth_lines(searches, budget)
    for group, problems in GROUPS.items():
        yield from rank_lines(searches, budgets, group, problems)
    for chooser in CHOOSERS:
        yield from gap_lines(searches, budgets, chooser)
    yield from cost_lines(searches)


def worth_lines(searches: Searches, budget: int) -> Iterator[str]:
    """Yield a table of all arms and problems at one budget."""
    cells = {
        (problem, arm): interval(list(values.values())) + few(len(values))
        for (problem, arm), rows in searches.items()
        if (values := values_at(rows, arm, budget))
    }
    if not cells:
        return
    problems = [name for name in MERGE_PROBLEMS if any(name == one for one, _ in cells)]
    yield from (f"### Normalised hypervolume after {budget} evaluations", "")
    yield f"| arm | {' | '.join(problems)} |"
    yield "|---" + "|---:" * len(problems) + "|"
    for arm in (*CHOOSERS, *ARMS):
        row = [cells.get((problem, arm), "") for problem in problems]
        if any(row):
            yield f"| {arm} | {' | '.join(row)} |"
    yield ""


def few(n_seeds: int) -> str:
    """Say of how many seeds a cell is, where there are fewer than there should be."""
    return "" if n_seeds >= SEEDS else f" (n = {n_seeds})"


def interval(values: Sequence[float], sign: str = "") -> str:
    """Return a mean and its Student 95 % interval."""
    if len(values) < 2:
        return f"{np.mean(values):{sign}.3f}"
    return f"{np.mean(values):{sign}.3f} ± {half_width(values):.3f}"


def half_width(values: Sequence[float]) -> float:
    """Return half the width of Student's 95 % interval."""
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def rank_lines(
    searches: Searches, budgets: Sequence[int], group: str, problems: Sequence[str]
) -> Iterator[str]:
    """Yield the mean rank of every arm that was run on all problems of a group."""
    compared = {budget: comparable(searches, budget, problems) for budget in budgets}
    compared = {
        budget: (arms, tables)
        for budget, (arms, tables) in compared.items()
        if len(arms) > 1 and all(table.size for table in tables)
    }
    if not compared:
        return
    columns = {budget: ranks(*found) for budget, found in compared.items()}
    yield from (f"### Ranks: {group}", "")
    yield "| arm | " + " | ".join(f"{budget} evaluations" for budget in columns) + " |"
    yield "|---" + "|---:" * len(columns) + "|"
    first = next(iter(columns.values()))
    order = sorted(ARMS, key=lambda arm: first[arm][0] if arm in first else np.inf)
    for arm in order:
        row = [rank_text(found.get(arm)) for found in columns.values()]
        if any(row):
            yield f"| {arm} | {' | '.join(row)} |"
    yield f"| arms ranked | {' | '.join(str(len(found)) for found in columns.values())} |"
    n_seeds = [spread([len(table[0]) for table in tables]) for _, tables in compared.values()]
    yield f"| seeds | {' | '.join(n_seeds)} |"
    yield ""


def comparable(
    searches: Searches, budget: int, problems: Sequence[str]
) -> tuple[list[str], list[Floats]]:
    """Return the arms that can be ranked, and what they are worth on each problem.

    An arm can be that has on every problem as many seeds as the arm with the most, or all it should
    have.

    Returns:
        Arms, and of each problem their worth on the seeds that all have, (n_arms, n_seeds).
    """
    values = {
        (problem, arm): values_at(searches.get((problem, arm), ()), arm, budget)
        for problem in problems
        for arm in ARMS
    }
    most = {one: max(len(values[one, arm]) for arm in ARMS) for one in problems}
    enough = {one: max(1, min(SEEDS, count)) for one, count in most.items()}
    arms = [arm for arm in ARMS if all(len(values[one, arm]) >= enough[one] for one in problems)]
    tables = []
    for problem in problems if arms else ():
        seeds = sorted(set.intersection(*(set(values[problem, arm]) for arm in arms)))
        tables.append(np.array([[values[problem, arm][one] for one in seeds] for arm in arms]))
    return arms, tables


def spread(counts: Sequence[int]) -> str:
    """Return a number, or the least and the greatest."""
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def rank_text(found: tuple[float, float, float] | None) -> str:
    """Return a mean rank and its interval."""
    return "" if found is None else f"{found[0]:.1f} [{found[1]:.1f}, {found[2]:.1f}]"


def ranks(arms: Sequence[str], tables: Sequence[Floats]) -> dict[str, tuple[float, float, float]]:
    """Rank arms by their mean worth, average over problems, and resample seeds.

    Args:
        arms: some.
        tables: of each problem what they are worth, (n_arms, n_seeds).

    Returns:
        Arm to its mean rank and the 2.5th and 97.5th percentiles over resampled seeds; the seeds
        of a problem are drawn alike for all arms.
    """
    random = np.random.default_rng(0)
    draws = np.empty((RESAMPLES, len(arms)))
    for i in range(RESAMPLES):
        again = [table[:, random.integers(table.shape[1], size=table.shape[1])] for table in tables]
        draws[i] = mean_ranks(again)
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return {
        arm: (float(rank), float(low[i]), float(high[i]))
        for i, (arm, rank) in enumerate(zip(arms, mean_ranks(tables), strict=True))
    }


def mean_ranks(tables: Sequence[Floats]) -> Floats:
    """Return each arm's rank, 1 the best, averaged over problems."""
    every = [stats.rankdata(-table.mean(axis=1)) for table in tables]
    return np.asarray(np.mean(every, axis=0))


def gap_lines(searches: Searches, budgets: Sequence[int], chooser: str) -> Iterator[str]:
    """Yield a default that chooses minus NSGA-II, paired by seed."""
    rows: dict[str, list[str]] = {}
    for problem in MERGE_PROBLEMS:
        cells = []
        for budget in budgets:
            one, other = (
                values_at(searches.get((problem, arm), ()), arm, budget)
                for arm in (chooser, YARDSTICK)
            )
            gaps = [one[seed] - other[seed] for seed in sorted(set(one) & set(other))]
            cells.append(interval(gaps, "+") + few(len(gaps)) if gaps else "")
        if any(cells):
            rows[problem] = cells
    if not rows:
        return
    yield from (f"### {chooser}: minus `{YARDSTICK}`, paired by seed", "")
    yield "| problem | " + " | ".join(f"{budget} evaluations" for budget in budgets) + " |"
    yield "|---" + "|---:" * len(budgets) + "|"
    for problem, cells in rows.items():
        yield f"| {problem} | {' | '.join(cells)} |"
    yield ""


SHOWN_COSTS = (("two", 100), ("three-layers", 100), ("three-layers", 200), ("five-layers", 1000))


def cost_lines(searches: Searches) -> Iterator[str]:
    """Yield the milliseconds of an ask and of a tell, by the number of points known."""
    shown = [
        (problem, until)
        for problem, until in SHOWN_COSTS
        if any(times(searches, problem, arm, "ask", until) for arm in ARMS)
    ]
    if not shown:
        return
    heads = []
    for problem, until in shown:
        known = merge_problem(problem)
        size = f"{len(known.domain)} genes, {known.n_objectives} objectives"
        heads.append(f"up to {until} points, {size}")
    yield from ("### Milliseconds of an ask and a tell: median, 95th percentile, greatest", "")
    yield "| arm | " + " | ".join(f"ask: {head} | tell" for head in heads) + " |"
    yield "|---" + "|---:" * (2 * len(heads)) + "|"
    for arm in ARMS:
        cells = [
            times(searches, problem, arm, call, until)
            for problem, until in shown
            for call in ("ask", "tell")
        ]
        if any(cells):
            yield f"| {arm} | {' | '.join(cells)} |"
    yield ""


def times(searches: Searches, problem: str, arm: str, call: str, until: int) -> str:
    """Return what the calls up to a checkpoint and after the one before took.

    Median and 95th percentile are medians over seeds, the greatest is that of all. Of an arm that
    is told its budget, searches of that budget count alone: with a larger one it may fit nothing
    yet.
    """
    found = [
        row[call][str(until)][:3]
        for row in searches.get((problem, arm), ())
        if str(until) in row[call] and (not takes_budget(arm) or until in row["budgets"])
    ]
    if not found:
        return ""
    values = np.array(found)
    shown = [*np.median(values[:, :2], axis=0), values[:, 2].max()]
    return ", ".join(f"{one:.3g}" for one in shown)


def draw(searches: Searches, budgets: Sequence[int], checkpoints: Sequence[int]) -> None:
    """Draw the mean worth over evaluations, a panel for each problem."""
    problems = [name for name in MERGE_PROBLEMS if any(name == one for one, _ in searches)]
    if not problems:
        return
    columns = min(4, len(problems))
    lines = -(-len(problems) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.9 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True)
    colours = mpl.colormaps["tab10"]
    for axis, problem in zip(axes.flat, problems, strict=False):
        for place, arm in enumerate(ARMS):
            rows = searches.get((problem, arm), ())
            points = budgets if takes_budget(arm) else checkpoints
            curve = [(n, list(values_at(rows, arm, n).values())) for n in points]
            known = [(n, float(np.mean(values))) for n, values in curve if values]
            if known:
                style = ("-", "--", ":")[place // 8]
                axis.plot(*zip(*known, strict=True), style, color=colours(place % 8), label=arm)
        axis.set(xscale="log", title=problem)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(problems) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("normalised hypervolume")
    for axis in axes[-1]:
        axis.set_xlabel("evaluations")
    named = {
        label: line
        for axis in axes.flat
        for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        named.values(), named.keys(), loc="outside lower center", ncol=6, fontsize="small"
    )
    figure.savefig(PICTURE, dpi=70)
