"""An estimate as text and as JSON data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evomerge.cost.allowance import expected_candidates
from evomerge.cost.candidate import Candidate
from evomerge.cost.estimate import Memory, Span
from evomerge.cost.forward import Forward, Workload
from evomerge.cost.stages import StageEstimate
from evomerge.cost.study import Donor, StudyEstimate
from evomerge.study.rungs.visits import Visit

_UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))
_COUNTS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_FIELDS = ("weights", "engine_cache", "workspace", "kv_cache", "prefix_cache", "activations")


def as_text(estimate: StudyEstimate) -> str:
    """Write an estimate for people."""
    measured = estimate.device is not None and estimate.device.measured
    but = " but the processor" if measured else ""
    lines = [f"estimate of study '{estimate.name}', nothing of it measured{but}"]
    lines += [_row("model", _model(donor)) for donor in estimate.models]
    lines += [_row("scored on", _workload(work)) for work in estimate.workloads]
    lines += [_row("validated", _workload(work)) for work in estimate.validation]
    for stage in estimate.stages:
        lines += _stage(stage, estimate)
    if estimate.final_memory is not None:
        memory = _memory(estimate.final_memory)
        lines.append(_row("at the end", f"{memory}; the front's paths as exported"))
    lines += _totals(estimate)
    lines += ["  this takes for granted that"]
    lines += [f"    - {line}" for line in estimate.assumptions]
    return "\n".join(lines)


def as_json(estimate: StudyEstimate) -> dict[str, Any]:
    """Return an estimate as JSON data: bytes, operations and seconds."""
    device, final = estimate.device, estimate.final_memory
    return {
        "study": estimate.name,
        "models": {
            donor.name: {
                "parameters": donor.shape.parameters,
                "layers": len(donor.shape.layers),
                "bytes": donor.shape.bytes,
                "dtype": donor.shape.dtype,
                "seen": donor.seen,
            }
            for donor in estimate.models
        },
        "objectives": {work.name: _workload_json(work) for work in estimate.workloads},
        "validation": {work.name: _workload_json(work) for work in estimate.validation},
        "stages": [
            {
                "name": stage.name,
                "optimizer": stage.optimizer,
                "trials": stage.trials,
                "batch": stage.batch,
                "validated": stage.validated,
                "rungs": [asdict(visit) for visit in stage.visits],
                "first": _candidate_json(stage.first, stage.low),
                "largest": _candidate_json(stage.largest, stage.high),
                "memory": {**asdict(stage.memory), "total": stage.memory.total},
                "seconds_per_candidate": _span_json(stage.seconds),
                "seconds": _span_json(stage.search_seconds),
            }
            for stage in estimate.stages
        ],
        "device": None if device is None else asdict(device),
        "device_found": estimate.taken.how,
        "final_seconds": _span_json(estimate.final_seconds),
        "final_memory": None if final is None else {**asdict(final), "total": final.total},
        "total_seconds": _span_json(estimate.total_seconds),
        "budget": {
            one.kind: {"candidates": _span_json(one.candidates), "how": one.how}
            for one in estimate.allowances
        },
        "expected_candidates": _span_json(expected_candidates(estimate.allowances)),
        "records": asdict(estimate.records),
        "assumptions": list(estimate.assumptions),
    }


def _workload_json(work: Workload) -> dict[str, Any]:
    return {
        "rows": len(work.lengths),
        "tokens_read": sum(work.lengths),
        "tokens_written": work.usual * len(work.lengths),
        "max_new_tokens": work.new_tokens,
        "batch_size": work.batch_size,
    }


def _row(label: str, text: str) -> str:
    return f"  {label:<11} {text}"


def _model(donor: Donor) -> str:
    shape = donor.shape
    unseen = "" if donor.seen else "; not seen, a configuration stands in"
    return (
        f"{donor.name}: {_count(shape.parameters)} parameters, {len(shape.layers)} layers, "
        f"{_bytes(shape.bytes)} in {shape.dtype}{unseen}"
    )


def _workload(work: Workload) -> str:
    text = f"{work.name}: {len(work.lengths):,} rows of {_mean(work.lengths)} tokens"
    if work.new_tokens:
        text += f", answers of {work.usual:,} tokens, at most {work.new_tokens:,}"
    return f"{text}, {work.batch_size} at a time"


def _mean(lengths: tuple[int, ...]) -> str:
    return f"{sum(lengths) / max(1, len(lengths)):.0f}"


def _stage(stage: StageEstimate, estimate: StudyEstimate) -> list[str]:
    trials = "trials until the budget is used up"
    if stage.trials is not None:
        trials = f"{stage.trials:,} trials"
    name = f"stage '{stage.name}': " if stage.name else ""
    lines = [f"  {name}{trials}, {stage.optimizer}"]
    lines += [_row("candidate", _candidate(stage.first, stage.largest))]
    if stage.batch is not None:
        lines.append(_row("batches", f"{stage.batch:,} search items for each candidate"))
    if stage.visits:
        lines.append(_row("rungs", _rungs(stage.visits, estimate.items)))
    if stage.validated:
        lines.append(_row("validation", f"of the best {stage.validated:,}, on validation items"))
    if stage.first.written:
        lines.append(
            _row(
                "merging",
                f"{_bytes(stage.first.read)} read and {_bytes(stage.first.written)} written for "
                "each candidate",
            )
        )
    work = f"{_flops(stage.low.reading.flops, stage.high.reading.flops)} reading"
    if stage.low.writing.passes:
        work += f", {_flops(stage.low.writing.flops, stage.high.writing.flops)} writing"
    lines.append(_row("forward", f"{work}, for each candidate"))
    lines.append(_row("memory", _memory(stage.memory)))
    if stage.seconds is not None:
        text = f"{_span(stage.seconds)} for a candidate{' on average' if stage.visits else ''}"
        if stage.search_seconds is not None:
            text += f", {_span(stage.search_seconds)} for all"
        lines.append(_row("time", text))
    return lines


def _rungs(visits: Sequence[Visit], n_items: int) -> str:
    """Say which share of the candidates is scored on how many items, and what that comes to."""
    asked = [
        f"{visit.share:.0%} on {sum(visit.items.values()):,}{' by proxies' if visit.proxy else ''}"
        for visit in visits
        if visit.share > 0
    ]
    mean = sum(visit.share * sum(visit.items.values()) for visit in visits)
    return f"{', '.join(asked)} new items: {mean:,.4g} of {n_items:,} for a candidate on average"


def _candidate(first: Candidate, most: Candidate) -> str:
    text = f"{_count(first.shape.parameters)} parameters, export of {_bytes(first.export_bytes)}"
    if not first.path:
        return text
    text = f"{len(first.shape.layers)} hops, {text}"
    if most.shape.layers == first.shape.layers:
        return text
    return (
        f"{text}; at most {len(most.shape.layers)} hops, {_count(most.shape.parameters)} "
        f"parameters, export of {_bytes(most.export_bytes)}"
    )


def _memory(memory: Memory) -> str:
    parts = ", ".join(
        f"{name.replace('_', ' ').replace('kv', 'KV')} {_bytes(value)}"
        for name in _FIELDS
        if (value := getattr(memory, name))
    )
    return f"{_bytes(memory.total)} a worker: {parts}"


def _totals(estimate: StudyEstimate) -> list[str]:
    device, how = estimate.taken.device, estimate.taken.how
    lines = [_row("device", how)] if how else []
    if estimate.final_seconds is not None:
        lines.append(_row("at the end", f"{_span(estimate.final_seconds)} for baselines and front"))
    total = estimate.total_seconds
    if device is not None and total is not None:
        own = "with threads" if device.measured else "on devices"
        shared = f"; {estimate.workers} workers {own} of their own share it"
        lines.append(
            _row(
                "in all",
                f"{_span(total)} on {'' if device.measured else 'one '}{device.name}"
                f"{shared if estimate.workers > 1 else ''}",
            )
        )
    lines += _budget(estimate)
    return lines


def _budget(estimate: StudyEstimate) -> list[str]:
    """Say what each kind of budget pays for, and which is used up first."""
    if not estimate.allowances:  # in a study with stages
        kinds = ", ".join(kind.replace("_", " ") for kind in estimate.budget)
        return [_row("budget", f"{kinds} may end the search before its trials")] if kinds else []
    lines = []
    for one in estimate.allowances:
        name = one.kind.replace("_", " ")
        if one.candidates is None:
            lines.append(_row("budget", f"{name}: {one.how}"))
        elif one.kind != "trials" or len(estimate.allowances) > 1:
            lines.append(_row("budget", f"{name}: {_range(one.candidates)} candidates; {one.how}"))
    expected = expected_candidates(estimate.allowances)
    if expected is not None and len(lines) > 1:
        lines.append(_row("expected", f"{_range(expected)} candidates, whichever ends first"))
    return lines


def _range(span: Span) -> str:
    low, high = int(span.low), int(span.high)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _candidate_json(one: Candidate, work: Forward) -> dict[str, Any]:
    return {
        "parameters": one.shape.parameters,
        "hops": len(one.shape.layers) if one.path else None,
        "export_bytes": one.export_bytes,
        "merge_bytes_read": one.read,
        "merge_bytes_written": one.written,
        "flops_reading": work.reading.flops,
        "flops_writing": work.writing.flops,
        "bytes_writing": work.writing.bytes,
    }


def _span_json(span: Span | None) -> list[float] | None:
    return None if span is None else [span.low, span.high]


def _span(span: Span) -> str:
    low, unit = _time(span.low)
    high, other = _time(span.high)
    return f"{low} to {high} {other}" if unit == other else f"{low} {unit} to {high} {other}"


def _time(seconds: float) -> tuple[str, str]:
    size, unit = next(((s, u) for s, u in _UNITS if seconds >= s), _UNITS[-1])
    if unit == "days" and seconds < 2 * size:
        size, unit = _UNITS[1]
    return f"{seconds / size:.3g}", unit


def _count(number: float) -> str:
    size, unit = next(((s, u) for s, u in _COUNTS if number >= s), (1.0, ""))
    return f"{number / size:.3g} {unit}".strip()


def _bytes(number: float) -> str:
    size, unit = next(
        ((s, u) for s, u in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if number >= s), (1.0, "B")
    )
    return f"{number / size:.3g} {unit}"


def _flops(low: float, high: float) -> str:
    if low == high:
        return f"{low:.2g} FLOPs"
    return f"{low:.2g} to {high:.2g} FLOPs"
