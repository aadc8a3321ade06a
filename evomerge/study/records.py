"""What the journal holds of a trial: its name, its proposal, its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evomerge.journal import Journal, outcome_to_json
from evomerge.optimizers import Proposal
from evomerge.study.twins import Paid
from evomerge.types import Completed, Outcome, Split

RESULT_KEYS = ("metrics", "notes", "errors", "examples")


def trial_id(number: int) -> str:
    """Name a trial in jobs and files."""
    return f"trial-{number:06d}"


def number_of(name: str) -> int:
    """Return the number of a trial that `trial_id` named."""
    return int(name.removeprefix("trial-"))


def asked(proposal: Proposal, place: Mapping[str, int | None]) -> dict[str, Any]:
    """Return the payload of the event of a trial that is asked for."""
    return {"genotype": list(proposal.genotype), "origin": proposal.origin, **place}


def recorded(journal: Journal, name: str, split: Split, outcome: Outcome) -> dict[str, Any]:
    """Write the scores of an outcome's items to their side file; returns the outcome as JSON."""
    examples = outcome.examples if isinstance(outcome, Completed) else {}
    file = journal.write_examples(f"{name}.{split}", examples)
    return outcome_to_json(outcome, file)


def result_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an evaluation found, without whose it was."""
    return {key: payload[key] for key in RESULT_KEYS if key in payload}


def shared(known: Paid) -> dict[str, Any]:
    """Return a trial's result as that of another with the same recipe on the same items."""
    number, payload = known
    return {**result_of(payload), "same_as": number}
