"""A run's populations, rebuilt from its journal: archives as they stand, and as they came about.

The optimizer's watch (`evomerge.optimizers.archives.watch`) learns the finished trials again, in
the order in which the optimizer was told of them. No model is opened and no genotype decoded, so it
serves a run that is running, and one whose models are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from evomerge.errors import JournalError
from evomerge.journal import Event, outcome_from_json
from evomerge.journal.examples import Examples, read_examples
from evomerge.optimizers.archives.watch import NicheMap, Watch
from evomerge.optimizers.build import OPTIMIZERS
from evomerge.types import Completed, Objective, Trial

Holdings = Mapping[int, Mapping[str, int]]
"""Member to objective to how many of its examples the member holds."""


@runtime_checkable
class _Holding(Protocol):
    """A watch of members that compete for examples."""

    def holdings(self) -> Holdings:
        """Return how many examples of each objective each member holds."""
        ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """The trials of one part of a run.

    Attributes:
        label: what users call it; '' in a study without stages.
        stage: what the study file says, as recorded.
        first: number of its first trial.
        n_asked: how many trials it has, finished or not.
        trials: finished ones, in the order in which they finished, without scores of examples.
        examples: trial to the file with the scores of its examples.
    """

    label: str
    stage: Mapping[str, Any]
    first: int
    n_asked: int
    trials: tuple[Trial, ...]
    examples: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Moment:
    """What an archive held after some trials.

    Attributes:
        n_trials: finished so far, of the part.
        filled: of its places.
        best: the highest quality among its members; where members compete for examples the mean
            score of the champion over all of them, larger being better. None while it is empty.
    """

    n_trials: int
    filled: int
    best: float | None


@dataclass(frozen=True, slots=True)
class Population:
    """The population of one part of a run.

    Attributes:
        label: of the part; '' in a study without stages.
        maps: the archives as they stand.
        holdings: who holds how many examples of which objective; empty where nobody competes
            for examples.
        examples: how many examples each objective has; empty where nobody competes for them.
        history: one row an archive, one moment a finished trial; empty unless asked for.
    """

    label: str
    maps: tuple[NicheMap, ...]
    holdings: Holdings
    examples: Mapping[str, int]
    history: tuple[tuple[Moment, ...], ...] = ()


def populations(
    run: Path, events: Sequence[Event], *, history: bool = False
) -> tuple[Population, ...]:
    """Rebuild the populations of a run; there are none where no optimizer keeps an archive.

    Args:
        run: the run directory; files with scores of examples are read where archives need them.
        events: of its journal.
        history: also look at the archives after each trial.

    Raises:
        PluginError: an optimizer cannot be imported any more.
        JournalError: scores of examples are missing, damaged, or of other examples than before.
        ConfigError: the optimizer takes other options than when the run was started.
    """
    if not events:
        return ()
    opening = events[0].payload
    objectives = recorded_objectives(opening)
    found = []
    for stretch in stretches(events):
        search = dict(stretch.stage["search"])
        watching = getattr(
            OPTIMIZERS.load(search.pop("optimizer"), Path(opening["folder"])), "watch", None
        )
        if watching is None:
            continue
        scalarize = search.pop("scalarize", None)
        make = cast(Callable[..., Watch], watching)
        watch = make(
            1 if scalarize else len(objectives),
            objectives=objectives,
            budget=stretch.stage["trials"],
            **search,
        )
        moments, examples = _followed(run, stretch, objectives, watch, history=history)
        holdings = watch.holdings() if isinstance(watch, _Holding) else {}
        found.append(Population(stretch.label, watch.maps(), holdings, examples, moments))
    return tuple(found)


def population_document(population: Population) -> dict[str, Any]:
    """Return a population as it stands as JSON data."""
    return {
        "part": population.label,
        "maps": [{**asdict(one), "coverage": one.coverage} for one in population.maps],
        "examples": dict(population.examples),
        "holdings": {str(trial): dict(held) for trial, held in population.holdings.items()},
    }


def recorded_objectives(opening: Mapping[str, Any]) -> tuple[Objective, ...]:
    """Return names and goals, in order, from the payload of a journal's first event."""
    return tuple(Objective(name, goal) for name, goal in opening["objectives"].items())


def stretches(events: Sequence[Event]) -> Iterator[Stretch]:
    """Yield the parts of a run that were begun, with their finished trials."""
    opening = events[0].payload
    objectives = recorded_objectives(opening)
    genotypes = {
        event.trial: event.payload["genotype"] for event in events if event.kind == "asked"
    }
    begun = list(_begun(events))
    ends = [first for _, _, first in begun[1:]] + [len(genotypes)]
    for (label, stage, first), end in zip(begun, ends, strict=True):
        trials: list[Trial] = []
        files: dict[int, str] = {}
        for event in events:
            number = event.trial
            if event.kind != "finished" or number is None or not first <= number < end:
                continue
            outcome = outcome_from_json(event.payload)
            costs = None
            if isinstance(outcome, Completed):
                costs = tuple(one.cost(outcome.metrics[one.name]) for one in objectives)
            trials.append(Trial(number, tuple(genotypes[number]), outcome, costs))
            if event.payload.get("examples"):
                files[number] = event.payload["examples"]
        yield Stretch(label, stage, first, end - first, tuple(trials), files)


def _begun(events: Sequence[Event]) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    """Yield label, stage and first trial of every part that was begun."""
    study = events[0].payload["study"]
    if not study.get("stages"):
        yield "", {"search": study["search"], "trials": study["budget"]["trials"]}, 0
        return
    stages = {stage["name"]: stage for stage in study["stages"]}
    asked = 0
    for event in events:
        if event.kind == "asked":
            asked += 1
        elif event.kind == "staged":
            content = event.payload
            part = f" {content['part'] + 1}/{content['parts']}" if content["parts"] > 1 else ""
            stage = {**stages[content["stage"]], "trials": content["trials"]}
            yield content["stage"] + part, stage, asked


def _followed(
    run: Path, stretch: Stretch, objectives: Sequence[Objective], watch: Watch, *, history: bool
) -> tuple[tuple[tuple[Moment, ...], ...], dict[str, int]]:
    """Tell a watch everything.

    Returns:
        A row of moments for each archive it has in the end, and the number of examples of each
        objective.

    Raises:
        JournalError: a trial means nothing to it.
    """
    rows: dict[str, list[Moment]] = {}
    examples: dict[str, int] = {}
    means: dict[int, float] = {}
    for count, trial in enumerate(stretch.trials, start=1):
        told = trial
        if watch.needs_examples and isinstance(trial.outcome, Completed):
            # a repeated recipe names its twin's file
            scores = read_examples(run, stretch.examples[trial.number])
            examples = {name: len(items) for name, items in scores.items()}
            means[trial.number] = _mean_score(scores, objectives)
            told = replace(trial, outcome=replace(trial.outcome, examples=scores))
        try:
            watch.tell(told)
        except ValueError as error:  # what stopped the run stops its readers as well
            raise JournalError(f"{run}: trial {trial.number}: {error}") from error
        for one in watch.maps() if history else ():
            best = means.get(-1 if one.champion is None else one.champion)
            if not means:
                best = max((niche.quality for niche in one.niches), default=None)
            rows.setdefault(one.name, []).append(Moment(count, one.filled, best))
    moments = tuple(tuple(rows.get(one.name, ())) for one in watch.maps()) if history else ()
    return moments, examples


def _mean_score(scores: Examples, objectives: Sequence[Objective]) -> float:
    """Return the mean over all examples, larger being better."""
    values = [-one.cost(score) for one in objectives for score in scores[one.name].values()]
    return sum(values) / len(values)
