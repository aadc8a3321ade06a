"""The front as a table for the terminal; without one it is the same text, without colours."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from dataclasses import replace

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evomerge.pareto import Interval
from evomerge.report.analysis import Analysis, RowAnalysis, analyse
from evomerge.report.estimates import Estimate, Gain
from evomerge.report.front import Front
from evomerge.report.shrinkage import shrinkage_line
from evomerge.types import Objective


def print_table(front: Front, console: Console) -> None:
    """Print the judged front; tables are split by objectives until they fit the console."""
    print_analysis(analyse(front), console)


def to_text(front: Front, width: int = 100) -> str:
    """Return the judged front as plain text, at most `width` columns wide."""
    return text_of(analyse(front), width)


def text_of(analysis: Analysis, width: int = 100) -> str:
    """Return an analysis as plain text, at most `width` columns wide."""
    out = io.StringIO()
    print_analysis(analysis, Console(file=out, width=width, color_system=None))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def print_analysis(
    analysis: Analysis, console: Console, only: Collection[str] | None = None
) -> None:
    """Print an analysis: a summary, the table with the baselines below a rule, and its legend.

    Args:
        analysis: of the front.
        console: where to.
        only: names of the members that are shown, all by default; they are judged all the same.
    """
    front = analysis.front
    console.print(_summary(analysis), highlight=False)
    if not front.members:
        console.print("No trial was completed, so the front is empty.", highlight=False)
    if only is not None:
        rows = (row for row in analysis.rows if row.row.kind == "baseline" or row.row.name in only)
        analysis = replace(analysis, rows=tuple(rows))
    for table in _tables(analysis, console):
        console.print(table, highlight=False)
    console.print(Text(_legend(analysis), style="dim"))


def number(value: float) -> str:
    """Return a score with the digits that are worth reading."""
    size = abs(value)
    if size < 10:
        return f"{value:.3f}"
    return f"{value:.1f}" if size < 10_000 else f"{value:.4g}"


def _tables(analysis: Analysis, console: Console) -> Iterator[Table]:
    """Split the table by objectives until each part fits; what sums a row up comes last."""
    left = list(analysis.front.objectives)
    while True:
        table = _table(analysis, left, with_summary=True)
        if not left or _width(console, table) <= console.width:
            yield table
            return
        n_shown = len(left)
        table = _table(analysis, left, with_summary=False)
        while n_shown > 1 and _width(console, table) > console.width:
            n_shown -= 1
            table = _table(analysis, left[:n_shown], with_summary=False)
        yield table
        left = left[n_shown:]
        if not left and not _has_summary(analysis):
            return


def _has_summary(analysis: Analysis) -> bool:
    return any(
        row.mean_on(analysis.split) is not None or row.on_front is not None for row in analysis.rows
    )


def _width(console: Console, table: Table) -> int:
    """Return the width the table would like; a console of its own width would clip the answer."""
    return console.measure(table, options=console.options.update(width=100_000)).maximum


def _summary(analysis: Analysis) -> Text:
    front, volumes = analysis.front, analysis.volumes
    failed = f" ({front.n_failed} failed)" if front.n_failed else ""
    text = Text(f"{front.study}", style="bold")
    text.append(
        f": {front.n_trials} trials{failed}, {len(front.members)} on the front", style="not bold"
    )
    if front.held_words:
        text.append(f", {front.held_words}", style="not bold")
    confirmed = [row.confirmed for row in analysis.members if row.confirmed is not None]
    if confirmed:
        text.append(
            f", {sum(confirmed)} of {len(confirmed)} still non-dominated on hold-out items",
            style="not bold",
        )
    if volumes:
        parts = [
            _volume("front", front, volumes.front_search, volumes.front_holdout, volumes.interval),
            _volume("baselines", front, volumes.baselines_search, volumes.baselines_holdout),
        ]
        text.append(
            f"\nhypervolume (0 = base, 1 = best donor): {'; '.join(parts)}", style="not bold"
        )
    if analysis.shrinkage and front.luck.n_trials:
        text.append(f"\n{shrinkage_line(front, analysis.shrinkage)}", style="not bold")
    return text


def _volume(
    name: str, front: Front, picked: float, holdout: float | None, interval: Interval | None = None
) -> str:
    within = f", {number(interval.low)}..{number(interval.high)}" if interval else ""
    if holdout is None:
        return f"{name} {number(picked)} {front.picked_on}{within}"
    return f"{name} {number(holdout)} hold-out{within} ({number(picked)} {front.picked_on})"


def _table(analysis: Analysis, objectives: list[Objective], *, with_summary: bool) -> Table:
    means_exist = any(row.search_mean for row in analysis.rows)
    has_mean = with_summary and means_exist
    has_gain = with_summary and any(row.mean_gain for row in analysis.rows)
    has_probability = with_summary and any(row.on_front is not None for row in analysis.rows)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    for objective in objectives:
        arrow = "max" if objective.goal == "maximize" else "min"
        table.add_column(Text(f"{objective.name}\n{arrow}"), justify="right", no_wrap=True)
    if has_mean:
        table.add_column(Text("mean\n"), justify="right", no_wrap=True)
    if has_gain:
        table.add_column(Text("gain over best\nbaseline's mean"), justify="right", no_wrap=True)
    if has_probability:
        table.add_column(Text("P\nfront"), justify="right", no_wrap=True)
    for block in (analysis.members, analysis.baselines):
        for row in block:
            cells = [_name(analysis, row)]
            cells += [
                _score(analysis, row, item.name, with_gain=not means_exist) for item in objectives
            ]
            if has_mean:
                cells.append(_estimate(row.mean_on(analysis.split)))
            if has_gain:
                cells.append(_gain(row.mean_gain))
            if has_probability:
                cells.append(_probability(row))
            table.add_row(*cells)
        table.add_section()
    return table


def _name(analysis: Analysis, row: RowAnalysis) -> Text:
    text = Text(row.row.name if len(row.row.name) <= 24 else row.row.name[:23] + "~")
    marks = [row.row.stage] if row.row.stage else []
    if row.row.name == analysis.knee:
        marks.append("knee")
    if row.confirmed is False:
        marks.append("dominated")
    return text.append(f"\n{', '.join(marks)}", style="dim") if marks else text


def _probability(row: RowAnalysis) -> Text:
    if row.on_front is None:
        return Text("")
    mark = " " if row.dominated_by is None else "<"
    return Text(f"{row.on_front:.2f}{mark}", style="yellow" if row.on_front < 0.5 else "")


def _score(analysis: Analysis, row: RowAnalysis, objective: str, *, with_gain: bool) -> Text:
    estimates = row.on(analysis.split)
    if estimates is None:
        return Text(f"- ({number(row.search[objective].score)})", style="dim")
    searched = row.search[objective].score if analysis.split == "holdout" else None
    best = row.row.name in analysis.best.get(objective, ())
    text = _estimate(estimates[objective], searched, best=best)
    if with_gain and objective in row.gains:
        text.append("\n").append_text(_gain(row.gains[objective], with_interval=False))
    return text


def _estimate(
    estimate: Estimate | None, searched: float | None = None, *, best: bool = False
) -> Text:
    if estimate is None:
        return Text("-", style="dim")
    text = Text()
    text.append(f"{number(estimate.score)}{'*' if best else ' '}", style="bold" if best else "")
    if searched is not None:
        text.append(f"({number(searched)})", style="dim")
    if estimate.low is not None and estimate.high is not None:
        text.append(f"\n{number(estimate.low)}..{number(estimate.high)}", style="dim")
    return text


def _gain(gain: Gain | None, *, with_interval: bool = True) -> Text:
    if gain is None:
        return Text("")
    sign = "+" if gain.gain >= 0 else ""
    style = "" if gain.within_noise is None else "yellow" if gain.within_noise else "green"
    if gain.within_noise is False and gain.gain < 0:
        style = "red"
    noise = " ~" if gain.within_noise else ""
    text = Text(f"{sign}{number(gain.gain)}{noise}", style=style)
    if with_interval and gain.low is not None and gain.high is not None:
        text.append(f"\n{number(gain.low)}..{number(gain.high)}", style="dim")
    return text


def _legend(analysis: Analysis) -> str:
    items = f"{analysis.items} items"
    if analysis.split == "holdout":
        items += f", in brackets on {analysis.front.picked_on} items"
    lines = [f"Scores on {items}. * best of its column."]
    if any(
        estimate.low is not None
        for row in analysis.rows
        for estimate in (row.on(analysis.split) or {}).values()
    ):
        lines.append(
            f"Second line: {analysis.confidence:.0%} interval over items, by bootstrap, or by "
            "Clopper and Pearson where all items score the same. Gains are "
            "paired on the same items; + is better, ~ is within noise (the interval holds 0)."
        )
    elif any(row.gains for row in analysis.rows):
        lines.append("Gains are over the best baseline; + is better. No intervals: no item scores.")
    if any(row.confirmed is False for row in analysis.rows):
        lines.append("dominated: on hold-out items another row is at least as good everywhere.")
    if any(row.dominated_by for row in analysis.rows):
        lines.append("< another row dominates it with a probability above 0.5; it is named below.")
    if analysis.volumes is not None and analysis.volumes.interval is not None:
        lines.append(
            "The hypervolume's interval allows for the luck that a front of noisy scores collects, "
            "so it may lie below the value."
        )
    if any(one.luck is not None for one in analysis.shrinkage):
        lines.append(
            "luck: what the best score is expected to owe to having been picked (winner's curse)."
        )
    return "\n".join([*lines, *analysis.notes])
