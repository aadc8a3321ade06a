"""What a checked study is going to cost, stage by stage."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature

from evomerge.cost.allowance import Allowance, Pace, allowances
from evomerge.cost.assumptions import assumptions
from evomerge.cost.candidate import Candidate, candidate, folded, largest
from evomerge.cost.devices import Device
from evomerge.cost.estimate import (
    Memory,
    Span,
    candidate_seconds,
    worker_memory,
)
from evomerge.cost.forward import Forward, Workload
from evomerge.cost.hops import most_hops
from evomerge.cost.rounds import Round, expected_scoring, expected_seconds, rounds_of
from evomerge.cost.shape import ModelShape, shape_of
from evomerge.cost.workload import Asked, Tokens, asked
from evomerge.fitness import check_fitness, load_items
from evomerge.merging import MergeEngine, open_checkpoint
from evomerge.merging.tokenizer import load_tokenizer
from evomerge.recipe import ModelRef, Node, Recipe
from evomerge.spaces import Space, SpaceContext
from evomerge.spaces.paths.spec import JointSpec
from evomerge.study import Prepared, StandIns
from evomerge.study.budgets.config import Kind
from evomerge.study.config import StageConfig
from evomerge.study.expected_trials import items_of_candidate, n_whole
from evomerge.study.rungs.visits import Visit, visits
from evomerge.study.scoring import LAMBDA, baseline_recipes, has_holdout
from evomerge.study.stages import stage_context, stage_donors, through_path
from evomerge.types import Split
from evomerge.workers.spec import part_of, source_of

ENGINE_CACHE: int = signature(MergeEngine).parameters["cache_bytes"].default


@dataclass(frozen=True, slots=True)
class Donor:
    """One model of a study.

    Attributes:
        name: in the study.
        shape: its size.
        seen: its files were read; otherwise a configuration stood in for it.
    """

    name: str
    shape: ModelShape
    seen: bool


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


@dataclass(frozen=True, slots=True)
class StudyEstimate:
    """What a whole study costs.

    Attributes:
        name: of the study.
        models: base and donors.
        workloads: the forward passes over all search items, by objective.
        validation: those over the validation items; empty in a study without such.
        stages: its searches.
        device: what the times are for.
        final_seconds: baselines and front scored when the searches are over.
        final_memory: of one worker then, where the front may have layer paths: on hold-out items
            these are scored with a layer of their own for each hop.
        items: search items over all objectives.
        budget: the kinds of budget that limit the study.
        allowances: what each of them pays for; empty in a study with stages.
        workers: processes that share the trials.
        assumptions: what the figures rest on.
    """

    name: str
    models: tuple[Donor, ...]
    workloads: tuple[Workload, ...]
    stages: tuple[StageEstimate, ...]
    device: Device | None
    final_seconds: Span | None
    final_memory: Memory | None
    items: int
    budget: tuple[Kind, ...]
    allowances: tuple[Allowance, ...]
    workers: int
    assumptions: tuple[str, ...]
    validation: tuple[Workload, ...] = ()

    @property
    def total_seconds(self) -> Span | None:
        """All of it, one candidate after the other; None where a budget or a device is missing."""
        total = self.final_seconds
        for stage in self.stages:
            if total is None or stage.search_seconds is None:
                return None
            total = total.plus(stage.search_seconds)
        return total


def estimate_study(
    prepared: Prepared,
    *,
    device: Device | None = None,
    answer_tokens: int | None = None,
    stand_ins: StandIns | None = None,
    now: float | None = None,
) -> StudyEstimate:
    """Estimate a study from its models' configurations and its items; nothing is run.

    Args:
        prepared: the checked study.
        device: what it would run on; without one there are no times.
        answer_tokens: tokens of a usual answer; the most allowed by default.
        stand_ins: what it was prepared with.
        now: seconds since the epoch, from which a deadline counts; the clock's by default.

    Raises:
        CheckpointError: the size of an architecture is not known.
    """
    unseen = {} if stand_ins is None else stand_ins.used
    refs = {"base": prepared.context.base, **_donor_refs(prepared.context)}
    allow = prepared.config.models.allow_pickle
    opened = {
        name: unseen.get(name) or open_checkpoint(ref, allow_pickle=allow)
        for name, ref in refs.items()
    }
    models = tuple(
        Donor(name, shape_of(one.config, f"model '{name}'"), name not in unseen)
        for name, one in opened.items()
    )
    shapes = {refs[model.name]: model.shape for model in models}
    tokens = Tokens(None if "base" in unseen else load_tokenizer(opened["base"].folder))
    searched = _asked(prepared, "search", tokens, answer_tokens)
    workloads = _made(searched)
    validation = _made(_asked(prepared, "validation", tokens, answer_tokens))
    foretold = _foretold(prepared, tokens, answer_tokens)
    stages = tuple(
        _stage(
            prepared,
            stage,
            candidates,
            _batch(stage, workloads, prepared.items),
            validation,
            _made(foretold),
            device,
        )
        for stage, candidates in _candidates(prepared, shapes)
    )
    held = []
    if has_holdout(prepared):
        held = _made(_asked(prepared, "holdout", tokens, answer_tokens))
    final = None
    if device is not None:
        final = _final(prepared, shapes, stages[-1], validation or workloads, held, device)
    return StudyEstimate(
        name=prepared.config.name,
        models=models,
        workloads=tuple(workloads),
        stages=stages,
        device=device,
        final_seconds=final,
        final_memory=_final_memory(stages, held),
        items=sum(map(len, prepared.items.values())),
        budget=prepared.config.budget.kinds,
        allowances=_allowances(prepared, stages, time.time() if now is None else now),
        workers=prepared.config.workers.count,
        assumptions=assumptions([*searched, *foretold], tokens, stages, device),
        validation=tuple(validation),
    )


def _donor_refs(context: SpaceContext) -> dict[str, ModelRef]:
    return {name: node for name, node in context.donors.items() if isinstance(node, ModelRef)}


def _asked(prepared: Prepared, split: Split, tokens: Tokens, answer: int | None) -> list[Asked]:
    found = []
    for name, part in prepared.config.objectives.items():
        fitness = check_fitness(
            part.fitness, part.arguments, metric=part.metric, folder=prepared.folder
        )
        source = source_of(split, part.search, part.validation, part.holdout)
        if fitness.brings_items:
            note = (
                f"{name}: what '{fitness.name}' asks is its own; its forward passes are not counted"
            )
            found.append(Asked(None, (note,)))
            continue
        if source is None and split == "validation":
            continue
        items = load_items(source, folder=prepared.folder, limit=part.limit) if source else ()
        items = part_of(items, split, part.validation)
        found.append(asked(name, fitness, items, tokens, answer_tokens=answer))
    return found


def _foretold(prepared: Prepared, tokens: Tokens, answer: int | None) -> list[Asked]:
    """Return what the objectives' proxies ask over all search items."""
    found = []
    for name, part in prepared.config.objectives.items():
        if part.proxy is None or part.search is None:
            continue
        fitness = check_fitness(
            part.proxy.fitness,
            part.proxy.arguments,
            metric=part.proxy.metric,
            folder=prepared.folder,
        )
        items = load_items(part.search, folder=prepared.folder, limit=part.limit)
        items = part_of(items, "search", part.validation)
        found.append(asked(name, fitness, items, tokens, answer_tokens=answer))
    return found


def _allowances(
    prepared: Prepared, stages: Sequence[StageEstimate], now: float
) -> tuple[Allowance, ...]:
    """Return what each kind of budget pays for; stages have numbers of trials of their own."""
    config = prepared.config
    if config.stages is not None:
        return ()
    count = prepared.expected_trials(prepared.space)
    by_items = None
    if count is not None:
        whole = sum(map(len, prepared.items.values()))
        if config.batches is not None:
            whole = sum(min(config.batches.items, len(ids)) for ids in prepared.items.values())
        climbed = stages[0].visits
        each = items_of_candidate(climbed, config.objectives) if climbed else whole
        known = n_whole(config.search, prepared.space, config.rungs)
        how = f"{config.budget.items:,} items at {each:,.4g} for a candidate on average"
        if climbed and known:
            how += f", {known} known points on {whole:,} each"
        by_items = (count, how)
    return allowances(config.budget, config.workers, stages[0].pace, by_items=by_items, now=now)


def _made(found: Sequence[Asked]) -> list[Workload]:
    return [one.workload for one in found if one.workload is not None]


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


def _members(prepared: Prepared, trials: int | None) -> int:
    """Return how many members a front has, at most."""
    size = prepared.config.front.size
    return 1 if len(prepared.objectives) == 1 else min(size, trials or size)


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


def _final(
    prepared: Prepared,
    shapes: Mapping[ModelRef, ModelShape],
    last: StageEstimate,
    picked: Sequence[Workload],
    held: Sequence[Workload],
    device: Device,
) -> Span:
    """Time the baselines on what the front is picked on, and both on the hold-out items."""

    def seconds(first: Candidate, most: Candidate, workloads: Sequence[Workload]) -> Span:
        if not workloads:
            return Span(0.0, 0.0)
        return candidate_seconds(first, most, workloads, device, engine_cache=ENGINE_CACHE)

    total = seconds(*last.exported, held).times(_members(prepared, last.trials))
    waiting = True  # of the grid of lambdas one is scored on hold-out items
    for name, recipe in baseline_recipes(prepared).items():
        one = candidate(recipe, shapes, dtype=prepared.context.dtype)
        total = total.plus(seconds(one, one, picked))
        if waiting or not name.startswith(LAMBDA):
            total = total.plus(seconds(one, one, held))
            waiting &= not name.startswith(LAMBDA)
    return total


def _final_memory(stages: Sequence[StageEstimate], held: Sequence[Workload]) -> Memory | None:
    """Return what a worker holds that scores the largest layer path on hold-out items."""
    needed = [
        worker_memory(stage.exported[1], held, engine_cache=ENGINE_CACHE)
        for stage in stages
        if stage.first.path and held
    ]
    return max(needed, key=lambda memory: memory.total, default=None)
