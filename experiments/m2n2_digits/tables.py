"""Makes the README's tables of the results.

    python experiments/m2n2_digits/tables.py --out runs/m2n2_digits

Figures are test accuracies in per cent of the model that was best on the training images: mean,
sample standard deviation, and Student's 95 % interval over seeds; differences are paired by seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arms import BUDGETS, COMPARISONS, MARKS
from run import read
from scipy import stats
from specialists import Start

from evomerge.testing.readme import publish

_REFERENCES = {
    "published_code": "*the published code, its loop compiled*",
}
_NOTED = {  # test accuracies of single runs of the published code, measured before this work
    "specialists": {
        "published": (70.6, 71.7, 66.4),
        "ga": (55.0, 43.9, 56.7),
        "no_split": (57.8, 57.8, 57.8),
        "slerp_ratios": (57.8,),
        "linear_ratios": (56.9,),
    },
    "pairs": {},
    "scratch": {"published": (86.7, 84.2), "ga": (65.3,)},
}
Results = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Arm to seed to figures."""


def main() -> None:
    """Write every table that has results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where results are kept")
    options = parser.parse_args()
    found = read(options.out / "results.jsonl")
    for start in COMPARISONS:
        results: dict[str, dict[int, Mapping[str, Any]]] = {}
        for one in found:
            if one["start"] == start:
                results.setdefault(one["arm"], {})[one["seed"]] = one
        publish(
            __file__,
            start,
            [*table(start, results), "", *against_code(results), *curves(start, results)],
        )


def table(start: Start, results: Results) -> Iterable[str]:
    """Yield a line for each arm."""
    yield (
        f"| {BUDGETS[start]:,} evaluations | paper's figure | published code, single runs | "
        "test: mean ± 95 % | sd | lowest to highest | train | minus published settings | n |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    titles = {name: one.title for name, one in COMPARISONS[start].items()} | _REFERENCES
    baseline = results.get("published", {})
    for name, title in titles.items():
        runs = results.get(name)
        if not runs:
            continue
        paper = COMPARISONS[start][name].paper if name in COMPARISONS[start] else None
        noted = ", ".join(f"{one:.1f}" for one in _NOTED[start].get(name, ()))
        test = [one["test"] for one in runs.values()]
        train = [one["train"] for one in runs.values()]
        shared = sorted(set(runs) & set(baseline))
        gains = [runs[seed]["test"] - baseline[seed]["test"] for seed in shared]
        gain = interval(gains) if name != "published" else ""
        yield (
            f"| {title} | {'' if paper is None else f'{paper:.1f}'} | {noted} | {interval(test)} | "
            f"{deviation(test)} | {min(test):.1f} to {max(test):.1f} | {np.mean(train):.1f} | "
            f"{gain} | {len(test)} |"
        )


def against_code(results: Results) -> Iterable[str]:
    """Yield what our arms gain over the published code's own runs from the same founders."""
    theirs = results.get("published_code", {})
    for name, words in (("published", "Our port"), ("best", "The best settings found")):
        ours = results.get(name, {})
        shared = sorted(set(ours) & set(theirs))
        if shared:
            gains = [ours[seed]["test"] - theirs[seed]["test"] for seed in shared]
            yield (
                f"{words} minus the published code's own runs from the same founders: "
                f"{interval(gains)} (n = {len(gains)})."
            )
            yield ""


def curves(start: Start, results: Results) -> Iterable[str]:
    """Yield the mean test accuracy of the best model so far, evaluation by evaluation."""
    marks = [*(mark for mark in MARKS if mark < BUDGETS[start]), BUDGETS[start]]
    yield f"| mean test accuracy after | {' | '.join(f'{mark:,}' for mark in marks)} |"
    yield "|---" * (len(marks) + 1) + "|"
    for name, comparison in COMPARISONS[start].items():
        if name in results and "ratios" not in name:
            runs = [dict(map(tuple, one["curve"])) for one in results[name].values()]
            means = [np.mean([one[mark] for one in runs]) for mark in marks]
            yield f"| {comparison.title} | {' | '.join(f'{mean:.1f}' for mean in means)} |"


def interval(values: Sequence[float]) -> str:
    """Return the mean and the half-width of Student's 95 % interval."""
    if len(values) < 2:
        return f"{np.mean(values):.1f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):.1f} ± {half:.1f}"


def deviation(values: Sequence[float]) -> str:
    """Return the sample standard deviation."""
    return f"{np.std(values, ddof=1):.1f}" if len(values) > 1 else ""


if __name__ == "__main__":
    main()
