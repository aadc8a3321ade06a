"""What evaluating one more point is expected to be worth, given those evaluated and in flight.

    several objectives   noisy expected hypervolume improvement (Daulton et al., 2021, arXiv
                         2105.08195), its logarithm (Ament et al., 2023, arXiv 2310.20708)
    one objective        noisy expected improvement, likewise
    many objectives      the latter, of a random augmented Tchebycheff scalarisation (Knowles, 2006,
                         ParEGO): boxes grow exponentially with the number of objectives

Points are chosen one after another: what is in flight, or was chosen already, joins the baseline
with sampled values, so that a second point near it gains nothing. These are BoTorch's qLogNEHVI and
qLogNEI for one new point, as far as the same normal variables and boxes go; written here
because BoTorch's rebuild the joint covariance of the baseline for each candidate and take seconds
to cut three-objective fronts into boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from botorch.acquisition.logei import TAU_RELU
from botorch.acquisition.multi_objective.monte_carlo import qExpectedHypervolumeImprovement
from botorch.sampling.normal import SobolQMCNormalSampler
from botorch.utils.multi_objective.box_decompositions.non_dominated import (
    FastNondominatedPartitioning,
)
from botorch.utils.multi_objective.scalarization import get_chebyshev_scalarization
from botorch.utils.safe_math import log_fatplus, logmeanexp
from numpy.typing import NDArray
from torch import Tensor

from evomerge.optimizers.gaussian_processes.boxes import undominated
from evomerge.optimizers.gaussian_processes.posterior import JointSamples, Surrogate
from evomerge.pareto import non_dominated

Floats = NDArray[np.float64]
Objective: TypeAlias = Callable[[Tensor], Tensor]
"""Sampled targets, (..., n_objectives), to the one number that is maximised, (...)."""

MOST_BOXED = 4
"""With more objectives than this, hypervolume gives way to random scalarisations."""


class Acquisition(Protocol):
    """What a point is worth; larger is better, and logarithms may be negative."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return the worth of each point alone, (n_points,), differentiable.

        Args:
            x: (n_points, n_features).
        """
        ...


class LogNoisyHypervolumeImprovement:
    """log E[gain of hypervolume over the baseline].

    The gain is a sum over boxes of products of sides. BoTorch's qLogNEHVI adds logarithms of smooth
    sides, which costs a dozen operations a side; with a positive part that has a fat tail nothing
    underflows, and one logarithm at the end is enough.

    Args:
        samples: joint with the baseline, of two objectives or more.
        reference: what a target must exceed to count, (n_objectives,).
    """

    def __init__(self, samples: JointSamples, reference: Floats) -> None:
        values = samples.values.numpy()
        lower, upper, padding = undominated(values, reference).padded(len(values))
        sizes = np.where(padding[..., None], 0.0, upper - lower)
        self._samples = samples
        # for each objective n_samples, 1, n_boxes
        self._lower = torch.as_tensor(np.moveaxis(lower, -1, 0)[:, :, None].copy())
        self._sizes = torch.as_tensor(np.moveaxis(sizes, -1, 0)[:, :, None].copy())

    def __call__(self, x: Tensor) -> Tensor:
        """Return the worth of each point alone, (n_points,)."""
        gains: Tensor = _Gains.apply(  # type: ignore[no-untyped-call]
            self._samples.at(x), self._lower, self._sizes
        )
        return gains.mean(dim=0).log()


class _Gains(torch.autograd.Function):
    """Gains of hypervolume, (n_samples, n_points), of values (n_samples, n_points, n_objectives).

    The derivative is computed along with them: both need the same sides, and keeping every step of
    hundreds of boxes for PyTorch to go back through takes twice as long.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, lower: Tensor, sizes: Tensor) -> Tensor:
        """Add up the boxes.

        Args:
            ctx: keeps what the derivative needs.
            values: of the new points.
            lower: corners of the boxes, (n_objectives, n_samples, 1, n_boxes).
            sizes: of the boxes, as many.
        """
        beyond, slopes = positive_part(values.permute(2, 0, 1).unsqueeze(-1) - lower)
        sides = torch.minimum(beyond, sizes)
        if ctx.needs_input_grad[0]:
            slopes.masked_fill_(beyond >= sizes, 0.0)
            parts = [
                (slopes[k] * reduce(torch.mul, [*sides[:k], *sides[k + 1 :]])).sum(dim=-1)
                for k in range(len(sides))
            ]
            ctx.save_for_backward(torch.stack(parts, dim=-1))
        volumes: Tensor = reduce(torch.mul, sides)  # n_samples, n_points, n_boxes
        return volumes.sum(dim=-1)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        """Return the derivative by the values."""
        (inner,) = ctx.saved_tensors
        return outer[0].unsqueeze(-1) * inner, None, None


class LogNoisyImprovement:
    """log E[improvement of an objective over the best of the baseline].

    Args:
        samples: joint with the baseline, which has a point at least.
        objective: of the targets.
    """

    def __init__(self, samples: JointSamples, objective: Objective) -> None:
        self._samples = samples
        self._objective = objective
        self._best = objective(samples.values).max(dim=-1, keepdim=True).values

    def __call__(self, x: Tensor) -> Tensor:
        """Return the worth of each point alone, (n_points,)."""
        gain = self._objective(self._samples.at(x)) - self._best
        worth: Tensor = logmeanexp(log_fatplus(gain, tau=TAU_RELU), dim=0)
        return worth


class PublishedHypervolumeImprovement:
    """qEHVI as MM-MO's released code uses it: over the posterior mean at the evaluated points.

    Pending points are part of the batch whose expected gain is computed, over all its subsets.

    Args:
        surrogate: of two objectives or more.
        evaluated: (n_points, n_features).
        pending: (n_pending, n_features); more than ten take gigabytes.
        reference: of the hypervolume, (n_objectives,).
        n_samples: of the posterior.
        seed: of these samples.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        evaluated: Floats,
        pending: Floats,
        reference: Floats,
        n_samples: int,
        seed: int,
    ) -> None:
        corner = torch.as_tensor(reference)
        mean, _ = surrogate.predict(evaluated)
        self._expected = qExpectedHypervolumeImprovement(
            surrogate.model,
            corner,
            FastNondominatedPartitioning(ref_point=corner, Y=torch.as_tensor(mean)),
            sampler=SobolQMCNormalSampler(torch.Size([n_samples]), seed=seed),
            X_pending=torch.as_tensor(pending) if len(pending) else None,
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Return the worth of each point with the pending ones, (n_points,)."""
        worth: Tensor = self._expected(x.unsqueeze(1))
        return worth


def positive_part(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return (x + sqrt(x^2 + 4 tau^2)) / 2 and its derivative.

    That is max(x, 0) but near 0, and tau^2 / |x| far below it, which never is quite 0.
    """
    root = x.square().add_(4 * TAU_RELU**2).sqrt_()
    value = (root + x.abs()).reciprocal_().mul_(2 * TAU_RELU**2).add_(x.clamp_min(0.0))
    return value, value / root


def first_objective(values: Tensor) -> Tensor:
    """Return the targets of the first objective."""
    return values[..., 0]


def scalarisation(values: Floats, random: np.random.Generator) -> Objective:
    """Return a random augmented Tchebycheff scalarisation, its weights uniform on the simplex.

    Args:
        values: targets that set the scale of each objective, (n_points, n_objectives).
        random: of the weights.
    """
    weights = torch.as_tensor(random.dirichlet(np.ones(values.shape[1])))
    scaled: Objective = get_chebyshev_scalarization(weights, torch.as_tensor(values))
    return scaled


def objective_for(values: Floats, seed: int) -> Objective | None:
    """Return what is maximised where it is not hypervolume: one objective, or more than four.

    Args:
        values: targets of the evaluated points, (n_points, n_objectives).
        seed: of the weights.
    """
    n_objectives = values.shape[1]
    if n_objectives == 1:
        return first_objective
    if n_objectives > MOST_BOXED:
        return scalarisation(values, np.random.default_rng(seed))
    return None


def likely_best(
    drawn: Tensor, reference: Floats, most: int, objective: Objective | None = None
) -> NDArray[np.intp]:
    """Return the points that are on the front of some sample, in their order.

    Args:
        drawn: sampled targets, (n_samples, n_points, n_objectives).
        reference: what a target must exceed to count, (n_objectives,).
        most: points; of more, those that are on most fronts.
        objective: count the samples in which a point is the best by this one instead.
    """
    if objective is None:
        best = torch.zeros(drawn.shape[:-1], dtype=torch.bool)
        for row, sample in zip(best, -drawn.numpy(), strict=True):
            row[torch.as_tensor(non_dominated(sample))] = True
        best &= (drawn > torch.as_tensor(reference)).all(dim=-1)
    else:
        worth = objective(drawn)
        best = worth == worth.max(dim=-1, keepdim=True).values
    share: Floats = best.double().mean(dim=0).numpy()
    order = np.argsort(-share, kind="stable")[:most]
    return np.sort(order[share[order] > 0])


def log_noisy_acquisition(
    samples: JointSamples, reference: Floats, objective: Objective | None
) -> Acquisition:
    """Return the acquisition function for a number of objectives.

    Args:
        samples: joint with the baseline: evaluated points that may be best, and those in flight.
        reference: of the hypervolume, (n_objectives,).
        objective: from `objective_for`.
    """
    if objective is None:
        return LogNoisyHypervolumeImprovement(samples, reference)
    return LogNoisyImprovement(samples, objective)
