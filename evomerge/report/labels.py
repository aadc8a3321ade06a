"""Direct labels that do not cover one another: each takes the free place nearest its point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.patheffects import withStroke

_Box: TypeAlias = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels

_RADII = (9.0, 16.0, 26.0, 38.0)  # points
_ANGLES = tuple(turn * math.pi / 6 for turn in (1, 11, 5, 7, 0, 6, 3, 9, 2, 10, 4, 8))


@dataclass(frozen=True, slots=True)
class Label:
    """A text at a data point of an axes."""

    text: str
    x: float
    y: float
    colour: str


def literal(text: str) -> str:
    """Return a text that matplotlib draws as it stands, dollar signs included."""
    return text.replace("$", r"\$")


def place_labels(
    axes: Axes,
    renderer: RendererBase,
    labels: Sequence[Label],
    avoid: Sequence[tuple[float, float]] = (),
    size: float = 8.0,
) -> None:
    """Draw labels near their points, avoiding each other, every point and the edge of the axes.

    The layout of the figure must be final. Labels are placed in the given order; one that finds
    no free place takes the least crowded, with a thin line to its point where it is far away.

    Args:
        axes: where to draw.
        renderer: of the figure's canvas; it measures the texts.
        labels: what to draw; their points are kept free.
        avoid: further points, in data coordinates, that are kept free.
        size: of the font.

    Raises:
        ValueError: the axes belong to no figure.
    """
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belong to no figure")
    unit = figure.dpi / 72
    frame = axes.get_window_extent(renderer)
    points = [axes.transData.transform((label.x, label.y)) for label in labels]
    free = [*points, *(axes.transData.transform(point) for point in avoid)]
    taken = [_around(float(x), float(y), 4 * unit) for x, y in free]
    edges = (float(frame.x0), float(frame.y0), float(frame.x1), float(frame.y1))
    for label, point in zip(labels, points, strict=True):
        probe = axes.text(0, 0, literal(label.text), fontsize=size)
        extent = probe.get_window_extent(renderer)
        probe.remove()
        x, y = float(point[0]), float(point[1])
        best, least, far = _around(x, y, 0.0), math.inf, False
        for radius, angle in product(_RADII, _ANGLES):
            box = _beside(x, y, radius * unit, angle, extent.width, extent.height)
            crowd = sum(_overlap(box, other) for other in taken) + _outside(box, edges)
            if crowd < least:
                best, least, far = box, crowd, radius > _RADII[1]
            if crowd < 1e-6:  # areas of free boxes are 0 up to rounding
                break
        taken.append(best)
        centre = ((best[0] + best[2]) / 2, (best[1] + best[3]) / 2)
        offset = ((centre[0] - x) / unit, (centre[1] - y) / unit)
        line = {"arrowstyle": "-", "color": label.colour, "lw": 0.5, "alpha": 0.6, "shrinkB": 3}
        axes.annotate(
            literal(label.text),
            (label.x, label.y),
            offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
            color=label.colour,
            arrowprops=line if far else None,
            zorder=6,
            path_effects=[withStroke(linewidth=2.0, foreground="white")],
        )


def _around(x: float, y: float, half: float) -> _Box:
    return x - half, y - half, x + half, y + half


def _beside(x: float, y: float, radius: float, angle: float, width: float, height: float) -> _Box:
    """Return a text box outside the circle around (x, y), in the direction of the angle."""
    centre_x = x + radius * math.cos(angle) + width / 2 * _sign(math.cos(angle))
    centre_y = y + radius * math.sin(angle) + height / 2 * _sign(math.sin(angle))
    return (
        centre_x - width / 2,
        centre_y - height / 2,
        centre_x + width / 2,
        centre_y + height / 2,
    )


def _sign(value: float) -> float:
    return 0.0 if abs(value) < 0.1 else 1.0 if value > 0 else -1.0


def _overlap(a: _Box, b: _Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: _Box, frame: _Box) -> float:
    """Area of a box outside the frame; it counts more than covering something."""
    return 4.0 * max(0.0, (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, frame))
