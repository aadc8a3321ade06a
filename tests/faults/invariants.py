"""What holds whatever happens to a run."""

from __future__ import annotations

import re

from evomerge.journal import DATABASE, read_sessions
from evomerge.study import resume_run
from tests.faults.drivers import REASONS, STRUCK

TOO_LATE = 20
"""So many events may follow from what is in flight, or fit into what is left of a page."""


UNNOTICED = "lost head"
"""Workers of Ray answer on until it notices, which takes up to a minute."""


def nothing_is_lost(before, after):
    """What was on disk is there still, unchanged and in its place."""
    assert [one.content for one in after[: len(before)]] == [one.content for one in before]


def nothing_is_done_again(before, evaluated):
    """What had been finished is not evaluated by a later session."""
    finished = {f"trial-{one.trial:06d}" for one in before if one.kind == "finished"}
    scored = {
        (one.payload["name"], one.payload["split"])
        for one in before
        if one.kind == "scored" and "metrics" in one.payload
    }
    for job, split, _ in evaluated:
        assert split != "search" or job not in finished
        assert (job, split) not in scored


def one_clear_reason(out, verdict, fault, events):
    """A session says in a line what happened to it, and its journal remembers that.

    It is done where nothing happened, or where that came too late to keep it from its end.
    """
    assert len(verdict.splitlines()) == 1
    if verdict == "done":
        struck = out.parent / STRUCK
        n_after = len(events) - int(struck.read_text()) if struck.exists() else 0
        in_time = fault[0] != UNNOTICED and n_after > TOO_LATE
        assert REASONS[fault[0]] == "^done$" or not in_time, (fault, n_after)
    else:
        assert re.search(REASONS[fault[0]], verdict), (fault, verdict)
    if not (out / DATABASE).exists() or not read_sessions(out):
        return
    because = read_sessions(out)[-1].ended_because
    if verdict == "killed":
        assert because is None
    elif fault[0] != "full disk":  # where there may be no room for the reason either
        assert because == verdict


def nothing_is_doubled(events):
    """Every trial was asked for and finished once, every baseline scored once."""
    for kind in ("asked", "finished"):
        trials = [one.trial for one in events if one.kind == kind]
        assert sorted(trials) == list(range(len(trials))) != []
    n_asked, n_finished = (sum(e.kind == k for e in events) for k in ("asked", "finished"))
    assert n_asked == n_finished
    scored = [
        (one.payload["name"], one.payload["split"])
        for one in events
        if one.kind == "scored" and "metrics" in one.payload
    ]
    assert len(scored) == len(set(scored)) > 0


def it_replays(out):
    """The journal is a whole: replaying it finds every proposal again, and nothing left to do."""

    def nobody(_):
        raise AssertionError("there was something left to do")

    assert resume_run(out, executor=nobody).state == "done"


def the_same_was_found(events, undisturbed):
    """Proposals, outcomes and scores are those of a run that nothing happened to."""
    assert found(events) == found(undisturbed)


def found(events):
    results = {}
    for one in events:
        if one.kind in ("asked", "finished"):
            results[one.kind, one.trial] = _told(one.payload)
        elif one.kind == "scored" and "metrics" in one.payload:
            results[one.payload["name"], one.payload["split"]] = _told(one.payload)
    return results


def _told(payload):
    """Leave out how many attempts it took, and which of two equal recipes was scored first."""
    return {key: value for key, value in payload.items() if key not in ("attempt", "examples")}
