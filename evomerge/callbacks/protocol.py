"""What a callback is told of a run.

The smallest callback is a function of a finished trial:

    def say(trial):
        print(trial.number, trial.metrics)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from evomerge.types import GeneValue, Objective


@dataclass(frozen=True, slots=True)
class RunStart:
    """A run as it begins, or as it goes on after an interruption.

    Attributes:
        id: tells this run from all others, the same in every session.
        name: of the study.
        folder: the run directory.
        study: the study file as the journal has it, as JSON data.
        objectives: names and goals, in order.
        resumed: whether trials of this run were told in an earlier session.
    """

    id: str
    name: str
    folder: Path
    study: Mapping[str, Any]
    objectives: tuple[Objective, ...]
    resumed: bool


@dataclass(frozen=True, slots=True)
class FinishedTrial:
    """A trial that is finished, and how the search stands with it.

    Attributes:
        number: of the trial.
        count: how many trials were finished with this one; grows by one from call to call.
        stage: what users call its part of the run; '' in a study without stages.
        origin: where its genotype came from.
        genes: the genotype by the names of its genes; empty in a population.
        state: 'completed' is measured on all items; 'estimated' stopped at a rung, its metrics are
            estimates; 'searched' is measured on search items while trials compare on
            validation items; 'failed'.
        metrics: its scores, in the user's sign; none of a failed one.
        failure: what went wrong; '' where nothing did.
        rung: the last rung it was scored at; None without rungs.
        seconds: what merging and scoring took; 0 where it shares another's outcome.
        at: when it was finished, in seconds since the epoch.
        best: objective name to the best metric so far.
        front: number of non-dominated trials so far.
        hypervolume: of the front so far, 0 being the base and 1 the best donor; None until these
            are known, and with one objective.
        failed: failed trials so far.
    """

    number: int
    count: int
    stage: str
    origin: str
    genes: Mapping[str, GeneValue]
    state: Literal["completed", "estimated", "searched", "failed"]
    metrics: Mapping[str, float]
    failure: str
    rung: int | None
    seconds: float
    at: float
    best: Mapping[str, float]
    front: int
    hypervolume: float | None
    failed: int

    @property
    def numbers(self) -> dict[str, float]:
        """Everything that has a curve, under names with a slash between group and name."""
        kind = "estimate" if self.state == "estimated" else "score"
        found: dict[str, float] = {"trial": self.number, "failed": self.failed}
        found |= {f"{kind}/{name}": value for name, value in self.metrics.items()}
        found |= {f"best/{name}": value for name, value in self.best.items()}
        if len(self.best) > 1:
            found["front/size"] = self.front
        if self.hypervolume is not None:
            found["front/hypervolume"] = self.hypervolume
        if self.seconds:
            found["seconds"] = self.seconds
        genes = self.genes.items()
        return found | {f"gene/{name}": one for name, one in genes if not isinstance(one, str)}


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a session of a run ended.

    Attributes:
        state: 'done'; 'interrupted' by the user; 'failed' by an error; 'killed' without a word.
        reason: in words; '' where it is not known.
        finished: trials finished.
        failed: how many of them failed.
        best: objective name to the best metric.
        front: number of non-dominated trials.
        hypervolume: of the front.
    """

    state: Literal["done", "interrupted", "failed", "killed"]
    reason: str
    finished: int
    failed: int
    best: Mapping[str, float] = field(default_factory=dict)
    front: int = 0
    hypervolume: float | None = None


class Callback(Protocol):
    """Shows a run somewhere else; each method may be left out.

    Of a class one object is built for each session, with the arguments of the study file. It lives
    in a process of its own and is called there, one call after the other, as fast as it can take
    them. An exception ends it for this session: the next one tells it what it has missed.
    """

    def begin(self, run: RunStart) -> None:
        """Prepare for a session of a run."""
        ...

    def trial(self, trial: FinishedTrial) -> None:
        """Show a finished trial; after a killed session the last ones may be told again."""
        ...

    def end(self, end: RunEnd) -> None:
        """Write what is still to be written at the end; there is half a minute for it."""
        ...
