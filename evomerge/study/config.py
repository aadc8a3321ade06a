"""The study file: what a user writes to describe a search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from evomerge.errors import nearest
from evomerge.recipe.model import DType
from evomerge.study.budgets.config import BudgetConfig
from evomerge.study.config_checks import study_problems
from evomerge.study.following.config import CallbackConfig, NotifyConfig
from evomerge.study.rungs.config import RungsConfig
from evomerge.study.sections import OpenSection, Section
from evomerge.study.workers_config import WorkersConfig
from evomerge.types import Bounds, Goal, Split

Name: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=80)
]
Baseline: TypeAlias = Literal["base", "donors", "uniform", "single_lambda"]
SpaceSource: TypeAlias = str | dict[str, Any]


class ModelsConfig(Section):
    """What is merged.

    Attributes:
        base: the model the donors were fine-tuned from: a folder, a hub id, or 'zoo:base'.
        donors: name to model (a checkpoint or a LoRA adapter folder).
        allow_pickle: accept pickle checkpoints; they are read with weights only.
        trust_remote_code: names of models ('base', or a donor's) whose own Python code may be run,
            where a merge is built from it; nobody's by default.
    """

    base: str
    donors: dict[Name, str] = Field(min_length=1)
    allow_pickle: bool = False
    trust_remote_code: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _trusts_by_name(self) -> Self:
        known = ("base", *self.donors)
        for name in self.trust_remote_code:
            if name not in known:
                raise ValueError(f"trust_remote_code: there is no '{name}'; {nearest(name, known)}")
        return self

    @field_validator("donors")
    @classmethod
    def _names_of_our_own(cls, donors: dict[str, str]) -> dict[str, str]:
        taken = {"base", "uniform"} & set(donors)
        if taken:
            raise ValueError(f"the name '{min(taken)}' is evomerge's own; rename the donor")
        return donors


class ProxyConfig(OpenSection):
    """A cheap fitness whose order of candidates foretells that of the real one.

    Further keys are its arguments.

    Attributes:
        fitness: as in an objective; 'negative_log_likelihood' for answers that are generated.
        metric: which metric counts when it returns several.
        cost: of an item, as a share of what the objective's fitness takes for one; it counts so
            much in a budget of items, and decides nothing else.
    """

    fitness: str
    metric: str | None = None
    cost: float = Field(default=1.0, gt=0, le=1)


class ObjectiveConfig(OpenSection):
    """What a recipe is scored by; further keys are arguments of the fitness.

    Attributes:
        fitness: a built-in name, './file.py:attr' or 'module:attr'.
        goal: the direction of improvement; the fitness's own by default, else maximize.
        bounds: the least and the greatest value of the metric, null for none; the fitness's own
            by default. Surrogates choose their scale by these.
        metric: which metric counts when the fitness returns several.
        search: items the search scores: a JSONL or CSV file, a `datasets` mapping, a Python name.
        validation: how many of the last search items are set apart for validation, or a source of
            their own; the front is picked on them.
        holdout: items the result is reported on; never the search items.
        limit: use at most this many items of each.
        proxy: what candidates are scored by before the first rung; goes with `rungs`.
    """

    fitness: str
    goal: Goal | None = None
    bounds: Bounds | None = None
    metric: str | None = None
    search: str | dict[str, Any] | None = None
    validation: Annotated[int, Field(ge=1)] | str | dict[str, Any] | None = None
    holdout: str | dict[str, Any] | None = None
    limit: int | None = Field(default=None, ge=1)
    proxy: ProxyConfig | None = None

    @field_validator("bounds")
    @classmethod
    def _leave_room(cls, bounds: Bounds | None) -> Bounds | None:
        low, high = bounds or (None, None)
        if low is not None and high is not None and low >= high:
            raise ValueError(f"bounds must be [least, greatest], got {[low, high]}")
        return bounds


class ScalarizeConfig(Section):
    """How several objectives become the one cost that a scalar optimizer minimises.

    Attributes:
        method: 'mean', 'weighted' (a weighted sum) or 'tchebycheff' (reaches concave fronts).
        weights: one per objective, for the latter two.
        anchors: objective name to [ideal, reference] metric, which become costs 0 and 1.
    """

    method: Literal["mean", "weighted", "tchebycheff"] = "mean"
    weights: dict[str, Annotated[float, Field(ge=0)]] | None = None
    anchors: dict[str, tuple[float, float]] | None = None


class SearchConfig(OpenSection):
    """How the space is searched; further keys are options of the optimizer.

    Attributes:
        optimizer: 'auto' chooses by the space, the objectives and the budget; or 'nsga2', 'map',
            'cma_es', 'random', './file.py:attr', ...
        scalarize: needed when a scalar optimizer meets several objectives.
    """

    optimizer: str = "auto"
    scalarize: ScalarizeConfig | None = None

    @field_validator("scalarize", mode="before")
    @classmethod
    def _method_alone(cls, value: Any) -> Any:
        return {"method": value} if isinstance(value, str) else value


class BatchesConfig(Section):
    """How many search items a candidate is scored on, and who is scored on validation items.

    After Akiba et al. 2025 (arXiv 2403.13187): candidates are scored on batches of the search
    items, and the result is the one of the highest validation score.

    Attributes:
        items: of a batch; every objective that reads items has batches of this size.
        trials: candidates that share a batch, at least; those of one generation always do.
        keep: how many of these, the best, are scored on the validation items.
    """

    items: int = Field(ge=1)
    trials: int = Field(ge=1)
    keep: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _keeps_some(self) -> Self:
        if self.keep > self.trials:
            raise ValueError(
                f"keep {self.keep} of {self.trials} trials: keep at most as many as share a batch"
            )
        return self


class PickConfig(Section):
    """Which recipe of an earlier stage is taken.

    Attributes:
        stage: its name.
        pick: 'best' has the lowest mean cost, each objective scaled to its range over the stage's
            trials; where that stage says `scalarize`, the lowest of that cost instead. 'knee'
            gives up least of the stage's front. 'front' takes several of its members, and the
            stage that takes them runs once for each.
        count: with 'front': at most so many, spread over it.
    """

    stage: Name
    pick: Literal["best", "knee", "front"] = "best"
    count: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _count_goes_with_front(self) -> Self:
        if (self.pick == "front") != (self.count is not None):
            raise ValueError(
                "give count, the members to take"
                if self.pick == "front"
                else f"pick '{self.pick}' takes one; remove count, or use pick: front"
            )
        return self


class StageConfig(Section):
    """One of several searches of a study, each of which may start from what earlier ones found.

    Attributes:
        name: unique in the study.
        space: what is searched.
        search: how.
        trials: candidates asked for; divided evenly where the stage runs once for each of
            several front members.
        batches: score candidates on batches of the search items; on all of them by default.
        take: names of further donors, and which found recipe each of them is.
        seeds: found weights that the search starts with beside its own known points, brought into
            its space: a population's individual as the mean weight of each group of tensors, a
            merge's weights as an individual.
        donors: names of the donors in the order in which the space sees them, the first of them
            is A of a layer path; the taken ones, then all of the study, by default.
        through: a found layer path; the stage's merges take the place of its first model, so that
            coefficients are searched by what comes out at the end of the path.
    """

    name: Name
    space: SpaceSource
    search: SearchConfig = SearchConfig()
    trials: int | None = Field(default=None, ge=1)
    batches: BatchesConfig | None = None
    take: dict[Name, PickConfig] = Field(default_factory=dict)
    seeds: PickConfig | None = None
    donors: tuple[str, ...] | None = None
    through: PickConfig | None = None

    @property
    def picks(self) -> tuple[PickConfig, ...]:
        """Everything it takes from earlier stages."""
        alone = [pick for pick in (self.seeds, self.through) if pick is not None]
        return (*self.take.values(), *alone)


class FrontConfig(Section):
    """What is reported when the search is over.

    Attributes:
        size: at most this many members of the front are re-scored on hold-out items; so many of
            the best by search scores are validated, where there are validation items.
        baselines: what the front is compared with.
        lambdas: the grid of single-λ task arithmetic; its best point on the search items is taken.
    """

    size: int = Field(default=32, ge=1)
    baselines: tuple[Baseline, ...] = ("base", "donors", "uniform", "single_lambda")
    lambdas: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class StudyConfig(Section):
    """A whole study file: one search (`space`, `search`, `budget`), or `stages` of several.

    Attributes:
        name: of the study, and of its run folder by default.
        seed: of everything that is drawn.
        models: base and donors.
        dtype: models are merged and scored in it; that of the base by default.
        space: what is searched: a shipped name, a file, or its content.
        objectives: what a recipe is scored by, by name.
        search: how the space is searched.
        batches: score candidates on parts of the search items.
        rungs: score candidates on a few items first.
        stages: several searches, each with a space of its own, instead of `space` and `search`.
        budget: when the search stops.
        workers: where candidates are merged and scored.
        front: what is reported.
        cache: a file of scores that studies share: what one has scored, the others do not.
        callbacks: show the run elsewhere while it goes on; they do not change what it comes to.
        notify: is told of its end.
    """

    name: Name
    seed: int = Field(default=0, ge=0, lt=2**32)
    models: ModelsConfig
    dtype: DType | None = None
    space: SpaceSource | None = None
    objectives: dict[Name, ObjectiveConfig] = Field(min_length=1)
    search: SearchConfig = SearchConfig()
    batches: BatchesConfig | None = None
    rungs: RungsConfig | None = None
    stages: tuple[StageConfig, ...] | None = None
    budget: BudgetConfig = BudgetConfig()
    workers: WorkersConfig = WorkersConfig()
    front: FrontConfig = FrontConfig()
    cache: str | None = None
    callbacks: tuple[CallbackConfig, ...] = ()
    notify: NotifyConfig | None = None

    def cache_file(self, folder: Path) -> Path | None:
        """Return the file of `cache`, its relative path starting in a folder."""
        return None if self.cache is None else folder / Path(self.cache).expanduser()

    @property
    def plan(self) -> tuple[StageConfig, ...]:
        """The searches of the study in order; a study without stages is one, without a name."""
        if self.stages is not None:
            return self.stages
        return (
            StageConfig.model_construct(
                name="",
                space=self.space or "",
                search=self.search,
                trials=self.budget.trials,
                batches=self.batches,
            ),
        )

    @property
    def picked_on(self) -> Split:
        """The split by whose scores the front is picked: validation where there are such items."""
        validated = any(part.validation is not None for part in self.objectives.values())
        return "validation" if validated else "search"

    @property
    def compared_on(self) -> Split:
        """The split on which all trials compare: validation where there are batches."""
        batched = any(stage.batches is not None for stage in self.plan)
        return "validation" if batched else "search"

    @property
    def limits(self) -> BudgetConfig:
        """The budget over all stages."""
        if self.stages is None:
            return self.budget
        trials = sum(stage.trials or 0 for stage in self.stages)
        return self.budget.model_copy(update={"trials": trials})

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        problems = study_problems(self)
        if problems:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    {
                        "type": "value_error",
                        "loc": path,
                        "input": None,
                        "ctx": {"error": ValueError(message)},
                    }
                    for path, message in problems
                ],
            )
        return self
