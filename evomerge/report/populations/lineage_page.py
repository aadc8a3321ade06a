"""Family trees to hover over: one individual and its ancestors at a time, chosen from a list."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from evomerge.report.html_page import LOOK
from evomerge.report.palette import GREY, SOFT, series
from evomerge.report.populations.lineage_plot import colour_of, line_width
from evomerge.report.populations.lineage_tree import FamilyTree, lanes

_WEIGHTS = (0.0, 0.25, 0.5, 0.75)
"""Lower ends of the classes of weight whose lines have one width each."""


def lineage_figure(tree: FamilyTree, roots: Mapping[int, str], front: Collection[int]) -> Any:
    """Show the ancestors of the first root; the others can be chosen.

    Args:
        tree: of the population; it holds the tables of the roots.
        roots: individuals to choose from, and what they are; one at least.
        front: trials to mark.
    """
    figure = make_subplots(rows=2, cols=1, row_heights=[0.72, 0.28], vertical_spacing=0.12)
    owners: list[int] = []
    for root in roots:
        traces = [*_edges(tree, root), _nodes(tree, root, front)]
        for trace in traces:
            figure.add_trace(trace, row=1, col=1)
        below = _composition(tree, root)
        for trace in below:
            figure.add_trace(trace, row=2, col=1)
        owners += [root] * (len(traces) + len(below))
    first = next(iter(roots))
    for trace, owner in zip(figure.data, owners, strict=True):
        trace.visible = owner == first
    buttons = [
        {
            "label": escape(f"trial {root}: {role}, {len(tree.ancestors(root)) - 1} ancestors"),
            "method": "update",
            "args": [{"visible": [owner == root for owner in owners]}],
        }
        for root, role in roots.items()
    ]
    figure.update_layout(
        template=LOOK,
        height=820,
        margin={"l": 60, "r": 20, "t": 90, "b": 50},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"},
        updatemenus=[
            {"buttons": buttons, "x": 0.0, "xanchor": "left", "y": 1.04, "yanchor": "bottom"}
        ],
    )
    bare = {"showticklabels": False, "showgrid": False, "zeroline": False, "row": 1, "col": 1}
    figure.update_xaxes(title_text="in order of birth; hover for trial numbers", **bare)
    figure.update_yaxes(title_text="near: same founders", **bare)
    figure.update_xaxes(title_text="position in the model (%)", range=[0, 100], row=2, col=1)
    figure.update_yaxes(title_text="weight of each founder", row=2, col=1)
    return figure


def _edges(tree: FamilyTree, root: int) -> list[Any]:
    """Return the lines to parents, a trace for each class of weight."""
    shown = tree.ancestors(root)
    heights = lanes(tree, shown)
    order = {number: place for place, number in enumerate(shown)}
    across: list[list[float | None]] = [[] for _ in _WEIGHTS]
    up: list[list[float | None]] = [[] for _ in _WEIGHTS]
    for number in shown:
        for parent in tree.individuals[number].parents:
            width = int(np.searchsorted(_WEIGHTS, abs(parent.weight), "right")) - 1
            across[width] += [order[parent.trial], order[number], None]
            up[width] += [heights[parent.trial], heights[number], None]
    return [
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": SOFT, "width": line_width(low + 0.125)},
            opacity=0.7,
            hoverinfo="skip",
            showlegend=False,
        )
        for low, x, y in zip(_WEIGHTS, across, up, strict=True)
        if x
    ]


def _nodes(tree: FamilyTree, root: int, front: Collection[int]) -> Any:
    shown = tree.ancestors(root)
    heights = lanes(tree, shown)
    people = [tree.individuals[number] for number in shown]
    return go.Scatter(
        x=list(range(len(shown))),
        y=[heights[number] for number in shown],
        mode="markers+text",
        text=[
            escape(one.founder) if one.founder else str(root) if one.trial == root else ""
            for one in people
        ],
        textposition="top center",
        marker={
            "color": [colour_of(one, tree) for one in people],
            "symbol": [
                "star" if one.trial == root else "square" if one.founder else "circle"
                for one in people
            ],
            "size": [18 if one.trial == root else 13 if one.founder else 9 for one in people],
            "line": {
                "color": ["black" if one.trial in front else GREY for one in people],
                "width": [2 if one.trial in front else 0.6 for one in people],
            },
            "opacity": 1.0,
        },
        customdata=[_told(tree, number) for number in shown],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )


def _told(tree: FamilyTree, number: int) -> str:
    """Return what is shown of an individual under the pointer."""
    one = tree.individuals[number]
    lines = [f"<b>trial {number}</b> {escape(one.founder or one.origin)}"]
    lines += [f"parent {parent.trial}, weight {parent.weight:.3f}" for parent in one.parents]
    if one.mutation is not None:
        lines.append(f"mutation: {escape(one.mutation['kind'])}")
    shares = ", ".join(f"{escape(name)} {share:.2f}" for name, share in one.shares.items())
    lines.append(f"shares: {shares}{' and mutations' if one.mutated else ''}")
    if one.scores is not None:
        lines += [f"{escape(name)}: {value:.4f}" for name, value in one.scores.items()]
    elif one.failed is not None:
        lines.append(f"failed: {escape(one.failed)}")
    return "<br>".join(lines)


def _composition(tree: FamilyTree, root: int) -> list[Any]:
    """Return the weight of each founder over the positions of the model."""
    table = tree.tables[root]
    places = 100.0 * np.concatenate([[0], table.ends]) / table.ends[-1]
    columns = {getattr(one, "donor", 0): place for place, one in enumerate(table.inputs)}
    traces = []
    for index, name in enumerate(tree.founders):  # founders without weight stay in the legend
        weights = (
            table.weights[:, columns[index]] if index in columns else np.zeros(len(table.ends))
        )
        traces.append(
            go.Scatter(
                x=places,
                y=[*weights, weights[-1]],
                mode="lines",
                line={"shape": "hv", "color": series(index)},
                name=escape(name),
                hovertemplate="%{x:.1f} %: %{y:.3f}<extra></extra>",
            )
        )
    return traces
