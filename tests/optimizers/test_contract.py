"""Every built-in optimizer keeps the ask/tell contract."""

from __future__ import annotations

import importlib.util

import pytest

from evomerge.optimizers import Combination, Scalarised, build_optimizer
from evomerge.testing.optimizer_contract import CHECKS, Subject
from evomerge.testing.problems import conditional_domain, sequence_domain


def subject(name, label=None, **fields):
    options = fields.pop("options", {})

    def build(domain, n_objectives, seed):
        return build_optimizer(name, domain, n_objectives, seed, options)

    return Subject(label or name, build, **fields)


def scalarised(domain, n_objectives, seed):
    inner = build_optimizer("cma_es", domain, 1, seed, {})
    anchors = [(0.0, 1.0)] * n_objectives
    return Scalarised(inner, Combination.of(n_objectives, "tchebycheff", anchors=anchors))


ORDERED = frozenset({"continuous", "integer"})
SUBJECTS = [
    subject("random"),
    subject("sobol"),
    subject(
        "cma_es",
        generational=True,
        kinds=ORDERED,
        n_objectives=(1,),
        domains=(conditional_domain(),),
    ),
    subject(
        "cma_es",
        "cma_es-bipop-from-initial",
        options={"restarts": "bipop", "start": "initial", "separable": True, "population": 5},
        generational=True,
        kinds=ORDERED,
        n_objectives=(1,),
    ),
    subject(
        "pycma",
        generational=True,
        kinds=frozenset({"continuous"}),
        dimensions=(2, 10),
        n_objectives=(1,),
    ),
    subject(
        "pycma",
        "pycma-mirrored",
        options={"population": 4, "sigma0": 0.5},
        n_trials=40,  # ten generations without a ranking end it
        generational=True,
        kinds=frozenset({"continuous"}),
        dimensions=(3,),
        n_objectives=(1,),
    ),
    subject("cat_cma", generational=True, n_objectives=(1,)),
    subject(
        "cat_cma",
        "cat_cma-from-initial",
        options={"start": "initial", "sigma0": 0.3, "population": 6},
        generational=True,
        dimensions=(1, 2),
        n_objectives=(1,),
    ),
    subject(
        "cma_wm",
        generational=True,
        kinds=ORDERED,
        n_objectives=(1,),
        domains=(conditional_domain(),),
    ),
    subject("como_cat_cma", options={"kernels": 3}, generational=True, n_objectives=(2,)),
    subject("nsga2", options={"population": 8}, generational=True, domains=(sequence_domain(),)),
    Subject("scalarised", scalarised, generational=True, kinds=ORDERED, n_objectives=(2, 3)),
]
if importlib.util.find_spec("optuna") is not None:
    SUBJECTS += [
        subject("optuna", "optuna-tpe", n_trials=16, dimensions=(1, 2, 10)),
        subject(
            "optuna",
            "optuna-tpe-group",
            options={"sampler_options": {"multivariate": True, "group": True}},
            n_trials=16,
            dimensions=(1,),
            n_objectives=(1,),
        ),
        subject(
            "optuna",
            "optuna-nsgaii",
            options={"sampler": "nsgaii", "sampler_options": {"population_size": 6}},
            n_trials=30,
            dimensions=(1, 2, 40),
        ),
        subject(
            "optuna",
            "optuna-qmc",
            options={"sampler": "QMCSampler", "sampler_options": {"scramble": True}},
            n_trials=20,
        ),
    ]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_contract(subject, check):
    check(subject)
