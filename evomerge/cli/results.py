"""The verbs that read a run: status, front."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.places import find_run, more_of
from evomerge.errors import EvomergeError, UserError

if TYPE_CHECKING:
    from evomerge.journal import Event
    from evomerge.report import Analysis, Front
    from evomerge.report.picks import Pick
    from evomerge.study.config import StageConfig
    from evomerge.study.seen import SeenRun

RunFolder = Annotated[
    Path | None, typer.Argument(metavar="RUN", help="A run directory; the latest by default.")
]
LAST_NOTES = 6
"""How many of an optimizer's latest notes `status` prints, beside what `auto` chose and why; --json
has all."""

SCORING = frozenset({"measured", "finished"})
"""Events that hold what an evaluation of the search took."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def status(run_folder: RunFolder = None, as_json: AsJson = False) -> None:
    """Say how a run stands: trials, failures, budget, whether it can be resumed."""
    from evomerge.journal import is_open, read_events, read_sessions  # noqa: PLC0415
    from evomerge.study.budgets.gauges import held_words  # noqa: PLC0415
    from evomerge.study.budgets.meter import spent_in  # noqa: PLC0415
    from evomerge.study.seen import SeenRun  # noqa: PLC0415

    folder = find_run(run_folder)
    events = read_events(folder)
    sessions = read_sessions(folder)
    run = SeenRun.of(events) if events else None
    spent = spent_in(sessions, events)
    gauges = run.gauges(spent, time.time()) if run is not None else ()
    stop = run.stop if run is not None else None
    kinds = Counter(event.kind for event in events)
    failures = Counter(
        f"{event.payload['failed']}: {(event.payload['message'].splitlines() or ['?'])[0]}"
        for event in events
        if event.kind == "finished" and "failed" in event.payload
    )
    last = sessions[-1].ended_because if sessions else None
    state = "running" if is_open(folder) else last or "killed"
    merged = [event.timing for event in events if event.kind in SCORING and event.timing]
    archives = _archives(folder, events)
    rungs, rung_lines = _rungs(events)
    report: dict[str, Any] = {
        "run": str(folder),
        "study": events[0].payload["study"]["name"] if events else None,
        "budget": run and run.budget.model_dump(mode="json"),
        "used": {gauge.kind: gauge.used for gauge in gauges},
        "search_s": spent.search_s,
        "worker_s": spent.worker_s,
        "gpu_s": spent.gpu_s,
        "asked": kinds["asked"],
        "finished": kinds["finished"],
        "failed": sum(failures.values()),
        "failures": dict(failures.most_common()),
        "retried": kinds["retried"],
        "notes": [event.payload["text"] for event in events if event.kind == "noted"],
        "warnings": list(events[0].payload.get("warnings", ())) if events else [],
        "scored": kinds["scored"],
        "batches": _batches(events),
        "rungs": rungs,
        "validated": kinds["validated"],
        "state": state,
        "stopped": stop and stop.reason,
        "sessions": len(sessions),
        "merge_s": sum(timing["merge_s"] for timing in merged),
        "score_s": sum(timing["score_s"] for timing in merged),
        "repeated": sum("same_as" in event.payload for event in events if event.kind == "finished"),
        "stages": _stages(events, run),
        "populations": archives.documents,
        "populations_unknown": archives.unknown,
        "hops": sum(timing.get("hops", 0) for timing in merged),
        "hops_reused": sum(timing.get("hops_reused", 0) for timing in merged),
    }
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    typer.echo(f"{folder}: study '{report['study']}'")
    for line in _listed("budget", [gauge.words for gauge in gauges]):
        typer.echo(line)
    typer.echo(
        f"  trials    {report['finished']} finished, {report['asked'] - report['finished']} in "
        f"flight, {report['failed']} failed, {report['retried']} attempts repeated"
    )
    for cause, count in failures.most_common(5):
        typer.echo(f"            {count} × {cause}")
    if report["repeated"]:
        typer.echo(f"            {report['repeated']} had a recipe that was scored before")
    stages = [
        f"{stage['stage']}: {stage['finished']} of {stage['trials']} trials finished"
        + (f"; {stage['ended']}" if stage["ended"] else "")
        for stage in report["stages"]
    ]
    for line in (
        *_listed("warnings", report["warnings"]),
        *_listed("stages", stages),
        *_listed("notes", _shown_notes(report["notes"])),
    ):
        typer.echo(line)
    for line in archives.lines:
        typer.echo(line)
    if archives.unknown:
        typer.echo(f"  niches    unknown: {archives.unknown}")
    for line in (*_validation_lines(report), *_listed("rungs", rung_lines)):
        typer.echo(line)
    typer.echo(f"  scored    {report['scored']} (baselines, and the front on hold-out items)")
    typer.echo(f"  time      {report['merge_s']:.0f} s merging, {report['score_s']:.0f} s scoring")
    typer.echo(f"  held      {held_words(spent)}")
    if report["hops"]:
        share = report["hops_reused"] / report["hops"]
        typer.echo(f"  layers    {share:.0%} of all layer passes were answered by the prefix cache")
    typer.echo(f"  state     {state}, in session {report['sessions']}")
    if stop is not None:
        more = more_of(stop.budget, folder)
        typer.echo(f"  stopped   {stop.reason}" + (f"; more: {more}" if more else ""))
    if state not in ("running", "done"):
        typer.echo(f"  continue  evomerge resume {folder}")


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    """Return lines of which the first stands beside a title."""
    return [f"  {'' if number else title:<9} {line}" for number, line in enumerate(lines)]


def _shown_notes(notes: Sequence[str]) -> list[str]:
    """Return what `auto` chose and why, in each stage, and the latest notes."""
    earlier, latest = notes[:-LAST_NOTES], list(notes[-LAST_NOTES:])
    chosen = [note for note in earlier if note.startswith("auto: ")]
    n_hidden = len(earlier) - len(chosen)
    hidden = [f"({n_hidden} more; --json has all)"] if n_hidden else []
    return [*chosen, *hidden, *latest]


@dataclass(frozen=True)
class _Archives:
    """What is known of a run's populations.

    Attributes:
        documents: each as JSON data.
        lines: as text.
        unknown: why nothing is known; None where there is nothing to know.
    """

    documents: Sequence[Mapping[str, Any]] = ()
    lines: Sequence[str] = ()
    unknown: str | None = None


def _archives(run: Path, events: Sequence[Event]) -> _Archives:
    """Rebuild a run's populations, if it breeds at all: its genotypes begin with a word then.

    What cannot be rebuilt, say because a plug-in is gone, hides nothing else of the run.
    """
    genotypes = (event.payload["genotype"] for event in events if event.kind == "asked")
    if not any(genotype and isinstance(genotype[0], str) for genotype in genotypes):
        return _Archives()
    from evomerge.report.populations.population import population_document, populations  # noqa: PLC0415
    from evomerge.report.populations.text import population_lines  # noqa: PLC0415

    metrics = {
        event.trial: event.payload["metrics"]
        for event in events
        if event.kind == "finished" and event.trial is not None and "metrics" in event.payload
    }
    estimated = {
        event.trial for event in events if event.trial is not None and "errors" in event.payload
    }
    try:
        found = populations(run, events)
    except EvomergeError as error:
        return _Archives(unknown=str(error))
    return _Archives(
        [population_document(one) for one in found],
        [line for one in found for line in population_lines(one, metrics, estimated)],
    )


def _batches(events: Sequence[Event]) -> dict[str, Mapping[str, int]]:
    """Return the batches of each stage that has some, by its name."""
    study = events[0].payload["study"] if events else {}
    plan = study.get("stages") or [study]
    return {
        one.get("name", "") if "stages" in study else "": one["batches"]
        for one in plan
        if one.get("batches")
    }


def _validation_lines(report: Mapping[str, Any]) -> list[str]:
    """Say what batches there are, and how many trials were scored on validation items."""
    n_validated = report["validated"]
    batches = [
        f"{f'{name}: ' if name else ''}{one['items']} search items a trial, others after "
        f"{one['trials']} trials"
        for name, one in report["batches"].items()
    ]
    if batches:
        return _listed(
            "batches", [*batches, f"{n_validated} of their best scored on validation items"]
        )
    return _listed("validated", [f"{n_validated} of the best"] if n_validated else [])


def _rungs(events: Sequence[Event]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return how many candidates were scored at each rung, as JSON data and as text."""
    if not events or not events[0].payload["study"].get("rungs"):
        return [], []
    from evomerge.study.rungs.counts import rung_counts, rung_lines  # noqa: PLC0415

    counts = rung_counts(events)
    return counts, rung_lines(counts)


def _stages(events: Sequence[Event], run: SeenRun | None) -> list[dict[str, Any]]:
    """Count the finished trials of every stage that was begun; what was added is the last's."""
    if run is None or run.config.stages is None:
        return []
    finished = Counter(one.part for one in run.trials.values() if one.outcome is not None)
    begun = [event.payload for event in events if event.kind == "staged"]
    ends = [one.get("ended", {}).get("reason") for one in begun[1:]]
    stages = [
        {"stage": label, "trials": content["trials"], "finished": finished[part], "ended": ended}
        for part, (label, content, ended) in enumerate(
            zip(run.labels, begun, [*ends, None][: len(begun)], strict=True)
        )
    ]
    if begun and _is_last(begun[-1], run.config.stages):
        stages[-1]["trials"] += (run.budget.trials or 0) - (run.config.limits.trials or 0)
    return stages


def _is_last(content: Mapping[str, Any], stages: Sequence[StageConfig]) -> bool:
    """Say whether the part that an event began is the last of its study."""
    return (content["stage"], content["part"] + 1) == (stages[-1].name, content["parts"])


def front(
    run_folder: RunFolder = None,
    prefer: Annotated[
        str | None,
        typer.Option(
            metavar="OBJECTIVE=WEIGHT,...",
            help="Pick one member by how much a shortfall in each hurts, e.g. math=2,code=1.",
        ),
    ] = None,
    knee: Annotated[
        bool, typer.Option("--knee", help="Pick the member that gives up least overall.")
    ] = False,
    thin: Annotated[
        int | None, typer.Option(metavar="K", help="Pick K members that stand for all.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="Of --thin: farthest (default), hypervolume or epsilon."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the Pareto set with hold-out scores, intervals and the baselines.

    With a pick only the picked members are shown. They are picked by the scores the front was
    picked by, never by hold-out scores.
    """
    from evomerge.report import analyse  # noqa: PLC0415
    from evomerge.report.picks import (  # noqa: PLC0415
        parse_weights,
        pick_knee,
        pick_preferred,
        pick_thinned,
    )

    weights = None if prefer is None else parse_weights(prefer)
    if by is not None and thin is None:
        raise UserError(f"--by: '{by}' is a rule of --thin; say how many to keep, e.g. --thin 3")
    analysis = analyse(_collect(find_run(run_folder)))
    picks = []
    if weights is not None:
        picks.append(pick_preferred(analysis.front, weights))
    if knee:
        picks.append(pick_knee(analysis))
    if thin is not None:
        picks.append(pick_thinned(analysis.front, thin, by or "farthest"))
    _show(analysis, picks, as_json)


def print_front(run: Path, as_json: bool) -> None:
    """Print a run's front."""
    from evomerge.report import analyse  # noqa: PLC0415

    _show(analyse(_collect(run)), [], as_json)


def _show(analysis: Analysis, picks: Sequence[Pick], as_json: bool) -> None:
    """Print a front, or of it what was picked."""
    from rich.console import Console  # noqa: PLC0415

    from evomerge.report.document import document_of  # noqa: PLC0415
    from evomerge.report.picks import items_note, picks_document  # noqa: PLC0415
    from evomerge.report.table import print_analysis  # noqa: PLC0415

    if as_json:
        document = document_of(analysis)
        if picks:
            document["picks"] = picks_document(analysis, picks)
        typer.echo(json.dumps(document, indent=2))
        return
    for pick in picks:
        typer.echo(pick.text)
    if picks:
        typer.echo(f"{items_note(analysis)}\n")
    picked = {name for pick in picks for name in pick.members}
    print_analysis(analysis, Console(), picked if picks else None)


def _collect(run: Path) -> Front:
    from evomerge.report import collect_front  # noqa: PLC0415

    return collect_front(run)
