"""Spaces that are linear in the weights of their donors, and merges that saturate."""

import numpy as np

from evomerge.spaces.domain import Domain, Gene, Seed
from evomerge.testing.problems import Problem
from evomerge.types import Objective


def weights(n_donors, low=0.0, high=1.5, groups=1):
    """Return a weight per donor and group of layers, with base, donors and the uniform merge."""
    names = [f"d{i}" for i in range(n_donors)]
    genes = tuple(
        Gene(f"weight[{name}].{g}", low=low, high=high, initial=1 / n_donors)
        for name in names
        for g in range(groups)
    )

    def point(*weights):
        return tuple(float(weight) for weight in weights for _ in range(groups))

    seeds = [Seed("base", point(*[0.0] * n_donors))]
    seeds += [Seed(n, point(*[float(n == m) for m in names])) for n in names]
    seeds.append(Seed("uniform", point(*[1 / n_donors] * n_donors)))
    return Domain(genes, tuple(seeds), linear=True)


def objectives(n, **fields):
    return tuple(Objective(f"task{k}", bounds=(0.0, 1.0), **fields) for k in range(n))


def saturating(n_donors, low=0.0, high=1.5, groups=1):
    """Accuracy of task k: its donor helps up to a point, the others hurt; negative costs."""
    domain = weights(n_donors, low, high, groups)

    def costs(genotype):
        c = np.array(genotype).reshape(n_donors, groups).mean(axis=1)
        c = c * np.linspace(0.6, 2.0, n_donors)  # no one weight suits all donors
        logits = -1.5 + 3 * c - 1.2 * c**2 - 0.35 * (c.sum() - c) - 0.1 * np.abs(c) ** 3
        return tuple((-1 / (1 + np.exp(-logits))).tolist())

    return Problem(f"saturating{n_donors}", domain, n_donors, costs)
