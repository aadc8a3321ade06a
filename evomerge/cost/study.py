"""What a checked study is going to cost, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from evomerge.cost.allowance import Allowance, allowances, expected_candidates
from evomerge.cost.assumptions import assumptions
from evomerge.cost.devices import Device
from evomerge.cost.ending import final_memory, final_seconds
from evomerge.cost.estimate import Memory, Span
from evomerge.cost.forward import Workload
from evomerge.cost.here import Taken
from evomerge.cost.objectives import Objectives, made
from evomerge.cost.records import Records, records
from evomerge.cost.shape import ModelShape, shape_of
from evomerge.cost.stages import StageEstimate, estimate_stages
from evomerge.cost.workload import Tokens
from evomerge.merging import open_checkpoint
from evomerge.merging.tokenizer import load_tokenizer
from evomerge.recipe import ModelRef
from evomerge.spaces import SpaceContext
from evomerge.study import Prepared, StandIns
from evomerge.study.budgets.config import Kind
from evomerge.study.expected_trials import items_of_candidate, n_whole
from evomerge.study.scoring import has_holdout


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
class StudyEstimate:
    """What a whole study costs.

    Attributes:
        name: of the study.
        models: base and donors.
        workloads: the forward passes over all search items, by objective.
        validation: those over the validation items; empty in a study without such.
        stages: its searches.
        taken: the device that the times are for, and how it was found.
        final_seconds: baselines and front scored when the searches are over.
        final_memory: of one worker then, where the front may have layer paths: on hold-out items
            these are scored with a layer of their own for each hop.
        items: search items over all objectives.
        budget: the kinds of budget that limit the study.
        allowances: what each of them pays for; empty in a study with stages.
        workers: processes that share the trials.
        records: what the run folder takes on disk.
        assumptions: what the figures rest on.
    """

    name: str
    models: tuple[Donor, ...]
    workloads: tuple[Workload, ...]
    stages: tuple[StageEstimate, ...]
    taken: Taken
    final_seconds: Span | None
    final_memory: Memory | None
    items: int
    budget: tuple[Kind, ...]
    allowances: tuple[Allowance, ...]
    workers: int
    records: Records
    assumptions: tuple[str, ...]
    validation: tuple[Workload, ...] = ()

    @property
    def device(self) -> Device | None:
        """What the times are for; None where there are none."""
        return self.taken.device

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
    taken: Taken | None = None,
    answer_tokens: int | None = None,
    stand_ins: StandIns | None = None,
    now: float | None = None,
) -> StudyEstimate:
    """Estimate a study from its models' configurations and its items; nothing is run.

    Args:
        prepared: the checked study.
        taken: what it would run on; without a device there are no times.
        answer_tokens: tokens of a usual answer; the most allowed by default.
        stand_ins: what it was prepared with.
        now: seconds since the epoch, from which a deadline counts; the clock's by default.

    Raises:
        CheckpointError: the size of an architecture is not known.
    """
    taken = taken or Taken(None)
    device = taken.device
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
    objectives = Objectives(prepared, tokens, answer_tokens)
    searched, foretold = objectives.asked("search"), objectives.foretold()
    workloads, validation = made(searched), made(objectives.asked("validation"))
    stages = estimate_stages(prepared, shapes, workloads, validation, made(foretold), device)
    held = made(objectives.asked("holdout")) if has_holdout(prepared) else []
    final = None
    if device is not None:
        final = final_seconds(prepared, shapes, stages[-1], validation or workloads, held, device)
    allowed = _allowances(prepared, stages, time.time() if now is None else now)
    return StudyEstimate(
        name=prepared.config.name,
        models=models,
        workloads=tuple(workloads),
        stages=stages,
        taken=taken,
        final_seconds=final,
        final_memory=final_memory(stages, held),
        items=sum(map(len, prepared.items.values())),
        budget=prepared.config.budget.kinds,
        allowances=allowed,
        workers=prepared.config.workers.count,
        records=records(prepared, objectives, stages, expected_candidates(allowed)),
        assumptions=assumptions([*searched, *foretold], tokens, stages, device),
        validation=tuple(validation),
    )


def _donor_refs(context: SpaceContext) -> dict[str, ModelRef]:
    return {name: node for name, node in context.donors.items() if isinstance(node, ModelRef)}


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
