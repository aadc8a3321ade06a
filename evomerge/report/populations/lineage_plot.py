"""An individual's ancestors as a PNG, and what it is made of along the model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from evomerge.report.labels import literal
from evomerge.report.palette import GREY, PALE, series, tint
from evomerge.report.populations.lineage_tree import FamilyTree, Individual, dominance, lanes
from evomerge.report.run_plots import plain, save, title

_DPI = 150
_NUMBERED = 45
_TICKS = 12


def draw_lineage(
    tree: FamilyTree, trial: int, path: Path, *, role: str = "", front: Collection[int] = ()
) -> None:
    """Draw the ancestors of an individual, oldest left, 1500 pixels wide.

    Args:
        tree: of its population; where it holds the individual's table, this is drawn below.
        trial: its number.
        path: of the picture.
        role: what it is, for the headline.
        front: trials to mark.
    """
    shown = tree.ancestors(trial)
    table = tree.tables.get(trial)
    figure = Figure(figsize=(10.0, 7.6 if table else 5.6), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    if table is None:
        above = figure.subplots()
    else:
        above, below = figure.subplots(2, 1, height_ratios=(3.2, 1.0))
        _composition(below, tree, trial)
    _ancestors(above, tree, trial, shown, front)
    _legend(figure, tree)
    mutated = "; mutations are left out" if tree.individuals[trial].mutated else ""
    what = f" ({role})" if role else ""
    title(figure, f"trial {trial}{what} and its {len(shown) - 1} ancestors{mutated}")
    save(figure, path)


def colour_of(one: Individual, tree: FamilyTree) -> str:
    """Return the colour of the founder of the largest share, the paler the more even the mix."""
    parts = dominance(one.shares)
    best = max(parts, key=parts.__getitem__)
    even = 1.0 / len(parts)
    strength = (parts[best] - even) / (1.0 - even) if even < 1 else 1.0
    return tint(series(tree.founders.index(best)), 0.15 + 0.85 * strength)


def line_width(weight: float) -> float:
    """Return the width of the line of a parent, in points."""
    return 0.4 + 2.4 * min(1.0, abs(weight))


def _ancestors(
    axes: Axes, tree: FamilyTree, trial: int, shown: tuple[int, ...], front: Collection[int]
) -> None:
    heights = lanes(tree, shown)
    order = {number: place for place, number in enumerate(shown)}
    lines, widths, colours = [], [], []
    for number in shown:
        for parent in tree.individuals[number].parents:
            lines.append([(order[one], heights[one]) for one in (parent.trial, number)])
            widths.append(line_width(parent.weight))
            colours.append(colour_of(tree.individuals[parent.trial], tree))
    axes.add_collection(
        LineCollection(lines, linewidths=widths, colors=colours, alpha=0.55, zorder=1)
    )
    for number in shown:
        one = tree.individuals[number]
        root = number == trial
        axes.scatter(
            order[number],
            heights[number],
            s=190 if root else 90 if one.founder else 38,
            marker="*" if root else "s" if one.founder else "o",
            color=colour_of(one, tree),
            edgecolors="black" if root or number in front else GREY,
            linewidths=1.4 if number in front else 0.8 if root else 0.4,
            zorder=3,
        )
        if one.founder or root or len(shown) <= _NUMBERED:
            axes.annotate(
                literal(one.founder or str(number)),
                (order[number], heights[number]),
                (0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=8 if one.founder or root else 6.5,
                color="black" if one.founder or root else GREY,
                zorder=4,
            )
    plain(axes)
    axes.grid(visible=False, axis="y")
    axes.set_yticks([])
    axes.set_ylabel("near: same founders")
    axes.margins(0.04, 0.09)
    axes.autoscale_view()
    ticks = np.unique(np.linspace(0, len(shown) - 1, min(len(shown), _TICKS)).round().astype(int))
    axes.set_xticks(ticks, [str(shown[place]) for place in ticks])
    axes.set_xlabel("in order of birth (trial number)")


def _composition(axes: Axes, tree: FamilyTree, trial: int) -> None:
    """Draw the weight of each founder over the positions of the model."""
    table = tree.tables[trial]
    places = 100.0 * np.concatenate([[0], table.ends]) / table.ends[-1]
    for column, source in enumerate(table.inputs):
        index = getattr(source, "donor", 0)
        weights = table.weights[:, column]
        axes.stairs(weights, places, color=series(index), lw=1.6, baseline=None)
    plain(axes)
    axes.axhline(0, color=GREY, lw=0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("position in the model, first to last number of its layout (%)")
    axes.set_ylabel("weight of each founder")


def _legend(figure: Figure, tree: FamilyTree) -> None:
    handles = [
        Line2D([], [], ls="-", lw=3, marker="o", color=series(index), label=literal(name))
        for index, name in enumerate(tree.founders)
    ]
    handles += [
        Line2D([], [], ls="", marker="o", color=PALE, mec=GREY, label="paler: more evenly mixed"),
        Line2D([], [], lw=line_width(0.2), color=GREY, label="parent with weight 0.2"),
        Line2D([], [], lw=line_width(0.8), color=GREY, label="0.8"),
        Line2D([], [], ls="", marker="o", mfc="white", mec="black", mew=1.4, label="on the front"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=7, frameon=False, fontsize=8)
