"""The tables of `compare.py report`: held-out hypervolume, and evaluations saved."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from arms import ARMS, DONORS, FEW
from compare import fronts, read, rows_of
from numpy.typing import NDArray
from scipy import stats

from evomerge.pareto import Anchors, anchored_hypervolume
from evomerge.types import Objective

COUNTS = (2, 3, 4, 5)
REFERENCE = "nsga2"
CANDIDATES = ("map", "mm_mo")
"""Of these the issue's claim is made: the better one by search items."""
RESAMPLES = 10_000

Curve = dict[int, float]


@dataclass(frozen=True)
class Run:
    """Hypervolume of a run's front after so many evaluations, 0 = base and 1 = best donor.

    Attributes:
        search: on the items the front was found on.
        holdout: on other items; the front is still the one of the search items.
    """

    search: Curve
    holdout: Curve


def report_lines(out: Path) -> Iterator[str]:
    """Yield the tables of every number of objectives that was run."""
    for count in COUNTS:
        if not (out / f"baselines-{count}.jsonl").exists():
            continue
        runs = read_runs(out, count)
        if REFERENCE not in runs:
            continue
        yield from held_out_lines(count, runs, fixed_volume(out, count))
        yield from saved_lines(runs)
        yield from ablation_lines(runs)


def read_runs(out: Path, count: int) -> dict[str, dict[int, Run]]:
    """Return every finished and scored run, by arm and seed."""
    anchors = {split: anchors_of(out, count, split) for split in ("search", "holdout")}
    holdout = {row["recipe"]: row["scores"] for row in read(out / f"scores-{count}.holdout.jsonl")}
    found: dict[str, dict[int, Run]] = {}
    for file in sorted(out.glob(f"run-{count}-*.jsonl")):
        name, _, seed = file.stem.split("-", 2)[2].rpartition("-")
        rows = rows_of(file)
        if name not in ARMS or len(rows) < ARMS[name].trials:
            continue
        members = fronts(rows)
        if any(
            rows[number].recipe not in holdout for front in members.values() for number in front
        ):
            continue  # not scored yet
        curves: dict[str, Curve] = {split: {} for split in anchors}
        for size, front in members.items():
            scores = {
                "search": [rows[number].scores for number in front],
                "holdout": [holdout[rows[number].recipe] for number in front],
            }
            for split, scale in anchors.items():
                scaled = scale.scale_all(scores[split])
                curves[split][size] = float(anchored_hypervolume(scaled))
        found.setdefault(name, {})[int(seed)] = Run(curves["search"], curves["holdout"])
    return found


def anchors_of(out: Path, count: int, split: str) -> Anchors:
    """Return the scale of a split: the base is 0, the best donor 1."""
    rows = {row["name"]: row[split] for row in read(out / f"baselines-{count}.jsonl")}
    objectives = [Objective(task) for task in list(DONORS.values())[:count]]
    donors = [row for name, row in rows.items() if name.startswith("donor:")]
    return Anchors.of(objectives, rows["base"], donors)


def fixed_volume(out: Path, count: int) -> float:
    """Return the held-out hypervolume of base, donors and uniform merge together."""
    rows = {
        row["name"]: row["holdout"]
        for row in read(out / f"baselines-{count}.jsonl")
        if not row["name"].startswith("lambda=")
    }
    return float(
        anchored_hypervolume(anchors_of(out, count, "holdout").scale_all([*rows.values()]))
    )


def held_out_lines(
    count: int, runs: Mapping[str, Mapping[int, Run]], fixed: float
) -> Iterator[str]:
    """Yield the hypervolumes of one number of objectives."""
    yield from (f"### {count} donors, {count} objectives", "")
    yield f"Base, donors and uniform merge together: {fixed:.4f}."
    yield ""
    yield "| arm | n | evaluations | hypervolume, held-out | search items | minus NSGA-II at 40 |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, seeds in runs.items():
        if name.startswith("map-published"):
            continue
        sizes = [40, 80, 120, 160] if name == REFERENCE else [FEW]
        for size in sizes:
            held = [one.holdout[size] for one in seeds.values()]
            found = [one.search[size] for one in seeds.values()]
            pairs = [
                one.holdout[size] - runs[REFERENCE][seed].holdout[FEW]
                for seed, one in seeds.items()
                if seed in runs[REFERENCE] and (name, size) != (REFERENCE, FEW)
            ]
            yield (
                f"| {ARMS[name].title} | {len(held)} | {size} | {spread(held)} | {spread(found)} |"
                f" {difference(pairs)} |"
            )
    yield ""


def saved_lines(runs: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """Yield how many evaluations NSGA-II needs for what the others have after 40."""
    yield "| after 40 evaluations | NSGA-II needs | ratio [95 % interval] | paired by seed |"
    yield "|---|---:|---:|---|"
    reference = runs[REFERENCE]
    for name, seeds in runs.items():
        if name in (REFERENCE, "grid") or name.startswith("map-published"):
            continue
        common = sorted(set(seeds) & set(reference))
        if not common:
            continue
        levels = np.array([seeds[seed].holdout[FEW] for seed in common])
        curves = np.array([[*increasing(reference[seed].holdout)] for seed in common])
        sizes = [size for size in reference[common[0]].holdout if size > 0]
        whole = needed(curves.mean(axis=0), sizes, float(levels.mean()))
        random = np.random.default_rng(0)
        ratios = []
        for _ in range(RESAMPLES):
            drawn = random.integers(len(common), size=len(common))
            other = random.integers(len(common), size=len(common))
            ratios.append(
                needed(curves[other].mean(axis=0), sizes, float(levels[drawn].mean())) / FEW
            )
        low, high = np.quantile(ratios, [0.025, 0.975], method="inverted_cdf")
        single = [needed(curve, sizes, level) for curve, level in zip(curves, levels, strict=True)]
        shown = ", ".join(text(one, sizes[-1]) for one in single)
        yield (
            f"| {ARMS[name].title} | {text(whole, sizes[-1])} | {ratio(whole / FEW, sizes[-1])} "
            f"[{ratio(low, sizes[-1])}, {ratio(high, sizes[-1])}] | {shown} |"
        )
    yield ""
    better = max(
        (name for name in CANDIDATES if name in runs),
        key=lambda name: np.mean([one.search[FEW] for one in runs[name].values()]),
        default=None,
    )
    if better is not None:
        yield f"The better of MAP and MM-MO by search items: {ARMS[better].title}."
        yield ""


def ablation_lines(runs: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """Yield what mending each fault of the published MAP is worth."""
    arms = [name for name in runs if name.startswith("map-published")]
    if not arms:
        return
    yield "| 30 points and 10 predicted ones | n | the predicted ones alone | all 40 |"
    yield "|---|---:|---:|---:|"
    for name in [one for one in ARMS if one in arms]:
        seeds = runs[name].values()
        alone = [one.holdout.get(-FEW, math.nan) for one in seeds]
        every = [one.holdout[FEW] for one in seeds]
        yield f"| {ARMS[name].title} | {len(every)} | {spread(alone)} | {spread(every)} |"
    yield ""


def increasing(curve: Curve) -> Iterator[float]:
    """Yield the best hypervolume so far, in the order of the evaluations."""
    best = -math.inf
    for size in sorted(size for size in curve if size > 0):
        best = max(best, curve[size])
        yield best


def needed(curve: NDArray[np.float64], sizes: Sequence[int], level: float) -> float:
    """Return the first number of evaluations at which a curve reaches a level, or inf."""
    reached = np.flatnonzero(curve >= level)
    return float(sizes[reached[0]]) if len(reached) else math.inf


def text(evaluations: float, most: int) -> str:
    """Write a number of evaluations that may be beyond what was tried."""
    return f"> {most}" if math.isinf(evaluations) else f"{evaluations:.0f}"


def ratio(value: float, most: int) -> str:
    """Write a ratio that may be beyond what was tried."""
    return f"> {most / FEW:.1f}" if math.isinf(value) else f"{value:.1f}"


def spread(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation over seeds."""
    deviation = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{deviation}"


def difference(gaps: Sequence[float]) -> str:
    """Return the mean difference and its Student interval over seeds."""
    if len(gaps) < 2:
        return ""
    half = stats.t.ppf(0.975, len(gaps) - 1) * stats.sem(gaps)
    return f"{np.mean(gaps):+.4f} [{np.mean(gaps) - half:+.4f}, {np.mean(gaps) + half:+.4f}]"
