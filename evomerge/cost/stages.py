"""What one search of a study is going to cost: its candidates, their forward passes and times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature

from evomerge.cost.allowance import Pace
from evomerge.cost.candidate import Candidate, candidate, folded, largest
from evomerge.cost.devices import Device
from evomerge.cost.estimate import Memory, Span, candidate_seconds, worker_memory
from evomerge.cost.forward import Forward, Workload
from evomerge.cost.hops import most_hops
from evomerge.cost.rounds import Round, expected_scoring, expected_seconds, rounds_of
from evomerge.cost.shape import ModelShape
from evomerge.merging import MergeEngine
from evomerge.recipe import ModelRef, Node, Recipe
from evomerge.spaces import Space, SpaceContext
from evomerge.spaces.paths.spec import JointSpec
from evomerge.study import Prepared
from evomerge.study.config import StageConfig
from evomerge.study.expected_trials import n_whole
from evomerge.study.rungs.visits import Visit, visits
from evomerge.study.stages import stage_context, stage_donors, through_path

ENGINE_CACHE: int = signature(MergeEngine).parameters["cache_bytes"].default


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """What one search costs.

    Attributes:
        name: of the stage; '' in a study without stages.
        optimizer: which searches.
        trials: candidates; None where the study gives no number.
        first: the candidate it starts from.
        largest: the costliest candidate the space allows.
        exported: both as they are exported.
        low: forward passes of the first candidate, with usual answers; on average where there are
            rungs.
        high: those of the largest, with answers that go on.
        batch: search items that a candidate is scored on; None where it is all of them.
        visits: which share of the candidates is scored on what; empty without rungs.
        validated: how many candidates are scored on the validation items as well.
        memory: of one worker with the largest candidate.
        pace: of candidates; None without a device.
        search_seconds: all trials and validations, one after the other; None without a device,
            or where only time limits the search.
    """

    name: str
    optimizer: str
    trials: int | None
    first: Candidate
    largest: Candidate
    exported: tuple[Candidate, Candidate]
    low: Forward
    high: Forward
    memory: Memory
    pace: Pace | None
    search_seconds: Span | None
    batch: int | None = None
    validated: int = 0
    visits: tuple[Visit, ...] = ()

    @property
    def seconds(self) -> Span | None:
        """One candidate that is no known point, on average."""
        return None if self.pace is None else self.pace.each


def estimate_stages(
    prepared: Prepared,
    shapes: Mapping[ModelRef, ModelShape],
    workloads: Sequence[Workload],
    validation: Sequence[Workload],
    proxies: Sequence[Workload],
    device: Device | None,
) -> tuple[StageEstimate, ...]:
    """Estimate the searches of a study, one after the other.

    Args:
        prepared: the checked study.
        shapes: of base and donors.
        workloads: over all search items, by objective.
        validation: over the validation items; empty in a study without such.
        proxies: over all search items, of the objectives' proxies.
        device: what it would run on; without one there are no times.
    """
    return tuple(
        _stage(
            prepared,
            stage,
            candidates,
            _batch(stage, workloads, prepared.items),
            validation,
            proxies,
            device,
        )
        for stage, candidates in _candidates(prepared, shapes)
    )


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The first and the costliest candidate of a stage, as searched and as exported."""

    space: Space
    first: Candidate
    largest: Candidate
    exported: tuple[Candidate, Candidate]


def _candidates(
    prepared: Prepared, shapes: Mapping[ModelRef, ModelShape]
) -> Iterator[tuple[StageConfig, _Candidates]]:
    """Yield each stage with its candidates.

    What an earlier stage is going to find is sized like the recipe its search starts from.
    """
    starts: dict[str, Recipe] = {}
    for stage, space in zip(prepared.config.plan, (prepared.space, *prepared.later), strict=True):
        taken = {name: starts[pick.stage] for name, pick in stage.take.items()}
        context = stage_context(prepared.context, stage_donors(prepared.context, stage, taken))
        whole: Space = space
        if stage.through is not None:
            whole = through_path(space, starts[stage.through.stage], prepared.context)
        recipe = whole.decode(whole.domain.initial)
        size = partial(candidate, shapes=shapes, dtype=context.dtype)
        first = size(recipe, constant=list(starts.values()))
        starts[stage.name] = recipe
        pool = [size(node).shape for node in _pool(recipe, whole, context)]
        hops = most_hops(whole, [len(shape.layers) for shape in pool])
        anew = size(recipe)
        exported = folded(anew), folded(largest(anew, pool, hops))
        yield stage, _Candidates(space, first, largest(first, pool, hops), exported)


def _pool(recipe: Recipe, space: Space, context: SpaceContext) -> list[Node]:
    """Return the models whose layers the paths of a space may use."""
    spec = getattr(space, "spec", None)
    if not isinstance(spec, JointSpec):
        return list(context.donors.values())
    merged = [source.model for source in (recipe.models or ())[:1]]
    return [*merged, *(context.donors[name] for name in spec.donors or context.donors)]


def _batch(
    stage: StageConfig, workloads: Sequence[Workload], items: Mapping[str, Sequence[str]]
) -> list[Workload]:
    """Return what one candidate of a stage is scored on."""
    size = None if stage.batches is None else stage.batches.items
    return [
        work
        if size is None or work.name not in items
        else work.portion(size / len(items[work.name]))
        for work in workloads
    ]


def _validated(prepared: Prepared, stage: StageConfig) -> int:
    """Return how many candidates of a stage are scored on validation items, at most."""
    if prepared.config.picked_on == "search":
        return 0
    if stage.batches is None:
        size = prepared.config.front.size
        return min(size, stage.trials or size)
    if stage.trials is None:
        return 0
    return math.ceil(stage.trials / stage.batches.trials) * stage.batches.keep


def _stage(
    prepared: Prepared,
    stage: StageConfig,
    candidates: _Candidates,
    workloads: Sequence[Workload],
    validation: Sequence[Workload],
    proxies: Sequence[Workload],
    device: Device | None,
) -> StageEstimate:
    first, most = candidates.first, candidates.largest
    validated = _validated(prepared, stage)
    config, counts = prepared.config, {name: len(ids) for name, ids in prepared.items.items()}
    climbed: tuple[Visit, ...] = ()
    rounds: tuple[Round, ...] = (Round(1.0, tuple(workloads)),)
    if config.rungs is not None and counts:
        foretold = [name for name, one in config.objectives.items() if one.proxy is not None]
        climbed = visits(config.rungs, counts, foretold)
        rounds = rounds_of(climbed, counts, workloads, proxies)
    pace = spent = None
    if device is not None:
        whole = candidate_seconds(first, most, workloads, device, engine_cache=ENGINE_CACHE)
        each = expected_seconds(rounds, first, most, device, engine_cache=ENGINE_CACHE)
        pace = Pace(
            n_whole(stage.search, candidates.space, config.rungs), whole, each if climbed else whole
        )
        counted = [prepared.expected_trials(candidates.space), stage.trials]
        limits = [count for count in counted if count is not None]
        spent = pace.taken(min(limits)) if limits else None
        if spent is not None and validated:
            one = candidate_seconds(first, most, validation, device, engine_cache=ENGINE_CACHE)
            spent = spent.plus(one.times(validated))
    return StageEstimate(
        name=stage.name,
        optimizer=stage.search.optimizer,
        trials=stage.trials,
        first=first,
        largest=most,
        exported=candidates.exported,
        low=expected_scoring(rounds, first, stragglers=False),
        high=expected_scoring(rounds, most, stragglers=True),
        memory=worker_memory(
            most,
            [*workloads, *proxies, *validation],
            engine_cache=ENGINE_CACHE,
            prefix_cache=prepared.evaluator.path_cache_bytes,
        ),
        pace=pace,
        search_seconds=spent,
        batch=None if stage.batches is None else stage.batches.items,
        validated=validated,
        visits=climbed,
    )
