"""The HTML page: holds the data, loads nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from evomerge.report import save_html
from evomerge.report.front import Stopped
from evomerge.report.interactive import hover_text
from evomerge.report.stopped_marks import stopped_in_plane, stopped_over_trials
from evomerge.types import Objective
from tests.report.fronts import limited, make_front, make_row

FETCHING = {"src", "href", "data", "action", "srcset", "poster"}


class Page(HTMLParser):
    """Collects what a page would fetch, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.scripts: list[str] = []
        self.policy = ""
        self._in_script = False

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.fetched += [
            f"{tag} {value}"
            for key, value in attrs
            if key in FETCHING and not value.startswith("#")
        ]
        if named.get("http-equiv") == "Content-Security-Policy":
            self.policy = named["content"]
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in_script = False

    def handle_data(self, data):
        if self._in_script:
            self.scripts[-1] += data


def figures_in(path):
    """Return the figures of a page, as plotly is given them."""
    found = re.findall(
        r'<script type="application/json" data-of="([^"]+)">(.*?)</script>',
        path.read_text(encoding="utf-8"),
    )
    return {name: json.loads(content) for name, content in found}


def read(path):
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def test_nothing_is_fetched(any_front, tmp_path):
    save_html(any_front, tmp_path / "front.html")
    page = read(tmp_path / "front.html")
    assert page.fetched == []
    assert page.policy.startswith("default-src 'none'")
    assert "http" not in page.policy
    library, *own = sorted(page.scripts, key=len, reverse=True)
    assert len(library) > 1_000_000  # plotly.js itself; what is ours names no address
    assert not any("://" in script for script in own if "plotly" not in script[:200].lower())


def test_data_is_in_the_page(any_front, tmp_path):
    save_html(any_front, tmp_path / "front.html")
    text = (tmp_path / "front.html").read_text(encoding="utf-8")
    data = json.dumps(figures_in(tmp_path / "front.html"))
    for row in any_front.rows:
        assert f"<b>{row.name}</b>" in data
        assert f'data-name="{row.name}"' in text
        assert f"{row.holdout[any_front.objectives[0].name]:.3f} [" in data
    assert "within noise" in data
    assert "winner&#x27;s curse" in text


def test_hover_says_how_sure_a_member_is(front, analysis, tmp_path):
    save_html(front, tmp_path / "front.html")
    text = (tmp_path / "front.html").read_text(encoding="utf-8")
    threatened = 0
    for row in analysis.members:
        assert f"P(front) {row.on_front:.2f}" in hover_text(row, analysis)
        assert f"P(front) {row.on_front:.2f}" in text
        rival = row.dominated_by
        assert ("probably dominated by" in hover_text(row, analysis)) == (rival is not None)
        if rival is not None:
            threatened += 1
            expected = f"probably dominated by {rival.name} ({rival.probability:.2f})"
            assert expected in hover_text(row, analysis)
    assert threatened
    assert "P(front)" not in hover_text(analysis.baselines[0], analysis)


def test_rows_in_one_place_are_named_together(tmp_path):
    scores = {"a": 0.5, "b": 0.5}
    rows = [make_row(name, scores) for name in ("uniform", "single-lambda 0.5", "base", "trial 1")]
    save_html(make_front(*rows, make_row("trial 2", {"a": 0.6, "b": 0.4})), tmp_path / "front.html")
    (figure,) = figures_in(tmp_path / "front.html").values()
    texts = {trace["name"]: trace["text"] for trace in figure["data"]}
    assert texts["other baseline"] == ["single-lambda 0.5, uniform", ""]
    assert texts["base"] == ["base"]
    assert texts["front"] == ["trial 1", "trial 2"]


def test_who_stopped_on_a_rung_is_drawn_with_the_interval_of_its_estimate():
    objectives = (Objective("<a>"), Objective("b", "minimize"))
    stopped = (
        Stopped(4, {"<a>": 0.5, "b": 3.0}, {"<a>": 0.1}),
        Stopped(9, {"<a>": 0.2, "b": 1}, {}),
    )
    trace = stopped_in_plane(stopped, objectives, "<a>", "b")
    assert (list(trace.x), list(trace.y)) == ([0.5, 0.2], [3.0, 1])
    assert list(trace.error_x.array) == pytest.approx([0.196, 0.0], abs=1e-4)
    assert list(trace.error_y.array) == [0.0, 0.0]
    assert trace.customdata[0].split("<br>") == [
        "<b>trial 4</b>, stopped on a rung",
        "&lt;a&gt;: 0.500 [0.304, 0.696], estimated",
        "b: 3.000",
    ]
    over = stopped_over_trials(stopped, objectives[1], "red")
    assert (list(over.x), list(over.y)) == ([4, 9], [3.0, 1])


def test_names_are_escaped(tmp_path):
    front = make_front(
        make_row("donor:<img src=x>", {"<script>": 0.1}), objectives=(Objective("<script>"),)
    )
    save_html(front, tmp_path / "front.html")
    assert read(tmp_path / "front.html").fetched == []


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 5])
def test_sparse_fronts_make_a_page(n_objectives, tmp_path):
    names = [f"cost {n}" for n in range(n_objectives)]
    objectives = tuple(Objective(name, "minimize") for name in names)
    row = make_row("trial 1", dict.fromkeys(names, 2.0), dict.fromkeys(names, 3.0))
    for index, rows in enumerate([(row,), ()]):
        path = tmp_path / f"{index}.html"
        save_html(make_front(*rows, objectives=objectives), path)
        assert len(figures_in(path)) == {1: 1, 2: 1, 3: 3, 5: 1}[n_objectives]


def test_members_left_out_on_holdout_are_in_the_table(any_front, tmp_path):
    save_html(limited(any_front, 3), tmp_path / "front.html")
    text = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert "5 on the front, 3 of them scored on hold-out items (front.size: 3)" in text
    for row in any_front.members:
        assert f'data-pick="{row.name}"' in text
    assert text.count("<small>search ") == 2 * len(any_front.objectives)
    save_html(any_front, tmp_path / "whole.html")
    assert "front.size" not in (tmp_path / "whole.html").read_text(encoding="utf-8")
