"""CMA-ME and CMA-MAE: the contract, what pyribs is told, and what they find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evomerge.errors import ConfigError, MissingExtra, SpaceError
from evomerge.optimizers.cma_me import CmaMae, CmaMe, reflected
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.testing.optimizer_contract import CHECKS, Subject
from evomerge.testing.problems import (
    Problem,
    conditional_domain,
    continuous_domain,
    mixed_domain,
    sphere,
)
from evomerge.testing.simulation import drive, proposals, replay, trials
from evomerge.types import Objective


def objectives(n):
    return [Objective(f"cost{k}", "minimize") for k in range(n)]


def builder(factory, **options):
    def build(domain, n_objectives, seed):
        return factory(domain, n_objectives, seed, objectives=objectives(n_objectives), **options)

    return build


CASES = {
    "cma_me": builder(CmaMe),
    "cma_mae": builder(CmaMae),
    "cma_me-small": builder(CmaMe, population=3, bins=4, sigma0=0.5),
}
SUBJECTS = [
    Subject(
        name,
        build,
        dimensions=(1, 2, 10, 120),
        kinds=frozenset({"continuous", "integer"}),
        generational=True,
        n_objectives=(2, 3),
        domains=(conditional_domain("integer", 2),),
    )
    for name, build in CASES.items()
]


@pytest.fixture(autouse=True)
def ribs():
    pytest.importorskip("ribs.archives")
    return pytest.importorskip("ribs")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_contract(subject, check):
    check(subject)


def arm(n_genes=6):
    """Quality is smoothness of the joints, measures are where a planar arm's hand is."""
    genes = tuple(Gene(f"x{i}", low=-1.0, high=1.0, initial=0.1) for i in range(n_genes))
    domain = Domain(genes, (Seed("straight", (0.0,) * n_genes),))

    def costs(genotype):
        angles = np.cumsum(np.pi * np.array(genotype))
        hand = np.cos(angles).sum(), np.sin(angles).sum()
        return (float(np.var(genotype)), *(float(place) / n_genes for place in hand))

    return Problem("arm", domain, 3, costs)


@pytest.mark.parametrize("case", ["cma_me", "cma_mae"])
def test_illuminates_more_than_uniform_points_do(ribs, case):
    problem = arm()
    box = {"cost0": [0.0, 1.0], "cost1": [-1.0, 1.0], "cost2": [-1.0, 1.0]}
    factory = CmaMe if case == "cma_me" else CmaMae
    uniform = np.random.default_rng(0).uniform(-1, 1, (900, 6)).tolist()

    def quality_of_archive(rows):
        found = ribs.archives.GridArchive(solution_dim=0, dims=[10, 10], ranges=[(-1, 1)] * 2)
        costs = np.array(rows)
        found.add(np.empty((len(rows), 0)), 1 - costs[:, 0], costs[:, 1:])
        return found.stats.qd_score

    found = []
    for seed in range(3):
        search = factory(
            problem.domain, 3, seed, objectives=objectives(3), ranges=box, bins=10, population=12
        )
        told = trials(drive(search, problem, 900))
        found.append(quality_of_archive([trial.costs for trial in told]))
    by_chance = quality_of_archive([problem.costs(tuple(point)) for point in uniform])
    assert np.median(found) > 1.3 * by_chance


def test_ranges_come_from_the_known_points():
    problem = arm()
    search = CASES["cma_me"](problem.domain, 3, 0)
    events = drive(search, problem, 3)
    rows = -np.array([trial.costs for trial in trials(events)[:2]])
    low = rows.min(axis=0) - 0.15 * np.abs(rows.min(axis=0))
    high = rows.max(axis=0) + 0.15 * np.abs(rows.max(axis=0))
    assert search.ranges == {
        f"cost{k}": (pytest.approx(low[k]), pytest.approx(high[k])) for k in range(3)
    }
    np.testing.assert_allclose(search.archive.lower_bounds, low[1:])
    np.testing.assert_allclose(search.archive.upper_bounds, high[1:])


def test_ranges_are_given_in_the_users_sign():
    goals = [Objective("loss", "minimize"), Objective("score"), Objective("size", "minimize")]
    search = CmaMe(
        continuous_domain(2),
        3,
        0,
        objectives=goals,
        quality="score",
        ranges={"loss": [1, 3], "size": [0.5, 2]},
    )
    drive(search, sphere(continuous_domain(2), 3), 5)
    np.testing.assert_allclose(search.archive.lower_bounds, [-3, -2])
    np.testing.assert_allclose(search.archive.upper_bounds, [-1, -0.5])
    assert search.archive.best_elite["objective"] == max(search.archive.data("objective"))


def test_failures_and_completed_trials_reach_the_emitter_apart():
    problem = sphere(continuous_domain(4), 2)
    search = CASES["cma_me"](problem.domain, 2, 3)
    known = [search.ask(number) for number in range(3)]
    for number, proposal in enumerate(known):
        search.tell(problem.completed(number, proposal.genotype))
    size = len(search.archive)
    mean = search._emitter._opt.mean.copy()
    number = 3
    while (proposal := search.ask(number)) is not None:
        known.append(proposal)
        number += 1
    for told in range(3, number):
        search.tell(problem.failed(told, known[told].genotype))
    assert len(search.archive) == size
    np.testing.assert_array_equal(search._emitter._opt.mean, mean)
    again = search.ask(number)
    assert again.origin == "cma_me:gen2"
    assert again.genotype not in [proposal.genotype for proposal in known]


class Rungs:
    """Lets two of three candidates stop at a rung, with estimates that flatter."""

    def __init__(self, problem, by=5.0):
        self._problem = problem
        self._by = by

    def completed(self, number, genotype):
        true = self._problem.completed(number, genotype)
        if number < 3 or number % 3 == 0:
            return true
        costs = tuple(cost - self._by for cost in true.costs)
        return replace(true, costs=costs, errors=(1.0,) * len(costs))


@pytest.mark.parametrize("case", ["cma_me", "cma_mae"])
def test_estimates_enter_no_archive_however_good_they_look(case):
    problem = arm()
    search = CASES[case](problem.domain, 3, 1)
    told = trials(drive(search, Rungs(problem), 300))
    estimated = [trial for trial in told if trial.errors]
    assert len(estimated) > 150
    points = np.array([problem.domain.to_unit(trial.genotype) for trial in told if trial.measured])
    kept = reflected(search.archive.data("solution"))
    for row in kept:
        assert np.abs(points - row).max(axis=1).min() < 1e-6
    best = max(-trial.costs[0] for trial in told if trial.measured)
    assert search.archive.best_elite["objective"] <= best + 1e-9


def test_estimates_rank_below_the_measured_and_above_failures(monkeypatch):
    problem = sphere(continuous_domain(4), 2)
    search = CASES["cma_me"](problem.domain, 2, 3)
    drive(search, problem, 3)
    heard = []
    monkeypatch.setattr(search._emitter, "tell", lambda *arguments: heard.append(arguments))
    number, asked = 3, []
    while (proposal := search.ask(number)) is not None:
        asked.append(problem.completed(number, proposal.genotype))
        number += 1
    looks = {}
    for place, trial in enumerate(asked):
        told = trial
        if place in (1, 2):
            looks[place] = -float(10 * place)
            told = replace(trial, costs=(-looks[place], 0.0), errors=(0.1, 0.1))
        elif place == 3:
            told = problem.failed(trial.number, trial.genotype)
        search.tell(told)
    ((_, _, _, info),) = heard
    value, status = info["value"], info["status"]
    measured = [k for k in range(len(asked)) if k not in (1, 2, 3)]
    assert value[3] < value[2] < value[1] < value[measured].min()
    assert looks[2] < looks[1]
    assert not status[[1, 2, 3]].any()


def test_uniform_points_follow_when_the_known_ones_failed():
    problem = sphere(continuous_domain(2), 2)
    search = CASES["cma_mae"](problem.domain, 2, 3)
    for number in range(3 + 6):
        proposal = search.ask(number)
        assert (proposal.origin == "cma_mae:uniform") == (number >= 3)
        failed = number < 3
        search.tell((problem.failed if failed else problem.completed)(number, proposal.genotype))
    assert search.ask(9).origin == "cma_mae:gen1"


def test_a_measure_that_is_always_zero_ends_the_search():
    domain = continuous_domain(2)
    problem = Problem("flat", domain, 2, lambda genotype: (float(genotype[0]), 0.0))
    search = CASES["cma_me"](domain, 2, 0)
    run = proposals(drive(search, problem, 60))
    assert len(run) == 3 + 6
    assert search.stop_reason() == (
        "cma_me: objective 'cost1' was 0 for every point, so there is no range to cut into bins; "
        "give one: ranges: {cost1: [low, high]}"
    )
    assert search.ask(9) is None
    given = builder(CmaMe, ranges={"cost1": [-1, 1]})(domain, 2, 0)
    assert len(proposals(drive(given, problem, 60))) == 60


@pytest.mark.parametrize("case", ["cma_me", "cma_mae"])
def test_a_quality_that_is_always_zero_is_survived(case):
    domain = continuous_domain(3)
    problem = Problem("zero", domain, 2, lambda genotype: (0.0, float(genotype[0])))
    assert len(proposals(drive(CASES[case](domain, 2, 0), problem, 90))) == 90


def test_points_are_reflected_into_the_cube():
    outside = np.array([-0.25, 0.0, 0.5, 1.0, 1.25, 2.0, 3.5, -1.75])
    expected = [0.25, 0.0, 0.5, 1.0, 0.75, 0.0, 0.5, 0.25]
    np.testing.assert_allclose(reflected(outside), expected)


SCRIPT = """
import json
from tests.optimizers.test_cma_me import recorded
print(json.dumps(recorded()))
"""


def recorded():
    found = []
    for build in CASES.values():
        problem = sphere(continuous_domain(5), 2)
        events = drive(build(problem.domain, 2, 4), problem, 60, workers=4, failure_rate=0.1)
        replay(build(problem.domain, 2, 4), events)
        found.append([list(proposal.genotype) for proposal in proposals(events)])
    return found


@pytest.mark.slow
def test_another_process_proposes_the_same():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
        check=True,
    )
    assert json.loads(done.stdout) == recorded()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "bins: expected an integer >= 1, got 0"),
        ({"population": 1}, "population: expected an integer >= 2, got 1"),
        ({"sigma0": 0}, "sigma0: expected a number above 0, got 0"),
        ({"quality": "cost"}, "quality: there is no objective 'cost'; did you mean 'cost"),
        ({"ranges": {"cost7": [0, 1]}}, "ranges: there is no objective 'cost7'; did you mean"),
        ({"ranges": {"cost1": [1, 0]}}, "ranges.cost1: expected [low, high] with low < high"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError) as error:
        builder(CmaMae, **options)(continuous_domain(2), 2, 0)
    assert message in str(error.value)


def test_learning_rate_is_checked():
    with pytest.raises(ConfigError, match="learning_rate: expected a number above 0 and at most"):
        builder(CmaMae, learning_rate=1.5)(continuous_domain(2), 2, 0)


def test_one_objective_and_choices_are_refused():
    with pytest.raises(ConfigError, match="cma_me needs two objectives or more, got 1"):
        CASES["cma_me"](continuous_domain(2), 1, 0)
    with pytest.raises(SpaceError, match="gene 'switch' is categorical and cma_me varies numbers"):
        CASES["cma_me"](mixed_domain(), 2, 0)


def test_a_missing_ribs_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ribs.archives", None)
    with pytest.raises(MissingExtra, match=r"pip install 'evomerge\[ribs\]'"):
        CASES["cma_me"](continuous_domain(2), 2, 0)
