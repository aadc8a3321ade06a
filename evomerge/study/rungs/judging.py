"""What candidates that were scored on a part of the items are worth, and in which order items come.

Both may follow from the answers of base and donors (the endpoints of a merge) to all items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evomerge.errors import EvomergeError
from evomerge.estimators import (
    Answers,
    Estimator,
    Evidence,
    ItemParameters,
    build_estimator,
    cluster_order,
    entropy_order,
    half_entropy_order,
    stratified_order,
)
from evomerge.optimizers.known_points import SEED
from evomerge.study.rungs.climber import Climber
from evomerge.study.rungs.config import EstimatorConfig, RungsConfig
from evomerge.study.rungs.estimates import regression_estimate
from evomerge.study.rungs.ladder import Ladder, own_seed
from evomerge.types import Completed, Objective

ORDERS: Mapping[str, Callable[[Sequence[str], Mapping[str, Answers], int], tuple[str, ...]]] = {
    "stratified": lambda ids, probes, seed: stratified_order(ids, seed, probes=probes),
    "entropy": entropy_order,
    "half_entropy": half_entropy_order,
}
REGRESSION = "regression"


class Judging:
    """Costs of candidates on a part of the items, and their outcomes as estimates.

    Args:
        rungs: of the study.
        objectives: in order.
        ladder: whose order of items may follow from the endpoints.
        seed: of the study.
        folder: where relative paths start.
    """

    def __init__(
        self,
        rungs: RungsConfig,
        objectives: Sequence[Objective],
        ladder: Ladder,
        seed: int,
        folder: Path,
    ) -> None:
        self._rungs = rungs
        self._objectives = objectives
        self._ladder = ladder
        self._seed = seed
        self._folder = folder
        self._estimators: dict[str, Estimator] = {}
        self._ends: dict[str, dict[str, Answers]] = {}
        self._more: dict[str, dict[str, Answers]] = {}

    def learn(self, known: Mapping[str, Climber]) -> None:
        """Fit item models, and order the items anew, by the answers to all items.

        Args:
            known: origin to known point: base and donors, the endpoints of every merge, and known
                merges, which are more answers to fit items on.

        Raises:
            EvomergeError: none of them could be scored.
        """
        endpoints = {name for name in known if name.startswith(SEED)} - {f"{SEED}uniform"}
        if not endpoints:
            raise EvomergeError(
                "rungs: order and estimator need the answers of base or donors, and none of these "
                "could be scored ('evomerge status' says why); start a new run when the cause is "
                "mended, or with 'order: random' and 'estimator: regression'"
            )
        for number, (name, ids) in enumerate(self._ladder.order.items()):
            answers = {model: one.outcome.examples[name] for model, one in known.items()}
            seed = own_seed(self._seed, number, 1)
            ends = {model: answers[model] for model in known if model in endpoints}
            more = {model: answers[model] for model in known if model not in endpoints}
            config, folder = self._rungs.estimator, self._folder
            if self._rungs.order == "clusters":
                given = _items(config, name, folder)
                items = Evidence(
                    ids, endpoints=ends, items=given, answers=more, rank=config.rank, seed=seed
                ).items
                sizes = [self._ladder.n_items(name, rung) for rung in range(self._ladder.top)]
                self._ladder.order[name] = cluster_order(items, sizes, seed)
            elif self._rungs.order != "random":
                self._ladder.order[name] = ORDERS[self._rungs.order](ids, answers, seed)
            if config.name != REGRESSION:
                self._estimators[name] = built(config, name, ids, ends, more, seed, folder)
                self._ends[name], self._more[name] = ends, more
        for climber in known.values():
            climber.reorder(self._ladder)

    def refit(self, measured: Mapping[str, Climber]) -> None:
        """Fit item models anew, by the answers of these too; the order of items stays.

        Args:
            measured: name to who was scored on all items, known points apart.
        """
        config = self._rungs.estimator
        for number, (name, ids) in enumerate(self._ladder.order.items()):
            if name not in self._estimators or config.file_of(name) is not None:
                continue
            own = {
                model: dict(zip(ids, one.scores[name].tolist(), strict=True))
                for model, one in measured.items()
            }
            more = {**self._more[name], **own}
            seed = own_seed(self._seed, number, 1)
            ends, folder = self._ends[name], self._folder
            self._estimators[name] = built(config, name, ids, ends, more, seed, folder)

    def costs(self, climber: Climber) -> list[float]:
        """Return what a candidate is compared by with others that were scored on the same items."""
        return [one.cost(self._metric(climber, one)) for one in self._objectives]

    def told(self, climber: Climber, measured: Iterable[Climber]) -> Completed:
        """Return the outcome of a candidate: measured where it was scored on all items.

        Args:
            climber: scored at its rung.
            measured: those that were scored on all items.
        """
        metrics, errors = dict(climber.outcome.metrics), {}
        others = list(measured)
        for objective in self._objectives:
            name = objective.name
            if not self._is_partial(climber, name):
                continue
            if name in self._estimators:
                found = self._estimators[name].estimate(climber.outcome.examples[name])
                metrics[name], errors[name] = found.value, found.standard_error
            else:
                known = [one.scores[name] for one in others]
                n_items = len(self._ladder.order[name])
                metrics[name], errors[name] = regression_estimate(
                    climber.scores[name], known, n_items, objective.bounds
                )
        return replace(climber.outcome, metrics=metrics, errors=errors)

    def _metric(self, climber: Climber, objective: Objective) -> float:
        name = objective.name
        if name in self._estimators and self._is_partial(climber, name):
            return self._estimators[name].estimate(climber.outcome.examples[name]).value
        return climber.outcome.metrics[name]

    def _is_partial(self, climber: Climber, name: str) -> bool:
        return name in climber.scores and len(climber.scores[name]) < len(self._ladder.order[name])


def built(
    config: EstimatorConfig,
    objective: str,
    ids: Sequence[str],
    endpoints: Mapping[str, Answers],
    answers: Mapping[str, Answers],
    seed: int,
    folder: Path,
) -> Estimator:
    """Build the estimator of an objective, from base's and donors' answers and those of others.

    Raises:
        UserError: it is unknown, or its options or the item parameters do not fit.
    """
    return build_estimator(
        config.name,
        ids,
        endpoints=endpoints,
        items=_items(config, objective, folder),
        answers=answers,
        rank=config.rank,
        seed=seed,
        options=config.arguments,
        folder=folder,
    )


def _items(config: EstimatorConfig, objective: str, folder: Path) -> ItemParameters | None:
    file = config.file_of(objective)
    return None if file is None else ItemParameters.load(folder / file)
