"""How many proposals wait ready for workers, so that these do not wait for the driver.

From a result to the next job the driver writes to disk, tells the optimizer and lets it think. Of
an evaluation of minutes that is nothing; of one of a second, or with an optimizer that thinks for
one, it is time in which workers idle. Where it is more than a hundredth of an evaluation, as many
proposals as the workers use up meanwhile are asked for in advance, twice over since results come
unevenly. Each is asked for without a few results that it would else have known. With one worker
there are none, since one seed decides that search, and with rungs neither: a candidate that goes on
finds its merge in the memory of the worker that has just scored it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from evomerge.workers import JobResult

LEAST_SHARE = 0.01
"""Of an evaluation: waiting less than this is not worth an older proposal."""

MARGIN = 2.0
"""Results do not come evenly; of so many times the mean there are rarely more."""

_WEIGHT = 1 / 16  # of the latest in the moving averages


class Pace:
    """Times the driver and the workers."""

    def __init__(self) -> None:
        self._job_s: float | None = None
        self._busy_s: float | None = None
        self._since: float | None = None

    def take(self, results: Sequence[JobResult]) -> None:
        """Note results that have just come; what is done from now on makes workers wait."""
        for result in results:
            took_s = result.merge_s + result.score_s
            if took_s > 0:  # else it was known
                self._job_s = _moved(self._job_s, took_s)
        if results and self._since is None:
            self._since = time.monotonic()

    def rest(self) -> None:
        """Note that everything is done that follows from the results."""
        if self._since is not None:
            self._busy_s = _moved(self._busy_s, time.monotonic() - self._since)
            self._since = None

    def ahead(self, capacity: int) -> int:
        """Return how many proposals should wait ready, beside those that workers are busy with.

        Args:
            capacity: how many jobs the workers take at a time.
        """
        if capacity < 2 or self._job_s is None or self._busy_s is None:
            return 0
        share = self._busy_s / self._job_s
        return min(capacity, math.ceil(MARGIN * share * capacity)) if share > LEAST_SHARE else 0


def _moved(average: float | None, latest: float) -> float:
    return latest if average is None else average + _WEIGHT * (latest - average)
