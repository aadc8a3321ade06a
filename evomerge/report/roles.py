"""What a row is in a picture, and how that looks: colours that colour-blind readers tell apart.

The colours are from Okabe & Ito (2008); every role also has a marker of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from evomerge.report.analysis import Analysis, RowAnalysis
from evomerge.report.front import BASE, DONOR_PREFIX

RoleName: TypeAlias = Literal["front", "dominated", "base", "donor", "baseline"]


_MAX_NAMED = 12


@dataclass(frozen=True, slots=True)
class Role:
    """How the rows of one role are drawn.

    Attributes:
        title: for the legend.
        colour: as '#rrggbb'.
        ink: colour of its text, dark enough to read.
        marker: matplotlib's code.
        symbol: plotly's name of the same shape.
    """

    title: str
    colour: str
    ink: str
    marker: str
    symbol: str


ROLES: dict[RoleName, Role] = {
    "front": Role("front", "#0072B2", "#005F94", "o", "circle"),
    "dominated": Role("front, dominated on hold-out", "#56B4E9", "#2B7CA8", "X", "x"),
    "donor": Role("donor", "#D55E00", "#B04E00", "^", "triangle-up"),
    "base": Role("base", "#000000", "#000000", "s", "square"),
    "baseline": Role("other baseline", "#666666", "#555555", "D", "diamond"),
}


def role_of(row: RowAnalysis) -> RoleName:
    """Return the role of a row."""
    if row.row.kind == "front":
        return "dominated" if row.confirmed is False else "front"
    if row.row.name == BASE:
        return "base"
    return "donor" if row.row.name.startswith(DONOR_PREFIX) else "baseline"


def label_of(row: RowAnalysis) -> str:
    """Return a short name for a picture."""
    return row.row.name.removeprefix(DONOR_PREFIX)


def worth_naming(analysis: Analysis) -> set[str]:
    """Return the rows a picture names: all baselines, and all members when there are few.

    Of many members the knee, the first of the table and the best of each objective are named.
    """
    named = {row.row.name for row in analysis.baselines}
    scored = [
        (row.row.name, estimates)
        for row in analysis.members
        if (estimates := row.on(analysis.split)) is not None
    ]
    if len(scored) <= _MAX_NAMED:
        return named | {name for name, _ in scored}
    named |= {scored[0][0]} | ({analysis.knee} if analysis.knee else set())
    for objective in analysis.front.objectives:
        costs = {name: objective.cost(found[objective.name].score) for name, found in scored}
        named.add(min(costs, key=costs.__getitem__))
    return named
