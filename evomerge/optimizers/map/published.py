"""MAP as its authors released it (github.com/luli-git/MAP), for comparison only.

Its design is a grid that shrinks with the number of experts, its fit a Levenberg-Marquardt search
from all ones, and its surrogates are searched far outside what was sampled.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.util.ref_dirs import get_reference_directions
from scipy.optimize import OptimizeWarning, curve_fit

from evomerge.optimizers.links import Link
from evomerge.optimizers.map.quadratic import Quadratic, features, fit

Floats = npt.NDArray[np.float64]

POPULATION = 100
GENERATIONS = 25

GAVE_UP = "curve_fit gave up; the ridge fit takes its place"
UNCERTAIN = "curve_fit cannot tell how certain its coefficients are: they have no single best fit"


def grid_design(n_experts: int, count: int, random: np.random.Generator) -> Floats:
    """Return the released sampler's points in [0, 1]^N, (at most count, N).

    The N one-hot points, then a regular grid of L = ceil((count - N) / 0.5)^(1/N) levels, rounded
    up, without its one-hot, sum-to-one and isotropic nodes, sub-sampled uniformly. The base, 0, is
    isotropic and never sampled.
    """
    one_hot = np.eye(n_experts)
    wanted = max(count - n_experts, 0)
    levels = max(math.ceil((wanted / 0.5) ** (1 / n_experts) - 1e-9), 2)
    axes = np.meshgrid(*[np.linspace(0.0, 1.0, levels)] * n_experts, indexing="ij")
    nodes = np.stack([axis.ravel() for axis in axes], axis=1)
    isotropic = np.ptp(nodes, axis=1) == 0
    simplex = np.isclose(nodes.sum(axis=1), 1.0)
    nodes = nodes[~(isotropic | simplex)]
    kept = random.permutation(len(nodes))[:wanted]
    return np.vstack([one_hot, nodes[kept]])[:count]


def fit_from_ones(points: Floats, costs: Floats, link: Link) -> tuple[Quadratic | None, str]:
    """Fit by Levenberg-Marquardt from all ones in units of the cost.

    Returns:
        The surrogate, None where the search for it gave up; what there is to say of it, or ''.
    """
    design = features(points)
    start = np.ones(design.shape[1])

    def predicted(_: Any, *beta: float) -> Floats:
        return link.inverse(design @ np.array(beta))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # of what `covariance` shows
        try:
            beta, covariance = curve_fit(
                predicted, points.T, costs, p0=start, method="lm", maxfev=20_000
            )
        except RuntimeError:
            return None, GAVE_UP
    if not np.isfinite(beta).all():
        return None, GAVE_UP
    ridge = fit(points, costs, link)
    residuals = costs - link.inverse(design @ beta)
    spread = float(((costs - costs.mean()) ** 2).sum())
    n, p = design.shape
    r2 = 1 - float(residuals @ residuals) / spread if spread > 0 else float("nan")
    adjusted = 1 - (1 - r2) * (n - 1) / (n - p) if n > p else float("nan")
    surrogate = Quadratic(
        link,
        np.asarray(beta),
        ridge.factor,
        ridge.limit,
        n,
        ridge.rank,
        r2,
        adjusted,
        float("nan"),
        float("nan"),
    )
    return surrogate, "" if np.isfinite(covariance).all() else UNCERTAIN


def released_nsga3(n_objectives: int, start: Floats) -> Any:
    """Build the released search: NSGA-III with two layers of Das-Dennis directions.

    2 divisions at scale 1 and 1 at scale 0.5; crossover with probability 0.7, mutation 0.3, both
    of index 20.
    """
    directions = get_reference_directions(
        "multi-layer",
        get_reference_directions("das-dennis", n_objectives, n_partitions=2, scaling=1.0),
        get_reference_directions("das-dennis", n_objectives, n_partitions=1, scaling=0.5),
    )
    return NSGA3(
        directions,
        pop_size=POPULATION,
        sampling=start,
        crossover=SBX(prob=0.7, eta=20),
        mutation=PM(prob=0.3, eta=20, prob_var=1 / start.shape[1]),
        output=None,
    )
