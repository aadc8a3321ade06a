"""What members of the front are made of, to hover over: weights by layer, paths of layers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from evomerge.recipe import LayerPath
from evomerge.report.html_page import LOOK, Drawing, canvas
from evomerge.report.layer_weights import LayerWeights
from evomerge.report.palette import GREY, series

_MOST_NUMBERS = 16  # columns of a heat-map whose cells hold their numbers


def weights_drawing(shown: Mapping[str, LayerWeights]) -> Drawing:
    """Draw a heat-map of one merge, the others to choose from.

    Args:
        shown: name of a row of the front to its weights; one at least.
    """
    every = np.concatenate([one.values.ravel() for one in shown.values()])
    low, high = float(np.nanmin(every)), float(np.nanmax(every))
    n_rows = max(len(one.rows) for one in shown.values())
    figure = canvas(150 + 24 * n_rows, margin={"t": 70, "l": 60, "r": 20, "b": 50})
    for index, one in enumerate(shown.values()):
        numbers = len(one.columns) <= _MOST_NUMBERS
        text = [["" if np.isnan(v) else f"{v:.2f}" for v in row] for row in one.values]
        figure.add_trace(
            go.Heatmap(
                z=[[None if np.isnan(v) else v for v in row] for row in one.values.tolist()],
                x=list(one.columns),
                y=[escape(" · ".join(filter(None, row))) for row in one.rows],
                text=text if numbers else None,
                texttemplate="%{text}" if numbers else None,
                colorscale="Viridis" if low >= 0 else "RdBu_r",
                zmin=min(0.0, low) if low >= 0 else -max(-low, high),
                zmax=high if low >= 0 else max(-low, high),
                colorbar={"title": {"text": one.parameter, "side": "right"}, "thickness": 14},
                xgap=1,
                ygap=1,
                hoverongaps=False,
                hovertemplate="%{y}, layer %{x}: %{z:.4f}<extra></extra>",
                visible=index == 0,
            )
        )
    figure.update_layout(updatemenus=[_menu(list(shown), 1)])
    figure.update_xaxes(title_text="layer", type="category", showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    first = next(iter(shown))
    says = f"{shown[first].parameter} by layer and group of tensors, {first} first"
    return Drawing(figure, says, wide=True)


def path_drawing(shown: Mapping[str, tuple[LayerPath, tuple[str, ...]]]) -> Drawing:
    """Draw the way of tokens through the layers of the models, one lane a model.

    Lanes and their colours are the same for all rows, whichever models the path of one takes.

    Args:
        shown: name of a row of the front to its path, and the names of the path's models; one at
            least.
    """
    lanes = list(dict.fromkeys(name for _, models in shown.values() for name in models))
    figure = make_subplots(
        rows=2, cols=1, row_heights=[0.68, 0.32], vertical_spacing=0.1, shared_xaxes=True
    )
    for index, (path, models) in enumerate(shown.values()):
        steps = list(range(1, len(path.hops) + 1))
        told = [
            f"hop {step}: layer {hop.layer} of {escape(models[hop.model])}<br>scale {hop.scale:.4g}"
            for step, hop in zip(steps, path.hops, strict=True)
        ]
        colours = [series(lanes.index(models[hop.model])) for hop in path.hops]
        way = go.Scatter(
            x=steps,
            y=[escape(models[hop.model]) for hop in path.hops],
            mode="lines+markers+text",
            line={"color": GREY, "width": 1.5},
            marker={"color": colours, "size": 14, "symbol": "square"},
            text=[str(hop.layer) for hop in path.hops],
            textposition="top center",
            customdata=told,
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
            visible=index == 0,
        )
        scales = go.Bar(
            x=steps,
            y=[hop.scale - 1 for hop in path.hops],
            base=1,
            marker={"color": colours},
            customdata=told,
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
            visible=index == 0,
        )
        figure.add_trace(way, row=1, col=1)
        figure.add_trace(scales, row=2, col=1)
    figure.update_layout(
        template=LOOK,
        height=300 + 60 * len(lanes),
        margin={"t": 70, "l": 60, "r": 20, "b": 50},
        updatemenus=[_menu(list(shown), 2)],
    )
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=[escape(name) for name in reversed(lanes)],
        range=[-0.4, len(lanes) - 0.4],
        row=1,
        col=1,
    )
    figure.update_yaxes(title_text="scale", row=2, col=1)
    longest = max(len(path.hops) for path, _ in shown.values())
    figure.update_xaxes(tickformat="d", dtick=1 if longest <= _MOST_NUMBERS else None)
    figure.update_xaxes(title_text="hop; the number is the layer", row=2, col=1)
    figure.add_hline(1, line={"color": GREY, "width": 1, "dash": "dot"}, row=2, col=1)
    first = next(iter(shown))
    path, models = shown[first]
    order = ", ".join(f"{models[hop.model]} {hop.layer}" for hop in path.hops)
    return Drawing(figure, f"the layers of {first} in order: {order}", wide=True)


def _menu(names: list[str], n_traces: int) -> dict[str, Any]:
    """Return the list to choose a row from; each has as many traces, one after the other."""
    return {
        "buttons": [
            {
                "label": escape(name),
                "method": "update",
                "args": [{"visible": [other == name for other in names for _ in range(n_traces)]}],
            }
            for name in names
        ],
        "x": 0.0,
        "xanchor": "left",
        "y": 1.02,
        "yanchor": "bottom",
    }
