"""Acquisition functions: BoTorch's own values, pending points, scalarisations, and being alive."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective import logei
from botorch.sampling.normal import SobolQMCNormalSampler

from evomerge.optimizers.gaussian_processes.acquisition import (
    TAU_RELU,
    LogNoisyHypervolumeImprovement,
    LogNoisyImprovement,
    PublishedHypervolumeImprovement,
    first_objective,
    likely_best,
    log_noisy_acquisition,
    objective_for,
    positive_part,
    scalarisation,
)
from evomerge.optimizers.gaussian_processes.isolation import isolated
from evomerge.optimizers.gaussian_processes.models import fitted
from evomerge.optimizers.gaussian_processes.posterior import JointSamples, Surrogate
from evomerge.optimizers.gaussian_processes.transforms import published_targets, targets_of
from evomerge.optimizers.links import IdentityLink
from evomerge.pareto import hypervolume


def problem(m, n=14, d=2, seed=0):
    random = np.random.default_rng(seed)
    x = random.random((n, d))
    centres = random.random((m, d))
    costs = ((x[:, None] - centres) ** 2).sum(axis=2)
    targets = targets_of(costs, (IdentityLink(),) * m)
    surrogate = Surrogate(fitted(x, targets.values, targets.noise))
    return x, targets, surrogate, random.random((5, d))


@pytest.fixture(autouse=True)
def alone():
    with isolated(0):
        yield


@pytest.mark.parametrize("m", [2, 3, 4])
def test_hypervolume_improvement_is_botorchs(m, monkeypatch):
    monkeypatch.setattr(logei, "_load_attempted", True)  # not its compiled kernel
    x, targets, surrogate, at = problem(m)
    fixed, pending = torch.as_tensor(x[:5]), torch.as_tensor(at[:2])
    theirs = logei.qLogNoisyExpectedHypervolumeImprovement(
        surrogate.model,
        torch.as_tensor(targets.reference - 1.0),
        fixed,
        sampler=SobolQMCNormalSampler(torch.Size([16]), seed=3),
        X_pending=pending,
        prune_baseline=False,
    )
    new = torch.as_tensor(at[2:])
    expected = theirs(new.unsqueeze(1)).detach()
    normals = theirs.sampler.base_samples.reshape(16, 8, m)
    samples = JointSamples(surrogate, torch.cat([fixed, pending]), 16, 0, normals)
    ours = LogNoisyHypervolumeImprovement(samples, targets.reference - 1.0)
    assert expected.max() > -5
    np.testing.assert_allclose(ours(new).detach().exp(), expected.exp(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_gradients_are_derivatives(m):
    x, targets, surrogate, at = problem(m)
    samples = JointSamples(surrogate, torch.as_tensor(x[:6]), 8, 2)
    worth = LogNoisyHypervolumeImprovement(samples, targets.reference - 1.0)
    point = torch.as_tensor(at[:2]).requires_grad_()
    assert torch.autograd.gradcheck(worth, (point,), rtol=1e-2)


def test_far_below_the_front_there_still_is_a_slope():
    far = torch.linspace(-50, -1, 50, dtype=torch.double)
    value, slope = positive_part(far)
    assert (value > 0).all()
    assert (torch.diff(value) > 0).all()
    torch.testing.assert_close(value, TAU_RELU**2 / -far, rtol=1e-6, atol=0)
    torch.testing.assert_close(slope, TAU_RELU**2 / far**2, rtol=1e-6, atol=0)
    torch.testing.assert_close(positive_part(-far)[0], -far)


def test_noisy_improvement_is_botorchs():
    x, _, surrogate, at = problem(1)
    fixed = torch.as_tensor(x)
    theirs = qLogNoisyExpectedImprovement(
        surrogate.model,
        fixed,
        sampler=SobolQMCNormalSampler(torch.Size([32]), seed=3),
        prune_baseline=False,
        cache_root=True,
    )
    new = torch.as_tensor(at)
    expected = theirs(new.unsqueeze(1)).detach()
    normals = theirs.sampler.base_samples.reshape(32, len(x) + 1, 1)
    samples = JointSamples(surrogate, fixed, 32, 0, normals)
    ours = LogNoisyImprovement(samples, first_objective)(new).detach()
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


@pytest.mark.parametrize("m", [2, 3])
def test_worth_is_the_expected_gain_of_hypervolume(m):
    x, targets, surrogate, at = problem(m)
    reference = targets.reference - 1.0
    samples = JointSamples(surrogate, torch.as_tensor(x), 16, 5)
    worth = LogNoisyHypervolumeImprovement(samples, reference)(torch.as_tensor(at)).detach().exp()
    drawn = samples.at(torch.as_tensor(at)).detach().numpy()
    known = samples.values.numpy()
    gains = [
        [
            hypervolume(-np.vstack([known[s], drawn[s, i]]), -reference)
            - hypervolume(-known[s], -reference)
            for i in range(len(at))
        ]
        for s in range(16)
    ]
    np.testing.assert_allclose(worth, np.mean(gains, axis=0), rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_a_pending_point_is_worth_little_again(m):
    x, targets, surrogate, _ = problem(m)
    at = np.random.default_rng(1).random((200, 2))

    def worth(pending):
        samples = JointSamples(surrogate, torch.as_tensor(np.vstack([x, pending])), 32, 1)
        function = log_noisy_acquisition(
            samples, targets.reference, objective_for(targets.values, 2)
        )
        return function(torch.as_tensor(at)).detach().numpy()

    free = worth(np.zeros((0, 2)))
    best = int(np.argmax(free))
    taken = worth(at[best : best + 1])
    assert taken[best] < free[best] - 2.0


def test_pruning_keeps_what_counts():
    x, targets, surrogate, at = problem(2, n=30)
    drawn = JointSamples(surrogate, torch.as_tensor(x), 128, 0).values
    kept = likely_best(drawn, targets.reference, 30)
    assert set(targets.front) <= set(kept)
    assert len(kept) < 30

    def worth(rows):
        samples = JointSamples(surrogate, torch.as_tensor(x[rows]), 256, 9)
        function = LogNoisyHypervolumeImprovement(samples, targets.reference)
        return function(torch.as_tensor(at)).detach().exp()

    np.testing.assert_allclose(worth(kept), worth(np.arange(30)), rtol=0.2, atol=1e-3)
    few = likely_best(drawn, targets.reference, 3)
    assert len(few) == 3
    assert set(few) <= set(kept)


def test_pruning_by_an_objective_keeps_the_best():
    drawn = torch.tensor([[[1.0], [3.0], [2.0]], [[1.0], [3.0], [4.0]], [[1.0], [3.0], [0.0]]])
    assert likely_best(drawn, np.zeros(1), 3, first_objective).tolist() == [1, 2]
    assert likely_best(drawn, np.zeros(1), 1, first_objective).tolist() == [1]


def test_pruning_counts_fronts_above_the_reference():
    drawn = torch.tensor(
        [[[1.0, 1.0], [2.0, -1.0], [0.5, 0.5]], [[1.0, 1.0], [2.0, 0.5], [9.0, 9.0]]]
    )
    assert likely_best(drawn, np.zeros(2), 3).tolist() == [0, 2]


def test_what_is_maximised_by_the_number_of_objectives():
    random = np.random.default_rng(0)
    assert objective_for(random.random((4, 1)), 0) is first_objective
    assert all(objective_for(random.random((4, m)), 0) is None for m in (2, 3, 4))
    values = torch.as_tensor(random.random((4, 5)))
    by_seed = [objective_for(values.numpy(), seed)(values) for seed in (0, 0, 1)]
    assert torch.equal(by_seed[0], by_seed[1])
    assert not torch.equal(by_seed[0], by_seed[2])


def test_scalarisation_is_augmented_tchebycheff():
    values = np.array([[0.0, 0.0], [1.0, 2.0], [0.5, 1.5]])
    weights = np.random.default_rng(4).dirichlet(np.ones(2))
    worth = scalarisation(values, np.random.default_rng(4))(torch.as_tensor(values)).numpy()
    lost = weights * (1 - values / [1.0, 2.0])
    np.testing.assert_allclose(worth, -(lost.max(axis=1) + 0.05 * lost.sum(axis=1)))


def test_improvement_is_dead_by_the_published_rule_and_alive_by_ours():
    # acceptance 2, with percentages and a norm, as MM-MO has them
    random = np.random.default_rng(0)
    x = random.random((10, 6))
    costs = np.column_stack(
        [
            -(60 + 25 * np.exp(-((x - centre) ** 2).sum(axis=1)))
            for centre in (np.full(6, 0.2), np.full(6, 0.7))
        ]
        + [1e5 * x.sum(axis=1)]
    )
    candidates = torch.as_tensor(random.random((256, 6)))
    shares = []
    for targets in (published_targets(costs), targets_of(costs, (IdentityLink(),) * 3)):
        surrogate = Surrogate(fitted(x, targets.values, targets.noise))
        nowhere = np.zeros((0, 6))
        worth = PublishedHypervolumeImprovement(surrogate, x, nowhere, targets.reference, 32, 0)
        shares.append(float((worth(candidates) > 1e-12).double().mean()))
    assert shares[0] == 0.0
    assert shares[1] >= 0.5
