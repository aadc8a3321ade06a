"""A run as figures to hover over: its progress, and how full its archives were."""

from __future__ import annotations

from html import escape
from typing import Any

import plotly.graph_objects as go

from evomerge.report.html_page import panels, place_of
from evomerge.report.palette import GREY, series
from evomerge.report.populations.population import Population
from evomerge.report.run_history import RunHistory
from evomerge.report.run_plots import better, references
from evomerge.report.stopped_marks import stopped_over_trials

_DASHES = ("solid", "dash", "dashdot", "dot")


def progress_figure(history: RunHistory) -> Any:
    """Show scores, hypervolume and failures over the trials, a panel each."""
    n_panels = len(history.objectives) + bool(len(history.volume)) + bool(history.failures)
    figure = panels(n_panels, 330)
    trials = list(history.scored)
    for index, objective in enumerate(history.objectives):
        place = place_of(index)
        colour = series(index)
        if history.stopped:
            figure.add_trace(stopped_over_trials(history.stopped, objective, colour), **place)
        dots = go.Scatter(
            x=trials,
            y=history.scores[:, index],
            mode="markers",
            marker={"color": colour, "size": 5, "opacity": 0.4},
            hovertemplate="trial %{x}: %{y:.4f}<extra></extra>",
            showlegend=False,
        )
        figure.add_trace(dots, **place)
        line = go.Scatter(
            x=trials,
            y=history.best[:, index],
            mode="lines",
            line={"shape": "hv", "color": colour},
            hovertemplate="best up to trial %{x}: %{y:.4f}<extra></extra>",
            showlegend=False,
        )
        figure.add_trace(line, **place)
        for name, value, style in references(history, objective):
            figure.add_hline(
                value,
                line={"dash": "dash" if style == "--" else "dot", "color": GREY, "width": 1},
                annotation={"text": escape(name), "font": {"size": 11, "color": GREY}},
                annotation_position="bottom right",
                **place,
            )
        figure.update_yaxes(title_text=escape(better(objective)), **place)
    following = len(history.objectives)
    if len(history.volume):
        _volume(figure, history, place_of(following))
        following += 1
    if history.failures:
        _failures(figure, history, place_of(following))
    figure.update_xaxes(title_text="trial")
    for label, first in history.parts:
        figure.add_vline(
            first,
            line={"dash": "dot", "color": GREY, "width": 1},
            annotation={"text": escape(label), "font": {"size": 10, "color": GREY}},
            annotation_position="top right",
        )
    return figure


def coverage_figure(population: Population) -> Any:
    """Show how full each archive was after each trial, and its best quality."""
    competing = bool(population.examples)
    figure = panels(2, 360)
    for index, (one, moments) in enumerate(zip(population.maps, population.history, strict=True)):
        counts = [moment.n_trials for moment in moments]
        rows = (
            [100 * moment.filled / max(1, one.places) for moment in moments],
            [moment.best for moment in moments],
        )
        for column, values in enumerate(rows):
            trace = go.Scatter(
                x=counts,
                y=values,
                mode="lines",
                line={
                    "shape": "hv",
                    "color": series(index),
                    "dash": _DASHES[index % len(_DASHES)],
                },
                name=escape(one.name or "all examples"),
                legendgroup=one.name,
                showlegend=column == 0 and len(population.maps) > 1,
                hovertemplate="after %{x} trials: %{y:.4g}<extra></extra>",
            )
            figure.add_trace(trace, **place_of(column))
    left = "examples that somebody holds (%)" if competing else "places filled (%)"
    right = "mean score of the best individual" if competing else "best quality (larger is better)"
    figure.update_yaxes(title_text=left, rangemode="tozero", **place_of(0))
    figure.update_yaxes(title_text=right, **place_of(1))
    figure.update_xaxes(title_text="trials finished")
    figure.update_layout(showlegend=len(population.maps) > 1)
    return figure


def _volume(figure: Any, history: RunHistory, place: dict[str, int]) -> None:
    line = go.Scatter(
        x=list(history.scored),
        y=history.volume,
        mode="lines",
        line={"shape": "hv", "color": "black"},
        hovertemplate="trial %{x}: %{y:.4f}<extra></extra>",
        showlegend=False,
    )
    figure.add_trace(line, **place)
    figure.update_yaxes(title_text="hypervolume so far", rangemode="tozero", **place)


def _failures(figure: Any, history: RunHistory, place: dict[str, int]) -> None:
    for index, (cause, trials) in enumerate(history.failures.items()):
        line = go.Scatter(
            x=list(trials),
            y=list(range(1, len(trials) + 1)),
            mode="lines+markers",
            line={
                "shape": "hv",
                "color": series(index),
                "dash": _DASHES[index % len(_DASHES)],
            },
            name=escape(f"{len(trials)} × {cause}"),
            showlegend=True,
            hovertemplate=f"trial %{{x}}<br>{escape(cause)}<extra></extra>",
        )
        figure.add_trace(line, **place)
    figure.update_yaxes(title_text="trials failed so far", rangemode="tozero", **place)
    figure.update_layout(
        showlegend=True, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}
    )
