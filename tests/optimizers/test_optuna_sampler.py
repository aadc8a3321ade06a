"""Optuna samplers: their options, their silence, and what they are told."""

from __future__ import annotations

import sys

import pytest

optuna = pytest.importorskip("optuna")

from evomerge.errors import ConfigError, MissingExtra  # noqa: E402
from evomerge.optimizers import Combination, build_optimizer  # noqa: E402
from evomerge.optimizers.optuna_sampler import SAMPLERS, OptunaSampler  # noqa: E402
from evomerge.pareto import hypervolume, non_dominated  # noqa: E402
from evomerge.testing.problems import (  # noqa: E402
    conditional_domain,
    continuous_domain,
    mixed_domain,
    sphere,
    switches,
)
from evomerge.testing.simulation import drive, proposals, replay, trials  # noqa: E402


def test_agrees_with_optuna_alone():
    problem = sphere(mixed_domain())
    ours = OptunaSampler(problem.domain, 1, 5, seeds=False)
    run = [p.genotype for p in proposals(drive(ours, problem, 25))]
    distributions = {
        "weight": optuna.distributions.FloatDistribution(-1.0, 2.0),
        "rate": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
        "depth": optuna.distributions.IntDistribution(-2, 7),
        "switch": optuna.distributions.CategoricalDistribution(("off", "on")),
        "method": optuna.distributions.CategoricalDistribution(("a", "b", "c", "d")),
    }
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=5))
    theirs = []
    for _ in range(25):
        trial = study.ask(distributions)
        genotype = tuple(trial.params[name] for name in distributions)
        theirs.append(genotype)
        study.tell(trial, problem.costs(genotype)[0])
    assert run == theirs


def test_trials_reach_the_study_as_they_ended():
    problem = sphere(continuous_domain(2), 2)
    optimizer = OptunaSampler(problem.domain, 2, 0)
    events = drive(optimizer, problem, 12, workers=3, failure_rate=0.4)
    told = {trial.number: trial for trial in trials(events)}
    states = optuna.trial.TrialState
    # Optuna numbers its trials from 0 in the order of the asks, as this search did
    for frozen in optimizer._study.trials:
        trial = told[frozen.number]
        assert frozen.state == (states.FAIL if trial.costs is None else states.COMPLETE)
        assert frozen.values == (None if trial.costs is None else list(trial.costs))
        assert tuple(frozen.params.values()) == trial.genotype
        assert all(
            direction == optuna.study.StudyDirection.MINIMIZE
            for direction in optimizer._study.directions
        )


@pytest.mark.parametrize("options", [{}, {"multivariate": True, "group": True}])
def test_a_trial_has_the_parameters_in_effect_only(options):
    domain = conditional_domain()
    problem = sphere(domain)
    optimizer = OptunaSampler(domain, 1, 0, sampler_options=options)
    events = drive(optimizer, problem, 40, workers=2)
    run = proposals(events)
    assert [p.origin for p in run[:4]] == ["seed:all", "seed:none", "initial", "optuna:start"]
    assert run[-1].origin == "optuna:tpe"
    names = [gene.name for gene in domain.genes]
    for frozen, proposal in zip(optimizer._study.trials, run, strict=True):
        values = dict(zip(names, proposal.genotype, strict=True))
        active = [n for n, on in zip(names, domain.active(proposal.genotype), strict=True) if on]
        assert frozen.params == {name: values[name] for name in active}
        assert proposal.genotype == domain.canonical(proposal.genotype)
    modelled = [p.genotype for p in run[13:]]
    assert len({sum(domain.active(genotype)) for genotype in modelled}) > 2


def test_conditional_genes_are_modelled():
    problem = switches(4)
    options = {"sampler_options": {"multivariate": True, "group": True}}
    run = trials(drive(OptunaSampler(problem.domain, 1, 1, **options), problem, 90))
    # off, on, on, off at 1.2: of 16 combinations of switches a random one is right in 6 %
    assert min(trial.costs[0] for trial in run) < 0.5


def test_a_gaussian_process_runs_and_replays():
    pytest.importorskip("torch")
    problem = sphere(continuous_domain(2))
    options = {"sampler": "gp", "sampler_options": {"n_startup_trials": 4}}
    events = drive(OptunaSampler(problem.domain, 1, 0, **options), problem, 9, workers=2)
    assert len(trials(events)) == 9
    replay(OptunaSampler(problem.domain, 1, 0, **options), events)


SEVERAL = {
    "gp": ({"n_startup_trials": 6}, 12),
    "nsgaii": ({"population_size": 8}, 40),
    "nsgaiii": ({"population_size": 8}, 40),
    "qmc": ({"scramble": True}, 40),
    "random": ({}, 40),
    "tpe": ({"n_startup_trials": 10}, 40),
}


def test_every_named_sampler_takes_several_objectives_or_refuses_them():
    assert {*SEVERAL, "cmaes"} == set(SAMPLERS)


@pytest.mark.parametrize("sampler", SEVERAL)
def test_two_objectives(sampler):
    if sampler == "gp":
        pytest.importorskip("torch")
    problem = sphere(mixed_domain(), 2)
    options, n_trials = SEVERAL[sampler]

    def build():
        return OptunaSampler(problem.domain, 2, 3, sampler=sampler, sampler_options=options)

    events = drive(build(), problem, n_trials, workers=2, failure_rate=0.1)
    for proposal in proposals(events):
        assert problem.domain.checked(proposal.genotype) == proposal.genotype
    assert proposals(events)[-1].origin == f"optuna:{sampler}"
    replay(build(), events)
    completed = [trial for trial in trials(events) if trial.costs is not None]
    costs = [trial.costs for trial in completed]
    known = [problem.costs(one.genotype) for one in problem.domain.seeds]
    assert len({costs[i] for i in non_dominated(costs)}) >= 3
    assert hypervolume(costs, (2.0, 2.0)) > 1.05 * hypervolume(known, (2.0, 2.0))


@pytest.mark.parametrize("name", ["cmaes", "CmaEsSampler"])
def test_a_sampler_of_one_objective_refuses_two_in_a_line(name):
    domain = continuous_domain(2)
    with pytest.raises(ConfigError) as error:
        OptunaSampler(domain, 2, 0, sampler=name)
    (line,) = str(error.value).splitlines()
    assert line.startswith("sampler: CmaEsSampler takes one objective and the study has 2; use tpe")
    mean = Combination.of(2, "mean")
    optimizer = build_optimizer("optuna", domain, 2, 0, {"sampler": name}, combination=mean)
    assert len(trials(drive(optimizer, sphere(domain, 2), 8))) == 8


def test_options_reach_the_sampler():
    domain = continuous_domain(2)
    options = {"multivariate": True, "constant_liar": True, "n_startup_trials": 3}
    optimizer = OptunaSampler(domain, 1, 0, sampler="TPESampler", sampler_options=options)
    sampler = optimizer._study.sampler
    assert isinstance(sampler, optuna.samplers.TPESampler)
    assert (sampler._multivariate, sampler._n_startup_trials) == (True, 3)


def test_logging_is_silent_and_left_as_found(capfd):
    before = optuna.logging.get_verbosity()
    problem = sphere(continuous_domain(2))
    drive(OptunaSampler(problem.domain, 1, 0), problem, 12, failure_rate=0.3)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "tpa"}, "sampler: Optuna has no sampler 'tpa'; did you mean 'tpe'?"),
        ({"sampler": "GridSampler"}, "sampler: GridSampler is not usable"),
        ({"sampler": "BaseSampler"}, "sampler: Optuna has no sampler 'BaseSampler'"),
        (
            {"sampler_options": {"multivariat": True}},
            "sampler_options.multivariat: TPESampler has no such option; "
            "did you mean 'multivariate'?",
        ),
        (
            {"sampler_options": {"seed": 3}},
            "sampler_options.seed: TPESampler has no such option",
        ),
        (
            {"sampler": "nsgaii", "sampler_options": {"population_size": 1}},
            "sampler_options: NSGAIISampler: ",
        ),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError) as error:
        OptunaSampler(continuous_domain(2), 1, 0, **options)
    assert message in str(error.value)


def test_a_missing_optuna_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'evomerge\[optuna\]'"):
        OptunaSampler(continuous_domain(2), 1, 0)
