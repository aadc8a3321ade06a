"""A run as PNGs: its progress, and what its populations hold.

Figures are built without matplotlib's global state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from evomerge.report.front import BASE, DONOR_PREFIX
from evomerge.report.labels import literal
from evomerge.report.palette import GREY, PALE, series
from evomerge.report.populations.population import Population
from evomerge.report.run_history import RunHistory
from evomerge.types import Objective

_DPI = 150
_STYLES = ("-", "--", "-.", ":")


def draw_progress(history: RunHistory, path: Path, baselines: float | None = None) -> None:
    """Draw scores, hypervolume and failures over the trials, a panel each, 1500 pixels wide.

    Args:
        history: of the run.
        path: of the picture.
        baselines: hypervolume of all baselines together, on the scale of the history's.
    """
    n_panels = len(history.objectives) + bool(len(history.volume)) + bool(history.failures)
    figure, panels = figure_of(n_panels)
    for index, objective in enumerate(history.objectives):
        _scores(panels[index], history, index, objective)
    place = len(history.objectives)
    if len(history.volume):
        _volume(panels[place], history, baselines)
        place += 1
    if history.failures:
        _failures(panels[place], history)
    for axes in panels:
        for label, first in history.parts:
            axes.axvline(first, color=GREY, lw=0.8, ls=":")
            axes.annotate(
                literal(label),
                (first, 1.0),
                (2, -2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                va="top",
                rotation=90,
                fontsize=7,
                color=GREY,
            )
        count_axis(axes, "trial")
    failed = f", {history.n_failed} failed" if history.n_failed else ""
    headline = f"{history.study}: {history.n_finished} trials finished{failed}"
    title(figure, f"{headline} (scores on {history.compared_on} items)")
    handles = [
        Line2D([], [], ls="", marker="o", ms=4, color=GREY, alpha=0.5, label="a trial"),
        Line2D([], [], lw=1.8, color=GREY, label="best so far"),
    ]
    if history.stopped:
        label = "stopped on a rung: estimate with its 95 % interval"
        handles.append(
            Line2D([], [], marker="D", mfc="none", ms=4, lw=0.6, color=GREY, label=label)
        )
    figure.legend(handles=handles, loc="outside lower left", ncols=3, frameon=False, fontsize=8)
    save(figure, path)


def draw_coverage(population: Population, path: Path) -> None:
    """Draw how full each archive was after each trial, and its best quality, 1500 pixels wide."""
    figure, (left, right) = figure_of(2)
    competing = bool(population.examples)
    for index, (one, moments) in enumerate(zip(population.maps, population.history, strict=True)):
        look: dict[str, Any] = {
            "color": series(index),
            "ls": _STYLES[index % len(_STYLES)],
            "lw": 1.6,
        }
        counts = [moment.n_trials for moment in moments]
        name = literal(one.name or "all examples")
        shares = [100 * moment.filled / max(1, one.places) for moment in moments]
        left.step(counts, shares, where="post", label=name, **look)
        best = [np.nan if moment.best is None else moment.best for moment in moments]
        right.step(counts, best, where="post", label=name, **look)
    left.set_ylabel("examples that somebody holds (%)" if competing else "places filled (%)")
    left.set_ylim(bottom=0)
    right.set_ylabel(
        "mean score of the best individual" if competing else "best quality (larger is better)"
    )
    for axes in (left, right):
        count_axis(axes, "trials finished")
        if len(population.maps) > 1 or not competing:
            axes.legend(fontsize=8, frameon=False)
    title(figure, f"{part_of(population)}coverage of the archive over time")
    save(figure, path)


def figure_of(n_panels: int, width: float = 10.0, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, two a row."""
    columns = min(2, n_panels)
    rows = -(-n_panels // columns)
    figure = Figure(figsize=(width, 0.5 + height * rows), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[n_panels:]:
        axes.set_axis_off()
    panels = list(grid.flat[:n_panels])
    for axes in panels:
        plain(axes)
    return figure, panels


def plain(axes: Axes) -> None:
    """Give axes a quiet frame and grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color=PALE, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=GREY)


def title(figure: Figure, text: str) -> None:
    """Give a figure its headline."""
    figure.suptitle(literal(text), x=0.01, ha="left", fontsize=11)


def save(figure: Figure, path: Path) -> None:
    """Write a figure."""
    figure.savefig(path, dpi=_DPI, facecolor="white")


def count_axis(axes: Axes, name: str) -> None:
    """Make x count trials."""
    axes.set_xlabel(name)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def part_of(population: Population) -> str:
    """Return the beginning of a headline that names the part of the run, if it has a name."""
    return f"{population.label}: " if population.label else ""


def better(objective: Objective) -> str:
    """Return an objective's name with the direction in which it improves."""
    direction = "higher" if objective.goal == "maximize" else "lower"
    return f"{objective.name} ({direction} is better)"


def references(history: RunHistory, objective: Objective) -> list[tuple[str, float, str]]:
    """Return name, score and line style of the base and the best donor, as far as known."""
    donors = {
        name: metrics[objective.name]
        for name, metrics in history.known.items()
        if name.startswith(DONOR_PREFIX)
    }
    found = []
    if donors:
        best = min(donors, key=lambda name: objective.cost(donors[name]))
        found.append((f"best donor: {best.removeprefix(DONOR_PREFIX)}", donors[best], "--"))
    if BASE in history.known:
        found.append(("base", history.known[BASE][objective.name], ":"))
    return found


def _scores(axes: Axes, history: RunHistory, index: int, objective: Objective) -> None:
    trials = list(history.scored)
    colour = series(index)
    if history.stopped:
        axes.errorbar(
            [one.trial for one in history.stopped],
            [one.scores[objective.name] for one in history.stopped],
            yerr=[one.reach(objective.name) for one in history.stopped],
            fmt="D",
            mfc="none",
            mew=0.6,
            ms=3,
            elinewidth=0.6,
            color=colour,
            alpha=0.3,
            zorder=1,
        )
    axes.scatter(trials, history.scores[:, index], s=9, color=colour, alpha=0.35, lw=0)
    axes.step(trials, history.best[:, index], where="post", color=colour, lw=1.8)
    for name, value, style in references(history, objective):
        _reference(axes, name, value, style)
    axes.set_ylabel(literal(better(objective)))


def _volume(axes: Axes, history: RunHistory, baselines: float | None) -> None:
    axes.step(history.scored, history.volume, where="post", color="black", lw=1.8)
    if baselines is not None:
        _reference(axes, "all baselines together", baselines, "--")
    axes.set_ylabel("hypervolume so far")
    heading = f"front so far; each objective on a scale of {history.volume_scale}"
    axes.set_title(heading, fontsize=8, color=GREY, loc="left")
    axes.set_ylim(bottom=0)


def _reference(axes: Axes, name: str, value: float, style: str) -> None:
    axes.axhline(value, color=GREY, lw=1.1, ls=style, zorder=1)
    axes.annotate(
        literal(name),
        (1.0, value),
        (-2, -3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=7.5,
        color="black",
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )


def _failures(axes: Axes, history: RunHistory) -> None:
    last = max((*history.scored, *(trials[-1] for trials in history.failures.values())))
    for index, (cause, trials) in enumerate(history.failures.items()):
        axes.step(
            [*trials, last],
            [*range(1, len(trials) + 1), len(trials)],
            where="post",
            color=series(index),
            ls=_STYLES[index % len(_STYLES)],
            marker=".",
            ms=4,
            label=literal(f"{len(trials)} × {cause}"),
        )
    axes.set_ylabel("trials failed so far")
    axes.set_ylim(0, 1.35 * max(map(len, history.failures.values())))  # room for the legend
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.legend(fontsize=7, frameon=False, loc="upper left")


def shared_range(values: ArrayLike) -> tuple[float, float]:
    """Return the range of a colour scale over finite values; one number is given some room."""
    found = np.asarray(values, dtype=np.float64)
    finite = found[np.isfinite(found)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
