"""How much of each budget is used: numbers, and the same in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from evomerge.study.budgets.config import BudgetConfig, Kind
from evomerge.study.budgets.meter import Spent
from evomerge.study.budgets.moments import moment_of, shown
from evomerge.workers import Held

HOUR_S = 3600.0
_UNITS: dict[Kind, str] = {
    "trials": "trials",
    "items": "items",
    "hours": "hours",
    "gpu_hours": "GPU-hours",
    "money": "spent",
}


@dataclass(frozen=True, slots=True)
class Account:
    """What a run took so far, and what time it is.

    Attributes:
        now: seconds since the epoch.
        trials: finished.
        items: scored; one by a proxy may count less.
        cost: what fitnesses said they cost.
        lasting: for how long nothing was gained, in what the window of stagnation is counted in.
        spent: over all sessions.
        held: by the workers now, nothing where nobody searches.
    """

    now: float
    trials: int = 0
    items: float = 0.0
    cost: float = 0.0
    lasting: float = 0.0
    spent: Spent = field(default_factory=Spent)
    held: Held = field(default_factory=Held)


@dataclass(frozen=True, slots=True)
class Gauge:
    """One budget and how much of it is used.

    Attributes:
        kind: its key.
        used: in the unit of the key; of a deadline, the time it is, in seconds since the epoch.
        limit: the same, at which the search stops.
        per_s: by how much `used` grows every second; None where it grows with what is found.
        unit: what the numbers are, in a word; '' of a deadline.
    """

    kind: Kind
    used: float
    limit: float
    per_s: float | None
    unit: str

    @property
    def words(self) -> str:
        """The gauge as users read it."""
        if self.kind == "deadline":
            left = self.limit - self.used
            return f"{limit_words(self)}, {'which is over' if left <= 0 else f'in {span(left)}'}"
        return f"{amount(self.used)} of {limit_words(self)}"


def limit_words(gauge: Gauge) -> str:
    """Say what the search stops at."""
    if gauge.kind == "deadline":
        return f"deadline {shown(gauge.limit)}"
    number = f"{gauge.limit:.0f}" if gauge.limit % 1 == 0 else f"{gauge.limit:g}"
    return f"{number} {gauge.unit}"


def gauges(budget: BudgetConfig, account: Account) -> tuple[Gauge, ...]:
    """Return the gauge of every kind of a budget."""
    price, held, spent = budget.price, account.held, account.spent
    money = money_per_s = 0.0
    if price is not None:
        per_worker, per_gpu = price.per_worker_hour / HOUR_S, price.per_gpu_hour / HOUR_S
        money = per_worker * spent.worker_s + per_gpu * spent.gpu_s + account.cost
        money_per_s = per_worker * held.workers + per_gpu * held.gpus
    stagnation, window, lasts = budget.stagnation, None, ""
    if stagnation is not None:
        window, lasts = stagnation.window, f"{stagnation.unit} without a gain"
        if stagnation.min_gain:
            lasts += f" above {stagnation.min_gain:g}"
    deadline = None if budget.deadline is None else moment_of(budget.deadline, account.now)
    found: list[tuple[Kind, float, float | None, float | None]] = [
        ("trials", account.trials, budget.trials, None),
        ("items", account.items, budget.items, None),
        ("hours", spent.search_s / HOUR_S, budget.hours, 1 / HOUR_S),
        ("deadline", account.now, deadline, 1.0),
        ("gpu_hours", spent.gpu_s / HOUR_S, budget.gpu_hours, held.gpus / HOUR_S),
        ("money", money, budget.money, money_per_s or None),
        ("stagnation", account.lasting, window, None),
    ]
    units = {**_UNITS, "stagnation": lasts, "deadline": ""}
    return tuple(
        Gauge(kind, used, limit, per_s, units[kind])
        for kind, used, limit, per_s in found
        if limit is not None
    )


def limits(budget: BudgetConfig) -> list[str]:
    """Say at what a search stops, a few words for each kind; a deadline as it was written."""
    return [
        f"deadline {budget.deadline}" if gauge.kind == "deadline" else limit_words(gauge)
        for gauge in gauges(budget, Account(now=0.0))
    ]


def held_words(spent: Spent) -> str:
    """Say for how long workers and GPUs were held, and the search went on."""
    workers, gpus = amount(spent.worker_s / HOUR_S), amount(spent.gpu_s / HOUR_S)
    return f"{workers} worker-hours, {gpus} GPU-hours; {span(spent.search_s)} of searching"


def amount(value: float) -> str:
    """Write a number of anything shortly."""
    return f"{value:.0f}" if value % 1 == 0 or abs(value) >= 1000 else f"{value:.3g}"


def span(seconds: float) -> str:
    """Write a time span as '3 d 4 h', '2 h 5 min', '12 min' or '40 s'."""
    for unit_s, name, part_s, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if seconds >= unit_s:
            whole, rest = divmod(seconds, unit_s)
            return f"{whole:.0f} {name} {rest // part_s:.0f} {part}"
    return f"{seconds // 60:.0f} min" if seconds >= 60 else f"{max(0.0, seconds):.0f} s"
