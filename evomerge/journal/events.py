"""Events and their JSON.

    opened    the study as it was started: configuration, model digests, library versions, and
              under `warnings` what readers of its results must know, if anything
    staged    stage, its donors in full, the trials they come from, names of its genes, why the one
              before it ended: before its first trial
    asked     trial, genotype, origin                 before the job is submitted; `batch` numbers
                                                      the batch of search items it is scored on,
                                                      null scores the validation items;
                                                      `bracket` is the rung it begins at
    retried   trial, the failed attempt               before the next attempt is submitted
    measured  trial, rung, how many items are new     before it is decided whether the trial climbs
              there, outcome on these
    decided   the trials that climb to the next rung  before jobs for it are submitted, and before
              and those that stop at theirs           the latter are finished
    noted     what the optimizer, or `of` rungs, says of the search, when it is said
    finished  trial, outcome                          before the optimizer is told; `same_as` names
                                                      the trial whose recipe and outcome these are
    validated trial, outcome on the validation items  before anything is chosen by it
    scored    an evaluation beside the search (a baseline, or a front member on hold-out items)
    stopped   why the search ended; `budget` is the kind that was used up, where one was. What
              clocks decided is read from here and never decided again
    extended  the budget as it is after an addition; a search that had stopped may go on

A run that was killed and resumed has the same events as one that was not: what happened to the
process (starts, interruptions) is kept apart, in sessions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from evomerge.types import Completed, Failed, Outcome

EventKind: TypeAlias = Literal[
    "opened",
    "staged",
    "asked",
    "retried",
    "measured",
    "decided",
    "noted",
    "finished",
    "validated",
    "scored",
    "stopped",
    "extended",
]
KINDS: tuple[str, ...] = get_args(EventKind)


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the journal.

    Attributes:
        seq: 1, 2, 3, ... without gaps.
        kind: what happened.
        trial: the trial it belongs to, if any.
        payload: plain JSON data.
        at: wall-clock seconds since the epoch; not part of what is compared on replay.
        timing: seconds spent, by step, and what else it took: `items` that were scored, `cost` that
            fitnesses charged; not part of what is compared either.
    """

    seq: int
    kind: EventKind
    trial: int | None
    payload: Mapping[str, Any]
    at: float
    timing: Mapping[str, float]

    @property
    def content(self) -> tuple[str, int | None, str]:
        """What makes two events equal: everything but clocks."""
        return (self.kind, self.trial, canonical(self.payload))


def canonical(payload: Mapping[str, Any]) -> str:
    """Write JSON in one way only: keys in the order given, shortest exact floats, no NaN."""
    return json.dumps(payload, separators=(",", ":"), allow_nan=False)


def chained(previous: str, kind: str, trial: int | None, payload: str) -> str:
    """Digest an event together with the digest before it, so that no row changes unnoticed."""
    return hashlib.sha256(f"{previous}|{kind}|{trial}|{payload}".encode()).hexdigest()


def outcome_to_json(outcome: Outcome, examples_file: str | None) -> dict[str, Any]:
    """Write an outcome; per-example scores stay in the side file that is named."""
    if isinstance(outcome, Failed):
        return {
            "failed": outcome.kind,
            "message": outcome.message,
            "traceback": outcome.traceback,
        }
    payload: dict[str, Any] = {"metrics": dict(outcome.metrics)}
    if outcome.notes:
        payload["notes"] = dict(outcome.notes)
    if outcome.errors:
        payload["errors"] = dict(outcome.errors)
    if examples_file:
        payload["examples"] = examples_file
    return payload


def outcome_from_json(
    payload: Mapping[str, Any], examples: Mapping[str, Mapping[str, float]] | None = None
) -> Outcome:
    """Read an outcome back; `examples` is the content of its side file."""
    if "failed" in payload:
        return Failed(payload["failed"], payload["message"], payload.get("traceback", ""))
    return Completed(
        payload["metrics"], examples or {}, payload.get("notes", {}), payload.get("errors", {})
    )
