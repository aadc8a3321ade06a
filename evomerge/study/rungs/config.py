"""The `rungs` section of a study file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from evomerge.study.rungs.estimates import DOUBT
from evomerge.study.sections import OpenSection, Section


class EstimatorConfig(OpenSection):
    """How a candidate that was scored on a part of the items is judged; further keys are options.

    Attributes:
        name: 'regression' foretells the other items from what others scored on all; 'random',
            'weighted', 'p_irt', 'gp_irt', 'mp_irt', 'gmp_irt' are those of `evomerge.estimators`,
            built from the answers of base and donors.
        items: a file of item parameters (`ItemParameters.save`), or objective to file; otherwise
            they are fitted on the answers of base and donors.
        rank: abilities of a fitted item model.
        refit: fit items anew, once, when so many candidates have been scored on all of them.
    """

    name: str = "regression"
    items: str | dict[str, str] | None = None
    rank: Literal[1, 2] = 1
    refit: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def file_of(self, objective: str) -> str | None:
        """Return the file of an objective's item parameters; None where they are fitted."""
        return self.items.get(objective) if isinstance(self.items, dict) else self.items

    @property
    def doubt(self) -> float:
        """By what a search multiplies the standard errors of its estimates."""
        return DOUBT if self.name == "regression" else 1.0


class RungsConfig(Section):
    """Scores candidates on a few items first, and only the promising ones on all.

    Attributes:
        items: of each rung, increasing; the last rung, all search items, goes without saying.
        promote: the share of candidates that goes on to the next rung; null lets all go on that
            `race` does not drop.
        rule: 'asynchronous' compares a candidate with the latest that were scored at its rung, at
            once (ASHA); 'halving' compares the members of a cohort once all are scored. Of equals
            a share goes on, drawn by the seed.
        cohort: of so many candidates at least, 9 by default; those of one generation always stay
            together. With brackets it is the size of a cohort that begins at the first rung.
        brackets: how many there are, each beginning a rung higher than the one before and so with
            fewer candidates at the same cost, as in Hyperband; 'all' has one for each rung, in the
            last of which everybody is scored on all items. One by default: successive halving.
        order: in which items are scored: 'random', 'stratified' (by how many of base and donors
            solve an item), 'entropy' (those that these disagree on first), 'half_entropy' (half of
            each rung by entropy), 'clusters' (anchors of clusters of like items). Where a part is
            not a random one, its means are biased.
        estimator: how candidates that were scored on a part of the items are judged.
        measure_known: score known points (the base, donors, ...) on all items at once, so that
            volumes are anchored while the search goes on and estimators know the endpoints; false
            lets them climb like others, which saves most of a small budget.
        race: drop who is proven to be worse than a member of the front in every objective; the
            chance, at most, that this is wrong for a candidate. Scores need bounds. The chance is
            exact against known points; members that climbed were promoted by the same first items
            and look better on these than they are, see `evomerge.study.rungs.racing`.
        keep: the share of candidates that the objectives' proxies let through to the first rung.
        least_correlation: the proxies are given up once it is shown that the rank correlation of
            one of them with the first rung is lower: once the upper end of its one-sided 95 %
            interval is. It is measured on candidates that go on whatever the proxies say, and
            looked at when 16, 32, 64, ... of them have both scores.
    """

    items: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    promote: float | None = Field(default=1 / 3, gt=0, lt=1)
    rule: Literal["asynchronous", "halving"] = "asynchronous"
    cohort: int | None = Field(default=None, ge=2)
    brackets: Annotated[int, Field(ge=1)] | Literal["all"] = 1
    order: Literal["random", "stratified", "entropy", "half_entropy", "clusters"] = "random"
    estimator: EstimatorConfig = EstimatorConfig()
    measure_known: bool = True
    race: float | None = Field(default=None, gt=0, lt=1)
    keep: float = Field(default=0.5, gt=0, lt=1)
    least_correlation: float = Field(default=0.3, ge=-1, le=1)

    @field_validator("items")
    @classmethod
    def _increase(cls, items: tuple[int, ...]) -> tuple[int, ...]:
        if list(items) != sorted(set(items)):
            raise ValueError(f"each rung has more items than the one below, got {list(items)}")
        return items

    @property
    def n_brackets(self) -> int:
        """How many brackets there are."""
        return len(self.items) + 1 if self.brackets == "all" else self.brackets

    @property
    def needs_endpoints(self) -> bool:
        """Whether base and donors must be scored on all items before anybody else is judged."""
        return self.order != "random" or self.estimator.name != "regression"

    @model_validator(mode="after")
    def _leaves_some_behind(self) -> Self:
        if self.promote is None and self.race is None:
            raise ValueError("give promote or race; without both every candidate climbs to the top")
        if self.race is not None and self.order != "random":
            raise ValueError("race holds its promise for items in random order only; remove order")
        if self.needs_endpoints and not self.measure_known:
            what = "order" if self.order != "random" else f"estimator: {self.estimator.name}"
            raise ValueError(f"{what} needs base and donors on all items; remove measure_known")
        if self.cohort is not None and self.rule != "halving":
            raise ValueError("cohort goes with rule: halving; remove it")
        if self.n_brackets > len(self.items) + 1:
            raise ValueError(
                f"{self.brackets} brackets begin at as many rungs, and there are "
                f"{len(self.items) + 1} with that of all items; use 'brackets: all'"
            )
        if self.n_brackets > 1 and self.promote is None:
            raise ValueError("brackets divide candidates by the share that goes on; give promote")
        return self
