"""What a run folder takes on disk: its journal, and the scores of single items.

What a trial leaves is composed as the study would record it, and sized as the journal writes it.
Scores that are all 0 or 1, as those of exact answers are, compress well; others hardly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evomerge.cost.ending import members
from evomerge.cost.estimate import Span
from evomerge.cost.objectives import Objectives
from evomerge.cost.stages import StageEstimate
from evomerge.journal import outcome_to_json
from evomerge.journal.examples import examples_file
from evomerge.journal.sizes import Draft, events_bytes, examples_bytes
from evomerge.optimizers import Proposal
from evomerge.spaces import Domain, Space
from evomerge.spaces.populations import Offspring
from evomerge.study import Prepared
from evomerge.study.records import asked, trial_id
from evomerge.study.scoring import LAMBDA, baseline_recipes, has_holdout
from evomerge.types import Completed, Genotype, Split

UNKNOWN_TRIALS = 1000
"""Where a study does not say how many trials it has, the figures are for so many."""
_WRITTEN = 200
"""Events of so many trials are sized, so that pages fill as in a long run."""

_Ids = Mapping[str, Sequence[str]]
_TIMING = {"merge_s": 0.12345678901234567, "score_s": 0.12345678901234567, "items": 100}


@dataclass(frozen=True, slots=True)
class Records:
    """What a run writes down, in bytes.

    Attributes:
        trials: how many there are, at least and at most; None where the study does not say.
        journal: of a trial, on average.
        scores: files of item scores of a trial, on average, in whole blocks of a disk.
        rest: how the study was begun, validations, baselines, the front on hold-out items.
    """

    trials: Span | None
    journal: float
    scores: Span
    rest: Span

    @property
    def total(self) -> Span:
        """The run folder when the search is over, or after `UNKNOWN_TRIALS` trials."""
        trials = self.trials or Span(UNKNOWN_TRIALS, UNKNOWN_TRIALS)
        return Span(
            trials.low * (self.journal + self.scores.low) + self.rest.low,
            trials.high * (self.journal + self.scores.high) + self.rest.high,
        )


def records(
    prepared: Prepared,
    objectives: Objectives,
    stages: Sequence[StageEstimate],
    expected: Span | None,
) -> Records:
    """Size what a run is going to record.

    Args:
        prepared: the checked study.
        objectives: of it.
        stages: its searches.
        expected: trials that the budget of a study without stages pays for; None where that is not
            known.
    """
    counts = [expected if prepared.config.stages is None else _exactly(one) for one in stages]
    known = [count for count in counts if count is not None]
    trials = Span(0.0, 0.0)
    for count in known:
        trials = trials.plus(count)
    weights = [1.0 if count is None else count.high for count in counts]
    journal, scores = 0.0, Span(0.0, 0.0)
    spaces = (prepared.space, *prepared.later)
    for stage, space, weight in zip(stages, spaces, weights, strict=True):
        share = weight / sum(weights)
        journal += share * _journal(prepared, stage, space)
        scores = scores.plus(_scores(objectives.ids("search"), stage).times(share))
    rest = _rest(prepared, objectives, stages)
    return Records(trials if len(known) == len(counts) else None, journal, scores, rest)


def _exactly(stage: StageEstimate) -> Span | None:
    return None if stage.trials is None else Span(stage.trials, stage.trials)


def _journal(prepared: Prepared, stage: StageEstimate, space: Space) -> float:
    """Return the bytes that a trial adds to the journal."""
    proposal = Proposal(_genotype(space), "optimizer:generation-10")
    result = outcome_to_json(_outcome(prepared), examples_file(f"{trial_id(10**5)}.search"))
    drafts = [
        Draft("asked", asked(proposal, {})),
        Draft("finished", {"attempt": 0, **result}, _TIMING),
    ]
    found = events_bytes(drafts, _WRITTEN)
    climbing = sum(visit.share for visit in stage.visits)
    if climbing:
        rung = [
            Draft("measured", {"rung": 1, "n_items": 100, **result}, _TIMING),
            Draft("decided", {"climb": [10**5], "stop": []}),
        ]
        found += climbing * events_bytes(rung, _WRITTEN)
    return found


def _genotype(space: Space) -> Genotype:
    """Return a genotype of the usual length: numbers with all their digits."""
    random = np.random.default_rng(0)
    if isinstance(space.domain, Domain):
        return tuple(gene.from_unit(float(random.random())) for gene in space.domain.genes)
    weights = tuple((float(one), float(1 - one)) for one in random.random(2))
    return Offspring((10**5, 10**5), (10**6, 10**9), weights).genotype()


def _outcome(prepared: Prepared) -> Completed:
    random = np.random.default_rng(1)
    return Completed({one.name: float(random.random()) for one in prepared.objectives})


def _scores(ids: _Ids, stage: StageEstimate) -> Span:
    """Return the bytes of a trial's files of item scores.

    With rungs there is one for each, and one of all that it was scored on when it is finished.
    """
    if stage.batch is not None:
        ids = {name: own[: stage.batch] for name, own in ids.items()}
    if not stage.visits:
        return _file(ids)
    found, scored = Span(0.0, 0.0), dict.fromkeys(ids, 0.0)
    for visit in stage.visits:
        part = {name: ids[name][:count] for name, count in visit.items.items() if name in ids}
        found = found.plus(_file(part).times(visit.share))
        for name, own in part.items():
            scored[name] += visit.share * len(own)
    return found.plus(_file({name: ids[name][: round(n)] for name, n in scored.items()}))


def _rest(prepared: Prepared, objectives: Objectives, stages: Sequence[StageEstimate]) -> Span:
    """Return the bytes of everything that does not come once for each trial."""
    picked: Split = prepared.config.picked_on
    baselines = list(baseline_recipes(prepared))
    n_picked = len(baselines)
    found = _file(objectives.ids(picked)).times(n_picked)
    n_held = 0
    if has_holdout(prepared):
        grid = [name for name in baselines if name.startswith(LAMBDA)]
        n_held = n_picked - max(0, len(grid) - 1) + members(prepared, stages[-1].trials)
        found = found.plus(_file(objectives.ids("holdout")).times(n_held))
    n_validated = sum(stage.validated for stage in stages)
    if n_validated:
        found = found.plus(_file(objectives.ids("validation")).times(n_validated))
    result = outcome_to_json(_outcome(prepared), examples_file(f"{trial_id(10**5)}.holdout"))
    scored = Draft("scored", {"name": trial_id(10**5), "split": "holdout", **result}, _TIMING)
    written = events_bytes([Draft("opened", prepared.record())])
    written += (n_picked + n_held + n_validated) * events_bytes([scored], _WRITTEN)
    return Span(found.low + written, found.high + written)


def _file(ids: _Ids) -> Span:
    """Return the bytes of one file of item scores: with zeros and ones, and with any numbers."""
    random = np.random.default_rng(2)

    def size(draw: Callable[[int], np.ndarray]) -> float:
        named = {name: own for name, own in ids.items() if own}
        return examples_bytes(
            {
                name: dict(zip(own, draw(len(own)).tolist(), strict=True))
                for name, own in named.items()
            }
        )

    return Span(size(lambda n: random.integers(0, 2, n).astype(float)), size(random.random))
