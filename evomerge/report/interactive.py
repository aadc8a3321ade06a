"""The front as one HTML file that needs no network: hover over a point to read its trial."""

from __future__ import annotations

from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from evomerge.report.analysis import Analysis, RowAnalysis, analyse
from evomerge.report.estimates import Estimate
from evomerge.report.front import Front
from evomerge.report.html_page import drawn_in, page
from evomerge.report.parallel import axis_heights, axis_ranges
from evomerge.report.roles import ROLES, RoleName, label_of, role_of, worth_naming
from evomerge.report.stopped_marks import stopped_in_plane
from evomerge.report.table import number
from evomerge.types import Objective


def save_html(front: Front, path: Path) -> None:
    """Write the judged front as a self-contained page."""
    write_page(analyse(front), path)


def write_page(analysis: Analysis, path: Path) -> None:
    """Write an analysis as a self-contained page."""
    front = analysis.front
    summary = (
        f"{len(front.members)} on the front after {front.n_trials} trials ({front.n_failed} "
        f"failed); scores on {analysis.items} items, bars are {analysis.confidence:.0%} bootstrap "
        "intervals where items were scored one by one. Click a name in the legend to hide it."
    )
    notes = "\n".join(f"<li>{escape(note)}</li>" for note in analysis.notes)
    body = f"{drawn_in(_figure(analysis), 'front')}\n<ul>\n{notes}\n</ul>"
    path.write_text(page(front.study, summary, body), encoding="utf-8")


def _figure(analysis: Analysis) -> Any:
    """Lay out panels as `evomerge.report.plots` does: pairs, or parallel coordinates."""
    objectives = analysis.front.objectives
    parallel = len(objectives) > 3
    panels: list[tuple[Objective, Objective | None]] = []
    if not parallel:
        panels = [*combinations(objectives, 2)] or [(objectives[0], None)]
    n_panels = max(1, len(panels)) + 1  # the search's progress comes last
    columns = 2
    rows = -(-n_panels // columns)
    wide = n_panels == 2
    figure = make_subplots(
        rows=rows,
        cols=columns,
        column_widths=[0.72, 0.28] if wide else None,
        horizontal_spacing=0.08,
        vertical_spacing=0.12,
    )
    shown: set[str] = set()
    if parallel:
        _parallel(figure, analysis, shown)
    for index, (x, y) in enumerate(panels):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        _panel(figure, analysis, x, y, place, shown)
    last = n_panels - 1
    _progress(figure, analysis, {"row": last // columns + 1, "col": last % columns + 1})
    figure.update_layout(
        template="plotly_white",
        height=560 if rows == 1 else 900,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        hoverlabel={"align": "left", "bgcolor": "white"},
    )
    return figure


def _panel(
    figure: Any,
    analysis: Analysis,
    x: Objective,
    y: Objective | None,
    place: dict[str, int],
    shown: set[str],
) -> None:
    """Draw the plane of two objectives; with one objective the rows are listed along y."""
    if y and analysis.front.stopped:
        trace = stopped_in_plane(analysis.front.stopped, analysis.front.objectives, x.name, y.name)
        trace.update(
            name=f"stopped on a rung: estimates of {analysis.front.picked_on} scores",
            legendgroup="stopped",
            showlegend="stopped" not in shown,
        )
        shown.add("stopped")
        figure.add_trace(trace, **place)
    named = worth_naming(analysis)
    by_role: dict[RoleName, list[RowAnalysis]] = {}
    for row in (*analysis.baselines, *analysis.members):
        if row.on(analysis.split) is not None:
            by_role.setdefault(role_of(row), []).append(row)
    for role, rows in by_role.items():
        look = ROLES[role]
        on_x = [_of(row, analysis)[x.name] for row in rows]
        on_y = [_of(row, analysis)[y.name] for row in rows] if y else []
        trace = go.Scatter(
            x=[estimate.score for estimate in on_x],
            y=[estimate.score for estimate in on_y] if y else [label_of(row) for row in rows],
            error_x=_bars(on_x),
            error_y=_bars(on_y) if y else None,
            mode="markers+text" if y else "markers",
            text=[escape(label_of(row)) if row.row.name in named else "" for row in rows],
            textposition="top right",
            textfont={"color": look.ink, "size": 11},
            marker={"color": look.colour, "symbol": look.symbol, "size": 10},
            name=look.title,
            legendgroup=role,
            showlegend=role not in shown,
            customdata=[hover_text(row, analysis) for row in rows],
            hovertemplate="%{customdata}<extra></extra>",
        )
        shown.add(role)
        figure.add_trace(trace, **place)
    if analysis.split == "holdout":
        _seen(figure, analysis, x, y, place, shown)
    figure.update_xaxes(title_text=_title(x), **place)
    if y:
        figure.update_yaxes(title_text=_title(y), **place)
    else:
        figure.update_yaxes(autorange="reversed", **place)


def _seen(
    figure: Any,
    analysis: Analysis,
    x: Objective,
    y: Objective | None,
    place: dict[str, int],
    shown: set[str],
) -> None:
    """Draw where the search saw each member."""
    members = analysis.members
    trace = go.Scatter(
        x=[row.search[x.name].score for row in members],
        y=[row.search[y.name].score if y else label_of(row) for row in members],
        mode="markers",
        marker={"color": ROLES["front"].colour, "symbol": "circle-open", "size": 8},
        name=f"front on {analysis.front.picked_on} items",
        legendgroup="seen",
        showlegend="seen" not in shown,
        customdata=[hover_text(row, analysis) for row in members],
        hovertemplate=f"on {analysis.front.picked_on} items<br>%{{customdata}}<extra></extra>",
    )
    shown.add("seen")
    figure.add_trace(trace, **place)


def _parallel(figure: Any, analysis: Analysis, shown: set[str]) -> None:
    """Draw one line a row over the objectives; better is up on every axis."""
    objectives = analysis.front.objectives
    ranges = axis_ranges(analysis)
    named = worth_naming(analysis)
    for row in (*analysis.baselines, *analysis.members):
        heights = axis_heights(row, analysis, ranges)
        if heights is None:
            continue
        role = role_of(row)
        look = ROLES[role]
        member = row.row.kind == "front"
        name = escape(label_of(row)) if row.row.name in named else ""
        trace = go.Scatter(
            x=list(range(len(objectives))),
            y=heights,
            mode="lines+markers+text",
            text=[""] * (len(objectives) - 1) + [name],
            textposition="middle right",
            textfont={"color": look.ink, "size": 11},
            line={
                "color": look.colour,
                "width": 2.5 if member else 1.2,
                "dash": "solid" if member else "dash",
            },
            marker={"color": look.colour, "symbol": look.symbol, "size": 8},
            name=look.title,
            legendgroup=role,
            showlegend=role not in shown,
            customdata=[hover_text(row, analysis)] * len(objectives),
            hovertemplate="%{customdata}<extra></extra>",
        )
        shown.add(role)
        figure.add_trace(trace, row=1, col=1)
    ticks = [
        f"{escape(item.name)}<br>{' to '.join(map(number, ranges.get(item.name, ())))}"
        for item in objectives
    ]
    figure.update_xaxes(
        tickvals=list(range(len(objectives))),
        ticktext=ticks,
        range=[-0.2, len(objectives) - 0.4],
        row=1,
        col=1,
    )
    figure.update_yaxes(showticklabels=False, title_text="worst to best", row=1, col=1)


def _progress(figure: Any, analysis: Analysis, place: dict[str, int]) -> None:
    history = analysis.front.hypervolume
    trace = go.Scatter(
        x=[trial for trial, _ in history],
        y=[volume for _, volume in history],
        mode="lines",
        line={"shape": "hv", "color": ROLES["front"].colour},
        showlegend=False,
        hovertemplate="trial %{x}: %{y:.4f}<extra></extra>",
    )
    figure.add_trace(trace, **place)
    if analysis.volumes is not None and history:
        figure.add_hline(
            analysis.volumes.baselines_search,
            line={"dash": "dash", "color": ROLES["baseline"].colour, "width": 1},
            annotation={"text": "baselines", "font": {"color": ROLES["baseline"].ink}},
            **place,
        )
    figure.update_xaxes(title_text="trial", **place)
    figure.update_yaxes(
        title_text=f"hypervolume on {analysis.front.picked_on} items", rangemode="tozero", **place
    )


def hover_text(row: RowAnalysis, analysis: Analysis) -> str:
    """Return what is shown of a row under the pointer, as plotly's small HTML."""
    lines = [f"<b>{escape(row.row.name)}</b>"]
    for objective in analysis.front.objectives:
        name = objective.name
        line = f"{escape(name)}: {_interval(_of(row, analysis)[name])}"
        if analysis.split == "holdout":
            line += f" ({analysis.front.picked_on} {number(row.search[name].score)})"
        if name in row.gains:
            gain = row.gains[name]
            noise = ", within noise" if gain.within_noise else ""
            line += f"<br>  {gain.gain:+.3f} over {escape(gain.against)}{noise}"
        lines.append(line)
    if row.confirmed is False:
        lines.append("dominated on hold-out items")
    if row.on_front is not None:
        lines.append(f"P(front) {row.on_front:.2f}")
    if row.dominated_by is not None:
        rival = row.dominated_by
        lines.append(f"probably dominated by {escape(rival.name)} ({rival.probability:.2f})")
    if row.row.stage is not None:
        lines.append(f"stage {escape(row.row.stage)}")
    lines.append(f"fingerprint {escape(row.row.fingerprint[:12])}")
    return "<br>".join(lines)


def _of(row: RowAnalysis, analysis: Analysis) -> Any:
    return row.on(analysis.split) or row.search


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return number(estimate.score)
    return f"{number(estimate.score)} [{number(estimate.low)}, {number(estimate.high)}]"


def _bars(estimates: list[Estimate]) -> dict[str, Any]:
    above = [0.0 if e.high is None else max(0.0, e.high - e.score) for e in estimates]
    below = [0.0 if e.low is None else max(0.0, e.score - e.low) for e in estimates]
    return {
        "type": "data",
        "array": above,
        "arrayminus": below,
        "symmetric": False,
        "thickness": 0.8,
        "width": 0,
    }


def _title(objective: Objective) -> str:
    better = "higher" if objective.goal == "maximize" else "lower"
    return f"{escape(objective.name)} ({better} is better)"
