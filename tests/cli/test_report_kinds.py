"""Reports of every kind of search, as a browser shows them on a laptop, light and dark."""

from __future__ import annotations

import pytest
import torch

from evomerge.report.run_report import write_report
from evomerge.study import read_study, start_run
from tests.report import browser
from tests.report.populations import GRIDS, M2N2, write_population

LAPTOP = 1280
STUDY = """
name: night-of-{name}
seed: 3
models: {{base: "zoo:base", donors: {{flip: "zoo:flip", sort: "zoo:sort-up"}}}}
space: {space}
objectives:
  flip: {{fitness: negative_log_likelihood, search: "zoo:flip.search.jsonl",
         holdout: "zoo:flip.holdout.jsonl", limit: 16}}
  sort: {{fitness: negative_log_likelihood, search: "zoo:sort_up.search.jsonl",
         holdout: "zoo:sort_up.holdout.jsonl", limit: 16}}
search: {{optimizer: random}}
budget: {{trials: 32}}
front: {{size: 4, lambdas: [0.5]}}
workers: {{backend: inline, threads: 1}}
{more}
"""
SEARCHES = {
    "paths": ("depthwise", ""),
    "rungs": ("task_arithmetic", "rungs: {items: [4, 8], promote: 0.4}"),
}
HEADINGS = {
    "paths": ["Front", "Progress", "Importance of genes", "Genes and scores", "Layer paths"],
    "rungs": ["Front", "Progress", "Genes and scores", "Weights by layer"],  # few are measured
    "archives": ["Progress", "Coverage", "Niches", "Lineage"],
    "examples": ["Progress", "Coverage", "Niches", "Lineage"],
}


@pytest.fixture(scope="module", params=HEADINGS)
def reported(request, tmp_path_factory):
    """A kind of search, and its report."""
    kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    if kind in SEARCHES:
        torch.set_num_threads(1)
        space, more = SEARCHES[kind]
        study = read_study(STUDY.format(name=kind, space=space, more=more), "study.yaml")
        start_run(study, folder, folder / "run")
    else:
        optimizer = {"archives": GRIDS, "examples": M2N2}[kind]
        write_population(folder / "run", optimizer, 40, scored=True, front=3)
    write_report(folder / "run", folder / "report", ("html",))
    return kind, folder / "report" / "report.html"


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_drawn_without_complaint(reported, tab, tmp_path, dark):
    kind, page = reported
    figures = browser.require_drawn(tab, page, LAPTOP, tmp_path / "page.png", dark=dark)
    sections = tab.run(
        "[...document.querySelectorAll('section')].filter(one => one.querySelector('.plot'))"
        ".map(one => one.querySelector('h2').innerText)"
    )
    assert sections == HEADINGS[kind]
    CHECKS.get(kind, lambda tab, figures: None)(tab, figures)


def drawn_path(tab, figures):
    """Every hop of the first member is a square on the lane of its donor; both have a lane."""
    (name,) = (name for name, one in figures.items() if "bar" in {t["type"] for t in one["data"]})
    shown = figures[name]["data"][0]
    squares = f"document.querySelectorAll('#{name} .scatterlayer .point').length"
    assert tab.run(squares) == len(shown["x"]) >= 4
    lanes = f"[...document.querySelectorAll('#{name} .ytick text')].map(one => one.textContent)"
    assert {"flip", "sort"} <= set(tab.run(lanes))
    numbers = f"[...document.querySelectorAll('#{name} .textpoint')].map(one => one.textContent)"
    assert tab.run(numbers) == shown["text"]


def drawn_estimates(tab, figures):
    """Who stopped on a rung is a diamond with its interval, on the front and over the trials."""
    for objective in ("flip", "sort"):
        (name,) = (
            name
            for name, one in figures.items()
            if one["layout"]["yaxis"].get("title", {}).get("text", "").startswith(objective)
            and one["layout"]["xaxis"]["title"]["text"] == "trial"
        )
        (place, stopped) = next(
            (place, trace)
            for place, trace in enumerate(figures[name]["data"])
            if trace["name"] == "stopped on a rung: estimate"
        )
        traces = f"document.querySelectorAll('#{name} .scatterlayer .trace')[{place}]"
        assert tab.run(f"{traces}.querySelectorAll('.point').length") == len(stopped["x"]) > 8
        assert tab.run(f"{traces}.querySelectorAll('.yerror').length") > 8


CHECKS = {"paths": drawn_path, "rungs": drawn_estimates}
