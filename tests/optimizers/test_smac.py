"""SMAC: its own proposals behind our ask and tell, replay in another process, and no traces."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("smac")

from ConfigSpace import Categorical, ConfigurationSpace, EqualsCondition, Float
from smac import HyperparameterOptimizationFacade as Facade
from smac import Scenario
from smac.acquisition.maximizer.local_search import LocalSearch
from smac.model.random_forest import RandomForest
from smac.multi_objective.parego import ParEGO
from smac.runhistory.dataclasses import TrialValue

from evomerge.errors import ConfigError, MissingExtra, SpaceError
from evomerge.optimizers import build_optimizer
from evomerge.optimizers.random import RandomSearch
from evomerge.optimizers.smac import SmacForest
from evomerge.pareto import hypervolume
from evomerge.spaces.domain import Condition, Domain, Gene, Seed
from evomerge.testing.optimizer_contract import CHECKS, Subject
from evomerge.testing.problems import (
    Problem,
    conditional_domain,
    continuous_domain,
    integer_domain,
    mixed_domain,
    sphere,
)
from evomerge.testing.simulation import drive, proposals, replay, trials

FAST = {"design": 4, "local_searches": 1}
SUBJECT = Subject(
    "smac",
    lambda domain, n_objectives, seed: build_optimizer("smac", domain, n_objectives, seed, FAST),
    n_trials=10,
    dimensions=(1, 10),
    n_objectives=(2,),
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check):
    check(SUBJECT)


# --- SMAC's own proposals ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_objectives", [1, 2])
def test_agrees_with_smac_alone(n_objectives, monkeypatch, tmp_path):
    genes = (
        Gene("method", "categorical", initial="a", choices=("a", "b")),
        Gene("weight", low=-1.0, high=2.0, initial=0.5),
        Gene("density", low=0.01, high=1.0, log=True, initial=0.1, condition=Condition(0, ("b",))),
    )

    def costs(genotype):
        extra = 0.5 if genotype[0] == "a" else abs(np.log10(genotype[2]) + 1.5)
        return ((genotype[1] - 0.3) ** 2 + extra, (genotype[1] - 0.9) ** 2 + extra)[:n_objectives]

    problem = Problem("method", Domain(genes), n_objectives, costs)
    ours = SmacForest(problem.domain, n_objectives, 7, seeds=False, design=6, local_searches=2)
    run = [p.genotype for p in proposals(drive(ours, problem, 24))]

    space = ConfigurationSpace(seed=7)
    method = Categorical("gene0", ("a", "b"), default="a")
    weight, density = Float("gene1", (0.0, 1.0), default=0.5), Float("gene2", (0.0, 1.0))
    space.add(method, weight, density)
    space.add(EqualsCondition(density, method, "b"))
    scenario = Scenario(
        space,
        output_directory=tmp_path,
        deterministic=True,
        objectives=["cost0", "cost1"][:n_objectives] if n_objectives > 1 else "cost",
        n_trials=1000,
        seed=7,
    )
    starts = [ours._configurations.configuration(genotype) for genotype in run[:6]]
    starts = [type(one)(space, values=dict(one)) for one in starts]
    # what makes a plain SMAC replay: an order of the starts of local searches, and one thread
    unordered = LocalSearch._get_init_points_from_previous_configs
    monkeypatch.setattr(
        LocalSearch,
        "_get_init_points_from_previous_configs",
        lambda *args, **kwargs: sorted(unordered(*args, **kwargs), key=str),
    )
    theirs = Facade(
        scenario,
        model=RandomForest(
            space,
            n_trees=10,
            ratio_features=1.0,
            min_samples_split=2,
            min_samples_leaf=1,
            max_leaf_nodes=None,
            log_y=True,
            n_jobs=1,
            seed=7,
        ),
        acquisition_maximizer=Facade.get_acquisition_maximizer(
            scenario, challengers=1000, local_search_iterations=2
        ),
        initial_design=Facade.get_initial_design(scenario, n_configs=0, additional_configs=starts),
        intensifier=Facade.get_intensifier(scenario, max_config_calls=1),
        multi_objective_algorithm=ParEGO(scenario) if n_objectives > 1 else None,
        config_selector=Facade.get_config_selector(scenario, retrain_after=1),
        logging_level=False,
        overwrite=True,
    )
    expected = []
    for number in range(24):
        info = theirs.ask()
        values = dict(info.config)
        genotype = (
            str(values["gene0"]),
            genes[1].from_unit(values["gene1"]),
            genes[2].from_unit(values["gene2"]) if "gene2" in values else 0.1,
        )
        expected.append(genotype)
        # configurations are rounded; ours is told what the drawn points themselves cost
        cost = list(costs(run[number] if number < 6 else genotype))
        theirs.tell(info, TrialValue(cost=cost if n_objectives > 1 else cost[0]), save=False)
    assert run[6:] == expected[6:]
    assert {genotype[0] for genotype in run[6:]} == {"a", "b"}


CHOICES = Domain(
    tuple(
        Gene(name, "categorical", initial="a", choices=("a", "b", "c")) for name in ("one", "two")
    ),
    seeds=(Seed("corner", ("c", "c")),),
)


@pytest.mark.parametrize(
    ("domain", "size"), [(CHOICES, 9), (integer_domain(0, 7), 8)], ids=["choices", "integers"]
)
@pytest.mark.parametrize("workers", [1, 6])
def test_every_point_of_a_finite_domain_is_proposed_once(domain, size, workers):
    """With six workers more points are asked for before the first outcome than SMAC designs."""
    optimizer = SmacForest(domain, 1, 4, design=3, local_searches=1)
    found = [
        one.genotype for one in proposals(drive(optimizer, sphere(domain), 20, workers=workers))
    ]
    assert len(found) == len(set(found)) == size
    assert optimizer.stop_reason() == "smac: finds no genotype that was not proposed before"


def test_replays_in_another_process_and_leaves_no_trace():
    """Another order of sets, a first import of SMAC, and its files, logs and randomness."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
        check=True,
    )
    assert json.loads(done.stdout) == {
        "proposals": [recorded(n) for n in (1, 2)],
        "moved": [],
        "written": [],
    }
    assert done.stderr == ""


SCRIPT = """
import json, logging, os, random, sys, tempfile, threading, warnings
import numpy as np
sys.path.insert(0, os.getcwd())
from evomerge.testing.problems import conditional_domain, sphere
from evomerge.testing.simulation import drive
from evomerge.optimizers.smac import SmacForest

def state():
    return {
        "random": random.getstate(),
        "numpy": [str(part) for part in np.random.get_state()],
        "filters": list(warnings.filters),
        "handlers": list(logging.getLogger().handlers),
        "level": logging.getLogger("smac").level,
        "threads": [thread.name for thread in threading.enumerate()],
    }

with tempfile.TemporaryDirectory() as home:
    tempfile.tempdir = home
    os.chdir(home)
    before = state()
    problem = sphere(conditional_domain(n_switches=2))
    search = SmacForest(problem.domain, 1, 5, design=4, local_searches=1)
    drive(search, problem, 14, workers=3)
    after = state()
    moved = [name for name in before if before[name] != after[name]]
    written = os.listdir(home)
    os.chdir("/")
tempfile.tempdir = None

from tests.optimizers.test_smac import recorded
print(json.dumps({"proposals": [recorded(n) for n in (1, 2)], "moved": moved, "written": written}))
"""


def recorded(n_objectives):
    problem = sphere(conditional_domain(), n_objectives)
    search = SmacForest(problem.domain, n_objectives, 3, design=4, local_searches=1)
    events = drive(search, problem, 14, workers=3, failure_rate=0.2)
    return [[list(proposal.genotype), proposal.origin] for proposal in proposals(events)]


def test_of_many_trials_a_forest_makes_several_proposals_that_replay(monkeypatch):
    monkeypatch.setattr("evomerge.optimizers.smac_facade.MANY", 12)
    monkeypatch.setattr("evomerge.optimizers.smac_facade.RETRAIN_AFTER", 4)
    problem = sphere(conditional_domain(), 2)
    fitted = []
    train = RandomForest.train
    monkeypatch.setattr(
        RandomForest, "train", lambda self, *args: fitted.append(len(args[0])) or train(self, *args)
    )

    def forest():
        return SmacForest(problem.domain, 2, 3, design=4, local_searches=1)

    events = drive(forest(), problem, 30, workers=3, failure_rate=0.2)
    early, late = ([one for one in fitted if (one > 12) is many] for many in (False, True))
    assert len(early) > len(late)
    assert 2 <= len(late) <= 5  # of some 15 proposals
    replay(forest(), events)


def test_logging_is_silent_and_left_as_found(capfd):
    logger = logging.getLogger("smac")
    logger.setLevel(logging.INFO)
    try:
        problem = sphere(integer_domain(0, 3))  # runs dry, which SMAC warns of
        optimizer = SmacForest(problem.domain, 1, 0, **FAST)
        drive(optimizer, problem, 12)
        assert optimizer.stop_reason() == "smac: finds no genotype that was not proposed before"
        assert logger.level == logging.INFO
    finally:
        logger.setLevel(logging.NOTSET)
    assert capfd.readouterr() == ("", "")


# --- domains -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "domain", [mixed_domain(), conditional_domain(), conditional_domain("integer")]
)
def test_genotypes_survive_the_way_through_configurations(domain):
    configurations = SmacForest(domain, 1, 0)._configurations
    random = np.random.default_rng(0)
    for _ in range(100):
        genotype = domain.draw(random)
        configuration = configurations.configuration(genotype)
        active = domain.active(genotype)
        assert set(configuration) == {f"gene{i}" for i, on in enumerate(active) if on}
        back = configurations.genotype(configuration)
        for gene, value, again in zip(domain.genes, genotype, back, strict=True):
            assert type(value) is type(again)
            assert gene.to_unit(again) == pytest.approx(gene.to_unit(value), abs=1e-12)


def test_what_smac_draws_has_the_genes_in_effect():
    domain = conditional_domain()
    configurations = SmacForest(domain, 1, 0)._configurations
    for configuration in configurations.space.sample_configuration(100):
        genotype = configurations.genotype(configuration)
        assert genotype == domain.canonical(genotype)
        active = domain.active(genotype)
        assert set(configuration) == {f"gene{i}" for i, on in enumerate(active) if on}


def test_genes_without_a_choice_are_constant():
    genes = (
        Gene("method", "categorical", initial="only", choices=("only",)),
        Gene("layers", "integer", low=4, high=4, initial=4, condition=Condition(0, ("only",))),
        Gene("weight", initial=0.25, condition=Condition(1, (4,))),
        Gene("never", initial=0.75, condition=Condition(1, (5,))),
    )
    problem = sphere(Domain(genes))
    run = proposals(drive(SmacForest(problem.domain, 1, 0, **FAST), problem, 12))
    assert {p.genotype[:2] for p in run} == {("only", 4)}
    assert {p.genotype[3] for p in run} == {0.75}
    assert len({p.genotype[2] for p in run}) == 12


def test_conditions_on_continuous_genes_are_refused():
    genes = (Gene("x"), Gene("y", condition=Condition(0, (0.5,))))
    with pytest.raises(SpaceError, match="gene 'y' depends on the continuous gene 'x'; smac takes"):
        SmacForest(Domain(genes), 1, 0)


def test_known_points_that_smac_cannot_tell_apart_are_all_proposed():
    genes = (Gene("x", initial=0.5), Gene("y", initial=0.5))
    seeds = (Seed("one", (0.25, 0.25)), Seed("same", (0.25 + 1e-15, 0.25)))
    problem = sphere(Domain(genes, seeds))
    run = proposals(drive(SmacForest(problem.domain, 1, 0, **FAST), problem, 14, workers=2))
    assert [p.genotype for p in run[:3]] == [*(seed.genotype for seed in seeds), (0.5, 0.5)]
    assert len({p.genotype for p in run}) == 14


def test_idle_workers_get_points_before_the_first_outcome():
    domain = integer_domain(0, 5)
    optimizer = SmacForest(domain, 1, 0, **FAST)
    asked = []
    while (proposal := optimizer.ask(len(asked))) is not None:
        asked.append(proposal.genotype)
    assert sorted(asked) == [(k,) for k in range(6)], "each point once, and then the end"


# --- outcomes ----------------------------------------------------------------------------------


def test_failures_are_told_as_crashed_and_cost_more_than_anything():
    problem = sphere(continuous_domain(2), 2)
    optimizer = SmacForest(problem.domain, 2, 0, **FAST)
    told = trials(drive(optimizer, problem, 14, failure_rate=0.4))
    facade = optimizer._forest._facade
    statuses = [value.status.name for value in facade.runhistory.values()]
    expected = ["CRASHED" if trial.costs is None else "SUCCESS" for trial in told]
    assert statuses == [*expected, "RUNNING"], "and one that is ready for the next ask"

    costs = np.array([trial.costs for trial in told if trial.costs])
    low, high = costs.min(axis=0), costs.max(axis=0)
    selector = facade.intensifier.config_selector
    theta = facade._multi_objective_algorithm._theta
    z = [
        np.full(2, 2.0) if trial.costs is None else (np.array(trial.costs) - low) / (high - low)
        for trial in told
    ]
    expected = np.array([max(theta * row) + 0.05 * sum(theta * row) for row in z])
    _, fitted, _ = selector._collect_data()
    # the forest sees logarithms of costs that are shifted and scaled alike: order and ends remain
    assert np.argsort(fitted.ravel()).tolist() == np.argsort(expected).tolist()
    failed = [trial.costs is None for trial in told]
    assert fitted.ravel()[failed].min() > fitted.ravel()[np.logical_not(failed)].max()


def test_forty_merges_of_three_donors_beat_random_ones():
    """Each task has its optimum near a donor, as merges have."""
    domain = Domain(tuple(Gene(f"weight{k}", high=3.0, initial=0.5) for k in range(3)))
    optima = np.array([[1.1, 0.2, 0.0], [0.1, 0.9, 0.3], [0.2, 0.0, 1.2]])

    def costs(genotype):
        return tuple((1 - np.exp(-((optima - genotype) ** 2).sum(axis=1))).tolist())

    def volume(optimizer):
        told = trials(drive(optimizer, Problem("donors", domain, 3, costs), 40, workers=2))
        return hypervolume([trial.costs for trial in told], (1.0,) * 3)

    ours = [volume(SmacForest(domain, 3, seed, local_searches=1)) for seed in range(2)]
    theirs = [volume(RandomSearch(domain, 3, seed)) for seed in range(2)]
    assert sum(ours) > 1.5 * sum(theirs)


# --- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"design": 0}, "design: expected an integer >= 1, got 0"),
        ({"trees": 2.5}, "trees: expected an integer >= 1, got 2.5"),
        ({"random_share": 1.5}, "random_share: expected a number above 0 and at most 1, got 1.5"),
        ({"local_searches": 0}, "local_searches: expected an integer >= 1, got 0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError) as error:
        SmacForest(continuous_domain(2), 1, 0, **options)
    assert message in str(error.value)


def test_a_missing_smac_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "smac", None)
    with pytest.raises(MissingExtra, match=r"pip install 'evomerge\[smac\]'"):
        SmacForest(continuous_domain(2), 1, 0)
