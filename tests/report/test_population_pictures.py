"""Pictures and pages of runs: everything is drawn, nothing is fetched."""

from __future__ import annotations

import json

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from evomerge.errors import RunDirectoryError
from evomerge.journal import Journal, read_events
from evomerge.optimizers.archives.watch import Niche, NicheMap
from evomerge.report.palette import PALE, series, tint
from evomerge.report.populations.lineage_plot import colour_of, line_width
from evomerge.report.populations.lineage_tree import Individual
from evomerge.report.populations.niche_grid import axis_pairs, edges, sheet
from evomerge.report.populations.niche_page import niche_figure
from evomerge.report.populations.niche_plots import draw_niches, graded
from evomerge.report.populations.population import Population
from evomerge.report.run_report import write_report
from evomerge.types import Objective
from tests.report.populations import GRIDS, M2N2, write_population
from tests.report.test_interactive import figures_in, read
from tests.report.test_plots import has_colour

OBJECTIVES = (Objective("sort"), Objective("copy", "minimize"), Objective("count"))


def drawn(path):
    """Say whether something but white is in a picture."""
    return 0.002 < (imread(path)[:, :, :3].min(axis=2) < 0.95).mean() < 0.8


@pytest.fixture(scope="module", params=[M2N2, GRIDS])
def reported(request, tmp_path_factory):
    """The report of a run with failures."""
    folder = tmp_path_factory.mktemp("reported")
    done = write_population(
        folder / "run", request.param, 40, goals={"copy": "minimize"}, scored=True, front=3
    )
    before = dict(mpl.rcParams)
    files = write_report(folder / "run", folder / "report")
    assert dict(mpl.rcParams) == before
    return folder / "report", files, done


def test_every_file_is_there_and_drawn(reported):
    folder, files, _ = reported
    assert {"report.html", "lineage.json", "progress.png", "coverage.png", "niches.png"} < {*files}
    pictures = [name for name in files if name.endswith(".png")]
    assert any(name.startswith("lineage-") for name in pictures)
    assert all(drawn(folder / name) for name in pictures)
    assert has_colour(imread(folder / "progress.png"), series(0))
    assert not list(folder.parent.glob("*.partial"))


def test_the_page_fetches_nothing_and_holds_everything(reported):
    folder, _, done = reported
    page = read(folder / "report.html")
    assert page.fetched == []
    assert page.policy.startswith("default-src 'none'")
    assert "http" not in page.policy
    assert sum(len(script) > 1_000_000 for script in page.scripts) == 1
    assert all(len(figure["data"]) for figure in figures_in(folder / "report.html").values())
    text = (folder / "report.html").read_text(encoding="utf-8")
    for heading in ("Progress", "Coverage", "Niches", "Lineage"):
        assert f"<h2>{heading}</h2>" in text
    assert f"{len(done.trials)} trials finished" in text
    assert "RuntimeError: cause" in text


def test_roots_are_champions_and_the_front(reported):
    folder, files, done = reported
    (found,) = json.loads((folder / "lineage.json").read_text())["populations"]
    costs = {trial.number: trial.costs for trial in done.trials if trial.costs is not None}

    def dominated(number):
        mine = np.array(costs[number])
        others = (np.array(other) for other in costs.values())
        return any((other <= mine).all() and (other < mine).any() for other in others)

    assert found["front"]
    assert not any(dominated(number) for number in found["front"])
    bred = {one["trial"] for one in found["individuals"] if one["parents"]}
    shown = {int(name[8:14]) for name in files if name.startswith("lineage-")}
    assert shown <= {*found["front"], *found["champions"].values()}
    assert shown <= bred
    assert len(shown) <= 8


def test_each_stage_has_files_of_its_own(tmp_path):
    write_population(tmp_path / "run", GRIDS, 8, stages=2, front=1, tasks=("a", "b"))
    files = write_report(tmp_path / "run", tmp_path / "deep" / "report")
    assert {"niches-part0.png", "niches-part1.png", "coverage-part0.png"} <= set(files)
    document = json.loads((tmp_path / "deep" / "report" / "lineage.json").read_text())
    assert [one["part"] for one in document["populations"]] == ["part0", "part1"]


def test_a_report_is_written_once_and_not_of_nothing(tmp_path):
    write_population(tmp_path / "run", GRIDS, 8)
    (tmp_path / "taken").mkdir()
    with pytest.raises(RunDirectoryError, match="exists already"):
        write_report(tmp_path / "run", tmp_path / "taken")
    with Journal(tmp_path / "new", create=True) as journal:
        journal.append("opened", {})
    with pytest.raises(RunDirectoryError, match="no trial is finished yet"):
        write_report(tmp_path / "new", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_run_whose_every_trial_failed_is_drawn(tmp_path):
    run = tmp_path / "run"
    write_population(run, GRIDS, 3, fails=lambda number: True)
    with Journal(tmp_path / "failed", create=True) as journal:
        for event in read_events(run):
            payload = event.payload
            if event.kind == "finished":
                payload = {"failed": "error", "message": "cursed", "traceback": ""}
            journal.append(event.kind, payload, trial=event.trial)
    files = write_report(tmp_path / "failed", tmp_path / "report")
    assert "niches.png" not in files
    assert drawn(tmp_path / "report" / "progress.png")


def archive(n_axes, *, bins, n=30, name="sort"):
    """An archive of random members; with bins these are in distinct cells."""
    rng = np.random.default_rng(n_axes)
    axes = tuple(f"m{k}" for k in range(n_axes))
    niches, taken = [], set()
    for trial in range(n):
        measures = tuple(rng.random(n_axes).tolist())
        cell = tuple(int(4 * value) for value in measures) if bins else None
        if cell is None or cell not in taken:
            taken.add(cell)
            niches.append(Niche(trial, float(rng.random()), measures=measures, cell=cell))
    grid = (4,) * n_axes if bins else ()
    bounds = ((0.0, 1.0),) * n_axes
    return NicheMap(name, tuple(niches), 4**n_axes, len(niches), axes, bounds, grid, clipped=2)


@pytest.mark.parametrize("bins", [True, False])
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_archives_of_any_kind_are_drawn(n_axes, bins, tmp_path):
    population = Population("", (archive(n_axes, bins=bins, name="copy"),), {}, {})
    path = tmp_path / "niches.png"
    assert draw_niches(population, OBJECTIVES, path, {3: "<b>$x$"}, {})
    assert drawn(path)
    figure = niche_figure(population, OBJECTIVES, {3: "<b>$x$"}, {})
    assert len(figure.data) == max(1, n_axes * (n_axes - 1) // 2)
    assert "<b>$x$" not in figure.to_json()


def test_empty_archives_are_not_drawn(tmp_path):
    population = Population("", (NicheMap("sort", (), 9, 0, axes=("copy",), bins=(9,)),), {}, {})
    assert not draw_niches(population, OBJECTIVES, tmp_path / "niches.png", {}, {})
    assert niche_figure(population, OBJECTIVES, {}, {}) is None


@given(
    st.dictionaries(
        st.tuples(*[st.integers(0, 2)] * 3), st.integers(-3, 3).map(float), min_size=1, max_size=27
    )
)
def test_a_sheet_is_the_best_over_the_other_measures(cells):
    niches = tuple(
        Niche(trial, quality, measures=(0.0,) * 3, cell=cell)
        for trial, (cell, quality) in enumerate(cells.items())
    )
    one = NicheMap(
        "q", niches, 27, len(cells), ("a", "b", "c"), ((0.0, 3.0), (1.0, 4.0), (0.0, 1.0)), (3,) * 3
    )
    assert axis_pairs(one) == [(0, 1), (0, 2), (1, 2)]
    for x, y in axis_pairs(one):
        found = sheet(one, x, y)
        for column in range(3):
            for row in range(3):
                here = [n for n in niches if (n.cell[x], n.cell[y]) == (column, row)]
                if not here:
                    assert np.isnan(found.quality[row, column])
                    assert found.trials[row, column] == -1
                    continue
                best = max(here, key=lambda niche: (niche.quality, -niche.trial))
                assert found.quality[row, column] == best.quality
                assert found.trials[row, column] == best.trial
    assert edges(one, 1).tolist() == [1.0, 2.0, 3.0, 4.0]


def test_columns_are_graded_from_their_worst_to_their_best():
    table = np.array([[0.2, 5.0, 1.0], [0.6, 1.0, 1.0], [0.4, 3.0, 1.0]])
    expected = [[0.0, 0.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 0.5]]
    assert graded(table, [1.0, -1.0, 1.0]) == pytest.approx(np.array(expected))


def test_colours_say_who_has_the_largest_share():
    def of(shares):
        one = Individual(0, "", None, (), 1, None, False, shares, False, None, None)
        names = tuple(shares)

        class Tree:
            founders = names

        return colour_of(one, Tree)

    assert of({"a": 1.0, "b": 0.0}) == series(0)
    assert of({"a": 0.0, "b": 1.3}) == series(1)
    assert of({"a": 0.5, "b": 0.5}) == tint(series(0), 0.15)
    assert of({"only": 1.0}) == series(0)
    assert tint(series(3), 0.0) == PALE
    assert tint(series(3), 2.0) == series(3)
    assert line_width(-0.5) == line_width(0.5) < line_width(1.0) == line_width(1.7)
