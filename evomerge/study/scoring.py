"""After the search: the front and the baselines, re-scored on items the search never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evomerge.journal import Journal, outcome_from_json
from evomerge.recipe import Recipe, fingerprint
from evomerge.spaces import known_recipes, single_lambda
from evomerge.study.history import History
from evomerge.study.interrupt import Interrupt
from evomerge.study.outline import Outline
from evomerge.study.picks import costs_of, hold_out_trials, lowest_mean
from evomerge.study.preparation import Prepared
from evomerge.study.progress import Observer, Progress, silent
from evomerge.study.records import recorded, result_of, trial_id
from evomerge.study.search import POLL_S
from evomerge.types import Outcome, Split
from evomerge.workers import Executor, Job, JobResult

LAMBDA = "lambda="


class Scoring:
    """Scores baselines on the items the front was picked on, and both on hold-out items.

    Hold-out scores are those of the models that are exported: of a layer path, of its folded
    weights (see `Evaluator`), while the search ran it on its donors.

    Only what the journal does not hold yet is scored, so it can be interrupted and resumed.

    Args:
        study: what was searched.
        history: of the search whose front is scored.
        journal: where results are recorded.
        observe: told of every evaluation.
    """

    def __init__(
        self,
        study: Prepared,
        history: History,
        journal: Journal,
        observe: Observer = silent,
    ) -> None:
        self._study = study
        self._journal = journal
        self._observe = observe
        self._history = history
        self._baselines = baseline_recipes(study)
        self._outcomes = {
            (event.payload["name"], event.payload["split"]): outcome_from_json(event.payload)
            for event in journal.events
            if event.kind == "scored" and _is_final(event.payload)
        }
        self._total = 0
        self._paid: dict[tuple[str, Split], dict[str, Any]] = {}

    def pending(self) -> list[Job]:
        """List what must be scored next; the hold-out jobs follow once the λ grid is known."""
        picked_on = self._study.config.picked_on
        first = [Job(name, recipe, picked_on) for name, recipe in self._baselines.items()]
        waiting = self._unscored(first)
        return waiting or self._unscored(self._holdout())

    def run(self, workers: Executor, interrupt: Interrupt) -> bool:
        """Score everything; False when interrupted before the end."""
        self._paid = self._paid_for()
        while jobs := self.pending():
            self._total = len(self._outcomes) + len(jobs)
            in_flight = 0
            while jobs or in_flight:
                while jobs and in_flight < workers.capacity and not interrupt.requested:
                    job = jobs.pop(0)
                    known = self._known(job)
                    if known is not None:
                        self._append(job, known, {})
                        continue
                    workers.submit(job)
                    in_flight += 1
                if in_flight == 0 and jobs:
                    return False
                self._history.keep_account()
                for result in workers.wait(POLL_S):
                    again = self._retry(result)
                    if again is not None and not interrupt.requested:
                        workers.submit(again)
                        continue
                    in_flight -= 1
                    self._record(result)
        return True

    def _unscored(self, jobs: Sequence[Job]) -> list[Job]:
        return [job for job in jobs if (job.id, job.split) not in self._outcomes]

    def _holdout(self) -> list[Job]:
        if not has_holdout(self._study):
            return []
        names = [name for name in self._baselines if not name.startswith(LAMBDA)]
        chosen = best_lambda(self._outcomes, self._study)
        jobs = [
            Job(name, self._baselines[name], "holdout")
            for name in [*names, *([chosen] if chosen else [])]
        ]
        decode = self._history.course.decode
        trials = self._history.validation.final(self._history.trials)
        size = self._study.config.front.size
        return jobs + [
            Job(trial_id(trial.number), decode(trial.number, trial.genotype), "holdout")
            for trial in hold_out_trials(trials, self._study.objectives, size)
        ]

    def _retry(self, result: JobResult) -> Job | None:
        job = result.job
        if not result.retryable or job.attempt >= self._study.config.workers.retries:
            return None
        return Job(job.id, job.recipe, job.split, job.attempt + 1)

    def _record(self, result: JobResult) -> None:
        job = result.job
        found = recorded(self._journal, job.id.replace(":", "-"), job.split, result.outcome)
        self._append(job, found, result.timing)

    def _append(self, job: Job, result: Mapping[str, Any], timing: Mapping[str, float]) -> None:
        payload = {"name": job.id, "split": job.split, **result}
        self._journal.append("scored", payload, timing=timing)
        self._outcomes[job.id, job.split] = outcome_from_json(result)
        if "metrics" in result:
            self._paid[fingerprint(job.recipe), job.split] = dict(result)
        self._observe(Progress("score", len(self._outcomes), self._total))

    def _known(self, job: Job) -> Mapping[str, Any] | None:
        """Return the result of a recipe that was paid for on the same items.

        The search began with base and donors, and may end there.
        """
        known = self._paid.get((fingerprint(job.recipe), job.split))
        trial = self._history.paid(job.recipe, job.split)
        return known or (trial and result_of(trial[1]))

    def _paid_for(self) -> dict[tuple[str, Split], dict[str, Any]]:
        """Collect the results of earlier sessions' baselines, by recipe."""
        paid: dict[tuple[str, Split], dict[str, Any]] = {}
        for event in self._journal.events:
            if event.kind == "scored" and "metrics" in event.payload:
                recipe = self._baselines.get(event.payload["name"])
                if recipe is not None:
                    paid[fingerprint(recipe), event.payload["split"]] = result_of(event.payload)
        return paid


def _is_final(payload: Mapping[str, Any]) -> bool:
    """Say whether a recorded score stands; one that failed is tried again by the next session."""
    return bool(payload.get("failed", "invalid") == "invalid")


def has_holdout(study: Outline) -> bool:
    """Say whether every objective that reads items has hold-out items."""
    parts = study.config.objectives.values()
    with_items = [part for part in parts if part.search is not None]
    return bool(with_items) and all(part.holdout is not None for part in with_items)


def baseline_recipes(study: Outline) -> dict[str, Recipe]:
    """Return what the front is compared with, by name.

    Donors of different depth have no average and no task vectors, so that none of these is there.
    """
    front = study.config.front
    known = known_recipes(study.context)
    donors = {name: known[name] for name in study.context.donors}
    recipes: dict[str, Recipe] = {}
    if "base" in front.baselines:
        recipes["base"] = known["base"]
    if "donors" in front.baselines:
        recipes |= {f"donor:{name}": recipe for name, recipe in donors.items()}
    if "uniform" in front.baselines and "uniform" in known:
        recipes["uniform"] = known["uniform"]
    if "single_lambda" in front.baselines:
        recipes |= single_lambda(study.context, front.lambdas)
    return recipes


def best_lambda(outcomes: Mapping[tuple[str, Split], Outcome], study: Outline) -> str | None:
    """Return the λ of the lowest mean cost where the front is picked, see `lowest_mean`."""
    grid = {
        name: costs
        for (name, split), outcome in outcomes.items()
        if name.startswith(LAMBDA)
        and split == study.config.picked_on
        and (costs := costs_of(outcome, study.objectives)) is not None
    }
    return list(grid)[lowest_mean(np.array(list(grid.values())))] if grid else None
