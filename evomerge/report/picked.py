"""The rows of a front as a table, and what is shown of the one that was picked.

The one the page opens with is the knee, or the first of the table.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from html import escape

from evomerge.recipe import native
from evomerge.report.analysis import Analysis, RowAnalysis
from evomerge.report.estimates import Estimate, Gain
from evomerge.report.html_page import Markup, table
from evomerge.report.table import number

_LONGEST_RECIPE = 400  # lines that a page shows of one


def picked_rows(analysis: Analysis, run: str) -> str:
    """Return an article for each row, of which one is seen, and the table, as HTML.

    Args:
        analysis: of the front.
        run: how the reader names the run directory on a command line.
    """
    rows = (*analysis.members, *analysis.baselines)
    if not rows:
        return ""
    opening = next((row for row in rows if row.row.name == analysis.knee), rows[0])
    articles = "\n".join(_article(row, analysis, run, hidden=row is not opening) for row in rows)
    return (
        f'<section id="picked" aria-live="polite" aria-label="The picked model">\n{articles}\n'
        f"</section>\n{_table(analysis)}"
    )


def _table(analysis: Analysis) -> str:
    """Return scores with intervals, gains over the best baseline, and certainty."""
    objectives = analysis.front.objectives
    with_mean = any(row.mean_on(analysis.split) for row in analysis.rows)
    header = ["", *(f"{one.name} ({one.goal[:3]})" for one in objectives)]
    header += ["mean", "mean gain"] if with_mean else []
    header.append("P(front)")
    rows = []
    for row in (*analysis.members, *analysis.baselines):
        found = row.on(analysis.split)
        knee = " (knee)" if row.row.name == analysis.knee else ""
        name = escape(row.row.name)
        cells: list[str] = [
            Markup(f'<button type="button" data-pick="{name}">{name}</button>{knee}')
        ]
        cells += [
            Markup(_score(found[one.name]) + _gain(row.gains.get(one.name)))
            if found
            else Markup(f"<small>{analysis.front.picked_on} {_plain(row.search[one.name])}</small>")
            for one in objectives
        ]
        if with_mean:
            mean = row.mean_on(analysis.split)
            cells += [
                Markup(_score(mean) if mean else ""),
                Markup(_gain(row.mean_gain, small=False)),
            ]
        cells.append("" if row.on_front is None else f"{row.on_front:.2f}")
        rows.append(cells)
    caption = (
        f"Scores on {analysis.items} items with {analysis.confidence:.0%} intervals; below each, "
        "what a member gains over the best baseline of the objective, paired on the same items."
    )
    return table(header, rows, caption)


def _article(row: RowAnalysis, analysis: Analysis, run: str, *, hidden: bool) -> str:
    lines = native.dumps(row.row.recipe).rstrip().splitlines()
    shown = "\n".join(lines[:_LONGEST_RECIPE])
    rest = len(lines) - _LONGEST_RECIPE
    more = f"<p>{rest} further lines; the command below writes all of them.</p>" if rest > 0 else ""
    facts = "".join(f"<li>{escape(fact)}</li>" for fact in _facts(row, analysis))
    return (
        f'<article data-name="{escape(row.row.name)}"{" hidden" if hidden else ""}>\n'
        f"<h3>{escape(row.row.name)}</h3>\n<ul>{facts}</ul>\n"
        f'<h4>Recipe</h4>\n<pre tabindex="0"><code>{escape(shown)}</code></pre>\n{more}'
        f'<h4>Rebuild</h4>\n<pre tabindex="0"><code>{escape(rebuild(row, run))}</code></pre>\n'
        "</article>"
    )


def rebuild(row: RowAnalysis, run: str) -> str:
    """Return the commands that make a row's model again."""
    recipe = "evomerge merge recipe.yaml merged/    # with the recipe above as recipe.yaml"
    if row.row.trial is None:
        return recipe
    where = shlex.quote(run)
    return (
        f"evomerge export merged/ --trial {row.row.trial} --run {where}    # verified, with a card"
        f"\n{recipe}"
    )


def _facts(row: RowAnalysis, analysis: Analysis) -> Iterator[str]:
    for objective in analysis.front.objectives:
        name = objective.name
        parts = [f"{analysis.front.picked_on} {_plain(row.search[name])}"]
        if row.holdout is not None:
            parts.insert(0, f"hold-out {_plain(row.holdout[name])}")
        yield f"{name}: {', '.join(parts)}"
    if row.confirmed is not None:
        yield (
            "no other row dominates it on hold-out items"
            if row.confirmed
            else "another row is at least as good everywhere on hold-out items"
        )
    if row.dominated_by is not None:
        rival = row.dominated_by
        yield f"probably dominated by {rival.name} ({rival.probability:.2f})"
    if row.row.equals:
        yield f"the same scores: trial {', '.join(map(str, row.row.equals))}"
    if row.row.stage is not None:
        yield f"stage {row.row.stage}"
    yield f"merge method {row.row.recipe.merge_method}, fingerprint {row.row.fingerprint}"


def _plain(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return number(estimate.score)
    return f"{number(estimate.score)} [{number(estimate.low)}, {number(estimate.high)}]"


def _score(estimate: Estimate) -> str:
    text = number(estimate.score)
    if estimate.low is not None and estimate.high is not None:
        text += f"<small>{number(estimate.low)} to {number(estimate.high)}</small>"
    return text


def _gain(gain: Gain | None, *, small: bool = True) -> str:
    if gain is None:
        return ""
    text = f"{'+' if gain.gain >= 0 else ''}{number(gain.gain)}"
    if gain.within_noise:
        text += ", within noise"
    elif gain.low is not None and gain.high is not None and not small:
        text += f"<small>{number(gain.low)} to {number(gain.high)}</small>"
    return f'<small title="over {escape(gain.against)}">gain {text}</small>' if small else text
