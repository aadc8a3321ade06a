"""pass@k: the chance that one of k programs drawn from a model passes."""

from __future__ import annotations

import math


def pass_at_k(n: int, c: int, k: int) -> float:
    """Estimate pass@k from n samples of which c passed, without bias.

    1 - C(n - c, k) / C(n, k): the share of k-subsets of the samples with one that passes (Chen et
    al. 2021, arXiv 2107.03374, Eq. 1).

    Raises:
        ValueError: not 0 <= c <= n or not 1 <= k <= n.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)
