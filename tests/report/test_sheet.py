"""The columns of the CSV that say how sure the front is."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from evomerge.report import analyse
from evomerge.report.sheet import to_csv
from tests.report.fronts import make_front, make_row


def lines_of(analysis):
    return {line["name"]: line for line in csv.DictReader(io.StringIO(to_csv(analysis)))}


def test_probabilities_read_back_exactly(analysis):
    lines = lines_of(analysis)
    assert any(row.dominated_by for row in analysis.members)
    for row in analysis.members:
        line = lines[row.row.name]
        assert float(line["p_front"]) == row.on_front
        if row.dominated_by is None:
            assert (line["dominated_by"], line["p_dominated"]) == ("", "")
        else:
            assert line["dominated_by"] == row.dominated_by.name
            assert float(line["p_dominated"]) == row.dominated_by.probability
    for row in analysis.baselines:
        assert lines[row.row.name]["p_front"] == ""


def test_what_is_unknown_is_empty():
    (line,) = lines_of(analyse(make_front(make_row("trial 1", {"a": 0.5})))).values()
    assert (line["p_front"], line["dominated_by"], line["p_dominated"]) == ("", "", "")


def test_trials_with_the_scores_of_a_member_are_named():
    row = replace(make_row("trial 1", {"a": 0.5}), equals=(4, 7))
    lines = lines_of(analyse(make_front(row, make_row("base", {"a": 0.4}))))
    assert (lines["trial 1"]["equals"], lines["base"]["equals"]) == ("4 7", "")
