"""More budget for a run: `evomerge resume --add hours=4`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from evomerge.errors import UserError, nearest
from evomerge.journal import Event
from evomerge.study.budgets.config import KINDS, BudgetConfig
from evomerge.study.budgets.moments import fixed_deadline, moment_of

Amount: TypeAlias = float | str
"""A number, or its text; of a deadline, a time."""

_FRACTIONS = frozenset({"hours", "gpu_hours", "money"})


def in_force(limits: BudgetConfig, events: Iterable[Event]) -> BudgetConfig:
    """Return the budget of a run: what it was started with, or what it was extended to last.

    Args:
        limits: what it was started with, over all stages.
        events: of its journal.
    """
    extensions = [event.payload["budget"] for event in events if event.kind == "extended"]
    return BudgetConfig.model_validate(extensions[-1]) if extensions else limits


def extended(budget: BudgetConfig, add: Mapping[str, Amount], now: float) -> BudgetConfig:
    """Return a budget with more of some of its kinds.

    Args:
        budget: in force.
        add: kind to what is added: to the number of trials, items, hours, GPU-hours or the money;
            to the window of stagnation. A deadline is put off to a later time.
        now: seconds since the epoch.

    Raises:
        UserError: the budget has no such kind, or the amount means nothing.
    """
    values: dict[str, Any] = budget.model_dump()
    for key, amount in add.items():
        if key not in KINDS:
            raise UserError(f"--add {key}: there is no such budget; {nearest(key, KINDS)}")
        if key not in budget.kinds:
            raise UserError(
                f"--add {key}: this run has no budget of that kind, only "
                f"{', '.join(budget.kinds)}; add to that"
            )
        if key == "deadline":
            values[key] = _later(str(values[key]), str(amount), now)
        elif key == "stagnation" and budget.stagnation is not None:
            values[key][budget.stagnation.unit] += _number(key, amount)
        else:
            values[key] += _number(key, amount)
    return BudgetConfig.model_validate(values)


def _number(key: str, amount: Amount) -> float:
    try:
        number = float(amount)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise UserError(f"--add {key}={amount}: give a positive amount, e.g. {key}=100")
    if key in _FRACTIONS:
        return number
    if number % 1:
        raise UserError(f"--add {key}={amount}: {key} is counted in whole numbers")
    return int(number)


def _later(deadline: str, amount: str, now: float) -> str:
    try:
        later = fixed_deadline(amount, now)
    except (ValueError, UserError) as error:
        raise UserError(f"--add deadline={amount}: {error}") from None
    if moment_of(later, now) <= moment_of(deadline, now):
        raise UserError(
            f"--add deadline={amount}: that is no later than {deadline}, the deadline so far"
        )
    return later
