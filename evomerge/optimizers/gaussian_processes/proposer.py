"""From evaluations to the points that are worth most: model, acquisition function, candidates.

Everything here runs `isolated`: on one thread, in double precision, with random numbers that follow
from the optimizer's seed and a counter. Points are numpy arrays of the unit cube.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.optimizers.gaussian_processes.acquisition import (
    Acquisition,
    Objective,
    PublishedHypervolumeImprovement,
    likely_best,
    log_noisy_acquisition,
    objective_for,
)
from evomerge.optimizers.gaussian_processes.combined import combined_objective
from evomerge.optimizers.gaussian_processes.encoding import Encoding
from evomerge.optimizers.gaussian_processes.isolation import isolated
from evomerge.optimizers.gaussian_processes.maximise import (
    CHUNK,
    Effort,
    climbed,
    score,
    starting_points,
)
from evomerge.optimizers.gaussian_processes.models import conditioned, fitted
from evomerge.optimizers.gaussian_processes.pool import Pool
from evomerge.optimizers.gaussian_processes.posterior import JointSamples, Surrogate
from evomerge.optimizers.gaussian_processes.settings import Settings
from evomerge.optimizers.gaussian_processes.together import (
    Best,
    UndominatedBoxes,
    chosen_together,
)
from evomerge.optimizers.gaussian_processes.transforms import Targets
from evomerge.optimizers.scalarise import Combination

Floats = NDArray[np.float64]

FULL_EFFORT = 100
"""With more points in the model than this a climb is slower, and one evaluation matters less: fewer
starts are climbed, in proportion."""

_PROPOSE, _CHOOSE = 1, 4  # streams of random numbers; optimizers have streams of their own
_ANY_SEED = 0  # where nothing, or always the same, is drawn
_DRAWN = 128  # samples that say which points may be on the front


@dataclass(frozen=True)
class Fit:
    """A model of the evaluated points.

    Attributes:
        points: (n_points, n_genes).
        features: theirs, (n_points, n_features).
        targets: theirs, with the reference point.
        surrogate: the model.
        drawn: targets sampled at the points, (n_samples, n_points, n_objectives).
        baseline: how many points a baseline has at most.
    """

    points: Floats
    features: Floats
    targets: Targets
    surrogate: Surrogate
    drawn: Tensor
    baseline: int

    @cached_property
    def front(self) -> NDArray[np.intp]:
        """The rows that no other dominates."""
        return self.targets.front

    @cached_property
    def on_fronts(self) -> NDArray[np.intp]:
        """The rows that are on the front of some sample, but not too many."""
        return likely_best(self.drawn, self.targets.reference, self.baseline)

    def best_by(self, objectives: Sequence[Objective]) -> NDArray[np.intp]:
        """Return the rows that are the best of some sample by one of the objectives."""
        found = [
            likely_best(self.drawn, self.targets.reference, self.baseline, one)
            for one in objectives
        ]
        return np.unique(np.concatenate(found))


class Proposer:
    """Models evaluations and looks for points that are worth evaluating.

    Args:
        encoding: of the domain.
        seed: source of all randomness.
        settings: how to model and search.
        published: use qEHVI as MM-MO's released code does.
    """

    def __init__(
        self, encoding: Encoding, seed: int, settings: Settings, *, published: bool = False
    ) -> None:
        self._encoding = encoding
        self._seed = seed
        self._settings = settings
        self._published = published

    def fit(self, points: Floats, targets: Targets, like: Fit | None = None) -> Fit:
        """Fit a model; a pure function.

        Args:
            points: canonical, (n_points, n_genes), at least one.
            targets: theirs.
            like: take the hyperparameters of this fit instead of learning them.
        """
        features = self._encoding.features(points)
        data = (features, targets.values, targets.noise)
        kind, scales = self._settings.length_scales, self._settings.scales
        estimated = bool(targets.estimated.any())
        with isolated(_ANY_SEED):
            if like is not None:
                before = like.surrogate.model
                model = conditioned(before, *data, estimated=estimated, length_scales=kind)
            else:
                scales = None if scales is None else scales[self._encoding.owners]
                model = fitted(*data, estimated=estimated, length_scales=kind, scales=scales)
            surrogate = Surrogate(model, targets.estimated)
            drawn = JointSamples(surrogate, torch.as_tensor(features), _DRAWN, _ANY_SEED).values
        return Fit(points, features, targets, surrogate, drawn, self._settings.baseline)

    def prospect(
        self, fit: Fit, pending: Floats, counter: int, combination: Combination | None = None
    ) -> Prospect:
        """Return where to look for the next point; a pure function.

        Args:
            fit: of the evaluated points.
            pending: points in flight or chosen, (n_pending, n_genes).
            counter: of the random numbers; another one looks elsewhere.
            combination: of the costs, where one cost is minimised and not the front.
        """
        state = np.random.SeedSequence([self._seed, _PROPOSE, counter]).generate_state(3)
        seeds = [int(word) >> 1 for word in state]
        objective = None if combination is None else combined_objective(fit.targets, combination)
        return Prospect(
            self._encoding, self._settings, fit, pending, seeds, self._published, objective
        )

    def chosen(
        self, fit: Fit, points: Floats, pending: Floats, counter: int, count: int
    ) -> NDArray[np.intp]:
        """Return which points are worth most, one after another, each given those before it.

        Unlike so many prospects it draws the values of all points once; a pure function.

        Args:
            fit: of the evaluated points.
            points: to choose from, (n_points, n_genes); of equals the first.
            pending: points in flight, (n_pending, n_genes).
            counter: of the random numbers.
            count: how many; all, if there are no more.
        """
        state = np.random.SeedSequence([self._seed, _CHOOSE, counter]).generate_state(1 + count)
        seed, *weights = (int(word) >> 1 for word in state)
        targets = fit.targets
        drawn = [objective_for(targets.values, one) for one in weights]
        objectives = [one for one in drawn if one is not None]
        rows = fit.best_by(objectives) if objectives else fit.on_fronts
        known = np.vstack([fit.points[rows], pending])
        with isolated(seed):
            features = torch.as_tensor(self._encoding.features(np.vstack([known, points])))
            values = JointSamples(fit.surrogate, features, self._settings.samples, seed).values
            before, new = np.split(values.numpy(), [len(known)], axis=1)
            baseline = (
                Best(before, new, objectives)
                if objectives
                else UndominatedBoxes(before, new, targets.reference)
            )
            return chosen_together(baseline, len(points), count)

    def predict(self, fit: Fit, points: Floats) -> tuple[Floats, Floats]:
        """Return mean and variance of targets, both (n_points, n_objectives)."""
        with isolated(_ANY_SEED):
            return fit.surrogate.predict(self._encoding.features(points))


class Prospect:
    """An acquisition function and the search for where it is large.

    Args:
        encoding: of the domain.
        settings: how to search.
        fit: of the evaluated points.
        pending: points in flight or chosen, (n_pending, n_genes).
        seeds: of samples, of weights, and of where to look.
        published: use qEHVI as MM-MO's released code does.
        objective: what is maximised, where it is not the front.
    """

    def __init__(
        self,
        encoding: Encoding,
        settings: Settings,
        fit: Fit,
        pending: Floats,
        seeds: Sequence[int],
        published: bool,
        objective: Objective | None = None,
    ) -> None:
        self._encoding = encoding
        self._fit = fit
        self._seeds = seeds
        self._objective = objective
        self._near = fit.front
        with isolated(seeds[0]):
            self._acquisition = self._function(encoding.features(pending), settings, published)
        # qEHVI sums over the subsets of the pending points
        chunk = max(1, CHUNK >> len(pending)) if published else CHUNK
        restarts = max(1, settings.restarts * FULL_EFFORT // max(FULL_EFFORT, len(fit.points)))
        self._effort = Effort(settings.raw_samples, restarts, settings.iterations, chunk)

    def _function(self, pending: Floats, settings: Settings, published: bool) -> Acquisition:
        fit, targets, seeds = self._fit, self._fit.targets, self._seeds
        if published:
            return PublishedHypervolumeImprovement(
                fit.surrogate, fit.features, pending, targets.reference, settings.samples, seeds[0]
            )
        objective = self._objective or objective_for(targets.values, seeds[1])
        kept = fit.on_fronts if objective is None else fit.best_by([objective])
        if self._objective is not None:
            self._near = kept
        fixed = torch.as_tensor(np.vstack([fit.features[kept], pending]))
        samples = JointSamples(fit.surrogate, fixed, settings.samples, seeds[0])
        return log_noisy_acquisition(samples, targets.reference, objective)

    def climb(self, starts: int = 1) -> tuple[Pool, Pool]:
        """Return the climbed candidates, best first, and the raw ones they were chosen from.

        Args:
            starts: how many are climbed at least.
        """
        effort = replace(self._effort, restarts=max(self._effort.restarts, starts))
        random = np.random.default_rng(self._seeds[2])
        near = self._fit.points[self._near]
        with isolated(self._seeds[0]):
            count = max(self._effort.raw_samples, starts)
            raw = starting_points(self._encoding, count, near, random)
            worths = score(self._acquisition, self._encoding, raw, self._effort.chunk)
            best = climbed(self._acquisition, self._encoding, raw, worths, effort, random)
        return Pool(*best), Pool(raw, worths)

    def score(self, points: Floats) -> Pool:
        """Return canonical points with their worth."""
        with isolated(self._seeds[0]):
            worths = score(self._acquisition, self._encoding, points, self._effort.chunk)
        return Pool(points, worths)
