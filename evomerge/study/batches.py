"""Which search items a trial is scored on: batches, as in Akiba et al. 2025 (arXiv 2403.13187).

A batch is scored by the trials of one window. Both follow from what is asked, in its order, so that
a replay comes to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from evomerge.optimizers.known_points import is_known_point


class Windows:
    """Numbers the windows of a stage, trial by trial.

    A window ends after so many trials. Where the optimizer compares the candidates of a
    generation it ends with the generation, so that these are scored on the same items whatever
    the population. Known points belong to no window: they are scored on the validation items.

    Args:
        trials: the fewest of a window that is followed by another, by its number.
        whole_generations: keep trials of one origin together.
    """

    def __init__(self, trials: Callable[[int], int], *, whole_generations: bool) -> None:
        self._trials = trials
        self._whole = whole_generations
        self._window = 0
        self._count = 0
        self._origin = ""

    def place(self, origin: str) -> int | None:
        """Return the window of the next trial; None for a known point."""
        if is_known_point(origin):
            return None
        full = self._count >= self._trials(self._window)
        if full and not (self._whole and origin == self._origin):
            self._window += 1
            self._count = 0
        self._count += 1
        self._origin = origin
        return self._window


def batch_positions(
    n_items: int, size: int, window: int, entropy: Sequence[int]
) -> tuple[int, ...]:
    """Return the positions of the items that the trials of a window are scored on, in order.

    The items are shuffled and dealt out; when too few are left for a whole batch, all are shuffled
    anew. Any two windows with the same arguments get the same batch.

    Args:
        n_items: how many there are.
        size: of a batch, at most `n_items`.
        window: 0, 1, ...
        entropy: names the order of the items, e.g. seed, stage and objective.
    """
    shuffle, place = divmod(window, n_items // size)
    order = np.random.default_rng([*entropy, shuffle]).permutation(n_items)
    return tuple(sorted(order[place * size : (place + 1) * size].tolist()))
