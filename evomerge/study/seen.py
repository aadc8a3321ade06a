"""A run as its journal tells it, event by event: for those who watch and do not search.

Nothing is opened but the journal: no model, no items, no plug-in. What stands here after an event
is what the search itself knew then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

from pydantic import ValidationError

from evomerge.errors import JournalError
from evomerge.journal import Event, outcome_from_json
from evomerge.study.budgets.adding import in_force
from evomerge.study.budgets.config import BudgetConfig
from evomerge.study.budgets.gauges import Account, Gauge, gauges
from evomerge.study.budgets.meter import Spent
from evomerge.study.budgets.stagnation import Stagnation
from evomerge.study.budgets.stop import Stop
from evomerge.study.config import StudyConfig
from evomerge.study.picks import trial_of
from evomerge.study.standing import Standing
from evomerge.types import Completed, Failed, GeneValue, Genotype, Objective, Outcome

State: TypeAlias = Literal["running", "completed", "estimated", "searched", "failed"]
"""completed: measured on all items on which trials compare. estimated: stopped at a rung, so that
scores are estimates. searched: measured on search items, or a batch of them, where trials compare
on validation items."""


@dataclass(slots=True)
class SeenTrial:
    """One trial as far as the journal has it.

    Attributes:
        number: of the trial.
        part: position of its part among those of the run.
        label: what users call the part; '' in a study without stages.
        origin: where the genotype came from.
        genotype: as proposed.
        genes: the same by the names of its genes; empty in a population, which has none.
        asked_at: seconds since the epoch.
        compares: whether all trials compare on the items it is scored on.
        batch: which batch of search items these are; None for all, or for the validation items.
        state: what became of it.
        outcome: the same in full; None while it is running.
        validated: its outcome on the validation items, where it has one.
        finished_at: seconds since the epoch; None while it is running.
        retries: attempts that failed before.
        rung: the last rung it was scored at; None without rungs, -1 for the proxies.
        measured: rung, number of new items over all objectives and scores on these, in order.
        same_as: the trial whose recipe and outcome these are.
    """

    number: int
    part: int
    label: str
    origin: str
    genotype: Genotype
    genes: Mapping[str, GeneValue]
    asked_at: float
    compares: bool
    batch: int | None
    state: State = "running"
    outcome: Outcome | None = None
    validated: Outcome | None = None
    finished_at: float | None = None
    retries: int = 0
    rung: int | None = None
    measured: list[tuple[int, int, Mapping[str, float]]] = field(default_factory=list)
    same_as: int | None = None

    @property
    def metrics(self) -> Mapping[str, float]:
        """Its scores, measured or estimated; none of a failed trial."""
        return self.outcome.metrics if isinstance(self.outcome, Completed) else {}


class SeenRun:
    """What is known of a run after the events so far.

    Args:
        opening: its first event.

    Attributes:
        config: the study file.
        objectives: names and goals, in order.
        standing: best scores and front of the trials whose scores compare.
        trials: by number, in the order in which they were asked for.
        labels: of the parts that were begun.
        n_finished: trials with an outcome.
        stop: why the search is over; None while it is not.
        items: scores of single items that were paid for.
        cost: what fitnesses charged.

    Raises:
        JournalError: its study is none that this version knows.
    """

    def __init__(self, opening: Event) -> None:
        content = opening.payload
        try:
            self.config = StudyConfig.model_validate(content["study"])
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(map(str, problem["loc"]))
            raise JournalError(
                f"the study of this run is none that this evomerge knows ({where}: "
                f"{problem['msg']}); read it with the version that wrote it"
            ) from None
        self.objectives = tuple(
            Objective(name, goal) for name, goal in content["objectives"].items()
        )
        self.standing = Standing(self.objectives, content["models"]["donors"])
        self.trials: dict[int, SeenTrial] = {}
        self.labels: list[str] = []
        self.n_finished = 0
        self.stop: Stop | None = None
        self.items = 0.0
        self.cost = 0.0
        self._apart = self.config.compared_on == "validation"
        self._genes: Sequence[str] = ()
        self._extensions: list[Event] = []
        stagnation = self.config.limits.stagnation
        self._stagnation = None if stagnation is None else Stagnation(stagnation)
        if self.config.stages is None:
            self.labels.append("")
            self._genes = content["genes"]

    @classmethod
    def of(cls, events: Sequence[Event]) -> Self:
        """Read a run from its events; at least one."""
        run = cls(events[0])
        for event in events[1:]:
            run.see(event)
        return run

    @property
    def budget(self) -> BudgetConfig:
        """The budget in force, over all stages."""
        return in_force(self.config.limits, self._extensions)

    def see(self, event: Event) -> SeenTrial | None:
        """Learn one more event; returns the trial it is about, if any."""
        payload = event.payload
        self.cost += event.timing.get("cost", 0.0)
        self.items += event.timing.get("items", 0.0)
        if event.kind == "staged":
            self._enter(payload)
        elif event.kind == "stopped":
            self.stop = Stop.read(payload)
        elif event.kind == "extended":
            self.stop = None
            self._extensions.append(event)
        if event.trial is None:
            return None
        if event.kind == "asked":
            self.trials[event.trial] = self._asked(event.trial, event)
        trial = self.trials[event.trial]
        if event.kind == "retried":
            trial.retries += 1
        elif event.kind == "measured":
            trial.rung = payload["rung"]
            trial.measured.append((trial.rung, payload["n_items"], payload["metrics"]))
        elif event.kind == "finished":
            self._finish(trial, event)
        elif event.kind == "validated":
            trial.validated = outcome_from_json(payload)
            if isinstance(trial.validated, Completed) and self._apart:
                self._stand(trial, trial.validated)
                self._look()
        return trial

    def gauges(self, spent: Spent, now: float) -> tuple[Gauge, ...]:
        """Return how much of each budget is used.

        Args:
            spent: over all sessions.
            now: seconds since the epoch.
        """
        lasting = 0.0 if self._stagnation is None else self._stagnation.lasting
        account = Account(now, self.n_finished, self.items, self.cost, lasting, spent)
        return gauges(self.budget, account)

    def _enter(self, content: Mapping[str, Any]) -> None:
        part = f" {content['part'] + 1}/{content['parts']}" if content["parts"] > 1 else ""
        self.labels.append(content["stage"] + part)
        self._genes = content.get("genes", ())
        if self._stagnation is not None:
            self._stagnation.enter()

    def _asked(self, number: int, event: Event) -> SeenTrial:
        payload = event.payload
        genotype = tuple(payload["genotype"])
        return SeenTrial(
            number,
            part=len(self.labels) - 1,
            label=self.labels[-1],
            origin=payload["origin"],
            genotype=genotype,
            genes=dict(zip(self._genes, genotype, strict=True)) if self._genes else {},
            asked_at=event.at,
            compares=not self._apart or payload.get("batch", "all") is None,
            batch=payload.get("batch"),
        )

    def _finish(self, trial: SeenTrial, event: Event) -> None:
        outcome = outcome_from_json(event.payload)
        trial.outcome, trial.finished_at = outcome, event.at
        trial.same_as = event.payload.get("same_as")
        if isinstance(outcome, Failed):
            trial.state = "failed"
        elif outcome.errors:
            trial.state = "estimated"
        else:
            trial.state = "completed" if trial.compares else "searched"
        self.n_finished += 1
        if trial.state in ("completed", "failed"):
            self._stand(trial, outcome)
        self._look()

    def _stand(self, trial: SeenTrial, outcome: Outcome) -> None:
        """Count an outcome that compares with all others, or a failure."""
        told = trial_of(trial.number, trial.genotype, outcome, self.objectives)
        self.standing.add(told, trial.origin)

    def _look(self) -> None:
        """Note how the search stands now."""
        if self._stagnation is not None:
            in_trials = self._stagnation.config.unit == "trials"
            self._stagnation.see(self.standing, self.n_finished if in_trials else self.items)
