"""The front as a PNG: members against baselines, with intervals, and the search's progress.

Two objectives make one panel, three make one for each pair, more make parallel coordinates, one a
ranking. Figures are built without matplotlib's global state.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from evomerge.pareto import non_dominated
from evomerge.report.analysis import Analysis, RowAnalysis, analyse, cost_rows
from evomerge.report.estimates import Estimate
from evomerge.report.front import Front
from evomerge.report.labels import Label, literal, place_labels
from evomerge.report.parallel import draw_parallel
from evomerge.report.roles import ROLES, label_of, role_of, worth_naming
from evomerge.types import Objective

_DPI = 150
_GREY = "#555555"
_SIZES = {"dominated": 30, "front": 46}


def save_png(front: Front, path: Path) -> None:
    """Draw the judged front, 1500 pixels wide."""
    draw_png(analyse(front), path)


def draw_png(analysis: Analysis, path: Path) -> None:
    """Draw an analysis, 1500 pixels wide."""
    figure = Figure(figsize=(10.0, _height(analysis)), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    objectives = analysis.front.objectives
    labelled: list[tuple[Axes, Objective, Objective]] = []
    progress: Axes | None
    match len(objectives):
        case 1:
            main, progress = _split(figure, analysis)
            _ranking(main, analysis)
        case 2:
            main, progress = _split(figure, analysis)
            labelled.append((main, objectives[0], objectives[1]))
        case 3:
            grid = figure.subplots(2, 2)
            for axes, (x, y) in zip(grid.flat, combinations(objectives, 2), strict=False):
                labelled.append((axes, x, y))
            progress = grid[1, 1]
        case _:
            main, progress = _split(figure, analysis)
            draw_parallel(main, analysis)
    for axes, x, y in labelled:
        _scatter(axes, analysis, x, y)
    if progress is not None:
        _progress(progress, analysis)
    _title(figure, analysis)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    for axes, x, y in labelled:
        place_labels(axes, renderer, _labels(analysis, x, y), _seen(analysis, x, y))
    figure.savefig(path, dpi=_DPI, facecolor="white")


def _height(analysis: Analysis) -> float:
    match len(analysis.front.objectives):
        case 1:
            return max(4.0, 1.6 + 0.28 * len(analysis.rows))
        case 3:
            return 8.4
        case _:
            return 5.6


def _split(figure: Figure, analysis: Analysis) -> tuple[Axes, Axes | None]:
    """Return the axes of the front and, beside it, of the search's progress if it is known."""
    if not analysis.front.hypervolume:
        return figure.subplots(), None
    left, right = figure.subplots(1, 2, width_ratios=(2.6, 1.0))
    return left, right


def _scatter(axes: Axes, analysis: Analysis, x: Objective, y: Objective) -> None:
    """Draw rows in the plane of two objectives."""
    _style(axes)
    _staircase(axes, analysis, x, y)
    for row in (*analysis.baselines, *analysis.members):
        if row.row.kind == "front" and analysis.split == "holdout":
            _shrinkage(axes, row, x, y)
        estimates = row.on(analysis.split)
        if estimates is None:
            continue
        at_x, at_y = estimates[x.name], estimates[y.name]
        role = role_of(row)
        look = ROLES[role]
        axes.errorbar(
            at_x.score,
            at_y.score,
            xerr=_bars(at_x),
            yerr=_bars(at_y),
            fmt="none",
            ecolor=look.colour,
            elinewidth=0.8,
            alpha=0.28,
            zorder=2,
        )
        axes.scatter(
            at_x.score,
            at_y.score,
            s=_SIZES.get(role, 38),
            marker=look.marker,
            color=look.colour,
            edgecolors="white",
            linewidths=0.6,
            zorder=4 if row.row.kind == "front" else 3,
        )
    axes.set_xlabel(_axis_title(x))
    axes.set_ylabel(_axis_title(y))
    axes.margins(0.08)


def _staircase(axes: Axes, analysis: Analysis, x: Objective, y: Objective) -> None:
    """Draw the edge of what the members dominate in this plane."""
    scores = [
        {name: estimate.score for name, estimate in estimates.items()}
        for row in analysis.members
        if (estimates := row.on(analysis.split)) is not None
    ]
    if not scores:
        return
    costs = cost_rows((x, y), scores)
    kept = non_dominated(costs, dedupe=True)
    corners = sorted((scores[i][x.name], scores[i][y.name], *costs[i]) for i in kept)
    xs = [corner[0] for corner in corners]
    ys = [corner[1] for corner in corners]
    # The step leaves a corner towards the neighbour along the worse of the two scores.
    where: Literal["pre", "post"] = "pre" if x.goal == "maximize" else "post"
    axes.step(xs, ys, where=where, color=ROLES["front"].colour, lw=1.2, alpha=0.35, zorder=1)


def _shrinkage(axes: Axes, row: RowAnalysis, x: Objective, y: Objective) -> None:
    """Show where the search saw this member, tied to where hold-out items put it, if they do."""
    seen = (row.search[x.name].score, row.search[y.name].score)
    found = row.holdout or row.search
    now = (found[x.name].score, found[y.name].score)
    colour = ROLES["front"].colour
    axes.plot(*zip(seen, now, strict=True), color=colour, lw=0.7, ls=":", alpha=0.6, zorder=2)
    axes.scatter(
        *seen, s=22, marker="o", facecolors="white", edgecolors=colour, linewidths=0.8, alpha=0.8
    )


def _seen(analysis: Analysis, x: Objective, y: Objective) -> list[tuple[float, float]]:
    """Return where `_shrinkage` draws."""
    if analysis.split != "holdout":
        return []
    return [(row.search[x.name].score, row.search[y.name].score) for row in analysis.members]


def _labels(analysis: Analysis, x: Objective, y: Objective) -> list[Label]:
    """Name the rows, members first: all of a small picture, otherwise members worth a look."""
    named = worth_naming(analysis)
    labels = []
    for row in (*analysis.members, *analysis.baselines):
        estimates = row.on(analysis.split)
        if estimates is not None and row.row.name in named:
            at_x, at_y = estimates[x.name].score, estimates[y.name].score
            labels.append(Label(label_of(row), at_x, at_y, ROLES[role_of(row)].ink))
    return labels


def _ranking(axes: Axes, analysis: Analysis) -> None:
    """Draw a single objective: one line a row, best on top, with intervals."""
    _style(axes)
    objective = analysis.front.objectives[0]
    rows = [*analysis.members, *analysis.baselines]
    for position, row in enumerate(rows):
        estimates = row.on(analysis.split)
        if estimates is None:
            continue
        estimate = estimates[objective.name]
        look = ROLES[role_of(row)]
        height = -position
        axes.errorbar(
            estimate.score, height, xerr=_bars(estimate), fmt="none", ecolor=look.colour, alpha=0.5
        )
        axes.scatter(estimate.score, height, s=46, marker=look.marker, color=look.colour, zorder=3)
        if row.row.kind == "front" and analysis.split == "holdout":
            seen = row.search[objective.name].score
            axes.scatter(seen, height, s=22, facecolors="white", edgecolors=look.colour)
    axes.set_yticks(
        [-position for position in range(len(rows))], [literal(label_of(row)) for row in rows]
    )
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(_axis_title(objective))


def _progress(axes: Axes, analysis: Analysis) -> None:
    history = analysis.front.hypervolume
    if not history:
        axes.set_axis_off()
        return
    _style(axes)
    trials = [trial for trial, _ in history]
    volumes = [volume for _, volume in history]
    axes.step(trials, volumes, where="post", color=ROLES["front"].colour, lw=1.6)
    volume = analysis.baseline_volume
    if volume is not None and volume > 0:
        axes.axhline(volume, color=ROLES["baseline"].colour, lw=1.0, ls="--")
        axes.annotate(
            "baselines",
            (1.0, volume),
            (-2, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=ROLES["baseline"].colour,
        )
    axes.set_title(
        f"hypervolume on {analysis.front.compared_on} items", fontsize=9, loc="left", color=_GREY
    )
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.set_ylim(bottom=0)


def _title(figure: Figure, analysis: Analysis) -> None:
    front = analysis.front
    held = f", {front.held_words},\n" if front.held_words else " "
    bars = f"; bars: {analysis.confidence:.0%} intervals" if _has_intervals(analysis) else ""
    figure.suptitle(
        f"{literal(front.study)}: {len(front.members)} on the front{held}"
        f"after {front.n_trials} trials (scores on {analysis.items} items{bars})",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    used = dict.fromkeys(role_of(row) for row in (*analysis.members, *analysis.baselines))
    handles = [
        Line2D(
            [],
            [],
            ls="",
            marker=ROLES[role].marker,
            color=ROLES[role].colour,
            label=ROLES[role].title,
        )
        for role in used
    ]
    if analysis.split == "holdout" and front.members and len(front.objectives) <= 3:
        colour = ROLES["front"].colour
        handles.append(
            Line2D(
                [],
                [],
                ls=":",
                marker="o",
                mfc="white",
                color=colour,
                label=f"front on {analysis.front.picked_on} items",
            )
        )
    figure.legend(handles=handles, loc="outside lower left", ncols=6, frameon=False, fontsize=8)


def _has_intervals(analysis: Analysis) -> bool:
    return len(analysis.front.objectives) <= 3 and any(
        estimate.low is not None
        for row in analysis.rows
        for estimate in (row.on(analysis.split) or {}).values()
    )


def _bars(estimate: Estimate) -> list[list[float]] | None:
    if estimate.low is None or estimate.high is None:
        return None
    # A percentile interval need not hold the score of a very skewed metric.
    below, above = estimate.score - estimate.low, estimate.high - estimate.score
    return [[max(0.0, below)], [max(0.0, above)]]


def _axis_title(objective: Objective) -> str:
    better = "higher" if objective.goal == "maximize" else "lower"
    return literal(f"{objective.name} ({better} is better)")


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#E6E6E6", lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=_GREY)
