"""A run as figures to hover over: its progress, and how full its archives were."""

from __future__ import annotations

from html import escape
from typing import Any

import plotly.graph_objects as go

from evomerge.report.html_page import Drawing, canvas, panels, place_of
from evomerge.report.palette import GREY, series
from evomerge.report.populations.population import Population
from evomerge.report.run_history import RunHistory
from evomerge.report.run_plots import better, references
from evomerge.report.stopped_marks import stopped_over_trials

_HEIGHT = 340
_DASHES = ("solid", "dash", "dashdot", "dot")


def progress_drawings(history: RunHistory, baselines: float | None = None) -> tuple[Drawing, ...]:
    """Show scores, hypervolume and failures over the trials, a figure each.

    Args:
        history: of the run.
        baselines: hypervolume of all baselines together, on the scale of the history's.
    """
    drawings = [_scores(history, index) for index in range(len(history.objectives))]
    if len(history.volume):
        drawings.append(_volume(history, baselines))
    if history.by_items:
        drawings.append(_volume_by_items(history, baselines))
    if history.failures:
        drawings.append(_failures(history))
    return tuple(drawings)


def _scores(history: RunHistory, index: int) -> Drawing:
    objective = history.objectives[index]
    figure = canvas(_HEIGHT)
    colour = series(index)
    trials = list(history.scored)
    figure.add_trace(
        go.Scatter(
            x=trials,
            y=history.scores[:, index].tolist(),
            mode="markers",
            marker={"color": colour, "size": 5, "opacity": 0.6},
            hovertemplate="trial %{x}: %{y:.4f}<extra></extra>",
            name="measured",
        )
    )
    if history.stopped:
        figure.add_trace(stopped_over_trials(history.stopped, objective, colour))
    figure.add_trace(
        go.Scatter(
            x=trials,
            y=history.best[:, index].tolist(),
            mode="lines",
            line={"shape": "hv", "color": colour},
            hovertemplate="best up to trial %{x}: %{y:.4f}<extra></extra>",
            name="best so far",
        )
    )
    for name, value, style in references(history, objective):
        figure.add_hline(
            value,
            line={"dash": "dash" if style == "--" else "dot", "color": GREY, "width": 1},
            annotation={"text": escape(name), "font": {"size": 11, "color": GREY}},
            annotation_position="bottom right",
        )
    figure.update_yaxes(title_text=escape(better(objective)))
    _count_trials(figure, history)
    best = f"{history.best[-1, index]:.4f}" if len(history.best) else "none"
    return Drawing(figure, f"{objective.name} over the trials, the best {best}")


def _volume(history: RunHistory, baselines: float | None) -> Drawing:
    figure = canvas(_HEIGHT, showlegend=False)
    figure.add_trace(
        go.Scatter(
            x=list(history.scored),
            y=history.volume.tolist(),
            mode="lines",
            line={"shape": "hv", "color": "black"},
            hovertemplate="trial %{x}: %{y:.4f}<extra></extra>",
        )
    )
    _baselines(figure, baselines)
    figure.update_yaxes(title_text="hypervolume so far", rangemode="tozero")
    _count_trials(figure, history)
    return Drawing(figure, f"hypervolume over the trials, {history.volume[-1]:.4f} at last")


def _volume_by_items(history: RunHistory, baselines: float | None) -> Drawing:
    figure = canvas(_HEIGHT, showlegend=False)
    figure.add_trace(
        go.Scatter(
            x=[items for items, _ in history.by_items],
            y=[volume for _, volume in history.by_items],
            mode="lines",
            line={"shape": "hv", "color": "black"},
            hovertemplate="%{x} items: %{y:.4f}<extra></extra>",
        )
    )
    _baselines(figure, baselines)
    figure.update_yaxes(title_text="hypervolume so far", rangemode="tozero")
    figure.update_xaxes(title_text="items scored")
    items, volume = history.by_items[-1]
    return Drawing(figure, f"hypervolume over scored items, {volume:.4f} after {items}")


def _failures(history: RunHistory) -> Drawing:
    figure = canvas(_HEIGHT, showlegend=True)
    for index, (cause, trials) in enumerate(history.failures.items()):
        figure.add_trace(
            go.Scatter(
                x=list(trials),
                y=list(range(1, len(trials) + 1)),
                mode="lines+markers",
                line={
                    "shape": "hv",
                    "color": series(index),
                    "dash": _DASHES[index % len(_DASHES)],
                },
                name=escape(f"{len(trials)} × {cause}"),
                hovertemplate=f"trial %{{x}}<br>{escape(cause)}<extra></extra>",
            )
        )
    figure.update_yaxes(title_text="trials failed so far", rangemode="tozero")
    _count_trials(figure, history)
    return Drawing(figure, f"{history.n_failed} failed trials by cause")


def _baselines(figure: Any, volume: float | None) -> None:
    if volume is not None:
        figure.add_hline(
            volume,
            line={"dash": "dash", "color": GREY, "width": 1},
            annotation={"text": "all baselines together", "font": {"size": 11, "color": GREY}},
            annotation_position="bottom right",
        )


def _count_trials(figure: Any, history: RunHistory) -> None:
    """Make x count trials, and mark where parts begin."""
    figure.update_xaxes(title_text="trial")
    for label, first in history.parts:
        figure.add_vline(
            first,
            line={"dash": "dot", "color": GREY, "width": 1},
            annotation={"text": escape(label), "font": {"size": 10, "color": GREY}},
            annotation_position="top right",
        )


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
