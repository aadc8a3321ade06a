"""Niche maps as PNGs: cells by measures, or who holds whose examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evomerge.optimizers.archives.watch import NicheMap
from evomerge.report.labels import literal
from evomerge.report.palette import GREY, HEAT
from evomerge.report.populations.niche_grid import axis_pairs, edges, sheet
from evomerge.report.populations.population import Population
from evomerge.report.run_plots import better, figure_of, part_of, save, shared_range, title
from evomerge.types import Objective

_HELD = "Blues"
_MAX_ROWS = 40
_NUMBERED = 60  # cells that are worth a number


def draw_niches(
    population: Population,
    objectives: Sequence[Objective],
    path: Path,
    names: Mapping[int, str],
    scores: Mapping[int, Mapping[str, float]],
) -> bool:
    """Draw the archives of a population.

    Args:
        population: whose archives.
        objectives: names and goals; numbers are shown in the user's sign.
        path: of the picture.
        names: of founders, by trial number.
        scores: metrics by trial number.

    Returns:
        False, and nothing is drawn, where they are empty.
    """
    shown = Shown(names, {one.name: one for one in objectives})
    if population.holdings:
        _draw_holdings(population, scores, shown, path)
        return True
    panels = [
        (one, x, y)
        for one in population.maps
        if one.niches and one.axes
        for x, y in axis_pairs(one)
    ]
    if not panels:
        return False
    flat = all(y is None for _, _, y in panels)
    figure, axes = figure_of(len(panels), height=2.2 if flat else 4.2)
    for place, (one, x, y) in zip(axes, panels, strict=True):
        (_cells if one.bins else _points)(figure, place, one, x, y, shown)
        _describe(place, one, x, y, shown)
    title(figure, f"{part_of(population)}niches, each labelled with the trial that lives there")
    save(figure, path)
    return True


@dataclass(frozen=True, slots=True)
class Shown:
    """How an archive's trials and numbers are shown.

    Attributes:
        names: of founders, by trial number.
        objectives: by name.
    """

    names: Mapping[int, str]
    objectives: Mapping[str, Objective]

    def who(self, trial: int) -> str:
        """Return what an individual is called."""
        return literal(self.names.get(trial, str(trial)))

    def member(self, trial: int, population: Population) -> str:
        """Return how a member of an archive is named in full."""
        best = "best" if trial == population.maps[0].champion else ""
        words = ", ".join(filter(None, (self.names.get(trial, ""), best)))
        return literal(f"trial {trial} ({words})" if words else f"trial {trial}")

    def sign(self, name: str) -> float:
        """Return what turns a number of an archive, larger being better, into the metric."""
        return -self.objectives[name].cost(1.0) if name in self.objectives else 1.0

    def heat(self, name: str) -> str:
        """Return the colours of a metric, the better the lighter."""
        return HEAT if self.sign(name) > 0 else f"{HEAT}_r"

    def title(self, name: str) -> str:
        """Return the title of an axis."""
        return literal(better(self.objectives[name]) if name in self.objectives else name)


def held_table(population: Population) -> tuple[list[int], list[str], NDArray[np.int64]]:
    """Return members, the one that holds most first, objectives, and how many each holds.

    Returns:
        Trial numbers, names of the objectives, counts of shape (n_members, n_objectives).
    """
    held = population.holdings
    members = sorted(held, key=lambda number: (-sum(held[number].values()), number))
    names = list(population.examples)
    counts = [[held[number].get(name, 0) for name in names] for number in members]
    return members, names, np.array(counts, dtype=np.int64).reshape(len(members), len(names))


def _draw_holdings(
    population: Population, scores: Mapping[int, Mapping[str, float]], shown: Shown, path: Path
) -> None:
    """Draw members by objectives: how many examples each holds, and its scores."""
    members, names, counts = held_table(population)
    left_out = len(members) - _MAX_ROWS
    members, counts = members[:_MAX_ROWS], counts[:_MAX_ROWS]
    totals = np.array([population.examples[name] for name in names])
    figure, (left, right) = figure_of(2, width=max(9.0, 3.0 + 2.4 * len(names)))
    figure.set_figheight(2.4 + 0.26 * len(members))
    held = [[str(count or "") for count in row] for row in counts]
    shares = 100 * counts / totals
    _matrix(figure, left, shares, held, _HELD, "share of the objective's examples (%)")
    left.set_xticks(
        range(len(names)),
        [
            literal(f"{name}\n{some} of {total}")
            for name, some, total in zip(names, counts.sum(axis=0), totals, strict=True)
        ],
    )
    left.set_xlabel("objective; examples that somebody holds")
    left.set_yticks(range(len(members)), [shown.member(number, population) for number in members])
    left.set_ylabel("member of the archive")
    left.set_title("examples it holds: nobody has more of them", fontsize=9, loc="left")
    table = np.array([[scores[number][name] for name in names] for number in members])
    text = [[f"{value:.3f}" for value in row] for row in table]
    _matrix(figure, right, graded(table, [shown.sign(name) for name in names]), text, HEAT, "")
    right.set_xticks(range(len(names)), [shown.title(name).replace(" (", "\n(") for name in names])
    right.set_xlabel("objective")
    right.set_yticks([])
    right.set_title("its scores, from the column's worst to its best", fontsize=9, loc="left")
    more = f"; {left_out} that hold fewer are left out" if left_out > 0 else ""
    best = population.maps[0].champion
    champion = "" if best is None else f"; best individual: trial {best}"
    title(figure, f"{part_of(population)}members of the archive and their niches{champion}{more}")
    save(figure, path)


def graded(table: NDArray[np.float64], signs: Sequence[float]) -> NDArray[np.float64]:
    """Return a table with each column scaled from 0, its worst, to 1, its best."""
    turned = table * np.array(signs)
    spread = np.ptp(turned, axis=0)
    low = turned.min(axis=0)
    return np.where(spread > 0, (turned - low) / np.where(spread > 0, spread, 1.0), 0.5)


def _matrix(
    figure: Figure,
    axes: Axes,
    values: NDArray[np.float64],
    text: Sequence[Sequence[str]],
    colours: str,
    name: str,
) -> None:
    """Draw a table in colours from 0 to its largest value, with its numbers."""
    norm, palette = Normalize(0.0, max(float(values.max()), 1e-9)), colormaps[colours]
    image = axes.imshow(values, cmap=palette, norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column,
            row,
            text[row][column],
            ha="center",
            va="center",
            fontsize=8,
            color=ink(palette(float(norm(value)))),
        )
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if name:
        figure.colorbar(image, ax=axes, label=name)


def ink(background: tuple[float, float, float, float]) -> str:
    """Return black or white, whichever can be read on a colour."""
    red, green, blue, _ = background
    return "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"


def _cells(figure: Figure, axes: Axes, one: NicheMap, x: int, y: int | None, shown: Shown) -> None:
    found = sheet(one, x, y)
    rows = np.array([0.0, 1.0]) if y is None else shown.sign(one.axes[y]) * edges(one, y)
    columns = shown.sign(one.axes[x]) * edges(one, x)
    quality = shown.sign(one.name) * found.quality
    norm, colours = Normalize(*shared_range(quality)), colormaps[shown.heat(one.name)]
    mesh = axes.pcolormesh(
        columns,
        rows,
        np.ma.masked_invalid(quality),
        cmap=colours,
        norm=norm,
        edgecolors="#F0F0F0",
        linewidth=0.4,
    )
    axes.grid(visible=False)
    figure.colorbar(mesh, ax=axes, label=literal(one.name))
    filled = np.argwhere(found.trials >= 0)
    if len(filled) > _NUMBERED:
        return
    for row, column in filled:
        axes.text(
            (columns[column] + columns[column + 1]) / 2,
            (rows[row] + rows[row + 1]) / 2,
            shown.who(int(found.trials[row, column])),
            ha="center",
            va="center",
            fontsize=6,
            color=ink(colours(float(norm(quality[row, column])))),
        )


def _points(figure: Figure, axes: Axes, one: NicheMap, x: int, y: int | None, shown: Shown) -> None:
    """Draw the members of an archive without a grid."""
    quality = shown.sign(one.name) * np.array([niche.quality for niche in one.niches])
    measures = np.array([niche.measures for niche in one.niches])
    across = shown.sign(one.axes[x]) * measures[:, x]
    up = quality if y is None else shown.sign(one.axes[y]) * measures[:, y]
    dots = axes.scatter(
        across,
        up,
        c=quality,
        cmap=shown.heat(one.name),
        norm=Normalize(*shared_range(quality)),
        s=46,
        edgecolors=GREY,
        linewidths=0.5,
    )
    figure.colorbar(dots, ax=axes, label=literal(one.name))
    if len(one.niches) <= _NUMBERED:
        for niche, at_x, at_y in zip(one.niches, across, up, strict=True):
            axes.annotate(
                shown.who(niche.trial),
                (at_x, at_y),
                (4, 3),
                textcoords="offset points",
                fontsize=6,
                color=GREY,
            )


def _describe(axes: Axes, one: NicheMap, x: int, y: int | None, shown: Shown) -> None:
    axes.set_xlabel(shown.title(one.axes[x]))
    if y is not None:
        axes.set_ylabel(shown.title(one.axes[y]))
    elif one.bins:
        axes.set_yticks([])
    else:
        axes.set_ylabel(shown.title(one.name))
    axes.set_title(literal(headline(one, y)), fontsize=8.5, loc="left")


def headline(one: NicheMap, y: int | None) -> str:
    """Say in a line what a map shows."""
    places = "cells" if one.bins else "places"
    clipped = f", {one.clipped} clipped at the edge" if one.clipped else ""
    others = len(one.axes) - (1 if y is None else 2)
    best_of = {0: "", 1: "; best over the other measure"}.get(
        others, f"; best over {others} other measures"
    )
    return f"{one.name}: {one.filled} of {one.places} {places} filled{clipped}{best_of}"
