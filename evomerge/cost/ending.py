"""What comes when the searches are over: baselines, and the front on hold-out items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evomerge.cost.candidate import Candidate, candidate
from evomerge.cost.devices import Device
from evomerge.cost.estimate import Memory, Span, candidate_seconds, worker_memory
from evomerge.cost.forward import Workload
from evomerge.cost.shape import ModelShape
from evomerge.cost.stages import ENGINE_CACHE, StageEstimate
from evomerge.recipe import ModelRef
from evomerge.study import Prepared
from evomerge.study.scoring import LAMBDA, baseline_recipes


def members(prepared: Prepared, trials: int | None) -> int:
    """Return how many members of the front are scored on hold-out items, at most."""
    size = prepared.config.front.size
    return 1 if len(prepared.objectives) == 1 else min(size, trials or size)


def final_seconds(
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

    total = seconds(*last.exported, held).times(members(prepared, last.trials))
    waiting = True  # of the grid of lambdas one is scored on hold-out items
    for name, recipe in baseline_recipes(prepared).items():
        one = candidate(recipe, shapes, dtype=prepared.context.dtype)
        total = total.plus(seconds(one, one, picked))
        if waiting or not name.startswith(LAMBDA):
            total = total.plus(seconds(one, one, held))
            waiting &= not name.startswith(LAMBDA)
    return total


def final_memory(stages: Sequence[StageEstimate], held: Sequence[Workload]) -> Memory | None:
    """Return what a worker holds that scores the largest layer path on hold-out items."""
    needed = [
        worker_memory(stage.exported[1], held, engine_cache=ENGINE_CACHE)
        for stage in stages
        if stage.first.path and held
    ]
    return max(needed, key=lambda memory: memory.total, default=None)
