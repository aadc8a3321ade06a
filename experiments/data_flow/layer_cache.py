"""How much of a search's forward passes the cache of common prefixes saves, and that it is exact.

    python experiments/data_flow/layer_cache.py runs/data-flow/dfs-1 runs/data-flow/unscaled-1

Evaluates what finished runs evaluated once more, in their order, with the cache and without it.
Writes into the README, for each run, the share of hops (tokens times layers of the forward passes)
that came from the cache, and the seconds of both; ends with an error instead if any score differs
in any bit between the two or from the run's record.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evomerge.journal import Event, outcome_from_json, read_events
from evomerge.study import prepare
from evomerge.study.course import Course
from evomerge.study.outline import recorded_config
from evomerge.testing.readme import publish
from evomerge.types import Completed
from evomerge.workers import Job, JobResult
from evomerge.workers.evaluator import Evaluator


@dataclass(frozen=True)
class Replay:
    """What evaluating a run's recipes again gave.

    Attributes:
        results: one per recipe, in the order of the run.
        seconds: wall time of all of them.
    """

    results: Sequence[JobResult]
    seconds: float


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("--cache-mib", type=int, default=1024)
    options = parser.parse_args()
    lines = [
        "| run | recipes | hops | from the cache | seconds with it | without |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [row(run, options.cache_mib * 2**20) for run in options.runs]
    publish(__file__, "layer cache", lines)


def row(run: Path, cache_bytes: int) -> str:
    """Replay one run twice, compare, and return its row."""
    events = read_events(run)
    cached = replay(events, cache_bytes)
    plain = replay(events, 0)
    recorded = {
        f"trial-{event.trial:06d}": outcome_from_json(event.payload)
        for event in events
        if event.kind == "finished"
    }
    for ours, theirs in zip(cached.results, plain.results, strict=True):
        name = ours.job.id
        known = recorded[name]
        if ours.outcome != theirs.outcome:
            raise SystemExit(f"{run}, {name}: the cache changed its scores")
        if not isinstance(known, Completed) or not isinstance(ours.outcome, Completed):
            raise SystemExit(f"{run}, {name}: it failed; replay runs without failures")
        if known.metrics != ours.outcome.metrics:
            raise SystemExit(f"{run}, {name}: its scores are not those on record")
    hops = sum(result.hops for result in cached.results)
    reused = sum(result.hops_reused for result in cached.results)
    share = f"{reused / hops:.1%}" if hops else "no paths"
    return (
        f"| {run.name} | {len(cached.results)} | {hops} | {share} |"
        f" {cached.seconds:.1f} | {plain.seconds:.1f} |"
    )


def replay(events: Sequence[Event], cache_bytes: int) -> Replay:
    """Evaluate every recipe of a run that was evaluated, in order."""
    opening = events[0].payload
    study = prepare(recorded_config(opening), Path(opening["folder"]))
    course = Course.of(study, events)
    known = {event.trial for event in events if "same_as" in event.payload}
    jobs = [
        Job(
            f"trial-{event.trial:06d}", course.decode(event.trial, tuple(event.payload["genotype"]))
        )
        for event in events
        if event.kind == "asked" and event.trial is not None and event.trial not in known
    ]
    evaluator = Evaluator(replace(study.evaluator, path_cache_bytes=cache_bytes))
    started = time.perf_counter()
    results = [evaluator.evaluate(job) for job in jobs]
    return Replay(results, time.perf_counter() - started)


if __name__ == "__main__":
    main()
