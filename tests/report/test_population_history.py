"""A run's course over its trials, of populations and of any other run."""

from __future__ import annotations

import numpy as np
import pytest

from evomerge.journal import Journal, read_events
from evomerge.report.run_history import BY_MODELS, BY_RANGE, OTHER_CAUSES, run_history
from tests.report.populations import GRIDS, write_population

DONORS = ("a", "b")


def write(run, trials, scored=(), batches=None, validated=(), goals=("maximize", "minimize")):
    """Write a run of two objectives; `trials` are (origin, metrics or message)."""
    objectives = dict(zip(("up", "down"), goals, strict=True))
    study = {
        "name": "plain",
        "search": {"optimizer": "random", "scalarize": None},
        "budget": {"trials": 9},
        "batches": batches,
        "front": {"size": 4},
    }
    opening = {
        "study": study,
        "folder": str(run.parent),
        "models": {"base": {}, "donors": {name: {} for name in DONORS}},
        "objectives": objectives,
    }
    with Journal(run, create=True) as journal:
        journal.append("opened", opening)
        for number, (origin, _) in enumerate(trials):
            batch = {"batch": None if origin.startswith("seed:") else 0} if batches else {}
            asked = {"genotype": [0.1 * number], "origin": origin, **batch}
            journal.append("asked", asked, trial=number)
        for number in reversed(range(len(trials))):  # the last finished first
            found = trials[number][1]
            if isinstance(found, str):
                payload = {"failed": "error", "message": found, "traceback": ""}
            else:
                payload = {"metrics": dict(zip(("up", "down"), found, strict=True))}
            journal.append("finished", payload, trial=number)
        for number, found in validated:
            metrics = dict(zip(("up", "down"), found, strict=True))
            journal.append("validated", {"metrics": metrics}, trial=number)
        for name, found in scored:
            metrics = dict(zip(("up", "down"), found, strict=True))
            journal.append("scored", {"name": name, "split": "search", "metrics": metrics})
    return read_events(run)


def area(points):
    """What points dominate above (-0.1, -0.1): a staircase, summed step by step."""
    total, height = 0.0, -0.1
    for x, y in sorted(points, reverse=True):
        if x > -0.1 and y > height:
            total += (x + 0.1) * (y - height)
            height = y
    return total


TRIALS = [
    ("random", (0.2, 5.0)),
    ("random", "ValueError: odd\nmore"),
    ("random", (0.5, 4.0)),
    ("random", (0.4, 1.0)),
    ("random", (0.9, 6.0)),
]


def test_best_scores_are_counted_by_trial_not_by_when_it_finished(tmp_path):
    history = run_history(write(tmp_path / "run", TRIALS))
    assert history.scored == (0, 2, 3, 4)
    assert history.best.tolist() == [[0.2, 5.0], [0.5, 4.0], [0.5, 1.0], [0.9, 1.0]]
    assert (history.n_finished, history.n_failed) == (5, 1)
    assert history.failures == {"error: ValueError: odd": (1,)}
    assert history.compared_on == "search"


def test_hypervolume_is_that_of_the_front_so_far(tmp_path):
    baselines = [("base", (0.1, 5.0)), ("donor:a", (0.6, 6.0)), ("donor:b", (0.1, 3.0))]
    history = run_history(write(tmp_path / "run", TRIALS, baselines))
    assert history.volume_scale == BY_MODELS
    points = [((up - 0.1) / 0.5, (5.0 - down) / 2.0) for up, down in history.scores]
    expected = [area(points[: count + 1]) for count in range(len(points))]
    assert history.volume == pytest.approx(expected)
    assert history.known["donor:b"] == {"up": 0.1, "down": 3.0}


def test_seeds_tell_the_scale_as_baselines_do(tmp_path):
    seeds = [("seed:base", (0.1, 5.0)), ("seed:a", (0.6, 6.0)), ("seed:b", (0.1, 3.0))]
    history = run_history(write(tmp_path / "run", [*seeds, *TRIALS]))
    assert history.volume_scale == BY_MODELS
    assert history.known["donor:a"] == {"up": 0.6, "down": 6.0}
    points = [((up - 0.1) / 0.5, (5.0 - down) / 2.0) for up, down in history.scores]
    assert history.volume[-1] == pytest.approx(area(points))


def test_without_base_and_donors_the_scale_is_the_range_of_the_run(tmp_path):
    history = run_history(write(tmp_path / "run", TRIALS))
    assert history.volume_scale == BY_RANGE
    points = [((up - 0.2) / 0.7, (6.0 - down) / 5.0) for up, down in history.scores]
    expected = [area(points[: count + 1]) for count in range(len(points))]
    assert history.volume == pytest.approx(expected)


def test_equal_scores_have_a_scale_too(tmp_path):
    history = run_history(write(tmp_path / "run", [("random", (0.5, 2.0))] * 3))
    assert history.volume == pytest.approx([0.01] * 3)  # 0.1 by 0.1 above the reference


def test_with_batches_only_scores_on_validation_items_count(tmp_path):
    seeds = [("seed:base", (0.3, 4.0))]
    events = write(
        tmp_path / "run", [*seeds, *TRIALS], batches={"items": 4}, validated=[(3, (0.45, 3.5))]
    )
    history = run_history(events)
    assert history.compared_on == "validation"
    assert dict(zip(history.scored, history.scores.tolist(), strict=True)) == {
        0: [0.3, 4.0],
        3: [0.45, 3.5],
    }


def test_rare_causes_of_failure_are_counted_together(tmp_path):
    trials = [("random", f"{'ABCDEFGHI'[n]}: {'x' * 200}") for n in range(9) for _ in range(10 - n)]
    history = run_history(write(tmp_path / "run", trials))
    assert len(history.failures) == 6
    assert OTHER_CAUSES in history.failures
    assert sum(map(len, history.failures.values())) == len(trials)
    assert all(len(cause) <= 70 for cause in history.failures)
    assert not len(history.volume)


def test_parts_are_where_stages_began(tmp_path):
    write_population(tmp_path / "run", GRIDS, 8, stages=2)
    history = run_history(read_events(tmp_path / "run"))
    assert history.parts == (("part0", 0), ("part1", 8))
    assert np.isfinite(history.scores).all()
