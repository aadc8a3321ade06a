"""Genes as figures to hover over: what each tells of a score, and all of them side by side."""

from __future__ import annotations

from collections.abc import Collection
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from evomerge.report.genes import GeneTable
from evomerge.report.html_page import Drawing, canvas
from evomerge.report.importance import LEAST_TRIALS, GeneEffect
from evomerge.report.palette import GREY, SOFT, series
from evomerge.types import Objective

MOST_GENES = 20
"""Genes that a figure of importance shows."""
MOST_AXES = 8
"""Genes that parallel coordinates show."""

MEANING = (
    "Importance is the share of the variance of the trials' ranks that one gene alone explains, "
    "less what chance explains (epsilon squared of Kruskal-Wallis, over classes of the gene's "
    "values); bars are 95% intervals from random halves of the trials, and what lies below the "
    "dotted line is no more than chance. It says nothing of genes that matter only together, and "
    "nothing of values that were not tried; a search that has converged varies least what matters "
    "most."
)


def importance_drawings(table: GeneTable, objectives: tuple[Objective, ...]) -> tuple[Drawing, ...]:
    """Return a figure for each objective whose trials suffice."""
    return tuple(
        Drawing(_importance(effects[:MOST_GENES], objective.name), _said(effects, objective.name))
        for effects, objective in zip(table.effects, objectives, strict=True)
        if effects
    )


def missing_importance(table: GeneTable) -> str:
    """Say why there is no importance; '' where there is."""
    if any(table.effects):
        return ""
    if len(table.trials) < LEAST_TRIALS:
        return (
            f"Importance of genes needs {LEAST_TRIALS} trials scored on all items; "
            f"there are {len(table.trials)}."
        )
    return "Importance of genes cannot be told: neither they nor the scores varied."


def gene_axes(
    table: GeneTable, objectives: tuple[Objective, ...], count: int = MOST_AXES
) -> tuple[list[str], list[str], np.ndarray[Any, Any]]:
    """Return parallel coordinates: the most telling genes, then the objectives.

    Returns:
        Titles of the axes with what stands at their ends, tick texts, and heights in [0, 1],
        shape (n_trials, n_axes); better is up on the axes of objectives.
    """
    titles, ticks, columns = [], [], []
    for name in table.most_telling(count):
        values = [genotype[table.names.index(name)] for genotype in table.genotypes]
        low, high, heights = _heights(values)
        titles.append(name)
        ticks.append(f"{low} to {high}")
        columns.append(heights)
    for place, objective in enumerate(objectives):
        values = table.scores[:, place].tolist()
        low, high, heights = _heights(values)
        if objective.goal == "minimize":
            low, high, heights = high, low, 1 - heights
        titles.append(objective.name)
        ticks.append(f"{low} to {high}")
        columns.append(heights)
    return titles, ticks, np.array(columns).T


def parallel_genes(
    table: GeneTable, objectives: tuple[Objective, ...], front: Collection[int]
) -> Drawing:
    """Draw every scored trial as a line over genes and objectives, the front's on top."""
    titles, ticks, heights = gene_axes(table, objectives)
    figure = canvas(480)
    others = [row for row, number in enumerate(table.trials) if number not in front]
    x: list[float | None] = []
    y: list[float | None] = []
    for row in others:
        x += [*range(len(titles)), None]
        y += [*heights[row].tolist(), None]
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": SOFT, "width": 0.8},
            opacity=0.45,
            name="other trials",
            hoverinfo="skip",
        )
    )
    shown = False
    for row, number in enumerate(table.trials):
        if number not in front:
            continue
        figure.add_trace(
            go.Scatter(
                x=list(range(len(titles))),
                y=heights[row].tolist(),
                mode="lines+markers",
                line={"color": series(0), "width": 1.8},
                marker={"size": 5},
                name="front",
                legendgroup="front",
                showlegend=not shown,
                customdata=[[_told(table, row, objectives), f"trial {number}"]] * len(titles),
                hovertemplate="%{customdata[0]}<extra></extra>",
            )
        )
        shown = True
    labels = [
        f"{escape(title)}<br>{escape(tick)}" for title, tick in zip(titles, ticks, strict=True)
    ]
    figure.update_xaxes(tickvals=list(range(len(titles))), ticktext=labels, tickfont={"size": 11})
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, range=[-0.05, 1.05])
    figure.add_vline(len(titles) - len(objectives) - 0.5, line={"color": GREY, "dash": "dot"})
    says = f"{len(table.trials)} trials over {', '.join(titles)}; better is up for objectives"
    return Drawing(figure, says, wide=True)


def _heights(values: list[Any]) -> tuple[str, str, np.ndarray[Any, Any]]:
    """Return the ends of an axis, and where values stand on it."""
    if any(isinstance(value, str) for value in values):
        order = sorted({str(value) for value in values})
        places = np.array([order.index(str(value)) for value in values], dtype=np.float64)
        return order[0], order[-1], places / max(1, len(order) - 1)
    numbers = np.array(values, dtype=np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    heights = (numbers - low) / (high - low) if high > low else np.full(len(numbers), 0.5)
    return f"{low:.3g}", f"{high:.3g}", heights


def _importance(effects: tuple[GeneEffect, ...], name: str) -> Any:
    figure = canvas(120 + 26 * len(effects), showlegend=False)
    figure.add_trace(
        go.Scatter(
            x=[one.share for one in effects],
            y=[escape(one.gene) for one in effects],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [one.high - one.share for one in effects],
                "arrayminus": [one.share - one.low for one in effects],
                "color": series(0),
                "thickness": 1.2,
                "width": 0,
            },
            mode="markers",
            marker={"color": series(0), "size": 9},
            customdata=[_direction(one) for one in effects],
            hovertemplate="%{y}: %{x:.2f}<br>%{customdata}<extra></extra>",
        )
    )
    chance = max(one.chance for one in effects)
    figure.add_vline(chance, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(title_text=f"importance for {escape(name)}")
    figure.update_yaxes(autorange="reversed")
    return figure


def _direction(one: GeneEffect) -> str:
    if one.direction is None:
        return "choices"
    return f"rank correlation with the score {one.direction:+.2f}"


def _said(effects: tuple[GeneEffect, ...], name: str) -> str:
    first = ", ".join(f"{one.gene} {one.share:.2f}" for one in effects[:3])
    return f"importance of genes for {name}, the first: {first}"


def _told(table: GeneTable, row: int, objectives: tuple[Objective, ...]) -> str:
    lines = [f"<b>trial {table.trials[row]}</b>"]
    for name in table.most_telling(MOST_AXES):
        value = table.genotypes[row][table.names.index(name)]
        shown = escape(value) if isinstance(value, str) else f"{value:.3g}"
        lines.append(f"{escape(name)}: {shown}")
    lines += [
        f"{escape(one.name)}: {value:.4f}"
        for one, value in zip(objectives, table.scores[row].tolist(), strict=True)
    ]
    return "<br>".join(lines)
