"""Several objectives combined into one: the same cost as on the costs, and its least found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evomerge.optimizers import Combination
from evomerge.optimizers.gaussian_processes.combined import combined_objective
from evomerge.optimizers.gaussian_processes.transforms import targets_of
from evomerge.optimizers.links import IdentityLink, LogitLink, LogLink
from evomerge.types import Objective
from tests.optimizers.gaussian_processes.searches import mobo, search, two_spheres, unit_domain

LINKS = (LogitLink(-1.0, 0.0), IdentityLink(), LogLink(0.0), LogLink(2.0, upper=True))
ANCHORS = [(1.0, 0.0), (0.0, 3.0), (0.0, 5.0), (1.0, 2.0)]


def costs_of(seed, n=9):
    random = np.random.default_rng(seed)
    return np.column_stack(
        [
            random.uniform(-0.95, -0.05, n),
            random.normal(0, 2, n),
            random.uniform(0.5, 4, n),
            random.uniform(-3, 1.5, n),
        ]
    )


@pytest.mark.parametrize(
    "combination",
    [
        Combination.of(4),
        Combination.of(4, "weighted", [1, 2, 3, 4], ANCHORS),
        Combination.of(4, "tchebycheff", [1, 2, 3, 4], ANCHORS),
    ],
    ids=lambda one: one.method,
)
def test_targets_have_the_cost_of_their_costs(combination):
    costs = costs_of(0)
    targets = targets_of(costs, LINKS)
    values = torch.as_tensor(targets.values).requires_grad_()
    found = combined_objective(targets, combination)(values)
    expected = np.array([-combination.cost(row) for row in costs.tolist()])
    expected /= expected.std()
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-9)
    (slopes,) = torch.autograd.grad(found.sum(), values)
    assert (slopes >= 0).all()  # a larger target is never worse
    assert (slopes > 0).any(dim=1).all()


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_do_not_matter(factor):
    plain, changed = (
        search(
            mobo(unit_domain(2), combination=Combination.of(2), initial=8),
            lambda x, unit=unit: tuple(unit * y for y in two_spheres(x)),
            11,
        )
        for unit in (1.0, factor)
    )
    for one, other in zip(plain, changed, strict=True):
        np.testing.assert_allclose(one.genotype, other.genotype, atol=2e-3)


def test_finds_the_least_combined_cost():
    combination = Combination.of(2, "weighted", [3, 1])
    proposals = search(mobo(unit_domain(3), combination=combination), two_spheres, 20)
    best = min(combination.cost(two_spheres(one.genotype)) for one in proposals)
    exact = combination.cost(two_spheres((0.375,) * 3))
    assert best < exact + 0.003


def test_it_foretells_costs_and_their_errors():
    objectives = [Objective("one", "minimize", bounds=(0, None)), Objective("two", "minimize")]
    optimizer = mobo(unit_domain(2), objectives=objectives, initial=12)
    assert optimizer.predict((0.5, 0.5)) is None
    search(optimizer, two_spheres, 14)
    at = np.random.default_rng(0).random((40, 2))
    found = [optimizer.predict(tuple(point)) for point in at.tolist()]
    expected = np.array([two_spheres(point) for point in at])
    costs, errors = (np.array([one[k] for one in found]) for k in (0, 1))
    assert (errors > 0).all()
    assert np.sqrt(np.mean((costs - expected) ** 2)) < 0.1
    assert (np.abs(costs - expected) < 4 * errors + 0.02).mean() > 0.9
