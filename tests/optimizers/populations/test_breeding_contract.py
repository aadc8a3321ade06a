"""Every optimizer of populations keeps the ask/tell contract."""

import pytest

from evomerge.optimizers import build_optimizer
from evomerge.optimizers.populations.m2n2 import M2n2
from evomerge.testing.breeding_contract import CHECKS, BreedingSubject, Litter


def subject(name, label=None, waits=False, budget=None, **options):
    def build(domain, n_objectives, seed):
        objectives = Litter(n_objectives).objectives
        return build_optimizer(
            name, domain, n_objectives, seed, options, objectives=objectives, budget=budget
        )

    return BreedingSubject(label or name, build, waits=waits)


SUBJECTS = [
    subject("m2n2", archive_size=6),
    subject("m2n2", "m2n2-released", preset="released", archive_size=5, warmup=7),
    subject("m2n2", "m2n2-ga", alpha=0, matchmaker=False, split=False, archive_size=5),
    subject("m2n2", "m2n2-mutating", crossover=False, mutation_std=0.1, archive_size=5),
    subject("m2n2", "m2n2-both", mutation_std=0.1, mix_beta=0.3, archive_size=5),
    subject("cycle_qd", bins=4, waits=True, budget=60),
    subject("cycle_qd", "cycle_qd-paper", preset="paper", waits=True, budget=60),
    subject("cycle_qd", "cycle_qd-released", preset="released", budget=60),
    subject("cycle_qd", "cycle_qd-cvt", archive="cvt", aggregate_every=20, waits=True, budget=60),
    subject("cycle_qd", "cycle_qd-dns", archive="dominated_novelty", waits=True, budget=60),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_contract(subject, check):
    check(subject)


class Forgetful(M2n2):
    def tell(self, trial):
        self._niches.tell(trial)


class Unseeded(M2n2):
    def __init__(self, domain, n_objectives, seed, **options):
        super().__init__(domain, n_objectives, 0, **options)


@pytest.mark.parametrize(
    ("broken", "check"), [(Forgetful, "wrong_tells_are_refused"), (Unseeded, "seed_matters")]
)
def test_the_suite_fails_where_the_contract_is_broken(broken, check):
    def build(domain, n_objectives, seed):
        return broken(domain, n_objectives, seed, objectives=Litter(n_objectives).objectives)

    checks = {one.__name__: one for one in CHECKS}
    with pytest.raises(AssertionError):
        checks[check](BreedingSubject("broken", build))
