"""The README's picture: what a quickstart found, every pair of its tasks on hold-out items.

    evomerge quickstart quickstart
    python experiments/quickstart/picture.py quickstart/run

Writes `front.png` beside this file. The quickstart has one seed, so anybody gets the same picture.
"""

from __future__ import annotations

import argparse
import io
from itertools import combinations
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from evomerge.report import Analysis, analyse, collect_front
from evomerge.report.labels import Label, place_labels
from evomerge.report.roles import ROLES, label_of, role_of

DPI = 110
COLOURS = 48  # of the file; the picture has few, and a palette makes it small


def main() -> None:
    """Draw the front of a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished quickstart")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("front.png"))
    options = parser.parse_args()
    draw(analyse(collect_front(options.run)), options.out)


def draw(analysis: Analysis, path: Path) -> None:
    """Draw the planes of three objectives side by side, 1210 pixels wide."""
    pairs = list(combinations([one.name for one in analysis.front.objectives], 2))
    figure = Figure(figsize=(11, 3.9), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    planes = list(figure.subplots(1, len(pairs)))
    for axes, (x, y) in zip(planes, pairs, strict=True):
        plane(axes, analysis, x, y)
    roles = dict.fromkeys(role_of(row) for row in (*analysis.members, *analysis.baselines))
    handles = [
        Line2D([], [], ls="", marker=look.marker, color=look.colour, label=look.title)
        for look in (ROLES[role] for role in roles)
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=5, frameon=False, fontsize=9)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    renderer = canvas.get_renderer()
    members = [found for row in analysis.members if (found := row.on(analysis.split)) is not None]
    for axes, (x, y) in zip(planes, pairs, strict=True):
        labels = [
            Label(label_of(row), found[x].score, found[y].score, ROLES[role_of(row)].ink)
            for row in analysis.baselines
            if (found := row.on(analysis.split)) is not None
        ]
        place_labels(axes, renderer, labels, [(one[x].score, one[y].score) for one in members])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    image = Image.open(buffer).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def plane(axes: Axes, analysis: Analysis, x: str, y: str) -> None:
    """Draw the rows in the plane of two objectives, with their intervals."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#E6E6E6", lw=0.6)
    axes.set_axisbelow(True)
    for row in (*analysis.baselines, *analysis.members):
        found = row.on(analysis.split)
        if found is None:
            continue
        look = ROLES[role_of(row)]
        at_x, at_y = found[x], found[y]
        bars = [
            [[one.score - (one.low or one.score)], [(one.high or one.score) - one.score]]
            for one in (at_x, at_y)
        ]
        axes.errorbar(
            at_x.score,
            at_y.score,
            xerr=bars[0],
            yerr=bars[1],
            fmt="none",
            ecolor=look.colour,
            elinewidth=0.8,
            alpha=0.3,
            zorder=2,
        )
        axes.scatter(
            at_x.score,
            at_y.score,
            s=42,
            marker=look.marker,
            color=look.colour,
            edgecolors="white",
            linewidths=0.6,
            zorder=4 if row.row.kind == "front" else 3,
        )
    axes.set_xlabel(f"{x} (higher is better)", fontsize=9)
    axes.set_ylabel(f"{y} (higher is better)", fontsize=9)
    axes.tick_params(labelsize=8, colors="#555555")
    axes.margins(0.1)


if __name__ == "__main__":
    main()
