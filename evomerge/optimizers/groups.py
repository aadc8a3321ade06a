"""How many proposals come from one model.

The more is evaluated, the less the next outcome changes a model of all of it. From some number of
evaluations on several proposals are made from one model, so that a proposal costs less than a model
does.
"""

from __future__ import annotations

MANY = 200
"""Evaluations up to which every proposal has a model of all outcomes before it."""

SHARE = 50
"""Of more evaluations, one part in so many is proposed from one model."""

MOST = 20
"""Proposals from one model, at most."""


def group_size(n_evaluated: int) -> int:
    """Return how many proposals are made from a model of so many evaluations, at most."""
    return 1 if n_evaluated <= MANY else min(n_evaluated // SHARE, MOST)
