"""The report of a real run, against its journal, and as a browser shows it."""

from __future__ import annotations

import html
import json
import re
import sqlite3
import sys
from collections import Counter

import numpy as np
import pytest
import yaml
from matplotlib.image import imread
from pymoo.indicators.hv import HV

from evomerge.cli.app import main
from evomerge.journal import Journal, read_events
from evomerge.report.run_report import write_report
from evomerge.study import load_study
from evomerge.study.run import start_run
from tests.report import browser as browsers
from tests.report.test_interactive import figures_in, read

FITNESS = '''
def near(model):
    """The distance from the base; what is far fails."""
    found = model.delta()
    share = found.l2 / found.base_l2
    if share > 2.5:
        raise ValueError(f"share {share:.4f} is too far from the base")
    return share
'''
N_TRIALS = 44


@pytest.fixture(scope="module")
def run(models, tmp_path_factory):
    """A finished run of two objectives some of whose trials failed."""
    folder = tmp_path_factory.mktemp("reported")
    (folder / "own.py").write_text(FITNESS)
    for split, digits in (("search", "123456"), ("holdout", "789")):
        rows = [{"prompt": f"say {d}:", "answer": d} for d in digits]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    nll = {"fitness": "negative_log_likelihood", "search": "search.jsonl"}
    study = {
        "name": "night-of-tests",
        "seed": 5,
        "models": {
            "base": str(models / "base"),
            "donors": {"first": str(models / "first"), "second": str(models / "second")},
        },
        "space": "task_arithmetic",
        "objectives": {
            "likely": nll | {"holdout": "holdout.jsonl"},
            "near": {"fitness": "./own.py:near", "goal": "minimize"},
        },
        "search": {"optimizer": "random"},
        "budget": {"trials": N_TRIALS},
        "workers": {"backend": "inline", "threads": 1, "retries": 0},
        "front": {"lambdas": [0.5], "size": 4},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    start_run(load_study(folder / "study.yaml"), folder, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def report(run):
    """Its report in every format."""
    out = run.parent / "report"
    return out, write_report(run, out, ("html", "md", "png", "svg"))


@pytest.fixture(scope="module")
def rows(run):
    """The journal as SQLite has it: kind, trial, payload, timing."""
    with sqlite3.connect(run / "journal.sqlite") as database:
        found = database.execute("SELECT kind, trial, payload, timing FROM event ORDER BY seq")
        rows = [(kind, trial, json.loads(a), json.loads(b)) for kind, trial, a, b in found]
    database.close()
    return rows


def metrics_of(rows):
    return {
        trial: payload["metrics"]
        for kind, trial, payload, _ in rows
        if kind == "finished" and "metrics" in payload
    }


def text_of(page):
    """Return what a reader reads of a page."""
    seen = re.sub(r"(?s)<(script|style).*?</\1>", "", page)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", seen)))


def test_every_format_is_written(report):
    out, files = report
    assert {"report.html", "report.md"} <= set(files)
    drawn = {name.rpartition(".")[0] for name in files if name.endswith(".png")}
    assert {"front", "progress", "importance", "genes"} < drawn
    assert drawn == {name.rpartition(".")[0] for name in files if name.endswith(".svg")}
    for name in files:
        if name.endswith(".png"):
            pixels = imread(out / name)[:, :, :3].min(axis=2)
            assert 0.002 < (pixels < 0.95).mean() < 0.9, name
        elif name.endswith(".svg"):
            assert (out / name).read_text().count("<path") > 10, name


def test_counts_and_spend_are_those_of_the_journal(report, rows):
    text = text_of((report[0] / "report.html").read_text())
    outcomes = Counter("failed" in payload for kind, _, payload, _ in rows if kind == "finished")
    assert outcomes[True] > 2
    assert f"{N_TRIALS} trials finished, {outcomes[True]} of them failed" in text
    n_scored = sum("examples" in p and "same_as" not in p for k, _, p, _ in rows if k == "finished")
    assert n_scored > 30
    assert f"items scored by the search {6 * n_scored} " in text
    merging = sum(timing.get("merge_s", 0) for kind, _, _, timing in rows if kind == "finished")
    shown = re.search(r"search: merging (\S+) s ", text).group(1)
    assert float(shown) == pytest.approx(merging, abs=0.5)
    stopped = next(payload for kind, _, payload, _ in rows if kind == "stopped")
    assert f"The search is over ({stopped['reason']})." in text


def test_hypervolume_is_that_of_pymoo(report, rows):
    metrics = metrics_of(rows)
    origins = {trial: payload["origin"] for kind, trial, payload, _ in rows if kind == "asked"}
    known = {origins[n].removeprefix("seed:"): m for n, m in metrics.items()}
    names = [("likely", 1.0), ("near", 1.0)]
    goals = rows[0][2]["objectives"]
    signs = np.array([-1.0 if goals[name] == "maximize" else 1.0 for name, _ in names])

    def costs(found):
        return signs * np.array([found[name] for name, _ in names])

    zero = costs(known["base"])
    donors = np.array([costs(known[name]) for name in ("first", "second")])
    one = donors.min(axis=0)
    worse = one >= zero  # no donor beats the base there: 0 = worst donor, 1 = base
    assert worse.any()
    zero, one = np.where(worse, donors.max(axis=0), zero), np.where(worse, zero, one)
    scaled = np.array([(costs(metrics[n]) - zero) / (one - zero) for n in sorted(metrics)])
    measure = HV(ref_point=np.array([0.1, 0.1]))
    expected = [measure(-scaled[: count + 1]) for count in range(len(scaled))]
    figures = figures_in(report[0] / "report.html").values()
    (shown,) = (
        one
        for one in figures
        if one["layout"].get("yaxis", {}).get("title", {}).get("text") == "hypervolume so far"
    )
    assert shown["data"][0]["x"] == sorted(metrics)
    assert shown["data"][0]["y"] == pytest.approx(expected, abs=1e-9)


def test_every_row_has_its_recipe_and_how_to_rebuild_it(report, run, rows):
    page = (report[0] / "report.html").read_text()
    members = re.findall(r'<article data-name="trial (\d+)"', page)
    costs = {n: (one["likely"], one["near"]) for n, one in metrics_of(rows).items()}
    assert set(map(int, members)) == {
        trial
        for trial, own in costs.items()
        if not any(a <= own[0] and b <= own[1] and (a, b) != own for a, b in costs.values())
        and not any(costs[earlier] == own for earlier in costs if earlier < trial)
    }
    assert len(members) > 4
    assert "4 of them scored on hold-out items (front.size: 4)" in page
    assert len(re.findall(r"<article data-name", page)) == len(members) + 5
    assert page.count("merge_method: task_arithmetic") >= len(members)
    for number in members:
        assert f"evomerge export merged/ --trial {number} --run {run}" in page
        again = f"evomerge export merged-{number}/ --trial {number} --run run\n"
        assert again in (report[0] / "report.md").read_text()
    assert len(re.findall(r"<article[^>]* hidden>", page)) == len(members) + 4


def test_failures_are_grouped_with_an_example(report, rows):
    text = text_of((report[0] / "report.html").read_text())
    failed = [(n, p["message"]) for k, n, p, _ in rows if k == "finished" and "failed" in p]
    assert f"error {len(failed)} " in text
    assert "share … is too far from the base" in text
    assert failed[0][1].splitlines()[0] in text


def test_models_data_and_libraries_are_identified(report, rows):
    opening = rows[0][2]
    for name in ("report.html", "report.md"):
        text = (report[0] / name).read_text()
        for digest in opening["inputs"].values():
            assert digest in text
        assert opening["versions"]["torch"] in text
    assert "Seed 5." in (report[0] / "report.md").read_text()


def test_markdown_holds_hold_out_scores_and_well_formed_tables(report, run, rows):
    text = (report[0] / "report.md").read_text()
    assert text.startswith("## night-of-tests\n")
    assert str(run.parent) not in text
    assert "| first | local model |" in text
    holdout = {
        p["name"]: p["metrics"] for k, _, p, _ in rows if k == "scored" and p["split"] == "holdout"
    }
    assert f"{holdout['base']['likely']:.3f}" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(columns) == 1


def test_the_page_fetches_nothing(report):
    page = read(report[0] / "report.html")
    assert page.fetched == []
    assert page.policy.startswith("default-src 'none'")


def call(capsys, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["evomerge", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, *capsys.readouterr()


def test_formats_are_checked(run, tmp_path, capsys, monkeypatch):
    out = tmp_path / "report"
    code, _, err = call(capsys, monkeypatch, "report", run, "--out", out, "--format", "html,pdf")
    assert code == 2
    assert err.startswith("evomerge: --format html,pdf: 'pdf' is no format; ")
    assert not out.exists()
    code, text, err = call(capsys, monkeypatch, "report", run, "--out", out, "--format", "md")
    assert (code, text, err) == (0, f"wrote {out / 'report.md'}\n", "")
    assert [path.name for path in out.iterdir()] == ["report.md"]


@pytest.mark.parametrize("running", [True, False])
def test_a_run_that_is_not_over_has_a_report_that_says_so(run, tmp_path, running):
    """Copy the beginning of the run, as a kill leaves it."""
    journal = Journal(tmp_path / "run", create=True)
    for event in read_events(run)[:40]:
        journal.append(event.kind, event.payload, trial=event.trial, timing=event.timing)
    (tmp_path / "run" / "examples").symlink_to(run / "examples")
    if not running:
        journal.__exit__(None, None, None)
        with sqlite3.connect(tmp_path / "run" / "journal.sqlite") as database:
            database.execute("UPDATE session SET ended_at = NULL, ended_because = NULL")
        database.close()
    write_report(tmp_path / "run", tmp_path / "report", ("html", "md"))
    if running:
        journal.__exit__(None, None, None)
    text = text_of((tmp_path / "report" / "report.html").read_text())
    assert ("The run is still running" if running else "The run was killed") in text
    assert "nothing is scored on hold-out items yet" in text
    assert "### Scores" not in (tmp_path / "report" / "report.md").read_text()


def test_a_run_whose_models_are_gone_shows_the_rest(run, tmp_path):
    with Journal(tmp_path / "run", create=True) as journal:
        for event in read_events(run):
            payload = json.loads(
                json.dumps(event.payload)
                .replace(str(run.parent.parent), "/gone")
                .replace('"path": "', '"path": "/gone')
            )
            journal.append(event.kind, payload, trial=event.trial, timing=event.timing)
    (tmp_path / "run" / "examples").symlink_to(run / "examples")
    files = write_report(tmp_path / "run", tmp_path / "report")
    assert "front.png" not in files
    assert {"progress.png", "importance.png"} < set(files)
    text = text_of((tmp_path / "report" / "report.html").read_text())
    assert "The front and its recipes cannot be shown: " in text
    assert "Importance of genes" in text


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_draws_the_page_without_complaint(report, tab, tmp_path, width, dark):
    page = report[0] / "report.html"
    figures = browsers.require_drawn(tab, page, width, tmp_path / "page.png", dark=dark)
    first = next(iter(figures))
    points = tab.run(f"document.querySelectorAll('#{first} .scatterlayer .point').length")
    assert points == sum(len(trace["x"]) for trace in figures[first]["data"])


def isolated(figure):
    """Return trace, point and row of the points that no other covers."""
    points = np.array([[x, y] for t in figure["data"] for x, y in zip(t["x"], t["y"], strict=True)])
    size = 0.06 * np.ptp(points, axis=0)
    for trace, one in enumerate(figure["data"]):
        for point, entry in enumerate(one["customdata"]):
            here = np.array([one["x"][point], one["y"][point]])
            if (np.abs(points - here) < size).all(axis=1).sum() == 1:
                yield trace, point, entry[1]


SHOWN = "document.querySelector('#picked article:not([hidden])')"


def test_a_click_on_a_point_shows_its_recipe(report, tab):
    tab.open(report[0] / "report.html", 1280)
    name, figure = next(iter(figures_in(report[0] / "report.html").items()))
    targets = list(isolated(figure))
    assert len({row for _, _, row in targets}) > 2
    for trace, point, row in targets:
        tab.run("document.querySelector('button[data-pick=\"uniform\"]').click()")
        tab.run(f"document.getElementById('{name}').scrollIntoView({{block: 'center'}})")
        x, y = tab.run(
            f"(() => {{ const b = document.querySelectorAll('#{name} .scatterlayer .trace')"
            f"[{trace}].querySelectorAll('.point')[{point}].getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        tab.click(x, y)
        tab.wait_for(f"{SHOWN}.dataset.name === {json.dumps(row)}")
        text = tab.run(f"{SHOWN}.innerText")
        assert text.startswith(row)
        assert "merge_method: " in text
        assert "evomerge merge recipe.yaml" in text


def test_a_name_in_the_table_shows_its_recipe(report, tab):
    tab.open(report[0] / "report.html", 390)
    tab.run("document.querySelector('button[data-pick=\"base\"]').click()")
    assert tab.run(f"{SHOWN}.dataset.name") == "base"
    assert tab.run("document.querySelector('tr.picked button').dataset.pick") == "base"


def test_a_reader_who_changes_the_theme_keeps_what_was_chosen(report, tab):
    tab.open(report[0] / "report.html", 1280)
    (name,) = (
        name
        for name, figure in figures_in(report[0] / "report.html").items()
        if figure["data"][0]["type"] == "heatmap"
    )
    visible = f"document.getElementById('{name}').data.map(t => t.visible !== false)"
    count = len(tab.run(visible))
    assert count > 1
    second = [place == 1 for place in range(count)]
    tab.run(f"Plotly.update('{name}', {{visible: {json.dumps(second)}}}).then(() => true)")
    tab.look(1280, dark=True)
    tab.wait_for(
        "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
        " === 'rgb(232, 232, 232)'"
    )
    assert tab.run(visible) == second
    assert tab.complaints == []
