"""Trials that stopped on a rung, as plotly traces: hollow diamonds with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from evomerge.report.front import Stopped
from evomerge.report.palette import GREY
from evomerge.report.table import number
from evomerge.types import Objective


def stopped_in_plane(
    stopped: Sequence[Stopped], objectives: Sequence[Objective], x: str, y: str
) -> Any:
    """Return the trace of estimates in the plane of two objectives.

    Args:
        stopped: the trials.
        objectives: all of them, for what is shown under the pointer.
        x: name of the objective along x.
        y: name of the other.
    """
    return go.Scatter(
        x=[one.scores[x] for one in stopped],
        y=[one.scores[y] for one in stopped],
        error_x=_bars(stopped, x),
        error_y=_bars(stopped, y),
        mode="markers",
        marker={"color": GREY, "symbol": "diamond-open", "size": 6},
        opacity=0.5,
        customdata=[_hover_text(one, objectives) for one in stopped],
        hovertemplate="%{customdata}<extra></extra>",
    )


def stopped_over_trials(stopped: Sequence[Stopped], objective: Objective, colour: str) -> Any:
    """Return the trace of the estimates of an objective over the numbers of the trials."""
    return go.Scatter(
        x=[one.trial for one in stopped],
        y=[one.scores[objective.name] for one in stopped],
        error_y=_bars(stopped, objective.name),
        mode="markers",
        marker={"color": colour, "symbol": "diamond-open", "size": 5},
        opacity=0.6,
        customdata=[_hover_text(one, (objective,)) for one in stopped],
        hovertemplate="%{customdata}<extra></extra>",
        name="stopped on a rung: estimate",
    )


def _bars(stopped: Sequence[Stopped], name: str) -> dict[str, Any]:
    reaches = [one.reach(name) for one in stopped]
    return {"type": "data", "array": reaches, "thickness": 0.6, "width": 0}


def _hover_text(stopped: Stopped, objectives: Sequence[Objective]) -> str:
    lines = [f"<b>trial {stopped.trial}</b>, stopped on a rung"]
    for objective in objectives:
        name = objective.name
        score, reach = stopped.scores[name], stopped.reach(name)
        interval = (
            f" [{number(score - reach)}, {number(score + reach)}], estimated" if reach else ""
        )
        lines.append(f"{escape(name)}: {number(score)}{interval}")
    return "<br>".join(lines)
