"""Screening candidates by what the model is sure of.

MM-MO (arXiv 2407.00487) calls FI(x) = sum_j 1 / sigma_j^2(x), over the objectives' posterior
variances, Fisher information; it is that of the predicted means, not of a network. The released
code keeps the candidates with the *smallest* FI, the most uncertain ones, which explores. Keeping
the largest exploits. Both are here under names that say which is which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def fisher_information(variances: Floats) -> Floats:
    """Return FI of each candidate, (n_candidates,).

    Args:
        variances: of the posterior, (n_candidates, n_objectives), above 0.
    """
    return np.asarray((1.0 / variances).sum(axis=1))


def keep_most_uncertain(variances: Floats, count: int) -> NDArray[np.intp]:
    """Return the candidates with the smallest FI, that one first; of equals the earlier.

    Args:
        variances: of the posterior, (n_candidates, n_objectives), above 0.
        count: how many, if there are as many.
    """
    return np.argsort(fisher_information(variances), kind="stable")[:count]


def keep_most_certain(variances: Floats, count: int) -> NDArray[np.intp]:
    """Return the candidates with the largest FI, that one first; of equals the earlier.

    Args:
        variances: of the posterior, (n_candidates, n_objectives), above 0.
        count: how many, if there are as many.
    """
    return np.argsort(-fisher_information(variances), kind="stable")[:count]


SCREENS: Mapping[str, Callable[[Floats, int], NDArray[np.intp]]] = {
    "keep_most_uncertain": keep_most_uncertain,
    "keep_most_certain": keep_most_certain,
}
"""By the name an option has."""
