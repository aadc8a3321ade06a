"""What a replay says when it comes to something else than the journal holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evomerge.errors import ReplayMismatch
from evomerge.journal import Event, Journal
from evomerge.optimizers import Proposal
from evomerge.study.preparation import library_versions


def other_proposal(journal: Journal, event: Event, proposal: Proposal | None) -> ReplayMismatch:
    """Return the error of a trial whose genotype is proposed differently now."""
    got = "nothing" if proposal is None else f"{list(proposal.genotype)[:3]}…"
    return ReplayMismatch(
        f"trial {event.trial} of {journal.folder} cannot be replayed: recorded "
        f"{event.payload['genotype'][:3]}…, proposed {got}; {_what_to_do(journal)}"
    )


def other_choice(
    journal: Journal, event: Event, content: Mapping[str, Any] | None
) -> ReplayMismatch:
    """Return the error of a stage that would start from something else now."""
    return ReplayMismatch(
        f"stage '{event.payload['stage']}' of {journal.folder} cannot be replayed: recorded as "
        f"its start are {_sources(event.payload)}, chosen {_sources(content)}; "
        f"{_what_to_do(journal)}"
    )


def _sources(content: Mapping[str, Any] | None) -> str:
    if content is None:
        return "nothing"
    trials = [f"trial {trial} as {name}" for name, trial in content["chosen"].items()]
    if "through" in content:
        trials.append(f"the path of trial {content['through']['trial']}")
    return " and ".join(trials) or "the donors"


def _what_to_do(journal: Journal) -> str:
    then, now = journal.events[0].payload.get("versions", {}), library_versions()
    changed = [
        f"{name} {then.get(name)} → {now.get(name)}" for name in now if then.get(name) != now[name]
    ]
    return (
        f"changed versions: {', '.join(changed) or 'none'}; install the recorded versions to "
        "resume, or start a new run"
    )
