"""Populations rebuilt from a journal are those their optimizers had."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest

from evomerge.errors import JournalError, PluginError
from evomerge.journal import Journal, read_events
from evomerge.optimizers.archives.watch import NicheMap
from evomerge.report.populations.population import (
    Population,
    population_document,
    populations,
    stretches,
)
from evomerge.report.populations.text import population_lines
from tests.report.populations import GRIDS, M2N2, TASKS, write_population


@pytest.fixture(scope="module")
def natural(tmp_path_factory):
    """An M2N2 run of 70 trials, and what it did."""
    run = tmp_path_factory.mktemp("natural") / "run"
    return run, write_population(run, M2N2, 70)


@pytest.fixture(scope="module")
def gridded(tmp_path_factory):
    """A run of grids in which one objective is minimised, and what it did."""
    run = tmp_path_factory.mktemp("gridded") / "run"
    return run, write_population(run, GRIDS, 70, goals={"copy": "minimize"}, bins=5)


def completed(done):
    return [trial for trial in done.trials if trial.costs is not None]


def matrix(done, numbers):
    """Scores of all examples, one row a trial."""
    rows = [[s for name in TASKS for s in done.examples[n][name].values()] for n in numbers]
    return np.array(rows)


def test_natural_niches_are_those_the_search_ended_with(natural):
    run, done = natural
    (population,) = populations(run, read_events(run))
    (found,) = population.maps
    assert [niche.trial for niche in found.niches] == done.optimizer.archive.numbers
    assert found.champion == done.optimizer.archive.champion.number
    assert population.examples == dict.fromkeys(TASKS, 24)
    assert population.history == ()


def test_examples_are_held_by_who_scores_highest_on_them(natural):
    run, done = natural
    (population,) = populations(run, read_events(run))
    (found,) = population.maps
    numbers = [niche.trial for niche in found.niches]
    scores = matrix(done, numbers)
    taken = scores.sum(axis=0)
    fitness = [niche.quality for niche in found.niches]
    # there is 1 of the 24 examples of each task, so that tasks weigh alike
    shared = (scores / np.where(taken > 0, taken, 1)).sum(axis=1) / 24
    assert fitness == pytest.approx(shared)
    counts = {number: dict.fromkeys(TASKS, 0) for number in numbers}
    for column in range(scores.shape[1]):
        holders = np.flatnonzero(scores[:, column] == scores[:, column].max())
        if taken[column] > 0:
            owner = max(holders, key=lambda place: fitness[place])
            counts[numbers[owner]][TASKS[column // 24]] += 1
    assert population.holdings == counts
    assert found.filled == sum(taken > 0)
    assert [niche.holds for niche in found.niches] == [sum(counts[n].values()) for n in numbers]


def test_history_is_a_moment_a_finished_trial(natural):
    run, done = natural
    (population,) = populations(run, read_events(run), history=True)
    (moments,) = population.history
    assert [moment.n_trials for moment in moments] == list(range(1, 71))
    assert moments[-1].filled == population.maps[0].filled
    best, expected = -np.inf, []
    for trial in done.trials:  # as they finished
        if trial.costs is not None:
            best = max(best, matrix(done, [trial.number]).mean())
        expected.append(best)
    assert [moment.best for moment in moments] == pytest.approx(expected)


def test_grids_hold_the_best_of_each_cell(gridded):
    run, done = gridded
    (population,) = populations(run, read_events(run))
    assert [one.name for one in population.maps] == list(TASKS)
    signs = {"sort": 1, "copy": -1, "count": 1}
    for one in population.maps:
        others = [name for name in TASKS if name != one.name]
        best = {}
        for trial in sorted(completed(done), key=lambda trial: trial.number):
            metrics = trial.outcome.metrics
            unit = [(metrics[name] - 0.1) / 0.7 for name in others]
            cell = tuple(int(np.clip(np.floor(5 * u + 1e-9), 0, 4)) for u in unit)
            quality = signs[one.name] * metrics[one.name]
            if cell not in best or quality > best[cell][0]:
                best[cell] = (quality, trial.number)
        assert {niche.cell: (niche.quality, niche.trial) for niche in one.niches} == best
        assert one.filled == len(best)
    assert population.holdings == {}
    assert population.examples == {}


def test_coverage_of_grids_never_shrinks(gridded):
    run, _ = gridded
    (population,) = populations(run, read_events(run), history=True)
    for one, moments in zip(population.maps, population.history, strict=True):
        assert all(a.filled <= b.filled for a, b in pairwise(moments))
        assert moments[-1].best == max(niche.quality for niche in one.niches)


def test_examples_are_read_only_where_archives_need_them(gridded, natural, tmp_path):
    for source, needed in ((gridded[0], False), (natural[0], True)):
        run = tmp_path / source.parent.name
        shutil.copytree(source, run)
        shutil.rmtree(run / "examples")
        if not needed:
            assert populations(run, read_events(run)) == populations(source, read_events(source))
            continue
        with pytest.raises(JournalError, match="restore the file"):
            populations(run, read_events(run))


def test_a_repeated_recipe_has_the_examples_of_its_twin(tmp_path):
    run = tmp_path / "run"
    write_population(run, M2N2, 6, fails=lambda number: False)
    (before,) = populations(run, read_events(run))
    with Journal(run) as journal:
        genotype = ["mix", 1, 0, "at", 240, 1.0]
        twin = next(e for e in journal.events if e.kind == "finished" and e.trial == 0).payload
        journal.append("asked", {"genotype": genotype, "origin": "m2n2"}, trial=6)
        journal.append("finished", {**twin, "same_as": 0}, trial=6)
        (after,) = populations(run, read_events(run))  # while the journal is open
    assert {niche.trial for niche in after.maps[0].niches} >= {6}
    assert after.maps[0].filled == before.maps[0].filled


def test_other_examples_than_before_are_one_line(tmp_path):
    run = tmp_path / "run"
    write_population(run, M2N2, 6, fails=lambda number: False)
    with Journal(run) as journal:
        metrics = dict.fromkeys(TASKS, 0.0)
        file = journal.write_examples("odd", {name: {"other": 1.0} for name in TASKS})
        genotype = ["mix", 1, 0, "at", 240, 1.0]
        journal.append("asked", {"genotype": genotype, "origin": "m2n2"}, trial=6)
        journal.append("finished", {"metrics": metrics, "examples": file}, trial=6)
    with pytest.raises(JournalError, match="trial 6: "):
        populations(run, read_events(run))


def test_each_stage_has_a_population_of_its_own(tmp_path):
    run = tmp_path / "run"
    done = write_population(run, M2N2, 12, stages=2)
    events = read_events(run)
    parts = list(stretches(events))
    assert [(part.label, part.first, part.n_asked) for part in parts] == [
        ("part0", 0, 12),
        ("part1", 12, 12),
    ]
    first, second = populations(run, events)
    assert (first.label, second.label) == ("part0", "part1")
    assert [niche.trial for niche in second.maps[0].niches] == done.optimizer.archive.numbers
    assert max(niche.trial for niche in first.maps[0].niches) < 12


def test_nothing_to_watch_is_no_population(tmp_path):
    assert populations(tmp_path, []) == ()
    run = tmp_path / "run"
    opening = {
        "study": {"search": {"optimizer": "random", "scalarize": None}, "budget": {"trials": 3}},
        "folder": str(tmp_path),
        "objectives": {"one": "maximize"},
    }
    with Journal(run, create=True) as journal:
        journal.append("opened", opening)
    assert populations(run, read_events(run)) == ()


def test_a_plug_in_that_is_gone_is_named(gridded, monkeypatch):
    run, _ = gridded
    monkeypatch.delattr("tests.report.populations.Grids")
    with pytest.raises(PluginError, match="Grids"):
        populations(run, read_events(run))


def test_lines_say_who_holds_what(natural, gridded):
    run, done = natural
    (population,) = populations(run, read_events(run))
    (found,) = population.maps
    first, second = population_lines(population, {})
    assert first.startswith("  niches    ")
    assert f"{len(found.niches)} members hold {found.filled} of 72 examples" in first
    assert f"best trial {found.champion}" in first
    biggest = max(found.niches, key=lambda niche: (niche.holds, -niche.trial))
    assert second.startswith(f"            trial {biggest.trial} holds {biggest.holds} (")

    run, done = gridded
    (population,) = populations(run, read_events(run))
    metrics = {trial.number: trial.outcome.metrics for trial in completed(done)}
    lines = list(population_lines(population, metrics))
    lowest = min(value["copy"] for value in metrics.values())
    assert f"best {lowest:.3g} by trial" in lines[1]  # in the user's sign
    assert (
        f"best {lowest:.3g} (an estimate) by trial"
        in [*population_lines(population, metrics, metrics.keys())][1]
    )
    assert all(" of 25 cells, " in line and " clipped" in line for line in lines)


def test_lines_of_an_archive_nobody_is_in():
    empty = Population("late", (NicheMap("sort", (), 9, 0, axes=("copy",), bins=(9,)),), {}, {})
    assert list(population_lines(empty, {})) == [
        "  niches    late: sort: 0 of 9 cells, 0 %; nobody yet"
    ]


def test_documents_are_json_data(natural, gridded):
    for run, _ in (natural, gridded):
        (population,) = populations(run, read_events(run))
        document = json.loads(json.dumps(population_document(population), allow_nan=False))
        assert [one["name"] for one in document["maps"]] == [one.name for one in population.maps]
        assert document["maps"][0]["coverage"] == population.maps[0].coverage
