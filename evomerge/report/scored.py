"""What a run knows of every model it scored: trials and baselines, on each split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evomerge.errors import RunDirectoryError
from evomerge.journal import Event, outcome_from_json
from evomerge.journal.examples import read_examples
from evomerge.recipe import Recipe, fingerprint
from evomerge.report.front import FrontRow
from evomerge.study import Outline
from evomerge.study.course import Course
from evomerge.study.records import trial_id
from evomerge.study.scoring import LAMBDA, baseline_recipes, best_lambda
from evomerge.types import Completed, Outcome, Split, Trial

Examples = dict[str, dict[str, float]]


def known_points(events: Sequence[Event]) -> set[int | None]:
    """Return the trials that were scored on validation items in the first place."""
    return {
        event.trial
        for event in events
        if event.kind == "asked" and event.payload.get("batch", 0) is None
    }


def picked_on(study: Outline, events: Sequence[Event]) -> Split:
    """Return the items that the front is picked on as things stand.

    A search without batches comes to the validation items when it is over, and until then its
    front is that of the search items.
    """
    config = study.config
    over = any(event.kind == "stopped" for event in events)
    return config.picked_on if over else config.compared_on


class ScoredModels:
    """The journal's outcomes on whole splits, and their per-example scores.

    Args:
        run: the run directory.
        events: of its journal.
        study: its outline.

    Attributes:
        picked_on: see the function of that name.
    """

    def __init__(self, run: Path, events: Sequence[Event], study: Outline) -> None:
        self._run = run
        self._study = study
        self.picked_on = picked_on(study, events)
        self._outcomes: dict[tuple[str, Split], Outcome] = {}
        self._files: dict[tuple[str, Split], str] = {}
        known = known_points(events)
        for event in events:
            if "errors" in event.payload:
                continue  # an estimate from a part of the items
            key: tuple[str, Split]
            if event.kind == "scored":
                key = (event.payload["name"], event.payload["split"])
            elif event.kind == "finished" and event.trial is not None:
                key = (trial_id(event.trial), "validation" if event.trial in known else "search")
            elif event.kind == "validated" and event.trial is not None:
                key = (trial_id(event.trial), "validation")
            else:
                continue
            self._outcomes[key] = outcome_from_json(event.payload)
            if event.payload.get("examples"):
                self._files[key] = event.payload["examples"]

    def member(self, course: Course, trial: Trial) -> FrontRow:
        """Build the row of one trial, a member of the front mostly.

        Raises:
            RunDirectoryError: it has no scores on the items that the front is picked on.
        """
        recipe = course.decode(trial.number, trial.genotype)
        row = self._row(trial_id(trial.number), f"trial {trial.number}", recipe, trial.number)
        if row is None:
            why = "; it stopped on a rung and has an estimate only" if trial.errors else ""
            if not why and self.picked_on == "validation":
                why = "; only the best by search scores get them"
            raise RunDirectoryError(
                f"{self._run}: trial {trial.number} has no {self.picked_on} scores{why}"
            )
        stage, ancestry = course.stage_of(trial.number), course.ancestry(trial.number)
        return replace(row, stage=stage, ancestry=ancestry)

    def baselines(self) -> list[FrontRow]:
        """Build the rows of the baselines that were scored, the best single λ among them."""
        chosen = best_lambda(self._outcomes, self._study)
        rows = []
        for name, recipe in baseline_recipes(self._study).items():
            if name.startswith(LAMBDA) and name != chosen:
                continue
            title = f"single-lambda {name.removeprefix(LAMBDA)}" if name == chosen else name
            row = self._row(name, title, recipe, None)
            if row is not None:
                rows.append(row)
        return rows

    def _row(self, key: str, title: str, recipe: Recipe, trial: int | None) -> FrontRow | None:
        search = self._outcomes.get((key, self.picked_on))
        holdout = self._outcomes.get((key, "holdout"))
        before = self._outcomes.get((key, "search")) if self.picked_on != "search" else None
        if not isinstance(search, Completed):
            return None
        return FrontRow(
            name=title,
            kind="baseline" if trial is None else "front",
            trial=trial,
            recipe=recipe,
            fingerprint=fingerprint(recipe),
            search=search.metrics,
            holdout=holdout.metrics if isinstance(holdout, Completed) else None,
            search_examples=self.examples(key, self.picked_on),
            holdout_examples=self.examples(key, "holdout"),
            before=before.metrics if isinstance(before, Completed) else {},
        )

    def examples(self, key: str, split: Split) -> Examples:
        """Return the per-example scores of a job; empty where it has none."""
        file = self._files.get((key, split))
        return read_examples(self._run, file) if file else {}
