"""Two models of a run by the names users give them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from evomerge.errors import UserError, nearest
from evomerge.recipe import fingerprint
from evomerge.recipe.files import load as load_recipe
from evomerge.report.collect import final_trials, read_trials
from evomerge.report.front import DONOR_PREFIX, Front, FrontRow
from evomerge.report.scored import ScoredModels
from evomerge.study import open_study
from evomerge.study.course import Course
from evomerge.study.picks import hold_out_trials
from evomerge.study.records import trial_id
from evomerge.study.scoring import LAMBDA, baseline_recipes, has_holdout
from evomerge.types import Failed, Split, Trial

_TRIAL = re.compile(r"(?:trial[ -]?)?0*(\d+)", re.IGNORECASE)
_RECIPE_FILES = (".yaml", ".yml")
_SINGLE_LAMBDA = "single-lambda"


def collect_pair(run: Path, names: tuple[str, str], split: Split) -> Front:
    """Read two models of a run as a front of two rows, in the order they are named.

    Args:
        run: the run directory.
        names: each a trial number, 'base', 'donor:NAME' (NAME will do), 'uniform', the best
            'single-lambda', or a recipe file of a model that the run has scored.
        split: where both must have scores.

    Raises:
        UserError: a name means no model of the run, both are one model, or one has no scores there.
    """
    found = _Models(run)
    rows = tuple(found.row(name) for name in names)
    if rows[0].name == rows[1].name:
        raise UserError(f"'{names[0]}' and '{names[1]}' are one model; name two different ones")
    for row in rows:
        if split == "holdout" and row.holdout is None:
            raise UserError(found.why_no_holdout(row, names))
    return found.front(rows)


class _Models:
    """The models of a run."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._study, events = open_study(run)
        self._scored = ScoredModels(run, events, self._study)
        self._course = Course.of(self._study, events)
        trials, _ = read_trials(self._study, events)
        self._final = final_trials(self._study, events, trials, self._scored.picked_on)
        self._trials: Mapping[int, Trial] = {trial.number: trial for trial in trials}
        self._baselines = {row.name: row for row in self._scored.baselines()}
        self._planned = {
            _SINGLE_LAMBDA if name.startswith(LAMBDA) else name
            for name in baseline_recipes(self._study)
        }
        self._failed = {
            event.payload["name"]: event.payload
            for event in events
            if event.kind == "scored" and "failed" in event.payload
        }
        self._is_scored = any(event.kind == "scored" for event in events)

    def row(self, name: str) -> FrontRow:
        number = _TRIAL.fullmatch(name)
        if number:
            return self._trial(int(number[1]))
        if Path(name).suffix in _RECIPE_FILES:
            return self._of_file(Path(name))
        for title in (name, DONOR_PREFIX + name):
            if title in self._baselines:
                return self._baselines[title]
        single = [title for title in self._baselines if title.startswith(_SINGLE_LAMBDA)]
        if name == _SINGLE_LAMBDA and single:
            return self._baselines[single[0]]
        raise UserError(self._why_no_baseline(name))

    def _why_no_baseline(self, name: str) -> str:
        for title in (name, DONOR_PREFIX + name):
            if title in self._failed:
                reason = (self._failed[title]["message"].splitlines() or ["?"])[0]
                again = f"; to try again: evomerge resume {self._run}"
                final = self._failed[title]["failed"] == "invalid"
                return f"{title} could not be scored: {reason}{'' if final else again}"
            if title in self._planned:
                return (
                    f"{title} has no scores in {self._run} yet; "
                    f"score it: evomerge resume {self._run}"
                )
        unknown = f"'{name}' is no trial number, no recipe file and no baseline of {self._run}"
        if not self._planned:
            return f"{unknown}; its study has no baselines (front: baselines), name two trials"
        valid = ", ".join(sorted(self._planned))
        known = [title.removeprefix(DONOR_PREFIX) for title in self._planned]
        hint = nearest(name, known)
        return f"{unknown}; {f'{hint} ' if hint.endswith('?') else ''}valid: {valid}"

    def _is_planned(self, row: FrontRow) -> bool:
        """Say whether a row is still to be scored on hold-out items."""
        size = self._study.config.front.size
        wanted = hold_out_trials(self._final, self._study.objectives, size)
        trials = {one.number for one in wanted if trial_id(one.number) not in self._failed}
        return not self._is_scored or row.trial in trials

    def why_no_holdout(self, row: FrontRow, names: tuple[str, str]) -> str:
        if not has_holdout(self._study):
            why = "the study has no hold-out items"
        elif self._is_planned(row):
            return f"{row.name} has no hold-out scores yet; score them: evomerge resume {self._run}"
        else:
            why = "only baselines and members of the front get them, at most front.size of these"
        first, second = (f"'{name}'" if " " in name else name for name in names)
        return (
            f"{row.name} has no hold-out scores ({why}); compare where both have some: "
            f"evomerge compare {first} {second} --run {self._run} --on {self._scored.picked_on}"
        )

    def front(self, rows: Sequence[FrontRow]) -> Front:
        return Front(
            study=self._study.config.name,
            objectives=self._study.objectives,
            rows=tuple(rows),
            seed=self._study.config.seed,
            n_trials=len(self._trials),
            n_failed=sum(trial.costs is None for trial in self._trials.values()),
            picked_on=self._scored.picked_on,
        )

    def _trial(self, number: int) -> FrontRow:
        trial = self._trials.get(number)
        if trial is None:
            raise UserError(
                f"{self._run}: trial {number} is not finished or does not exist; it has "
                f"{len(self._trials)} finished trials, numbered from 0"
            )
        if isinstance(trial.outcome, Failed):
            reason = (trial.outcome.message.splitlines() or ["?"])[0]
            raise UserError(f"trial {number} failed and has no scores: {reason}")
        return self._scored.member(self._course, trial)

    def _of_file(self, path: Path) -> FrontRow:
        wanted = fingerprint(load_recipe(path))
        for row in self._baselines.values():
            if row.fingerprint == wanted:
                return row
        measured_first = sorted(self._trials.items(), key=lambda one: (not one[1].measured, one[0]))
        for number, trial in measured_first:
            if trial.costs is None:
                continue
            if fingerprint(self._course.decode(number, trial.genotype)) == wanted:
                return self._trial(number)
        raise UserError(
            f"{path}: {self._run} has not scored this recipe; name a recipe that it exported"
        )
