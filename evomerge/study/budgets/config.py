"""When a search stops: the `budget` of a study file."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeAlias, get_args

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from evomerge.study.budgets.moments import checked_moment
from evomerge.study.sections import Section

Kind: TypeAlias = Literal[
    "trials", "items", "hours", "deadline", "gpu_hours", "money", "stagnation"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Every kind of budget, as the keys of `budget`."""

_ALWAYS_RECORDED = ("trials", "items", "hours")


class PriceConfig(Section):
    """What workers cost, in the unit that `money` is counted in.

    Attributes:
        per_worker_hour: of every worker, for as long as it is held.
        per_gpu_hour: of every GPU that a worker holds.
    """

    per_worker_hour: float = Field(default=0.0, ge=0)
    per_gpu_hour: float = Field(default=0.0, ge=0)


class StagnationConfig(Section):
    """How long a search goes on that finds nothing better.

    Attributes:
        trials: the last so many finished trials together gained no more than `min_gain`; or
        items: so did the trials that the last so many scores of single items were spent on.
        min_gain: of the best score with one objective, in its own unit; of the hypervolume with
            several, where 0 is the base and 1 the best donor in each objective.
    """

    trials: int | None = Field(default=None, ge=1)
    items: int | None = Field(default=None, ge=1)
    min_gain: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _one_window(self) -> Self:
        if (self.trials is None) == (self.items is None):
            raise ValueError("give how long without a gain: trials, or items")
        return self

    @property
    def unit(self) -> Literal["trials", "items"]:
        """What the window is counted in."""
        return "trials" if self.trials is not None else "items"

    @property
    def window(self) -> int:
        """How many of these."""
        return self.trials or self.items or 0


class BudgetConfig(Section):
    """When the search stops, whichever comes first; what was in flight then is finished.

    Attributes:
        trials: candidates asked for; in a study of several stages each has its own.
        items: scores of single items, over all objectives. One by a proxy counts as the proxy's
            `cost` says.
        hours: of searching, over all sessions of the run. A session counts from the command that
            started it to the end of its search; the time between sessions does not count.
        deadline: a time with its zone ('2026-10-20T07:30+02:00'), or '07:30', the next time it is
            that late where the run is started.
        gpu_hours: hours that GPUs were held by workers, summed over the GPUs, over all sessions;
            starting up and scoring the front count too.
        money: what workers cost by `price`, and what fitnesses say they cost.
        price: of workers; goes with money.
        stagnation: when nothing better was found for long; of several stages it ends the present.
    """

    trials: int | None = Field(default=None, ge=1)
    items: int | None = Field(default=None, ge=1)
    hours: float | None = Field(default=None, gt=0)
    deadline: str | None = None
    gpu_hours: float | None = Field(default=None, gt=0)
    money: float | None = Field(default=None, gt=0)
    price: PriceConfig | None = None
    stagnation: StagnationConfig | None = None

    @field_validator("deadline", mode="before")
    @classmethod
    def _a_moment(cls, value: Any) -> Any:
        return value if value is None else checked_moment(value)

    @model_validator(mode="after")
    def _money_has_a_price(self) -> Self:
        if self.money is not None and self.price is None:
            raise ValueError(
                "money needs 'price: {per_gpu_hour: 2.5}' or per_worker_hour; price: {} counts "
                "nothing but what fitnesses say they cost"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write what was not given as studies before these kinds did: not at all."""
        content: dict[str, Any] = handler(self)
        return {
            key: value
            for key, value in content.items()
            if value is not None or key in _ALWAYS_RECORDED
        }

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that limit this study."""
        return tuple(kind for kind in KINDS if getattr(self, kind) is not None)
