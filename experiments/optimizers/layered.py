"""Weights by layer of which few matter: two donors in closed form, with their exact front.

No merge of real models was measured for this; what is assumed of them is what there is to read.
Of task k, in layer l, donor k's own weight w helps up to 1 and then harms, and the other donor's v
disturbs, each as much as the layer matters to the task:

    z_k = sum_l a_kl (2 w - w^2 - INTERFERENCE v^2)        accuracy_k = FLOOR + RANGE sigma(z_k)

The a_kl sum to 1 and fall off geometrically by `FALL` from layer to layer, in an order of its own
for each task. sigma is a logistic function, so that the accuracy saturates. Each z_k is concave,
and a sum over layers; so the front is where lambda z_1 + (1 - lambda) z_2 is greatest for some
lambda, which is layer by layer, for the first donor (the second alike),

    w = lambda a_1l / (lambda a_1l + INTERFERENCE (1 - lambda) a_2l)
"""

from __future__ import annotations

import hashlib
import json
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.pareto import Anchors, anchored_hypervolume
from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.types import Completed, Genotype, Objective, Trial

Floats = NDArray[np.float64]

N_ITEMS = 64
FALL = 0.7
"""The five layers that matter most have five sixths of all that matters."""
INTERFERENCE = 0.6
FLOOR, RANGE = 0.05, 0.9
STEEPNESS = 6.0
"""Of the logistic function, about z = 1/2: the base is at 0.09, each donor at 0.91 of its task."""
N_FRONT = 1001


class Layered:
    """Two donors with a weight for each layer, and a task for each donor.

    Args:
        n_weights: of both donors together; even.
        seed: of the noise, which this and the genotype decide. The layers that matter are the same
            for all seeds.
    """

    def __init__(self, n_weights: int, *, seed: int = 0) -> None:
        self.name = f"layered-{n_weights}"
        self.objectives = tuple(
            Objective(f"task{k}", bounds=(0.0, 1.0), n_items=N_ITEMS) for k in range(2)
        )
        self.n_objectives = 2
        self.domain = _domain(n_weights // 2)
        self._seed = seed
        self._shares = _shares(n_weights // 2)

    @property
    def importance(self) -> dict[str, float]:
        """How much each gene matters to both tasks together, by its name."""
        effects = self._shares + INTERFERENCE * self._shares[::-1]
        names = [gene.name for gene in self.domain.genes]
        return dict(zip(names, effects.ravel().tolist(), strict=True))

    def expected_costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Return minus the accuracies."""
        weights = np.array(genotype, dtype=np.float64).reshape(2, -1)
        return tuple((-_accuracies(weights, self._shares)).tolist())

    def completed(self, number: int, genotype: Genotype) -> Trial:
        """Evaluate a genotype on items that are each answered or not."""
        text = json.dumps([self.name, self._seed, *genotype]).encode()
        key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
        random = np.random.Generator(np.random.Philox(key=key))
        answered = random.binomial(N_ITEMS, -np.array(self.expected_costs(genotype))) / N_ITEMS
        metrics = dict(zip((one.name for one in self.objectives), answered.tolist(), strict=True))
        return Trial(number, genotype, Completed(metrics), tuple((-answered).tolist()))

    def normalised_hypervolume(self, costs: ArrayLike) -> float:
        """Return the hypervolume of costs, (n_points, 2), over that of the front.

        As of the merge problems: base 0, best donor 1, reference point -0.1.
        """
        return self._volume(np.asarray(costs)) / _front_volume(len(self.domain))

    def front_costs(self) -> Floats:
        """Return costs along the front, the second task's best first, (N_FRONT, 2)."""
        first, second = self._shares
        along = np.linspace(0, 1, N_FRONT)[:, None]
        w = along * first / (along * first + INTERFERENCE * (1 - along) * second)
        v = (1 - along) * second / ((1 - along) * second + INTERFERENCE * along * first)
        return -_accuracies(np.stack([w, v], axis=1), self._shares)

    def _volume(self, costs: Floats) -> float:
        base, *donors = (
            {one.name: -cost for one, cost in zip(self.objectives, costs, strict=True)}
            for costs in (self.expected_costs(seed.genotype) for seed in self.domain.seeds[:3])
        )
        anchors = Anchors.of(self.objectives, base, donors)
        zero, one = np.array(anchors.zero), np.array(anchors.one)
        return anchored_hypervolume((-costs - zero) / (one - zero))


def _domain(n_layers: int) -> Domain:
    """Return weights as the space `task_arithmetic_layerwise` has them, and its known points."""
    genes = tuple(
        Gene(f"weight.donor{k}[{layer}]", low=0.0, high=1.5, initial=0.5)
        for k in range(2)
        for layer in range(n_layers)
    )
    known = {"base": (0.0, 0.0), "donor0": (1.0, 0.0), "donor1": (0.0, 1.0), "uniform": (0.5, 0.5)}
    seeds = tuple(
        Seed(name, (one,) * n_layers + (other,) * n_layers) for name, (one, other) in known.items()
    )
    return Domain(genes, seeds, linear=True)


def _shares(n_layers: int) -> Floats:
    """Return how much each layer matters to each task, (2, n_layers)."""
    random = np.random.default_rng(n_layers)
    falling = FALL ** np.arange(n_layers)
    return np.array([random.permutation(falling / falling.sum()) for _ in range(2)])


def _accuracies(weights: Floats, shares: Floats) -> Floats:
    """Return the accuracies of weights (..., 2, n_layers), (..., 2)."""
    gains = weights * (2 - weights) - INTERFERENCE * weights[..., ::-1, :] ** 2
    z = (gains * shares).sum(axis=-1)
    accuracies: Floats = FLOOR + RANGE / (1 + np.exp(-STEEPNESS * (z - 0.5)))
    return accuracies


@cache
def _front_volume(n_weights: int) -> float:
    problem = Layered(n_weights)
    return problem._volume(problem.front_costs())
