"""The contract suite fails for optimizers that break the contract."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from evomerge.optimizers.cma_es import CmaEs
from evomerge.optimizers.protocol import Needs, Proposal
from evomerge.optimizers.random import RandomSearch
from evomerge.testing import optimizer_contract as contract
from evomerge.testing.optimizer_contract import Subject


class GlobalRandom(RandomSearch):
    def ask(self, trial_number):
        proposal = super().ask(trial_number)
        if proposal.origin == "random":
            values = tuple(random.uniform(0.0, 1.0) for _ in proposal.genotype)
            proposal = Proposal(values, "random")
            self._pending.open(trial_number, values)
        return proposal


class Careless(RandomSearch):
    def tell(self, trial):
        pass


class Unseeded(RandomSearch):
    def __init__(self, domain, n_objectives, seed):
        super().__init__(domain, n_objectives, 0)


class NoKnownPoints(RandomSearch):
    def __init__(self, domain, n_objectives, seed):
        super().__init__(domain, n_objectives, seed, seeds=False)


class OutOfBounds(RandomSearch):
    def ask(self, trial_number):
        proposal = super().ask(trial_number)
        genotype = tuple(
            value + 5 if isinstance(value, float) else value for value in proposal.genotype
        )
        self._pending.open(trial_number, genotype)
        return replace(proposal, genotype=genotype)


class NumpyFloats(RandomSearch):
    def ask(self, trial_number):
        proposal = super().ask(trial_number)
        genotype = tuple(
            np.float64(value) if isinstance(value, float) else value for value in proposal.genotype
        )
        return replace(proposal, genotype=genotype)


class NotCanonical(RandomSearch):
    def ask(self, trial_number):
        proposal = super().ask(trial_number)
        genes = self._domain.genes
        genotype = tuple(
            gene.low if gene.condition and gene.kind == "continuous" else value
            for gene, value in zip(genes, proposal.genotype, strict=True)
        )
        self._pending.open(trial_number, genotype)
        return replace(proposal, genotype=genotype)


class Waits(RandomSearch):
    def ask(self, trial_number):
        return None if trial_number == 7 else super().ask(trial_number)


class CountsVainAsks(CmaEs):
    needs = Needs(objectives="one")

    def ask(self, trial_number):
        proposal = super().ask(trial_number)
        if proposal is None:
            self._normals.random()
        return proposal


class OrderOfTells(CmaEs):
    def tell(self, trial):
        self._normals = type(self._normals)(type(self._normals.bit_generator)(trial.number))
        super().tell(trial)


FAULTS = [
    (GlobalRandom, contract.global_randomness_is_left_alone),
    (GlobalRandom, contract.replay_is_exact),
    (Careless, contract.wrong_tells_are_refused),
    (Unseeded, contract.seed_matters),
    (NoKnownPoints, contract.known_points_come_first),
    (OutOfBounds, contract.proposals_are_plain_and_inside),
    (OutOfBounds, contract.every_dimension_runs),
    (NumpyFloats, contract.proposals_are_plain_and_inside),
    (NotCanonical, contract.proposals_are_plain_and_inside),
    (Waits, contract.failures_are_survived),
    (Waits, contract.ties_are_survived),
    (CountsVainAsks, contract.asking_in_vain_changes_nothing),
    (OrderOfTells, contract.order_within_a_generation_is_free),
]


@pytest.mark.parametrize(
    ("faulty", "check"), FAULTS, ids=[f"{f.__name__}-{c.__name__}" for f, c in FAULTS]
)
def test_faults_are_caught(faulty, check):
    generational = issubclass(faulty, CmaEs)
    subject = Subject(
        faulty.__name__,
        faulty,
        dimensions=(2,),
        generational=generational,
        n_objectives=(1,) if generational else (1, 2),
        kinds=frozenset({"continuous"}) if generational else frozenset({"continuous", "integer"}),
    )
    with pytest.raises(AssertionError):
        check(subject)
