"""Is one model better than another on the same items, or is it chance? Tests of paired scores.

The hypothesis that is tested is that, item by item, the two models could be exchanged. Then every
difference would be as likely with the other sign, and the sum of the differences is compared with
what random signs make of them (Fisher, 1935, Sec. 21). For scores of 0 and 1 the signs can be
counted in closed form, which is McNemar's exact test. All tests are two-sided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_EXACT = 16
"""Up to this many differences all signs are tried: 65,536 at most."""

_BLOCK = 4_000_000  # signs drawn at once: 4 MB as bytes, 32 MB as numbers
_TIE = 1e-9  # of the sum of all sizes: equal sums of floats may differ in their last bits


@dataclass(frozen=True, slots=True)
class McNemar:
    """Two models that are right or wrong on the same items.

    Attributes:
        first_only: items that only the first got right.
        second_only: items that only the second got right.
        p_value: probability of a split at least as uneven, were each as likely to be either's.
    """

    first_only: int
    second_only: int
    p_value: float


@dataclass(frozen=True, slots=True)
class SignFlips:
    """A difference between two models, against random signs.

    Attributes:
        n_differences: items on which the models differ; the others cannot tell them apart.
        p_value: probability of a sum at least as far from 0.
        exact: all signs were tried; otherwise `n_draws` random ones.
        n_draws: how many assignments of signs were looked at.
    """

    n_differences: int
    p_value: float
    exact: bool
    n_draws: int


def exact_mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Test scores of 0 and 1 (McNemar, 1947, with the binomial in place of its approximation).

    Args:
        first: scores of one model, (n_items,).
        second: of the other on the same items in the same order, (n_items,).

    Raises:
        ValueError: shapes differ, or a score is neither 0 nor 1.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"both models need scores (n_items,), got {a.shape} and {b.shape}")
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise ValueError("McNemar's test takes scores of 0 and 1 only")
    n, m = int((a > b).sum()), int((b > a).sum())
    tail = sum(math.comb(n + m, k) for k in range(min(n, m) + 1))
    return McNemar(n, m, min(1.0, tail / 2 ** (n + m - 1)) if n + m else 1.0)


def sign_flips(differences: ArrayLike, seed: int, n_draws: int = 20_000) -> SignFlips:
    """Test whether differences lie around 0, by flipping their signs.

    Items without a difference are left out: no sign changes them. With at most `MOST_EXACT` others
    all signs are tried; otherwise random ones are drawn, and the observed signs count as one of
    them (Phipson & Smyth, 2010), so that the test never rejects more often than it says.

    Args:
        differences: per item, first minus second, (n_items,). For a sum over several sets of
            items each item's share of it.
        seed: of the draws.
        n_draws: how many; also the finest p-value is 1 / (n_draws + 1).

    Raises:
        ValueError: the shape is wrong, a difference is not finite, or `n_draws` is below 1.
    """
    array = np.asarray(differences, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"differences must be finite numbers (n_items,), got {array.shape}")
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1, got {n_draws}")
    sizes = np.abs(array[array != 0])
    n = len(sizes)
    if not n:
        return SignFlips(0, 1.0, True, 1)
    threshold = abs(float(array.sum())) - _TIE * float(sizes.sum())
    if n <= MOST_EXACT:
        sums = np.zeros(1)
        for size in sizes:
            sums = np.concatenate([sums + size, sums - size])
        return SignFlips(n, float((np.abs(sums) >= threshold).mean()), True, len(sums))
    rng = np.random.default_rng(seed)
    beyond = 0
    step = max(1, _BLOCK // n)
    for start in range(0, n_draws, step):
        block = min(step, n_draws - start)
        signs = 2.0 * rng.integers(2, size=(block, n), dtype=np.int8) - 1.0
        beyond += int((np.abs(signs @ sizes) >= threshold).sum())
    return SignFlips(n, (beyond + 1) / (n_draws + 1), False, n_draws)


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Return p-values that allow for there being several (Holm, 1979), in the order given.

    Rejecting those at or below α makes one false rejection or more with a probability of at most
    α, however the tests depend on one another.

    Raises:
        ValueError: a p-value does not lie in [0, 1].
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values must lie between 0 and 1, got {values.tolist()}")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return adjusted
