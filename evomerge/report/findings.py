"""Everything a report of a run says, read once: what pages, texts and pictures are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evomerge.errors import RunDirectoryError, UserError
from evomerge.journal import Event, Session, is_open, read_events, read_sessions
from evomerge.recipe import LayerPath, Node
from evomerge.report.analysis import Analysis, analyse
from evomerge.report.collect import collect_front
from evomerge.report.failures import Cause, causes_of
from evomerge.report.genes import GeneTable, gene_tables
from evomerge.report.layer_weights import LayerWeights, layer_weights
from evomerge.report.populations.kin import Kin, kin_of
from evomerge.report.run_history import RunHistory, run_history
from evomerge.report.spend import Spend, spend_of
from evomerge.study import Outline, open_study
from evomerge.study.budgets.meter import spent_in
from evomerge.study.course import Course
from evomerge.study.picks import front_trials
from evomerge.study.rungs.counts import rung_counts
from evomerge.study.seen import SeenRun
from evomerge.types import Completed, Trial


@dataclass(frozen=True)
class Findings:
    """A run, read.

    Attributes:
        run: its directory.
        events: of its journal.
        state: 'running', 'killed', or how its last session ended.
        stopped: why the search is over; None while it is not, or is on again.
        history: its course over the trials.
        spend: what it took.
        causes: why trials failed.
        budgets: how much of each budget is used, in words.
        rungs: who was scored at which rung; empty without rungs.
        analysis: its front, judged; None where it cannot be read.
        unread: why there is no analysis; '' where there is one.
        genes: genotypes beside scores, part by part; none of populations.
        weights: names of rows of the front to their weights by layer, where they have such.
        paths: names of rows of the front to their layer path and the names of its models.
        kin: populations.
        on_front: trials of the front; where it cannot be read, of the front of the items on
            which trials compare.
    """

    run: Path
    events: Sequence[Event]
    state: str
    stopped: str | None
    history: RunHistory
    spend: Spend
    causes: tuple[Cause, ...]
    budgets: tuple[str, ...]
    rungs: Sequence[Mapping[str, Any]]
    analysis: Analysis | None
    unread: str
    genes: tuple[GeneTable, ...] = ()
    weights: Mapping[str, LayerWeights] = field(default_factory=dict)
    paths: Mapping[str, tuple[LayerPath, tuple[str, ...]]] = field(default_factory=dict)
    kin: tuple[Kin, ...] = ()
    on_front: tuple[int, ...] = ()

    @property
    def opening(self) -> Mapping[str, Any]:
        """What the journal holds of the study."""
        return self.events[0].payload

    @property
    def baseline_volume(self) -> float | None:
        """Hypervolume of all baselines on the items on which trials compare, where it is known."""
        return None if self.analysis is None else self.analysis.baseline_volume


def findings_of(run: Path) -> Findings:
    """Read a run, finished or not.

    Where its models are gone the front and its recipes are left out, and `unread` says why.

    Raises:
        RunDirectoryError: there is no run, or no trial of it is finished yet.
        PluginError: the optimizer of a population cannot be imported any more.
        JournalError: the journal or scores of examples are damaged.
    """
    events, sessions = read_events(run), read_sessions(run)
    if not any(event.kind == "finished" for event in events):
        raise RunDirectoryError(f"{run}: no trial is finished yet")
    history, seen = run_history(events), SeenRun.of(events)
    study, analysis, unread = _opened(run)
    course = None if study is None else Course.of(study, events)
    weights, paths = ({}, {}) if study is None or analysis is None else _made_of(study, analysis)
    members = () if analysis is None else analysis.front.members
    on_front = tuple(sorted(row.trial for row in members if row.trial is not None))
    on_front = on_front or _compared_front(history)
    return Findings(
        run=run,
        events=events,
        state=_state(run, sessions),
        stopped=None if seen.stop is None else seen.stop.reason,
        history=history,
        spend=spend_of(run, events, sessions),
        causes=causes_of(events),
        budgets=tuple(
            gauge.words for gauge in seen.gauges(spent_in(sessions, events), events[-1].at)
        ),
        rungs=rung_counts(events),
        analysis=analysis,
        unread=unread,
        genes=gene_tables(events, history, course),
        weights=weights,
        paths=paths,
        kin=kin_of(run, events, on_front),
        on_front=on_front,
    )


def _compared_front(history: RunHistory) -> tuple[int, ...]:
    """Return the trials of the front of the items on which trials compare."""
    trials = [
        Trial(
            number,
            (),
            Completed({}),
            tuple(one.cost(value) for one, value in zip(history.objectives, row, strict=True)),
        )
        for number, row in zip(history.scored, history.scores.tolist(), strict=True)
    ]
    return tuple(one.number for one in front_trials(trials))


def _opened(run: Path) -> tuple[Outline | None, Analysis | None, str]:
    """Open the study and judge its front; what cannot be read hides nothing else of the run."""
    try:
        study, _ = open_study(run)
    except UserError as error:
        return None, None, str(error)
    try:
        return study, analyse(collect_front(run)), ""
    except UserError as error:
        return study, None, str(error)


def _state(run: Path, sessions: Sequence[Session]) -> str:
    if is_open(run):
        return "running"
    return (sessions[-1].ended_because if sessions else None) or "killed"


def _made_of(
    study: Outline, analysis: Analysis
) -> tuple[dict[str, LayerWeights], dict[str, tuple[LayerPath, tuple[str, ...]]]]:
    """Return weights by layer and layer paths of the members of the front, by name."""
    context = study.context
    names: dict[Node, str] = {node: name for name, node in context.donors.items()}
    names.setdefault(context.base, "base")
    weights, paths = {}, {}
    for row in analysis.members:
        recipe = row.row.recipe
        if recipe.path is not None:
            models = tuple(names.get(one.model, "merged") for one in recipe.models or ())
            paths[row.row.name] = (recipe.path, models)
        elif context.shape is not None:
            found = layer_weights(recipe, context.base, context.shape, names)
            if found is not None:
                weights[row.row.name] = found
    return weights, paths
