"""A comparison of two models as a table and as JSON.

    format      'evomerge-comparison/1'; the number rises when a key changes meaning or goes
    first, second, split, confidence
    objectives  [{name, first, second, gain, test, holm}], in the order of the study
    mean        the same of the mean over the objectives, or null
    notes       sentences

`gain` is {gain, low, high, probability_better, within_noise}, positive where the first is better
whatever the goal; its interval is as in `evomerge.report.document`. `test` is null or {name, items,
first_better, second_better, p_value}. What is unknown is null. Numbers are not rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evomerge.report.comparison import Comparison, Contrast, TestName
from evomerge.report.table import number

FORMAT = "evomerge-comparison/1"
_TITLES: Mapping[TestName, str] = {
    "mcnemar": "McNemar",
    "sign flips, exact": "sign flips",
    "sign flips, drawn": "drawn signs",
}


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as a JSON document."""
    return {
        "format": FORMAT,
        "first": comparison.first,
        "second": comparison.second,
        "split": comparison.split,
        "confidence": comparison.confidence,
        "objectives": [_contrast(one) for one in comparison.contrasts],
        "mean": None if comparison.mean is None else _contrast(comparison.mean),
        "notes": list(comparison.notes),
    }


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison: one row an objective, then what a reader must know."""
    items = "hold-out" if comparison.split == "holdout" else comparison.split
    console.print(
        f"{comparison.first} against {comparison.second} on {items} items; + says that "
        f"{comparison.first} is better",
        highlight=False,
    )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    for title in (comparison.first, comparison.second):
        table.add_column(Text(title), justify="right")
    interval = f"gain\n{comparison.confidence:.0%} interval"
    for title, width in ((interval, 14), ("better\n: worse", 12), ("p", 11), ("p\n(Holm)", 6)):
        table.add_column(Text(title), justify="right", min_width=width)
    for one in comparison.contrasts:
        table.add_row(*_cells(one))
    if comparison.mean is not None:
        table.add_section()
        table.add_row(*_cells(comparison.mean))
    console.print(table, highlight=False)
    for note in comparison.notes:
        console.print(Text(note, style="dim"))


def _cells(one: Contrast) -> list[str]:
    gain, test = one.gain, one.test
    text = f"{gain.gain:+.3f}"
    if gain.low is not None and gain.high is not None:
        text += f"\n{gain.low:+.3f}..{gain.high:+.3f}"
    cells = [one.name, number(one.first), number(one.second), text]
    if test is None:
        return [*cells, "", "no test", ""]
    return [
        *cells,
        f"{test.first_better} : {test.second_better}\nof {test.n_items} items",
        f"{_probability(test.p_value)}\n{_TITLES[test.name]}",
        "" if one.holm is None else _probability(one.holm),
    ]


def _probability(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.0e}"


def _contrast(one: Contrast) -> dict[str, Any]:
    gain, test = one.gain, one.test
    return {
        "name": one.name,
        "first": one.first,
        "second": one.second,
        "gain": {
            "gain": gain.gain,
            "low": gain.low,
            "high": gain.high,
            "probability_better": gain.probability_better,
            "within_noise": gain.within_noise,
        },
        "test": None
        if test is None
        else {
            "name": test.name,
            "items": test.n_items,
            "first_better": test.first_better,
            "second_better": test.second_better,
            "p_value": test.p_value,
        },
        "holm": one.holm,
    }
