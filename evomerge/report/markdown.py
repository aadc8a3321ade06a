"""Hold-out scores as Markdown: a table with intervals, gains over baselines, and their standing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evomerge.report.analysis import Analysis, RowAnalysis
from evomerge.report.estimates import Estimate, Gain
from evomerge.report.table import number


def scores_table(
    analysis: Analysis, rows: Sequence[RowAnalysis], bold: str | None = None
) -> list[str]:
    """Return the lines of a table of hold-out scores; rows without some are left out.

    Args:
        analysis: of the front.
        rows: what to show, in order.
        bold: name of the row that stands out.
    """
    objectives = analysis.front.objectives
    shown = [row for row in rows if row.holdout is not None]
    with_mean = any(row.holdout_mean for row in shown)
    titles = [f"{cell(one.name)} ({one.goal[:3]})" for one in objectives]
    titles += ["mean"] if with_mean else []
    lines = [f"| | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
    for row in shown:
        found = row.holdout or {}
        cells = [estimate_text(found[one.name]) for one in objectives]
        cells += [estimate_text(row.holdout_mean)] if with_mean else []
        name = cell(row.row.name)
        lines.append(f"| {f'**{name}**' if row.row.name == bold else name} | {' | '.join(cells)} |")
    return lines


def gains_list(analysis: Analysis, row: RowAnalysis) -> list[str]:
    """Return a line for what a member of the front gains over the best baseline in each objective.

    Empty where it was not scored on hold-out items.
    """
    if row.holdout is None or analysis.split != "holdout":
        return []
    named = [
        (name, row.gains.get(name)) for name in (one.name for one in analysis.front.objectives)
    ]
    if row.mean_gain is not None:
        named.append(("mean", row.mean_gain))
    return [f"- {cell(name)}: {_gain_text(gain)}" for name, gain in named if gain is not None]


def standing_list(analysis: Analysis, row: RowAnalysis) -> list[str]:
    """Return what a reader must know of a member's scores, a line each."""
    lines = [f"- Warning: {cell(line)}." for line in analysis.front.warnings]
    lines.append(
        f"- {analysis.front.picked_on.capitalize()} scores, by which it was picked, are optimistic "
        "(winner's curse) and not given here. So, less so, is the best of several hold-out scores: "
        f"{analysis.front.n_held} members of the front have some."
    )
    if row.confirmed is not None:
        whom = "no other member of the front and no baseline dominates it"
        verdict = whom if row.confirmed else "another row is at least as good everywhere"
        lines.append(f"- On hold-out items {verdict}.")
    if row.on_front is not None:
        text = (
            "- The probability, by bootstrap over the items, that no other member and no baseline "
            f"dominates it is {row.on_front:.2f}"
        )
        if row.dominated_by is not None:
            rival = row.dominated_by
            text += f"; {cell(rival.name)} dominates it with {rival.probability:.2f}"
        lines.append(f"{text}.")
    return lines


def legend(analysis: Analysis, rows: Iterable[RowAnalysis]) -> str:
    """Say what the numbers of a table are."""
    items = sorted(
        {one.n_items for row in rows for one in (row.holdout or {}).values() if one.n_items}
    )
    if not items:
        return "Scores on hold-out items, which the search never saw; there are no intervals."
    counts = f"{items[0]}" if len(items) == 1 else f"{items[0]} to {items[-1]}"
    return (
        f"Scores on hold-out items, which the search never saw ({counts} an objective). In "
        f"brackets: {analysis.confidence:.0%} intervals over items, by bootstrap, or by Clopper "
        "and Pearson where all items score the same."
    )


def estimate_text(estimate: Estimate | None) -> str:
    """Return a score with its interval."""
    if estimate is None:
        return ""
    text = number(estimate.score)
    if estimate.low is not None and estimate.high is not None:
        text += f" [{number(estimate.low)}, {number(estimate.high)}]"
    return text


def cell(text: str) -> str:
    """Return a text that stands in a table as it is."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def _gain_text(gain: Gain) -> str:
    sign = "+" if gain.gain >= 0 else ""
    text = f"{sign}{number(gain.gain)} over {cell(gain.against)}"
    if gain.low is not None and gain.high is not None:
        text += f" [{number(gain.low)}, {number(gain.high)}]"
    return text + (", within noise" if gain.within_noise else "")
