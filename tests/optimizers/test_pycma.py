"""pycma as it comes: what stands around it. That it is pycma, `tests.migrate` shows."""

from __future__ import annotations

import numpy as np
import pytest

from evomerge.errors import ConfigError, SpaceError
from evomerge.optimizers.cma_es import FLAT_GENERATIONS
from evomerge.optimizers.pycma import Pycma
from evomerge.spaces.domain import Domain, Gene
from evomerge.types import Completed, Failed, Trial


def domain(n=6, low=-10.0, high=10.0, initial=0.5):
    return Domain(tuple(Gene(f"g{i}", low=low, high=high, initial=initial) for i in range(n)))


def generation(optimizer, first, cost):
    """Ask and tell one generation; costs of None fail. Returns its genotypes."""
    asked = []
    while (proposal := optimizer.ask(first + len(asked))) is not None:
        asked.append(proposal.genotype)
    for offset, genotype in enumerate(asked):
        value = cost(np.array(genotype))
        outcome = Failed("error", "no") if value is None else Completed({"one": value})
        costs = None if value is None else (value,)
        optimizer.tell(Trial(first + offset, genotype, outcome, costs))
    return asked


def run(optimizer, cost, generations):
    seen = []
    for _ in range(generations):
        seen += generation(optimizer, len(seen), cost)
    return seen


def sphere(x):
    return float(np.sum((x - 0.2) ** 2))


def test_candidates_keep_to_the_range_and_the_search_to_itself():
    """A bound at the start: the distribution is not touched by it, candidates are put on it."""
    free = run(Pycma(domain(), 1, 3, seeds=False), lambda x: sphere(np.minimum(x, 0.5)), 5)
    held = run(Pycma(domain(high=0.5), 1, 3, seeds=False), sphere, 5)
    assert any(value > 0.5 for genotype in free for value in genotype)
    np.testing.assert_array_equal(held, np.minimum(free, 0.5))


def test_failures_rank_last():
    """As a cost beyond all others does; how far beyond is not looked at."""
    failing = run(
        Pycma(domain(), 1, 1, seeds=False), lambda x: sphere(x) if x[0] < 0.5 else None, 6
    )
    costly = run(Pycma(domain(), 1, 1, seeds=False), lambda x: sphere(x) if x[0] < 0.5 else 1e6, 6)
    assert failing == costly


@pytest.mark.parametrize(("n", "population"), [(6, None), (6, 4), (301, None)])
def test_generations_without_a_ranking_end_a_run_only_in_the_end(n, population):
    optimizer = Pycma(domain(n), 1, 0, seeds=False, population=population)
    seen = run(optimizer, sphere, 2)
    for _ in range(FLAT_GENERATIONS - 1):
        seen += generation(optimizer, len(seen), lambda _: 1.0)
        assert optimizer.stop_reason() is None
    seen += generation(optimizer, len(seen), sphere)
    for _ in range(FLAT_GENERATIONS):
        assert optimizer.stop_reason() is None
        seen += generation(optimizer, len(seen), lambda _: None)
    assert "without two different costs" in optimizer.stop_reason()
    assert len(set(seen)) == len(seen)


def test_a_search_that_has_converged_says_so():
    optimizer = Pycma(domain(2), 1, 0, seeds=False)
    number = 0
    while optimizer.stop_reason() is None:
        number += len(generation(optimizer, number, sphere))
    assert optimizer.stop_reason().startswith("pycma: tol")


@pytest.mark.parametrize(
    "gene",
    [
        Gene("x", "integer", 0, 5, 1),
        Gene("x", low=0.1, high=1, log=True),
        Gene("x", "categorical", initial="a", choices=("a", "b")),
    ],
)
def test_other_genes_are_refused(gene):
    with pytest.raises(SpaceError, match="gene 'x' is not continuous on a linear scale"):
        Pycma(Domain((gene, Gene("y"))), 1, 0)


def test_what_it_cannot_do_is_refused_by_name():
    with pytest.raises(SpaceError, match="two genes or more"):
        Pycma(domain(1), 1, 0, seeds=False)
    with pytest.raises(ConfigError, match="takes 1 objective, got 2"):
        Pycma(domain(), 2, 0)
    with pytest.raises(ConfigError, match="population"):
        Pycma(domain(), 1, 0, seeds=False, population=2)
    with pytest.raises(ConfigError, match="sigma0"):
        Pycma(domain(), 1, 0, seeds=False, sigma0=0)
