"""What a member of the front is made of, as pictures: weights by layer, a path of layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from evomerge.recipe import LayerPath
from evomerge.report.labels import literal
from evomerge.report.layer_weights import LayerWeights
from evomerge.report.palette import GREY, HEAT, series
from evomerge.report.populations.niche_plots import ink
from evomerge.report.run_plots import figure_of, save, shared_range, title

_MOST_NUMBERS = 16  # columns of a heat-map whose cells hold their numbers


def draw_weights(name: str, shown: LayerWeights, path: Path) -> None:
    """Draw the weights of one merge, a row for each donor and group of tensors."""
    figure, (axes,) = figure_of(1, height=0.8 + 0.3 * len(shown.rows))
    low, high = shared_range(shown.values)
    if low < 0:
        low, high = -max(-low, high), max(-low, high)
    else:
        low = 0.0
    colours, norm = colormaps["RdBu_r" if low < 0 else HEAT], Normalize(low, high)
    image = axes.imshow(
        np.ma.masked_invalid(shown.values),
        cmap=colours,
        norm=norm,
        aspect="auto",
    )
    axes.grid(visible=False)
    axes.set_xticks(range(len(shown.columns)), shown.columns)
    axes.set_yticks(
        range(len(shown.rows)), [literal(" · ".join(filter(None, row))) for row in shown.rows]
    )
    axes.set_xlabel("layer")
    if len(shown.columns) <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(shown.values):
            if not np.isnan(value):
                colour = ink(colours(float(norm(float(value)))))
                axes.text(
                    column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour
                )
    figure.colorbar(image, ax=axes, label=shown.parameter)
    title(figure, f"{name}: {shown.parameter} by layer")
    save(figure, path)


def draw_path(name: str, way: LayerPath, models: tuple[str, ...], path: Path) -> None:
    """Draw the way of tokens through the layers of the models, one lane a model."""
    figure, (axes,) = figure_of(1, height=1.4 + 0.6 * len(models))
    steps = range(1, len(way.hops) + 1)
    lanes = [-hop.model for hop in way.hops]
    axes.plot(steps, lanes, color=GREY, lw=1.2, zorder=1)
    scaled = any(hop.scale != 1 for hop in way.hops)
    for step, lane, hop in zip(steps, lanes, way.hops, strict=True):
        axes.scatter(step, lane, s=130, marker="s", color=series(hop.model), zorder=2)
        text = f"{hop.layer}\n×{hop.scale:.2f}" if scaled else str(hop.layer)
        axes.annotate(
            text, (step, lane), (0, 9), textcoords="offset points", ha="center", fontsize=7
        )
    axes.set_yticks([-place for place in range(len(models))], [literal(one) for one in models])
    axes.set_ylim(-len(models) + 0.4, 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=16, integer=True))
    axes.set_xlabel("hop; the number is the layer" + (", × its scale" if scaled else ""))
    title(figure, f"{name}: layer path of {len(way.hops)} hops")
    save(figure, path)
