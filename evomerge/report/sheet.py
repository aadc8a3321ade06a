"""The front as CSV: one line a row, baselines included, numbers in full precision.

Columns: name, kind, trial, fingerprint, confirmed, p_front (the probability that no other row
dominates a member), dominated_by and p_dominated (the row that does with a probability above 0.5),
equals (the numbers of further trials with a member's score in every objective, by spaces); then
for each objective and split `<objective>.<split>`, `.low`, `.high` and `.items`; then for each
objective what it gains over the best baseline, `<objective>.gain`, `.gain_low`, `.gain_high`,
`.gain_over`, `.within_noise`. A study of several stages has a last column `stage`. Splits are
search and holdout, in a study with batches of search items validation and holdout. What is unknown
is empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from evomerge.report.analysis import Analysis, RowAnalysis
from evomerge.report.estimates import Estimate, Gain
from evomerge.types import Split


def to_csv(analysis: Analysis) -> str:
    """Return an analysis as CSV text; reading its numbers back gives the same floats."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_header(analysis))
    for row in (*analysis.members, *analysis.baselines):
        writer.writerow(_cells(analysis, row))
    return out.getvalue()


def _splits(analysis: Analysis) -> tuple[Split, Split]:
    return analysis.front.picked_on, "holdout"


def _header(analysis: Analysis) -> list[str]:
    columns = ["name", "kind", "trial", "fingerprint", "confirmed"]
    columns += ["p_front", "dominated_by", "p_dominated", "equals"]
    names = [objective.name for objective in analysis.front.objectives]
    for name in names:
        for split in _splits(analysis):
            column = f"{name}.{split}"
            columns += [column, f"{column}.low", f"{column}.high", f"{column}.items"]
    for name in names:
        columns += [f"{name}.{part}" for part in ("gain", "gain_low", "gain_high", "gain_over")]
        columns.append(f"{name}.within_noise")
    return [*columns, "stage"] if analysis.front.has_stages else columns


def _cells(analysis: Analysis, row: RowAnalysis) -> Iterator[str]:
    yield from (row.row.name, row.row.kind, "" if row.row.trial is None else str(row.row.trial))
    yield from (row.row.fingerprint, _flag(row.confirmed), _number(row.on_front))
    rival = row.dominated_by
    yield from ("", "") if rival is None else (rival.name, _number(rival.probability))
    yield " ".join(map(str, row.row.equals))
    names = [objective.name for objective in analysis.front.objectives]
    for name in names:
        for split in _splits(analysis):
            estimates = row.on(split)
            yield from _estimate(None if estimates is None else estimates[name])
    for name in names:
        yield from _gain(row.gains.get(name))
    if analysis.front.has_stages:
        yield row.row.stage or ""


def _estimate(estimate: Estimate | None) -> tuple[str, ...]:
    if estimate is None:
        return ("",) * 4
    items = str(estimate.n_items) if estimate.n_items else ""
    return (repr(float(estimate.score)), _number(estimate.low), _number(estimate.high), items)


def _gain(gain: Gain | None) -> tuple[str, ...]:
    if gain is None:
        return ("",) * 5
    noise = _flag(gain.within_noise)
    return (repr(float(gain.gain)), _number(gain.low), _number(gain.high), gain.against, noise)


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _flag(value: bool | None) -> str:
    return "" if value is None else str(value).lower()
