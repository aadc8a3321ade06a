"""Replay: after any evaluation, and in another process whose PyTorch is set up otherwise."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from evomerge.optimizers import groups
from evomerge.testing.problems import mixed_domain, sphere
from evomerge.testing.simulation import Asked, drive, proposals, replay
from tests.optimizers.gaussian_processes.searches import mm_mo, mobo

PROBLEM = sphere(mixed_domain(), 2)
BUILD = {
    "mobo": lambda: mobo(PROBLEM.domain, 2, 3, seeds=True, initial=2),
    "mm_mo": lambda: mm_mo(PROBLEM.domain, 2, 3, seeds=True, initial=4, candidates=3, batch=2),
}
SCRIPT = """
import json, sys, torch
torch.manual_seed(99)
torch.set_num_threads(3)
from tests.optimizers.gaussian_processes import test_replay
print(json.dumps({name: test_replay.proposals_of(name) for name in sys.argv[1:]}))
"""


def events_of(name):
    return drive(BUILD[name](), PROBLEM, 8, workers=3, order_seed=1, failure_rate=0.2)


def proposals_of(name):
    """Return the proposals of a search, floats by their bits."""
    found = []
    for event in events_of(name):
        if isinstance(event, Asked) and event.proposal is not None:
            values = event.proposal.genotype
            found.append([v.hex() if isinstance(v, float) else v for v in values])
    return found


@pytest.mark.parametrize("name", BUILD)
def test_killed_after_any_evaluation_it_goes_on_the_same(name):
    # acceptance 10: a resumed search is a replay of what happened up to there
    events = events_of(name)
    assert len([one for one in events if isinstance(one, Asked)]) >= 8
    for length in range(4, len(events) + 1, 3):
        replay(BUILD[name](), events[:length])


@pytest.mark.parametrize("name", BUILD)
def test_several_proposals_of_one_model_are_replayed_too(name, monkeypatch):
    monkeypatch.setattr(groups, "MANY", 6)
    monkeypatch.setattr(groups, "SHARE", 3)
    monkeypatch.setattr("evomerge.optimizers.gaussian_processes.mm_mo.MANY", 6)
    n_trials = 20
    events = drive(BUILD[name](), PROBLEM, n_trials, workers=3, order_seed=1, failure_rate=0.2)
    assert len({one.genotype for one in proposals(events)}) == n_trials
    replay(BUILD[name](), events)  # fails where another point is proposed
    for length in range(12, len(events), 7):  # killed there, and resumed
        search = BUILD[name]()
        replay(search, events[:length])
        replay(search, events[length:])


def test_another_process_proposes_the_same_bits():
    here = {name: proposals_of(name) for name in BUILD}
    threads = torch.get_num_threads()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *BUILD], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == here
    assert torch.get_num_threads() == threads
