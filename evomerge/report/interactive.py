"""The front as figures to hover over; a click on a point shows its recipe."""

from __future__ import annotations

from collections.abc import Sequence, Set
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from evomerge.report.analysis import Analysis, RowAnalysis, analyse
from evomerge.report.estimates import Estimate
from evomerge.report.front import Front
from evomerge.report.html_page import Drawing, Section, canvas, page_of
from evomerge.report.parallel import axis_heights, axis_ranges
from evomerge.report.picked import picked_rows
from evomerge.report.roles import ROLES, RoleName, label_of, role_of, worth_naming
from evomerge.report.stopped_marks import stopped_in_plane
from evomerge.report.table import number
from evomerge.types import Objective

_BESIDE: dict[RoleName, str] = {
    "front": "top right",
    "dominated": "top left",
    "donor": "bottom right",
    "base": "bottom left",
    "baseline": "bottom left",
}
"""Where names stand: rows of different roles often share a place."""


def save_html(front: Front, path: Path) -> None:
    """Write the judged front as a self-contained page."""
    write_page(analyse(front), path)


def write_page(analysis: Analysis, path: Path) -> None:
    """Write an analysis as a self-contained page."""
    front = analysis.front
    held = f", {front.held_words}" if front.held_words else ""
    summary = (
        f"{len(front.members)} on the front{held}, after {front.n_trials} trials "
        f"({front.n_failed} failed)."
    )
    sections = [front_section(analysis)]
    if front.hypervolume:
        text = "The hypervolume of the front of all trials so far; 0 = base, 1 = best donor."
        sections.append(Section("Progress", text, (_progress(analysis),)))
    path.write_text(page_of(front.study, (summary,), sections), encoding="utf-8")


def front_section(analysis: Analysis, run: str = "RUN") -> Section:
    """Return the front with its table, and a recipe for every row.

    Args:
        analysis: of the front.
        run: how the reader names the run directory on a command line.
    """
    items = "hold-out" if analysis.split == "holdout" else analysis.split
    text = (
        f"Scores on {items} items; bars are {analysis.confidence:.0%} intervals where "
        "items were scored one by one. Click a point, or a name in the table, for its recipe and "
        "how to rebuild it, or a name in the legend to hide it; drag to zoom, double-click to go "
        "back."
    )
    notes = "\n".join(f"<li>{escape(note)}</li>" for note in analysis.notes)
    body = f"{picked_rows(analysis, run)}\n<ul>\n{notes}\n</ul>"
    return Section("Front", text, front_drawings(analysis), body)


def front_drawings(analysis: Analysis) -> tuple[Drawing, ...]:
    """Return a plane for each pair of up to three objectives, parallel coordinates for more."""
    objectives = analysis.front.objectives
    named = ", ".join(one.name for one in objectives)
    held = f" ({analysis.front.held_words})" if analysis.front.held_words else ""
    count = (
        f"{len(analysis.members)} members of the front{held} and {len(analysis.baselines)} "
        "baselines"
    )
    if len(objectives) > 3:
        return (Drawing(_parallel(analysis), f"{count} over {named}", wide=True),)
    planes: list[tuple[Objective, Objective | None]] = [*combinations(objectives, 2)]
    planes = planes or [(objectives[0], None)]
    return tuple(
        Drawing(_plane(analysis, x, y), f"{count} by {x.name}{f' and {y.name}' if y else ''}")
        for x, y in planes
    )


def _plane(analysis: Analysis, x: Objective, y: Objective | None) -> Any:
    """Draw the plane of two objectives; with one objective the rows are listed along y."""
    scored = [row for row in (*analysis.baselines, *analysis.members) if row.on(analysis.split)]
    figure = canvas(520 if y else 140 + 26 * len(scored))
    stopped = analysis.front.stopped
    if y and stopped:
        trace = stopped_in_plane(stopped, analysis.front.objectives, x.name, y.name)
        trace.name = f"stopped on a rung: estimates of {analysis.front.compared_on} scores"
        figure.add_trace(trace)
    named = worth_naming(analysis)
    by_role: dict[RoleName, list[RowAnalysis]] = {}
    for row in scored:
        by_role.setdefault(role_of(row), []).append(row)
    for role, rows in by_role.items():
        look = ROLES[role]
        on_x = [_of(row, analysis)[x.name] for row in rows]
        on_y = [_of(row, analysis)[y.name] for row in rows] if y else []
        xs = [estimate.score for estimate in on_x]
        ys = [estimate.score for estimate in on_y] if y else [label_of(row) for row in rows]
        trace = go.Scatter(
            x=xs,
            y=ys,
            error_x=_bars(on_x, look.colour),
            error_y=_bars(on_y, look.colour) if y else None,
            mode="markers+text" if y else "markers",
            text=_texts(rows, list(zip(xs, ys, strict=True)), named),
            textposition=_BESIDE[role],
            textfont={"color": look.ink, "size": 11},
            marker={"color": look.colour, "symbol": look.symbol, "size": 10},
            name=look.title,
            customdata=[[hover_text(row, analysis), row.row.name] for row in rows],
            hovertemplate="%{customdata[0]}<extra></extra>",
            cliponaxis=False,
        )
        figure.add_trace(trace)
    if analysis.split == "holdout":
        figure.add_trace(_seen(analysis, x, y))
    figure.update_xaxes(title_text=_title(x))
    if y:
        figure.update_yaxes(title_text=_title(y))
    else:
        figure.update_yaxes(autorange="reversed")
    return figure


def _texts(rows: Sequence[RowAnalysis], places: Sequence[Any], named: Set[str]) -> list[str]:
    """Return what stands beside each point; the first of those in one place has all their names."""
    names: dict[Any, list[str]] = {}
    for row, place in zip(rows, places, strict=True):
        if row.row.name in named:
            names.setdefault(place, []).append(escape(label_of(row)))
    return [", ".join(names.pop(place, ())) for place in places]


def _seen(analysis: Analysis, x: Objective, y: Objective | None) -> Any:
    """Return where the search saw each member."""
    members = analysis.members
    return go.Scatter(
        x=[row.search[x.name].score for row in members],
        y=[row.search[y.name].score if y else label_of(row) for row in members],
        mode="markers",
        marker={"color": ROLES["front"].colour, "symbol": "circle-open", "size": 8},
        name=f"front on {analysis.front.picked_on} items",
        customdata=[[hover_text(row, analysis), row.row.name] for row in members],
        hovertemplate=f"on {analysis.front.picked_on} items<br>%{{customdata[0]}}<extra></extra>",
    )


def _parallel(analysis: Analysis) -> Any:
    """Draw one line a row over the objectives; better is up on every axis."""
    figure = canvas(520)
    objectives = analysis.front.objectives
    ranges = axis_ranges(analysis)
    named = worth_naming(analysis)
    shown: set[str] = set()
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
            customdata=[[hover_text(row, analysis), row.row.name]] * len(objectives),
            hovertemplate="%{customdata[0]}<extra></extra>",
        )
        shown.add(role)
        figure.add_trace(trace)
    ticks = [
        f"{escape(item.name)}<br>{' to '.join(map(number, ranges.get(item.name, ())))}"
        for item in objectives
    ]
    places = list(range(len(objectives)))
    figure.update_xaxes(tickvals=places, ticktext=ticks, range=[-0.2, len(objectives) - 0.4])
    figure.update_yaxes(showticklabels=False, title_text="worst to best")
    return figure


def _progress(analysis: Analysis) -> Drawing:
    history = analysis.front.hypervolume
    figure = canvas(340, showlegend=False)
    trace = go.Scatter(
        x=[trial for trial, _ in history],
        y=[volume for _, volume in history],
        mode="lines",
        line={"shape": "hv", "color": ROLES["front"].colour},
        hovertemplate="trial %{x}: %{y:.4f}<extra></extra>",
    )
    figure.add_trace(trace)
    if analysis.baseline_volume is not None:
        figure.add_hline(
            analysis.baseline_volume,
            line={"dash": "dash", "color": ROLES["baseline"].colour, "width": 1},
            annotation={"text": "baselines", "font": {"color": ROLES["baseline"].ink}},
        )
    figure.update_xaxes(title_text="trial")
    figure.update_yaxes(
        title_text=f"hypervolume on {analysis.front.compared_on} items", rangemode="tozero"
    )
    return Drawing(figure, f"hypervolume over {len(history)} trials, {history[-1][1]:.3f} at last")


def hover_text(row: RowAnalysis, analysis: Analysis) -> str:
    """Return what is shown of a row under the pointer, as plotly's small HTML."""
    lines = [f"<b>{escape(row.row.name)}</b>"]
    for objective in analysis.front.objectives:
        name = objective.name
        line = f"{escape(name)}: {_interval(_of(row, analysis)[name])}"
        if analysis.split == "holdout" and row.holdout is None:
            line += f" on {analysis.front.picked_on} items"
        elif analysis.split == "holdout":
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


def _bars(estimates: list[Estimate], colour: str) -> dict[str, Any]:
    above = [0.0 if e.high is None else max(0.0, e.high - e.score) for e in estimates]
    below = [0.0 if e.low is None else max(0.0, e.score - e.low) for e in estimates]
    return {
        "type": "data",
        "array": above,
        "arrayminus": below,
        "symmetric": False,
        "thickness": 0.8,
        "width": 0,
        "color": colour,
    }


def _title(objective: Objective) -> str:
    better = "higher" if objective.goal == "maximize" else "lower"
    return f"{escape(objective.name)} ({better} is better)"
