"""MM-MO and MOBO keep the ask/tell contract."""

from __future__ import annotations

import pytest

from evomerge.optimizers import build_optimizer
from evomerge.testing.optimizer_contract import (
    CHECKS,
    Subject,
    every_dimension_runs,
    proposals_are_plain_and_inside,
    replay_is_exact,
)
from evomerge.testing.problems import sequence_domain

# As little work as possible: what is tested is bookkeeping.
LITTLE = {"samples": 4, "raw_samples": 8, "restarts": 1}


def subject(name, label, options, **fields):
    def build(domain, n_objectives, seed):
        return build_optimizer(name, domain, n_objectives, seed, {**LITTLE, **options})

    return Subject(label, build, **fields)


SUBJECTS = [
    subject(
        "mobo", "mobo", {"initial": 1}, n_trials=7, dimensions=(1,), domains=(sequence_domain(2),)
    ),
    subject(
        "mm_mo",
        "mm_mo",
        {"initial": 3, "candidates": 2, "batch": 2},
        n_trials=5,
        dimensions=(1,),
        generational=True,
    ),
]
"""With every check."""

VARIANTS = [
    subject(
        "mobo",
        "mobo-saas",
        {"initial": 1, "length_scales": "saas"},
        n_trials=6,
        dimensions=(22,),
        n_objectives=(2,),
    ),
    subject("mobo", "mobo-reranked", {"initial": 1, "rerank": True}, n_trials=7, n_objectives=(2,)),
    subject(
        "mobo",
        "mobo-screened",
        {"initial": 1, "screen": "keep_most_uncertain"},
        n_trials=7,
        n_objectives=(3,),
    ),
    subject(
        "mm_mo",
        "mm_mo-published",
        {"preset": "mm-mo-published", "initial": 4, "candidates": 2, "batch": 1},
        n_trials=5,
        n_objectives=(2,),
        generational=True,
    ),
]
"""With the checks that their difference may touch."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_contract(subject, check):
    check(subject)


TOUCHED = [
    (subject, check)
    for subject in VARIANTS
    for check in (
        (every_dimension_runs,)
        if subject.dimensions == (22,)
        else (replay_is_exact, proposals_are_plain_and_inside)
    )
]


@pytest.mark.parametrize(("subject", "check"), TOUCHED)
def test_contract_of_variants(subject, check):
    check(subject)
