"""The simulation of estimators, with few worlds, against the values it is to reproduce."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.experiments.lab import modules_of

FOLDER = Path(__file__).parents[2] / "experiments" / "evaluation_economy"
SEEDS = range(3)
SPREAD = {10: (0.25, 0.035), 20: (0.24, 0.020), 50: (0.20, 0.013), 100: (0.16, 0.012)}
"""Largest standard deviations over worlds of Spearman and of error, as 20 worlds show them."""


@pytest.fixture(scope="module")
def lab():
    with modules_of(FOLDER, "irt_simulation", "irt_tables", "irt_world") as (
        simulation,
        tables,
        world,
    ):
        yield SimpleNamespace(simulation=simulation, tables=tables, world=world)


@pytest.fixture(scope="module")
def worlds(lab):
    return {
        off: [lab.simulation.estimator_cells(lab.world.World(seed, off)) for seed in SEEDS]
        for off in (False, True)
    }


@pytest.fixture(scope="module")
def fits(lab):
    return {
        off: [lab.simulation.self_fit_cells(lab.world.World(seed, off), (5,)) for seed in SEEDS[:2]]
        for off in (False, True)
    }


def means(lab, worlds, what):
    return {
        (off, *key): values.mean()
        for off, cells in worlds.items()
        for key, values in lab.simulation.gathered(cells, what).items()
    }


@pytest.mark.parametrize("what", ["spearman", "error"])
def test_cells_are_near_the_reference(lab, worlds, what):
    reference = {"spearman": lab.tables.SPEARMAN, "error": lab.tables.ERROR}[what]
    found = means(lab, worlds, what)
    for name, spans in reference.items():
        for off, row in zip((False, True), spans, strict=True):
            for n, expected in zip(lab.simulation.SIZES, row, strict=True):
                if expected is None:
                    continue
                # Three standard errors of a difference between 3 worlds and 20.
                slack = 3 * SPREAD[n][what == "error"] * np.sqrt(1 / len(SEEDS) + 1 / 20)
                if what == "error" and name.startswith("entropy: mean"):
                    slack *= 3  # its bias differs from world to world
                assert found[off, name, n] == pytest.approx(expected, abs=slack), (name, off, n)


def test_what_the_estimators_are_for(lab, worlds):
    ranking, error = means(lab, worlds, "spearman"), means(lab, worlds, "error")
    cells = [(off, n) for off in (False, True) for n in lab.simulation.SIZES]
    # Paired on the same worlds: 20 of them give gmp - mean a standard error of at most 0.011.
    gained = np.mean([ranking[off, "gmp-IRT", n] - ranking[off, "mean", n] for off, n in cells])
    assert gained > -0.02
    shared = [ranking[off, "mean", n] - ranking[off, "mean, fresh subsets", n] for off, n in cells]
    assert np.mean(shared) > 0
    for n in (10, 20, 50):
        assert error[False, "mp-IRT, MAP", n] < 0.8 * error[False, "mean", n] + 0.005
    covered = means(lab, worlds, "coverage")
    for off, n in cells:
        assert covered[off, "p-IRT, MAP", n] > 0.88
        assert covered[off, "gmp-IRT", n] > 0.88


def test_a_self_fit_calibrates_and_ranks_alike(lab, fits):
    ranking, error = means(lab, fits, "spearman"), means(lab, fits, "error")
    for off in (False, True):
        mean, entropy = error[off, "mean", 5], "entropy subset of the probes: "
        for rank in (1, 2):
            name = f"self-fit, rank {rank}"
            assert abs(ranking[off, name, 5] - ranking[off, "mean", 5]) < 0.05
            assert error[off, name, 5] < mean + 0.01
        assert error[off, f"{entropy}self-fit, rank 1", 5] < error[off, f"{entropy}mean", 5]


def test_the_tables_have_a_row_for_each_estimator(lab, worlds, fits, monkeypatch):
    monkeypatch.setattr(lab.tables, "PROBES", (5,))
    for name in ("FIT_SPEARMAN", "FIT_ERROR"):
        cut = {
            arm: tuple(row[:1] for row in rows) for arm, rows in getattr(lab.tables, name).items()
        }
        monkeypatch.setattr(lab.tables, name, cut)
    text = "\n".join(lab.tables.report_lines(worlds, fits))
    assert "| gmp-IRT | " in text
