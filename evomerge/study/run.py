"""The life of a run: start, search, score, resume.

A run is a folder with a journal. Everything is written there before anything depends on it, so
that a run killed at any moment continues where its journal ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from evomerge.errors import ConfigError, FitnessError, ReplayMismatch, RunDirectoryError, UserError
from evomerge.journal import Journal
from evomerge.spaces import known_recipes
from evomerge.study.budgets.adding import Amount, extended, in_force
from evomerge.study.budgets.config import Kind
from evomerge.study.budgets.meter import Clock, Meter, check_measurable
from evomerge.study.budgets.moments import fixed_deadline
from evomerge.study.config import StudyConfig
from evomerge.study.continued import holds_run
from evomerge.study.example_ids import ExampleIds
from evomerge.study.executors import make_executor, would_hold
from evomerge.study.following.announcing import Announcing
from evomerge.study.history import History
from evomerge.study.interrupt import Interrupt
from evomerge.study.outline import first_event, recorded_config
from evomerge.study.preparation import Prepared, library_versions, prepare
from evomerge.study.progress import Observer, Progress, silent
from evomerge.study.rungs.climber import rung_scores
from evomerge.study.rungs.climbing import bounds_to_keep
from evomerge.study.scoring import Scoring
from evomerge.study.search import Search
from evomerge.types import Completed, Failed, Outcome
from evomerge.workers import Executor, Job

REHEARSAL_ITEMS = 2
ExecutorFactory = Callable[[Prepared], Executor]


@dataclass(frozen=True, slots=True)
class Ended:
    """How this session of a run ended.

    Attributes:
        state: whether there is more to do.
        reason: why, in words.
        budget: the kind of budget that is used up; None where that is not the reason.
    """

    state: Literal["done", "interrupted"]
    reason: str
    budget: Kind | None = None


def start_run(
    config: StudyConfig,
    folder: Path,
    out: Path,
    *,
    keep: Mapping[str, str] | None = None,
    observe: Observer = silent,
    executor: ExecutorFactory | None = None,
    warn: Callable[[str], None] = lambda _: None,
    clock: Clock = time,
) -> Ended:
    """Start a study in a new run directory and carry it to its end.

    Args:
        config: the study.
        folder: where its relative paths start.
        out: the run directory; it must not hold a run.
        keep: texts to put beside the journal, by file name.
        observe: told of every step.
        executor: builds the workers; those of the study file by default.
        warn: told what readers of the results must know of how they are going to be found, and of
            callbacks and messages that do not reach their destination.
        clock: what budgets of time go by.

    Raises:
        UserError: the study is wrong, the dress rehearsal fails, or `out` is taken; nothing is
            written then.
    """
    _refuse_taken(out)
    meter = Meter(clock)
    study = prepare(_with_fixed_deadline(config, clock.time()), folder)
    for line in study.warnings:
        warn(line)
    with (
        Announcing(out, warn) as announcing,
        Interrupt(study.config.workers.grace_s) as interrupt,
        closing(_workers(study, executor, observe)) as workers,
    ):
        meter.watch(workers)
        rehearse(study, workers)
        check_measurable(study.config.budget, meter.held)
        with Journal(out, create=True) as journal:
            for name, text in (keep or {}).items():
                (out / name).write_text(text, encoding="utf-8")
            journal.append(
                "opened",
                {
                    **study.record(),
                    "inputs": study.inputs,
                    "versions": library_versions(),
                    **({"warnings": list(study.warnings)} if study.warnings else {}),
                },
            )
            announcing.begin(config)
            history = History(study, journal, study.config.limits, meter, observe)
            scoring = Scoring(study, history, journal, observe)
            ended = _carry_on(Search(history), scoring, workers, interrupt, journal, meter)
            announcing.ended(ended.state, ended.reason)
    return ended


def check_budget(config: StudyConfig, now: float) -> None:
    """Refuse before a run what it would refuse once its workers are there.

    Args:
        config: the study.
        now: seconds since the epoch.

    Raises:
        ConfigError: a deadline is over, or a budget counts GPUs that no worker holds.
        UserError: this machine has too few GPUs for the workers.
    """
    _with_fixed_deadline(config, now)
    check_measurable(config.budget, would_hold(config.workers))


def resume_run(
    out: Path,
    *,
    add: Mapping[str, Amount] | None = None,
    observe: Observer = silent,
    executor: ExecutorFactory | None = None,
    warn: Callable[[str], None] = lambda _: None,
    clock: Clock = time,
) -> Ended:
    """Continue a run from its journal.

    Args:
        out: the run directory.
        add: budget to add to what was allowed so far, by kind; see `budgets.adding.extended`. The
            optimizer goes on as if it had known of no other than the first.
        observe: told of every step.
        executor: builds the workers; those of the study file by default.
        warn: told of callbacks and messages that do not reach their destination.
        clock: what budgets of time go by.

    Raises:
        ReplayMismatch: the optimizer no longer proposes what was recorded.
        UserError: models, data or fitness files changed, there is nothing to add to, or the folder
            holds no run.
    """
    meter = Meter(clock)
    with Announcing(out, warn) as announcing, Journal(out) as journal:
        opening = first_event(journal.events, out).payload
        config = recorded_config(opening)
        budget = in_force(config.limits, journal.events)
        if add:
            budget = extended(budget, add, clock.time())
        announcing.about(config)
        # a callback that is gone is no reason to leave a run where it is
        study = prepare(config.model_copy(update={"callbacks": ()}), Path(opening["folder"]))
        _check_unchanged(study, opening, out)
        if add:
            journal.append("extended", {"budget": budget.model_dump(mode="json")})
        history = History(study, journal, budget, meter, observe)
        scoring = Scoring(study, history, journal, observe)
        if history.stopped is not None and not scoring.pending():
            if add:
                warn(f"{out} is over all the same ({history.stopped.reason}); add to what ended it")
            journal.state = "done"
            return Ended("done", history.stopped.reason, history.stopped.budget)
        announcing.begin(config)
        with (
            Interrupt(study.config.workers.grace_s) as interrupt,
            closing(_workers(study, executor, observe)) as workers,
        ):
            meter.watch(workers)
            check_measurable(budget, meter.held)
            ended = _carry_on(Search(history), scoring, workers, interrupt, journal, meter)
        announcing.ended(ended.state, ended.reason)
    return ended


def _workers(study: Prepared, executor: ExecutorFactory | None, observe: Observer) -> Executor:
    if executor is not None:
        return executor(study)
    return make_executor(study, lambda text: observe(Progress("search", 0, None, note=text)))


def rehearse(study: Prepared, workers: Executor) -> None:
    """Score a few items, so that a broken fitness is found now and not at night.

    Scored are the base, also by the objectives' proxies, and, since some fitnesses have no meaning
    for them, the first layer path of each stage that searches paths. Where an optimizer reads the
    scores of single examples, the base is scored twice: both times there must be some, of the same
    examples. Where there are rungs there must be some too, and the metric must be their mean.

    Raises:
        FitnessError: one of them cannot be scored; the message says why.
    """
    names = [one.name for one in study.objectives]
    by_example = ExampleIds(names, nonnegative=study.nonnegative)
    recipes = {"the base model": known_recipes(study.context)["base"]}
    for stage, path in study.paths.items():
        recipes[f"the first layer path{f' of stage {stage!r}' if stage else ''}"] = path
    if study.needs_examples:
        recipes["the base model, a second time,"] = recipes["the base model"]
    jobs = [
        (name, Job("rehearsal", recipe, "search", limit=REHEARSAL_ITEMS))
        for name, recipe in recipes.items()
    ]
    if study.proxies:
        name = "the base model, by the proxies,"
        jobs.append((name, replace(jobs[0][1], proxy=True)))
    for name, job in jobs:
        outcome = _tried(workers, job, study.config.workers.retries)
        if job.recipe == recipes["the base model"] and not job.proxy:
            outcome = by_example.checked(outcome) if study.needs_examples else outcome
            outcome = _fits_rungs(study, outcome)
        if isinstance(outcome, Failed):
            raise FitnessError(f"{name} cannot be scored: {outcome.message}")


def _tried(workers: Executor, job: Job, retries: int) -> Outcome:
    """Return what a job gives, done again where it lost its worker."""
    while True:
        workers.submit(job)
        (result,) = workers.wait()
        if not result.is_lost or job.attempt >= retries:
            return result.outcome
        job = replace(job, attempt=job.attempt + 1)


def _fits_rungs(study: Prepared, outcome: Outcome) -> Outcome:
    """Return an outcome on the first items, or a failed one where a rung could not use it."""
    if study.config.rungs is None or not isinstance(outcome, Completed):
        return outcome
    try:
        bounds = bounds_to_keep(study.config.rungs, study.objectives)
        for name, items in study.items.items():
            rung_scores(name, items[:REHEARSAL_ITEMS], outcome, bounds.get(name, (None, None)))
    except ValueError as error:
        return Failed("error", str(error))
    return outcome


def _carry_on(
    search: Search,
    scoring: Scoring,
    workers: Executor,
    interrupt: Interrupt,
    journal: Journal,
    meter: Meter,
) -> Ended:
    try:
        stop = search.run(workers, interrupt)
        if stop is None or not scoring.run(workers, interrupt):
            ended = Ended("interrupted", interrupt.reason)
        else:
            ended = Ended("done", stop.reason, stop.budget)
    finally:
        meter.keep(journal, now=True)
    journal.state = ended.state if ended.state == "done" else ended.reason
    return ended


def _with_fixed_deadline(config: StudyConfig, now: float) -> StudyConfig:
    """Return a study whose deadline means the same when it is resumed tomorrow."""
    deadline = config.budget.deadline
    if deadline is None:
        return config
    try:
        fixed = {"deadline": fixed_deadline(deadline, now)}
    except UserError as error:
        raise ConfigError([f"budget.{error}"]) from None
    return config.model_copy(update={"budget": config.budget.model_copy(update=fixed)})


def _refuse_taken(out: Path) -> None:
    """Refuse a run directory early; the journal refuses it again when it is created."""
    if out.exists() and not out.is_dir():
        raise RunDirectoryError(f"{out} is a file; name a folder with --out")
    if holds_run(out):
        raise RunDirectoryError(
            f"{out} holds a run already; continue it with 'evomerge resume {out}' "
            "or name another folder with --out"
        )


def _check_unchanged(study: Prepared, opening: Mapping[str, Any], out: Path) -> None:
    for name, digest in opening["inputs"].items():
        if study.inputs.get(name) != digest:
            raise UserError(
                f"{name} changed since {out} was started, so old and new scores would not compare; "
                "restore it, or start a new run"
            )
    genes = [gene.name for gene in study.space.domain.genes]
    if genes != opening["genes"]:
        raise ReplayMismatch(
            f"space: its genes changed since {out} was started ({len(opening['genes'])} then, "
            f"{len(genes)} now); restore the space file, or start a new run"
        )
