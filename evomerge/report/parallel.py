"""Parallel coordinates for four objectives and more: one vertical axis each, better is up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes

from evomerge.report.analysis import Analysis, RowAnalysis
from evomerge.report.labels import literal
from evomerge.report.roles import ROLES, label_of, role_of, worth_naming
from evomerge.report.table import number
from evomerge.types import Objective


def draw_parallel(axes: Axes, analysis: Analysis) -> None:
    """Draw every scored row as a line over the objectives, named at both ends."""
    objectives = analysis.front.objectives
    ranges = axis_ranges(analysis)
    named = worth_naming(analysis)
    ends: tuple[list[_End], list[_End]] = ([], [])
    for row in (*analysis.baselines, *analysis.members):
        heights = axis_heights(row, analysis, ranges)
        if heights is None:
            continue
        look = ROLES[role_of(row)]
        member = row.row.kind == "front"
        axes.plot(
            range(len(objectives)),
            heights,
            color=look.colour,
            marker=look.marker,
            ms=5 if member else 4,
            mec="white",
            mew=0.5,
            lw=1.6 if member else 0.9,
            ls="-" if member else "--",
            alpha=0.9 if member else 0.55,
            zorder=3 if member else 2,
        )
        if row.row.name in named:
            ends[0].append(_End(heights[0], label_of(row), look.ink))
            ends[1].append(_End(heights[-1], label_of(row), look.ink))
    for position, objective in enumerate(objectives):
        axes.axvline(position, color="#CCCCCC", lw=0.8, zorder=1)
        if objective.name not in ranges:
            continue
        low, high = ranges[objective.name]
        for height, value, below in ((0.0, low, True), (1.0, high, False)):
            axes.annotate(
                number(value),
                (position, height),
                (0, -8 if below else 8),
                textcoords="offset points",
                ha="center",
                va="top" if below else "bottom",
                fontsize=8,
                color="#555555",
            )
    _name_ends(axes, ends[0], 0, -0.14)
    _name_ends(axes, ends[1], len(objectives) - 1, 0.14)
    axes.set_xticks(range(len(objectives)), [_title(objective) for objective in objectives])
    axes.tick_params(length=0, pad=14, labelsize=9)
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.06)
    axes.set_xlim(-0.75, len(objectives) - 1 + 0.75)
    axes.spines[:].set_visible(False)


def axis_ranges(analysis: Analysis) -> Mapping[str, tuple[float, float]]:
    """Return the worst and the best score of each objective over all rows; empty without rows."""
    ranges: dict[str, tuple[float, float]] = {}
    for objective in analysis.front.objectives:
        scores = [
            estimates[objective.name].score
            for row in analysis.rows
            if (estimates := row.on(analysis.split)) is not None
        ]
        if scores:
            ordered = sorted(scores, key=objective.cost, reverse=True)
            ranges[objective.name] = (ordered[0], ordered[-1])
    return ranges


def axis_heights(
    row: RowAnalysis, analysis: Analysis, ranges: Mapping[str, tuple[float, float]]
) -> list[float] | None:
    """Return the row's height on each axis, 0 for the worst score and 1 for the best."""
    estimates = row.on(analysis.split)
    if estimates is None:
        return None
    heights = []
    for objective in analysis.front.objectives:
        worst, best = ranges[objective.name]
        score = estimates[objective.name].score
        heights.append(0.5 if worst == best else (score - worst) / (best - worst))
    return heights


def _title(objective: Objective) -> str:
    name = literal(objective.name)
    return name if objective.goal == "maximize" else f"{name}\n(lower is better)"


@dataclass(frozen=True, slots=True)
class _End:
    """Where a line meets an outer axis."""

    height: float
    text: str
    colour: str


def _name_ends(axes: Axes, ends: list[_End], position: int, offset: float) -> None:
    """Write names beside an outer axis, with a thin line from each to its end."""
    ordered = sorted(ends, key=lambda end: end.height)
    shown = spread_out([end.height for end in ordered], gap=0.042)
    for end, height in zip(ordered, shown, strict=True):
        line = {"arrowstyle": "-", "color": end.colour, "lw": 0.5, "alpha": 0.6, "shrinkB": 3}
        axes.annotate(
            literal(end.text),
            (position, end.height),
            (position + offset, height),
            ha="left" if offset > 0 else "right",
            va="center",
            fontsize=8,
            color=end.colour,
            arrowprops=line,
        )


def spread_out(heights: list[float], gap: float) -> list[float]:
    """Return the heights nearest to sorted `heights` that are at least `gap` apart.

    Subtracting i * gap turns the distance into an order, and isotonic regression by pooling
    neighbours solves that exactly.
    """
    pools: list[tuple[float, int]] = []  # mean and size
    for index, height in enumerate(heights):
        mean, size = height - index * gap, 1
        while pools and pools[-1][0] > mean:
            other, others = pools.pop()
            mean = (mean * size + other * others) / (size + others)
            size += others
        pools.append((mean, size))
    level = [mean for mean, size in pools for _ in range(size)]
    return [height + index * gap for index, height in enumerate(level)]
