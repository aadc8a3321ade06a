"""SMAC3 made of parts that replay, and a domain as its configuration space.

Loaded only when a SMAC search is built: it needs the extra `smac`. What is changed of SMAC's facade
for hyperparameter optimisation (Lindauer et al., 2022, arXiv 2109.09831), and why:

- `LocalSearch` starts from a set of configurations, whose order depends on the hash seed of the
  process; here the order is fixed.
- The forest is fitted and asked without threads, and without the limit of 2^20 leaves, for which
  scikit-learn reserves the memory in advance. Each of the first proposals has a forest of its own,
  so that with several objectives each also has a weighting of its own.
- A failed trial costs as much more than the worst completed one as that costs more than the best,
  at the time the forest is fitted, not what was known when it failed.
- One evaluation a configuration, since merges are deterministic; SMAC's races between them, which
  compare each with all that lost before, are left out. Neither changes a proposal.

With several objectives the forest is fitted to ParEGO's scalarisation (Knowles, 2006).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ConfigSpace import (
    Categorical,
    Configuration,
    ConfigurationSpace,
    Constant,
    Float,
    InCondition,
    Integer,
)
from smac import HyperparameterOptimizationFacade as Facade
from smac import Scenario
from smac.acquisition.maximizer.local_and_random_search import LocalAndSortedRandomSearch
from smac.acquisition.maximizer.local_search import LocalSearch
from smac.initial_design import DefaultInitialDesign
from smac.intensifier import Intensifier
from smac.main.config_selector import ConfigSelector
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.model.random_forest import RandomForest
from smac.multi_objective.parego import ParEGO
from smac.runhistory.dataclasses import TrialInfo, TrialValue
from smac.runhistory.encoder.log_scaled_encoder import RunHistoryLogScaledEncoder
from smac.runhistory.enumerations import StatusType

from evomerge.errors import SpaceError
from evomerge.optimizers.groups import MANY
from evomerge.optimizers.mixed_variation import Floats
from evomerge.spaces.domain import Domain, Gene
from evomerge.types import GeneValue, Genotype

RETRAIN_AFTER = 8
"""Proposals of one forest where there are many trials: SMAC's own default."""

_ENDLESS = 10**9  # trials; the study counts them
_RETRIES = 256  # configurations seen before, until the space counts as exhausted
_WORST = float(2**31 - 1)  # what SMAC itself notes for trials that have no costs


class Configurations:
    """A domain as a configuration space: continuous genes as shares of their range.

    SMAC's own floats are rounded at the same digit after the point whatever their size; as shares
    of a range, or of its logarithm, they all keep as many digits.

    Args:
        domain: genes of every kind.
        seed: of what SMAC draws from the space.

    Raises:
        SpaceError: a gene depends on a continuous one.
    """

    def __init__(self, domain: Domain, seed: int) -> None:
        self._domain = domain
        self.space = ConfigurationSpace(seed=seed)
        parameters = [_parameter(f"gene{index}", gene) for index, gene in enumerate(domain.genes)]
        self.space.add(*parameters)
        conditions = []
        for index, gene in enumerate(domain.genes):
            if gene.condition is not None:
                parent = domain.genes[gene.condition.gene]
                if parent.kind == "continuous":
                    raise SpaceError(
                        f"gene '{gene.name}' depends on the continuous gene '{parent.name}'; smac "
                        "takes conditions on integer and categorical genes"
                    )
                values = [value for value in gene.condition.values if _possible(parent, value)]
                on = parameters[gene.condition.gene]
                conditions.append(InCondition(parameters[index], on, values))
        if conditions:
            self.space.add(*conditions)

    def configuration(self, genotype: Genotype) -> Configuration:
        """Return the configuration of a genotype, as SMAC itself would make it.

        One that is made of values is equal to SMAC's, which are made of vectors, but has another
        hash: the choices of the latter are numpy's strings.
        """
        active = self._domain.active(genotype)
        values = {
            f"gene{index}": gene.to_unit(value) if gene.kind == "continuous" else value
            for index, (gene, value) in enumerate(zip(self._domain.genes, genotype, strict=True))
            if active[index]
        }
        vector = Configuration(self.space, values=values).get_array()
        return Configuration(self.space, vector=vector)

    def genotype(self, configuration: Configuration) -> Genotype:
        """Return the canonical genotype of a configuration, of plain Python values."""
        values: list[GeneValue] = []
        for index, gene in enumerate(self._domain.genes):
            value = configuration.get(f"gene{index}")
            if value is None:
                values.append(gene.initial)
            elif gene.kind == "continuous":
                values.append(gene.from_unit(float(value)))
            else:
                values.append(int(value) if gene.kind == "integer" else str(value))
        return self._domain.canonical(tuple(values))


class Forest:
    """SMAC behind configurations that are asked for and told of.

    Args:
        configurations: of the domain.
        starts: distinct configurations to propose first; the rest of the initial design is SMAC's.
        n_objectives: how many costs a completed trial has.
        seed: of everything that SMAC draws, below 2^31.
        design: how many points of a Sobol sequence follow the starts.
        trees: of the forest.
        random_share: of proposals that are drawn instead of chosen.
        local_searches: how many local searches start from the best evaluated configurations, and
            as many from the best drawn ones.
        draws: how many drawn configurations the best ones come from.
    """

    def __init__(
        self,
        configurations: Configurations,
        starts: Sequence[Configuration],
        n_objectives: int,
        seed: int,
        *,
        design: int,
        trees: int,
        random_share: float,
        local_searches: int,
        draws: int,
    ) -> None:
        space = configurations.space
        self._n_objectives = n_objectives
        # SMAC writes its state when it is constructed; nobody reads it.
        with TemporaryDirectory(prefix="evomerge-smac-") as folder:
            scenario = Scenario(
                space,
                output_directory=Path(folder),
                deterministic=True,
                objectives=[f"cost{k}" for k in range(n_objectives)]
                if n_objectives > 1
                else "cost",
                n_trials=_ENDLESS,
                seed=seed,
            )
            sobol = Facade.get_initial_design(scenario, n_configs=design) if design else None
            designed = sobol.select_configurations() if sobol is not None else []
            self.starts = list(dict.fromkeys([*starts, *designed]))
            self._facade = Facade(
                scenario,
                model=_Forest(
                    space,
                    n_trees=trees,
                    ratio_features=1.0,
                    min_samples_split=2,
                    min_samples_leaf=1,
                    max_leaf_nodes=None,
                    log_y=True,
                    n_jobs=1,
                    seed=seed,
                ),
                acquisition_maximizer=_OrderedSearch(
                    space, draws=draws, local_searches=local_searches, seed=seed
                ),
                initial_design=DefaultInitialDesign(
                    scenario, n_configs=0, additional_configs=list(self.starts)
                ),
                random_design=Facade.get_random_design(scenario, probability=random_share),
                intensifier=_Once(scenario),
                multi_objective_algorithm=ParEGO(scenario) if n_objectives > 1 else None,
                runhistory_encoder=_FailuresLast(scenario),
                config_selector=_EagerSelector(
                    scenario, retrain_after=1, max_new_config_tries=_RETRIES
                ),
                logging_level=False,
                overwrite=True,
            )

    def ask(self) -> TrialInfo | None:
        """Return the next trial, or None when SMAC finds no new configuration.

        The starts come first, in order.
        """
        try:
            return self._facade.ask()
        except (StopIteration, ConfigurationSpaceExhaustedException):
            return None

    def announce(self, configuration: Configuration) -> TrialInfo:
        """Return a trial of a configuration that SMAC did not choose."""
        info = _trial(configuration)
        self._facade.runhistory.add_running_trial(info)
        return info

    def tell(self, info: TrialInfo, costs: Sequence[float] | None) -> None:
        """Tell the costs of a trial, or None if it failed."""
        told = [_WORST] * self._n_objectives if costs is None else list(costs)
        value = TrialValue(
            cost=told if self._n_objectives > 1 else told[0],
            status=StatusType.CRASHED if costs is None else StatusType.SUCCESS,
        )
        self._facade.tell(info, value, save=False)


class _Forest(RandomForest):  # type: ignore[misc]  # SMAC is not seen by mypy
    """Predicts without handing each tree to joblib, which takes longer than the trees do."""

    def _predict(
        self,
        X: Floats,
        covariance_type: str | None = "diagonal",  # noqa: ARG002  # the only one a forest has
    ) -> tuple[Floats, Floats]:
        points = np.asarray(self._impute_inactive(X), dtype=np.float32, order="C")
        trees = self._rf.estimators_
        values = np.column_stack([tree.predict(points, check_input=False) for tree in trees])
        return values.mean(axis=1, keepdims=True), values.var(axis=1, keepdims=True)


class _OrderedLocalSearch(LocalSearch):  # type: ignore[misc]  # SMAC is not seen by mypy
    def _get_init_points_from_previous_configs(self, *args: Any, **kwargs: Any) -> list[Any]:
        points = super()._get_init_points_from_previous_configs(*args, **kwargs)
        return sorted(points, key=str)


class _OrderedSearch(LocalAndSortedRandomSearch):  # type: ignore[misc]  # SMAC is not seen by mypy
    def __init__(
        self, space: ConfigurationSpace, *, draws: int, local_searches: int, seed: int
    ) -> None:
        super().__init__(
            space, challengers=draws, local_search_iterations=local_searches, seed=seed
        )
        self._local_search = _OrderedLocalSearch(space, seed=seed)


class _Once(Intensifier):  # type: ignore[misc]  # SMAC is not seen by mypy
    """Has every configuration evaluated once, also an announced one, and races none."""

    def __iter__(self) -> Iterator[TrialInfo]:
        for configuration in self.config_generator:
            if not self.runhistory.has_config(configuration):
                yield _trial(configuration)

    def update_incumbents(self, config: Configuration) -> None:
        """Keep none: the study has the front."""


class _Processed(list[Configuration]):
    """Configurations, and whether one is among them, without comparing it with each."""

    def __init__(self, configurations: Iterable[Configuration]) -> None:
        super().__init__(configurations)
        self._known = set(self)

    def __contains__(self, configuration: object) -> bool:
        return configuration in self._known

    def append(self, configuration: Configuration) -> None:
        super().append(configuration)
        self._known.add(configuration)


class _EagerSelector(ConfigSelector):  # type: ignore[misc]  # SMAC is not seen by mypy
    """Fits a forest for every proposal, and asks it about all configurations at once.

    With many trials it is for eight proposals, as SMAC has it from the first on.
    """

    @property
    def _processed_configs(self) -> _Processed:
        return self._processed

    @_processed_configs.setter
    def _processed_configs(self, configurations: Iterable[Configuration]) -> None:
        self._processed = _Processed(configurations)

    def _collect_data(self) -> tuple[Floats, Floats, Floats]:
        self._previous_entries = -1
        data: tuple[Floats, Floats, Floats] = super()._collect_data()
        self._retrain_after = 1 if len(data[0]) <= MANY else RETRAIN_AFTER
        return data

    def _get_x_best(self, X: Floats) -> tuple[Floats, float]:
        means = self._model.predict_marginalized(X)[0][:, 0]
        best = int(np.argmin(means))
        return X[best], means[best]


class _FailuresLast(RunHistoryLogScaledEncoder):  # type: ignore[misc]  # SMAC is not seen by mypy
    def _build_matrix(
        self, trials: Mapping[Any, TrialValue], store_statistics: bool = False
    ) -> tuple[Floats, Floats]:
        done = [
            np.atleast_1d(value.cost)
            for value in trials.values()
            if value.status == StatusType.SUCCESS
        ]
        worst = np.max(done, axis=0) if done else np.zeros(self._n_objectives)
        span = worst - np.min(done, axis=0) if done else np.zeros(self._n_objectives)
        failed = (worst + np.where(span > 0, span, np.maximum(np.abs(worst), 1.0))).tolist()
        cost = failed if self._n_objectives > 1 else failed[0]
        known = {
            key: value if value.status == StatusType.SUCCESS else replace(value, cost=cost)
            for key, value in trials.items()
        }
        built: tuple[Floats, Floats] = super()._build_matrix(known, store_statistics)
        return built


def _trial(configuration: Configuration) -> TrialInfo:
    return TrialInfo(config=configuration, seed=0)


def _parameter(name: str, gene: Gene) -> Any:
    if gene.kind == "continuous":
        return Float(name, (0.0, 1.0), default=gene.to_unit(gene.initial))
    if gene.kind == "integer":
        if gene.low == gene.high:
            return Constant(name, int(gene.low))
        return Integer(name, (int(gene.low), int(gene.high)), default=int(gene.initial))
    if len(gene.choices) == 1:
        return Constant(name, gene.choices[0])
    return Categorical(name, gene.choices, default=str(gene.initial))


def _possible(gene: Gene, value: GeneValue) -> bool:
    if gene.kind == "categorical":
        return value in gene.choices
    return not isinstance(value, str) and gene.low <= value <= gene.high and value == int(value)
