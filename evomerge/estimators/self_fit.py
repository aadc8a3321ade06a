"""Item parameters fitted on the answers at hand.

    minimise  - sum over answered (m, i) of log Bernoulli(y_mi | sigmoid(a_i . theta_m - b_i))
              + 1/2 sum |theta_m|^2 + 1/2 sum |a_i - mu_a|^2 / 0.5^2
              + 1/2 sum (b_i - mu_b)^2 / 1.5^2

with mu_a = (1) for rank 1 and (1, 0) for rank 2, and mu_b = -logit(mean score): the posterior mode
of items and abilities together. A few dozen models are enough for calibrated scores; the ranking
of candidates on shared items hardly changes, and cannot change where all a_i are equal, because
theta then depends on the answers through their sum alone. Scores in [0, 1] are allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.errors import UserError
from evomerge.estimators.evidence import Answers, Benchmark
from evomerge.estimators.item_model import ItemParameters, softplus

RANKS = (1, 2)
_SPREAD_A, _SPREAD_B = 0.5, 1.5
_MOST_STEPS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class SelfFit:
    """Items and the abilities of the models they were fitted on.

    Attributes:
        items: in the order of sorted ids.
        abilities: theta of each model, (rank,), by name.
        converged: whether the minimum was reached within the steps allowed.
    """

    items: ItemParameters
    abilities: Mapping[str, NDArray[np.float64]]
    converged: bool


def fit_items(
    answers: Mapping[str, Answers],
    item_ids: Iterable[str] | None = None,
    rank: int = 1,
    seed: int = 0,
) -> SelfFit:
    """Fit item parameters on a table of answers with gaps.

    Args:
        answers: scores in [0, 1] by item id, of each model by name; each model may have answered
            other items.
        item_ids: items that get parameters; every item answered by default. One that nobody
            answered gets the prior's.
        rank: number of abilities, 1 or 2.
        seed: where rank 2 starts: at 0, its second factor would stay 0.

    Raises:
        UserError: there is no answer, the rank is another, or an item is unknown or its score not
            in [0, 1]; it is named.
    """
    from scipy.optimize import minimize  # noqa: PLC0415  # heavy

    if rank not in RANKS:
        raise UserError(f"rank {rank}: item models are fitted with rank 1 or 2")
    if not any(answers.values()):
        raise UserError("item parameters cannot be fitted: no model has answered anything")
    names = sorted(answers)
    given = {name for row in answers.values() for name in row}
    benchmark = Benchmark(given if item_ids is None else item_ids)
    table = np.full((len(names), len(benchmark)), np.nan)
    for row, name in zip(table, names, strict=True):
        read = benchmark.read(answers[name], f"model '{name}'")
        row[read.positions] = read.values
    # Given the abilities, an item's parameters are the minimum of a convex function of its answers:
    # items with the same answers share them, and are fitted as one.
    _, first, which, counts = np.unique(
        np.nan_to_num(table, nan=-1.0),
        axis=1,
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    posterior = Posterior(table[:, first], counts, rank)
    found = minimize(
        posterior,
        posterior.start(seed),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MOST_STEPS, "maxfun": 2 * _MOST_STEPS, "gtol": 1e-4, "ftol": 1e-12},
    )
    theta, a, b = posterior.split(found.x)
    shared = which.ravel()
    return SelfFit(
        ItemParameters(benchmark.ids, a[shared], b[shared]),
        dict(zip(names, theta, strict=True)),
        bool(found.success),
    )


class Posterior:
    """Negative log posterior of abilities and items, with its gradient.

    Its variables have the standard normal as their prior: theta, (a - mu_a) / 0.5 and
    (b - mu_b) / 1.5, those of items that are fitted as one times the root of how many these are.

    Args:
        table: answers, (n_models, n_items), NaN where there is none.
        counts: how often each column of the table occurs, (n_items,).
        rank: number of abilities.
    """

    def __init__(self, table: NDArray[np.float64], counts: ArrayLike, rank: int) -> None:
        self._known = np.isfinite(table)
        self._answers = np.where(self._known, table, 0.0)
        self._counts = np.asarray(counts, dtype=np.float64)
        self._n_models, self._n_items, self._rank = *table.shape, rank
        self._mean_a = np.eye(1, rank)[0]
        # Half an answer of either kind keeps the logit finite when every answer is the same.
        right = (self._answers @ self._counts).sum() + 0.5
        asked = (self._known @ self._counts).sum() + 1.0
        self._mean_b = float(np.log((asked - right) / right))

    def start(self, seed: int) -> NDArray[np.float64]:
        """Return where the search begins: the prior's mean, further factors drawn at random."""
        theta, b = np.zeros(self._n_models * self._rank), np.zeros(self._n_items)
        a = np.zeros((self._n_items, self._rank))
        a[:, 1:] = np.random.default_rng(seed).normal(0.0, 0.2, (self._n_items, self._rank - 1))
        return np.concatenate([theta, a.ravel(), b])

    def split(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return theta (n_models, rank), a (n_items, rank) and b (n_items,) at x."""
        ends = np.cumsum([self._n_models * self._rank, self._n_items * self._rank])
        theta, from_a, from_b = np.split(x, ends)
        scale = 1.0 / np.sqrt(self._counts)
        a = self._mean_a + _SPREAD_A * scale[:, None] * from_a.reshape(-1, self._rank)
        return theta.reshape(-1, self._rank), a, self._mean_b + _SPREAD_B * scale * from_b

    def __call__(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the value at x and the gradient there."""
        theta, a, b = self.split(x)
        z = theta @ a.T - b
        known, rise = np.where(self._known, self._counts, 0.0), softplus(z)
        loss = (known * (rise - self._answers * z)).sum() + 0.5 * (x @ x)
        residual = known * (np.exp(z - rise) - self._answers)  # sigmoid(z), at half the cost
        scale = 1.0 / np.sqrt(self._counts)
        gradient = [
            residual @ a,
            _SPREAD_A * scale[:, None] * (residual.T @ theta),
            -_SPREAD_B * scale * residual.sum(axis=0),
        ]
        return float(loss), np.concatenate([part.ravel() for part in gradient]) + x
