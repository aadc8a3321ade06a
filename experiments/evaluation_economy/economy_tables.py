"""The tables of `economy.py report`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from economy_arms import ARMS, DONORS, SEARCH_ITEMS, WHOLE
from numpy.typing import NDArray

ALL = WHOLE * SEARCH_ITEMS * len(DONORS)
CHECKPOINTS = (1 / 40, 1 / 30, 1 / 20, 1 / 15, 1 / 10, 1 / 5, 1 / 2, 1.0)
"""Shares of what scoring everything costs at which the best so far is judged."""
NEAR = 0.01
"""Half a percent of the items apart either way is hardly worth a search."""
RESAMPLES = 10_000


def report_lines(out: Path) -> Iterator[str]:
    """Yield what every arm had found after shares of the whole cost, and what it needed."""
    runs = {name: read(out, name) for name in ARMS}
    runs = {name: found for name, found in runs.items() if found}
    yield f"Scoring everything: {WHOLE} candidates × {SEARCH_ITEMS} × {len(DONORS)} = {ALL} items."
    yield ""
    yield (
        "| held-out mean of the best so far, after | n | "
        + " | ".join(fraction(share) for share in CHECKPOINTS)
        + " |"
    )
    yield "|---|---:|" + "---:|" * len(CHECKPOINTS)
    for name, found in runs.items():
        cells = []
        for share in CHECKPOINTS:
            values = [at(run, share * ALL) for run in found if run["items"] >= 0.9 * share * ALL]
            known = [value for value in values if value is not None]
            cells.append(spread(known) if len(known) == len(found) else "")
        yield f"| {ARMS[name].title} | {len(found)} | {' | '.join(cells)} |"
    yield ""
    if "whole" not in runs:
        return
    yield (
        "| to reach what CMA-ES ends with, everything scored | items | share [95 % interval] "
        f"| to come within {NEAR:g} of it | at its own end, over that |"
    )
    yield "|---|---:|---|---|---|"
    for name, found in runs.items():
        yield needed_line(name, found, runs["whole"])
    yield ""


def needed_line(name: str, runs: Sequence[Any], whole: Sequence[Any]) -> str:
    """Return how many items an arm needed; intervals come from resampling both arms' seeds."""
    grid = np.unique([best["items"] for run in runs for best in run["bests"]])
    curves = np.array([[at(run, items) or 0.0 for items in grid] for run in runs])
    ends = np.array([run["bests"][-1]["holdout"] for run in whole])
    cells = [count(reached(curves.mean(axis=0), grid, float(ends.mean())))]
    for margin in (0.0, NEAR):
        point = reached(curves.mean(axis=0), grid, float(ends.mean()) - margin)
        random = np.random.default_rng(0)
        draws = []
        for _ in range(RESAMPLES):
            own = random.integers(len(runs), size=len(runs))
            other = random.integers(len(whole), size=len(whole))
            level = float(ends[other].mean()) - margin
            draws.append(reached(curves[own].mean(axis=0), grid, level))
        low, high = np.quantile(draws, [0.025, 0.975], method="inverted_cdf")
        cells.append(f"{share_text(point)} [{share_text(float(low))}, {share_text(float(high))}]")
    own_ends = np.array([run["bests"][-1]["holdout"] for run in runs])
    random = np.random.default_rng(0)
    gaps = [
        own_ends[random.integers(len(runs), size=len(runs))].mean()
        - ends[random.integers(len(whole), size=len(whole))].mean()
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(gaps, [0.025, 0.975])
    cells.append(f"{own_ends.mean() - ends.mean():+.3f} [{low:+.3f}, {high:+.3f}]")
    return f"| {ARMS[name].title} | {' | '.join(cells)} |"


def reached(curve: NDArray[np.float64], grid: NDArray[np.float64], level: float) -> float:
    """Return the first number of items at which a curve is at a level, or infinity."""
    found = np.flatnonzero(curve >= level)
    return float(grid[found[0]]) if len(found) else float("inf")


def at(run: Mapping[str, Any], items: float) -> float | None:
    """Return the held-out mean of the best after so many items; None before the first."""
    known = [best["holdout"] for best in run["bests"] if best["items"] <= items]
    return known[-1] if known else None


def read(out: Path, name: str) -> list[Any]:
    """Read the finished runs of an arm."""
    files = [file for file in out.glob("*.json") if re.fullmatch(rf"{name}-\d+", file.stem)]
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(files)]


def spread(values: Sequence[float]) -> str:
    """Return a mean and its sample standard deviation."""
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):.3f} ± {deviation:.3f}"


def fraction(share: float) -> str:
    """Write a share as a fraction."""
    return "all" if share == 1 else f"1/{round(1 / share)}"


def share_text(items: float) -> str:
    """Write items as a share of those of scoring everything."""
    return "not reached" if np.isinf(items) else f"1/{ALL / items:.1f}"


def count(items: float) -> str:
    """Write a number of items."""
    return "not reached" if np.isinf(items) else f"{items:.0f}"
