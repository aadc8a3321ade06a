"""Niche maps to hover over: cells by measures, or who holds whose examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from evomerge.optimizers.archives.watch import NicheMap
from evomerge.report.html_page import panels, place_of
from evomerge.report.palette import GREY
from evomerge.report.populations.niche_grid import axis_pairs, edges, sheet
from evomerge.report.populations.niche_plots import graded, headline, held_table
from evomerge.report.populations.population import Population
from evomerge.report.run_plots import better
from evomerge.types import Objective


def niche_figure(
    population: Population,
    objectives: Sequence[Objective],
    names: Mapping[int, str],
    scores: Mapping[int, Mapping[str, float]],
) -> Any | None:
    """Show who lives where; None where the archives are empty.

    Args:
        population: whose archives.
        objectives: names and goals.
        names: of founders, by trial number.
        scores: metrics by trial number.
    """
    goals = {objective.name: objective for objective in objectives}
    if population.holdings:
        return _holdings(population, goals, names, scores)
    maps = [one for one in population.maps if one.niches and one.axes]
    views = [(one, x, y) for one in maps for x, y in axis_pairs(one)]
    if not views:
        return None
    flat = all(y is None and one.bins for one, _, y in views)
    figure = panels(
        len(views), 240 if flat else 420, [escape(headline(one, y)) for one, _, y in views], 0.16
    )
    for index, (one, x, y) in enumerate(views):
        place = place_of(index)
        domain = _domain(figure, index)
        trace = (_heat if one.bins else _dots)(one, x, y, goals, names, scores, domain)
        figure.add_trace(trace, **place)
        figure.update_xaxes(title_text=_named(goals, one.axes[x]), showgrid=False, **place)
        if y is not None:
            figure.update_yaxes(title_text=_named(goals, one.axes[y]), showgrid=False, **place)
        elif one.bins:
            figure.update_yaxes(showticklabels=False, **place)
        else:
            figure.update_yaxes(title_text=_named(goals, one.name), **place)
    return figure


def hover_of(
    trial: int, names: Mapping[int, str], scores: Mapping[int, Mapping[str, float]]
) -> str:
    """Return what is shown of an individual under the pointer, as plotly's small HTML."""
    name = f" ({escape(names[trial])})" if trial in names else ""
    lines = [f"<b>trial {trial}</b>{name}"]
    lines += [f"{escape(key)}: {value:.4f}" for key, value in scores.get(trial, {}).items()]
    return "<br>".join(lines)


def _holdings(
    population: Population,
    goals: Mapping[str, Objective],
    names: Mapping[int, str],
    scores: Mapping[int, Mapping[str, float]],
) -> Any:
    members, columns, counts = held_table(population)
    totals = np.array([population.examples[name] for name in columns])
    table = np.array([[scores[number][name] for name in columns] for number in members])
    best = population.maps[0].champion
    rows = [
        escape(f"trial {number}{' (best)' if number == best else ''}{_also(names, number)}")
        for number in members
    ]
    titles = ["examples each member holds", "its scores, from the column's worst to its best"]
    figure = panels(2, 140 + 24 * len(members), titles, 0.06)
    ticks = [
        f"{escape(name)}<br>{held} of {total} held"
        for name, held, total in zip(columns, counts.sum(axis=0), totals, strict=True)
    ]
    held = go.Heatmap(
        z=100 * counts / totals,
        x=ticks,
        y=rows,
        text=[[str(count or "") for count in row] for row in counts],
        texttemplate="%{text}",
        colorscale="Blues",
        zmin=0,
        colorbar={"title": {"text": "% of its<br>examples"}, "x": 0.44, "thickness": 14},
        hovertemplate="%{y}, %{x}: %{z:.0f} %<extra></extra>",
    )
    signs = [-goals[name].cost(1.0) for name in columns]
    found = go.Heatmap(
        z=graded(table, signs),
        x=[_named(goals, name).replace(" (", "<br>(") for name in columns],
        y=rows,
        text=[[f"{value:.3f}" for value in row] for row in table],
        texttemplate="%{text}",
        colorscale="Viridis",
        zmin=0,
        zmax=1,
        showscale=False,
        hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
    )
    figure.add_trace(held, **place_of(0))
    figure.add_trace(found, **place_of(1))
    figure.update_xaxes(domain=[0.0, 0.42], **place_of(0))
    figure.update_xaxes(domain=[0.56, 1.0], **place_of(1))
    figure.update_yaxes(autorange="reversed")
    figure.update_yaxes(showticklabels=False, **place_of(1))
    return figure


def _heat(
    one: NicheMap,
    x: int,
    y: int | None,
    goals: Mapping[str, Objective],
    names: Mapping[int, str],
    scores: Mapping[int, Mapping[str, float]],
    domain: tuple[float, float, float],
) -> Any:
    found = sheet(one, x, y)
    return go.Heatmap(
        z=_sign(goals, one.name) * found.quality,
        x=_sign(goals, one.axes[x]) * edges(one, x),
        y=[0.0, 1.0] if y is None else _sign(goals, one.axes[y]) * edges(one, y),
        customdata=[
            ["" if trial < 0 else hover_of(int(trial), names, scores) for trial in row]
            for row in found.trials
        ],
        colorscale=_colours(goals, one.name),
        colorbar=_bar(one.name, domain),
        xgap=1,
        ygap=1,
        hoverongaps=False,
        hovertemplate="%{customdata}<extra></extra>",
    )


def _dots(
    one: NicheMap,
    x: int,
    y: int | None,
    goals: Mapping[str, Objective],
    names: Mapping[int, str],
    scores: Mapping[int, Mapping[str, float]],
    domain: tuple[float, float, float],
) -> Any:
    quality = _sign(goals, one.name) * np.array([niche.quality for niche in one.niches])
    measures = np.array([niche.measures for niche in one.niches])
    return go.Scatter(
        x=_sign(goals, one.axes[x]) * measures[:, x],
        y=quality if y is None else _sign(goals, one.axes[y]) * measures[:, y],
        mode="markers",
        marker={
            "color": quality,
            "colorscale": _colours(goals, one.name),
            "colorbar": _bar(one.name, domain),
            "size": 10,
            "line": {"color": GREY, "width": 0.5},
        },
        customdata=[hover_of(niche.trial, names, scores) for niche in one.niches],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )


def _bar(name: str, domain: tuple[float, float, float]) -> dict[str, Any]:
    right, low, high = domain
    return {
        "title": {"text": escape(name), "side": "right"},
        "x": right + 0.005,
        "y": (low + high) / 2,
        "len": (high - low) * 1.05,
        "thickness": 14,
    }


def _sign(goals: Mapping[str, Objective], name: str) -> float:
    return -goals[name].cost(1.0) if name in goals else 1.0


def _colours(goals: Mapping[str, Objective], name: str) -> str:
    return "Viridis" if _sign(goals, name) > 0 else "Viridis_r"


def _named(goals: Mapping[str, Objective], name: str) -> str:
    return escape(better(goals[name]) if name in goals else name)


def _also(names: Mapping[int, str], number: int) -> str:
    return f", {names[number]}" if number in names else ""


def _domain(figure: Any, index: int) -> tuple[float, float, float]:
    """Return the right edge of a panel, its bottom and its top, as shares of the figure."""
    number = "" if index == 0 else str(index + 1)
    across = figure.layout[f"xaxis{number}"].domain
    up = figure.layout[f"yaxis{number}"].domain
    return across[1], up[0], up[1]
