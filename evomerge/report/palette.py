"""Colours that colour-blind readers tell apart, for any number of series, on light and on dark.

The series are those of Okabe & Ito (2008), with Tol's wine (2021) before their second blue;
magnitudes have matplotlib's viridis, whose lightness grows evenly, so that it survives a grey
print. On a dark page each colour of `ON_DARK` gives way to its lighter twin.
"""

from __future__ import annotations

from collections.abc import Mapping

INK = "#222222"
GREY = "#555555"
SOFT = "#9A9A9A"
PALE = "#E4E4E4"
PAPER = "#FFFFFF"
HEAT = "viridis"
_SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#882255", "#56B4E9", "#000000")

ON_DARK: Mapping[str, str] = {
    INK: "#E8E8E8",
    GREY: "#B8B8B8",
    SOFT: "#8A8A8A",
    PALE: "#3A3A3A",
    PAPER: "#181A1B",
    "black": "#F2F2F2",
    "#000000": "#F2F2F2",
    "#0072B2": "#4AA3E8",
    "#005F94": "#8CC8F5",
    "#2B7CA8": "#8FD0F2",
    "#D55E00": "#F58A4B",
    "#B04E00": "#F8AE80",
    "#009E73": "#2FC49A",
    "#882255": "#C8608F",
    "#666666": "#A6A6A6",
}
"""Colours of light pages, as figures name them, to what stands in their place on dark ones."""


def series(index: int) -> str:
    """Return the colour of a series, as '#rrggbb'; they repeat after eight."""
    return _SERIES[index % len(_SERIES)]


def tint(colour: str, strength: float) -> str:
    """Return a colour mixed with light grey: all of it at strength 1, grey at 0."""
    part = min(1.0, max(0.0, strength))
    pairs = zip(_channels(colour), _channels(PALE), strict=True)
    return "#" + "".join(f"{round(part * one + (1 - part) * pale):02X}" for one, pale in pairs)


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
