"""Colours that colour-blind readers tell apart, for any number of series.

The series are those of Okabe & Ito (2008), with Tol's wine (2021) before their second blue;
magnitudes have matplotlib's viridis, whose lightness grows evenly, so that it survives a grey
print.
"""

from __future__ import annotations

GREY = "#555555"
PALE = "#E4E4E4"
HEAT = "viridis"
_SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#882255", "#56B4E9", "#000000")


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
