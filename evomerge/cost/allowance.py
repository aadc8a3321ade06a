"""How many candidates each kind of budget is expected to pay for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evomerge.cost.estimate import Span
from evomerge.study.budgets.config import BudgetConfig, Kind
from evomerge.study.budgets.moments import moment_of, shown
from evomerge.study.workers_config import WorkersConfig

HOUR_S = 3600.0
_NO_GPU = ("cpu", "mps")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one kind of budget pays for.

    Attributes:
        kind: of budget.
        candidates: the fewest and the most; None where it cannot be said.
        how: how that was reckoned, or why it was not.
    """

    kind: Kind
    candidates: Span | None
    how: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How long candidates take on one worker.

    Attributes:
        n_known: points that the search begins with, scored on all items.
        known: seconds of one of these.
        each: seconds of any other candidate, on average.
    """

    n_known: int
    known: Span
    each: Span

    def paid(self, worker_s: float) -> Span | None:
        """Return how many candidates so many seconds of a worker pay for; None if they are free."""
        if self.each.low <= 0:
            return None
        slow, fast = (self.known.high, self.each.high), (self.known.low, self.each.low)
        return Span(*(float(self._count(worker_s, *one)) for one in (slow, fast)))

    def taken(self, candidates: float) -> Span:
        """Return how many seconds so many candidates take."""
        known = min(self.n_known, candidates)
        return self.known.times(known).plus(self.each.times(candidates - known))

    def _count(self, worker_s: float, known: float, each: float) -> int:
        if known == each or worker_s < self.n_known * known:
            return int(worker_s / known)
        return self.n_known + int((worker_s - self.n_known * known) / each)


def allowances(
    budget: BudgetConfig,
    workers: WorkersConfig,
    pace: Pace | None,
    *,
    by_items: tuple[int, str] | None,
    now: float,
) -> tuple[Allowance, ...]:
    """Return what each kind of a budget pays for.

    Args:
        budget: of a study without stages.
        workers: that share the work.
        pace: of one of them; None without a device, when times are not known.
        by_items: how many candidates the budget of items pays for, and how that was reckoned.
        now: seconds since the epoch, from which a deadline counts.
    """
    found = []
    for kind in budget.kinds:
        if kind == "trials":
            exact = float(budget.trials or 0)
            found.append(Allowance(kind, Span(exact, exact), "as the study says"))
        elif kind == "items":
            count, how = by_items or (None, "no objective has search items")
            span = None if count is None else Span(float(count), float(count))
            found.append(Allowance(kind, span, how))
        elif kind == "stagnation":
            found.append(Allowance(kind, None, "when nothing better is found cannot be foreseen"))
        else:
            found.append(_by_time(kind, budget, workers, pace, now))
    return tuple(found)


def expected_candidates(found: Sequence[Allowance]) -> Span | None:
    """Return how many candidates the first budget that runs out pays for."""
    known = [one.candidates for one in found if one.candidates is not None]
    if not known:
        return None
    return Span(min(one.low for one in known), min(one.high for one in known))


def _by_time(
    kind: Kind, budget: BudgetConfig, workers: WorkersConfig, pace: Pace | None, now: float
) -> Allowance:
    count = workers.count
    gpus = workers.gpus_per_worker or 0.0
    if workers.backend != "ray":
        gpus = 0.0 if workers.device.partition(":")[0] in _NO_GPU else 1.0
    held = f"{gpus:g} GPU{'' if gpus == 1 else 's'} a worker"
    many = f"{count} worker{'' if count == 1 else 's'}"
    if kind == "hours":
        worker_s, how = (budget.hours or 0.0) * HOUR_S * count, f"{budget.hours:g} hours of {many}"
    elif kind == "deadline":
        moment = moment_of(budget.deadline or "", now)
        worker_s, how = max(0.0, moment - now) * count, f"until {shown(moment)} by {many}"
    elif kind == "gpu_hours":
        if not gpus:
            return Allowance(kind, None, "workers hold no GPU, so that it never ends the search")
        worker_s = (budget.gpu_hours or 0.0) * HOUR_S / gpus
        how = f"{budget.gpu_hours:g} GPU-hours at {held}, starting up not counted"
    else:
        price = budget.price
        hourly = 0.0 if price is None else price.per_worker_hour + price.per_gpu_hour * gpus
        if not hourly:
            return Allowance(kind, None, "workers cost nothing; what fitnesses charge is not known")
        worker_s = (budget.money or 0.0) / hourly * HOUR_S
        how = f"{hourly:g} an hour for a worker with {held}, what fitnesses charge not counted"
    if pace is None:
        return Allowance(kind, None, f"{how}; for candidates, name a device")
    return Allowance(kind, pace.paid(worker_s), how)
