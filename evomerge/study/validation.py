"""Which trials are scored on validation items, on which the front is picked.

The best of several hundred noisy scores is partly lucky. So the best by search scores are scored
again, on items that no search saw, and the winners are who is best there. Where candidates are
scored on batches of the search items, it is on the validation items only that they compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from evomerge.recipe import Recipe
from evomerge.study.batches import Windows, batch_positions
from evomerge.study.config import BatchesConfig
from evomerge.study.course import Course, Part
from evomerge.study.picks import Combine, best_of, costs_of
from evomerge.study.preparation import Prepared
from evomerge.types import Completed, Outcome, Split, Trial
from evomerge.workers import Job

VALIDATED = "@validation"
"""What `Validation.items_of` calls the validation items."""


@dataclass(slots=True)
class _Window:
    """Trials that were scored on the same items.

    Attributes:
        part: of the run.
        asked: how many were asked for.
        finished: those of them that are finished.
    """

    part: Part
    asked: int = 0
    finished: list[Trial] = field(default_factory=list)


class Validation:
    """The books of a search with validation items; in other studies there is nothing to do.

    The best `keep` trials of each window that is over are due for validation; of a stage without
    batches, which is one window, the best `front.size`. One that fails there is replaced by the
    next. Known points of a stage with batches are scored on the validation items in the first
    place. What is due follows from the trials alone, whatever the order in which they finished.

    Args:
        study: what is searched.
        course: its stages so far.
        combine: position of a stage to the scalar cost it minimises; filled as stages begin.

    Attributes:
        trials: those with validation scores, as outcome and costs, in the order they came.
    """

    def __init__(self, study: Prepared, course: Course, combine: Mapping[int, Combine]) -> None:
        self.trials: list[Trial] = []
        self._study = study
        self._course = course
        self._combine = combine
        self._on = study.config.picked_on == "validation"
        self._apart = study.config.compared_on == "validation"
        self._numbering: Windows | None = None
        self._places: dict[int, tuple[int, int | None]] = {}
        self._windows: dict[tuple[int, int], _Window] = {}
        self._latest = (0, 0)
        self._searched: dict[int, Trial] = {}
        self._failed: set[int] = set()

    def enter(self, part: Part, *, whole_generations: bool) -> None:
        """Begin the next part of the run."""
        batches = part.stage.batches
        self._numbering = (
            None
            if batches is None
            else Windows(lambda _: batches.trials, whole_generations=whole_generations)
        )

    def place(self, number: int, origin: str) -> dict[str, int | None]:
        """Place the trial that is asked for next; returns what its event says of it."""
        if not self._on:
            return {}
        part = len(self._course.parts) - 1
        window = 0 if self._numbering is None else self._numbering.place(origin)
        self._places[number] = (part, window)
        if window is not None:
            self._latest = (part, window)
            whose = self._windows.setdefault(self._latest, _Window(self._course.parts[-1]))
            whose.asked += 1
        return {} if self._numbering is None else {"batch": window}

    def items_of(self, number: int) -> str:
        """Name the items a trial is scored on; '' for all search items."""
        if number not in self._places or self._batches(number) is None:
            return ""
        part, window = self._places[number]
        return VALIDATED if window is None else f"@{part}.{window}"

    def split_of(self, number: int) -> Split:
        """Return the split whose items a trial is scored on, or a batch of them."""
        return "validation" if self.items_of(number) == VALIDATED else "search"

    def job(self, name: str, number: int, recipe: Recipe, attempt: int) -> Job:
        """Return the job that scores a trial."""
        batches = self._batches(number)
        part, window = self._places.get(number, (0, None))
        if batches is None or window is None:
            return Job(name, recipe, self.split_of(number), attempt)
        seed = self._study.config.seed
        batch = {
            objective: batch_positions(len(items), batches.items, window, (seed, part, position))
            for position, (objective, items) in enumerate(self._study.items.items())
        }
        return Job(name, recipe, "search", attempt, batch=batch)

    def n_items(self, number: int) -> int:
        """Return how many search items a trial is scored on, over all objectives."""
        batches = self._batches(number)
        if self.items_of(number) == VALIDATED:
            return 0
        counts = map(len, self._study.items.values())
        return sum(counts if batches is None else (min(batches.items, one) for one in counts))

    def tell(self, trial: Trial) -> bool:
        """Note a finished trial; says whether its scores compare with those of all others."""
        if not self._on:
            return True
        part, window = self._places[trial.number]
        if window is not None:
            self._windows[part, window].finished.append(trial)
            self._searched[trial.number] = trial
        elif trial.costs is not None:
            self.trials.append(trial)
        return window is None or not self._apart

    def due(self, *, ended: bool) -> list[Trial]:
        """List the trials that are to be validated now, those of earlier windows first.

        Args:
            ended: the present part asks for no more trials.
        """
        found: list[Trial] = []
        done = {trial.number for trial in self.trials}
        for key, window in sorted(self._windows.items()):
            over = ended or key < self._latest
            if not over or len(window.finished) < window.asked:
                continue
            missing = [trial for trial in self._best(window) if trial.number not in done]
            if not missing and key < self._latest:
                del self._windows[key]
            found += missing
        return found

    def record(self, number: int, outcome: Outcome) -> Trial:
        """Note what validation found; returns the trial with that outcome."""
        costs = costs_of(outcome, self._study.objectives)
        trial = replace(self._searched[number], outcome=outcome, costs=costs)
        if isinstance(outcome, Completed):
            self.trials.append(trial)
        else:
            self._failed.add(number)
        return trial

    def by_stage(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the measured trials that a later stage chooses from, each stage's on equal items.

        Args:
            trials: all finished trials.
        """
        plain = [one for one in trials if one.measured and self._batches(one.number) is None]
        return plain + [trial for trial in self.trials if self._batches(trial.number) is not None]

    def final(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the measured trials that make up the front, all on equal items."""
        return self.trials if self._on else [trial for trial in trials if trial.measured]

    def _best(self, window: _Window) -> list[Trial]:
        measured = [trial for trial in window.finished if trial.measured]
        trials = [trial for trial in measured if trial.number not in self._failed]
        batches = window.part.stage.batches
        if batches is None:
            return best_of(trials, self._study.config.front.size, None)
        return best_of(trials, batches.keep, self._combine.get(window.part.index))

    def _batches(self, number: int) -> BatchesConfig | None:
        return self._course.part_of(number).stage.batches
