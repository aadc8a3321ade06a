"""Resume is replay: with four workers, in another process, and under random use."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.optimizers import Combination, Scalarised, build_optimizer
from evomerge.testing.problems import (
    Problem,
    conditional_domain,
    continuous_domain,
    integer_domain,
    sphere,
)
from evomerge.testing.simulation import Asked, Told, drive, proposals, replay
from evomerge.types import Completed, Trial

CASES = {
    "random": {},
    "sobol": {},
    "cma_es": {},
    "cma_es-bipop": {"restarts": "bipop", "population": 4},
    "cat_cma": {},
    "cma_wm": {},
    "como_cat_cma": {"kernels": 3},
    "nsga2": {"population": 6},
    "nsga3": {"population": 6},
    "moead": {"population": 6},
    "sms_emoa": {"population": 6},
    "dirichlet": {"design": 4},
    "map": {"batch": 12, "generations": 3},
    "optuna": {"sampler_options": {"n_startup_trials": 5}},
}


def build(case, domain, n_objectives, seed=4):
    name = case.partition("-")[0]
    if name == "optuna":
        pytest.importorskip("optuna")
    if name in ("cma_es", "cat_cma", "cma_wm") and n_objectives > 1:
        inner = build_optimizer(name, domain, 1, seed, CASES[case])
        return Scalarised(inner, Combination.of(n_objectives))
    return build_optimizer(name, domain, n_objectives, seed, CASES[case])


@pytest.mark.parametrize("order_seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_four_workers_replay_from_the_record(case, order_seed):
    problem = sphere(continuous_domain(4), 2)
    n_trials = 25 if case == "optuna" else 150
    events = drive(
        build(case, problem.domain, 2),
        problem,
        n_trials,
        workers=4,
        order_seed=order_seed,
        failure_rate=0.15,
    )
    told = [event.trial.number for event in events if isinstance(event, Told)]
    assert told != sorted(told), "the simulated workers finished in order"
    replay(build(case, problem.domain, 2), events)
    # Stopped anywhere, the replayed optimizer goes on exactly as the recorded one did.
    half = build(case, problem.domain, 2)
    replay(half, events[: len(events) // 2])
    replay(half, events[len(events) // 2 :])


SCRIPT = """
import json, sys
from tests.optimizers.test_replay import recorded
print(json.dumps({case: recorded(case) for case in sys.argv[1:]}))
"""


def recorded(case):
    problem = sphere(continuous_domain(5), 2)
    n_trials = 15 if case == "optuna" else 80
    events = drive(build(case, problem.domain, 2), problem, n_trials, workers=4, failure_rate=0.1)
    return [[list(proposal.genotype), proposal.origin] for proposal in proposals(events)]


def test_another_process_proposes_the_same():
    with_optuna = importlib.util.find_spec("optuna") is not None
    cases = [case for case in CASES if case != "optuna" or with_optuna]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *cases],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
        check=True,
    )
    assert json.loads(done.stdout) == {case: recorded(case) for case in cases}


def test_replay_notices_a_difference():
    problem = sphere(continuous_domain(3))
    events = drive(build("cma_es", problem.domain, 1), problem, 40)
    with pytest.raises(AssertionError, match=r"recorded .* replayed"):
        replay(build("cma_es", problem.domain, 1, seed=5), events)


STEPS = st.lists(
    st.one_of(
        st.just(("ask", None, None)),
        st.tuples(
            st.just("tell"),
            st.integers(0, 50),
            st.one_of(
                st.none(),
                st.tuples(
                    *[st.floats(allow_nan=False, allow_infinity=False)] * 2,
                ),
                st.tuples(*[st.sampled_from([0.0, 0.25, 0.5])] * 2),
            ),
        ),
    ),
    max_size=90,
)
DOMAINS = {
    "continuous": continuous_domain(2),
    "one gene": continuous_domain(1),
    "integers": integer_domain(-1, 3, 2),
    "conditional": conditional_domain(n_switches=2),
}


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize(
    "case",
    [
        "cma_es-bipop",
        "cat_cma",
        "cma_wm",
        "como_cat_cma",
        "nsga2",
        "nsga3",
        "moead",
        "sms_emoa",
        "dirichlet",
        "map",
        "random",
        "sobol",
    ],
)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(steps=STEPS)
def test_any_sequence_of_asks_and_tells_replays(case, domain, steps):
    genes = DOMAINS[domain]
    if case == "map" and domain == "conditional":
        return  # it varies numbers only
    optimizer = build(case, genes, 2)
    problem = Problem("fuzz", genes, 2, lambda _: (0.0, 0.0))
    events, in_flight, number = [], {}, 0
    for action, which, costs in steps:
        if action == "ask":
            proposal = optimizer.ask(number)
            events.append(Asked(number, proposal))
            if proposal is None:
                assert in_flight or optimizer.stop_reason(), "waits for nothing"
                continue
            genes.to_unit(proposal.genotype)
            in_flight[number] = proposal.genotype
            number += 1
        elif in_flight:
            told = sorted(in_flight)[which % len(in_flight)]
            genotype = in_flight.pop(told)
            if costs is None:
                trial = problem.failed(told, genotype)
            else:
                trial = Trial(told, genotype, Completed({}), costs)
            optimizer.tell(trial)
            events.append(Told(trial))
    assert in_flight or optimizer.stop_reason() or optimizer.ask(number) is not None
    replay(build(case, genes, 2), events)
