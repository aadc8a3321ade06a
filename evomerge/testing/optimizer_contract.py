"""The contract of `evomerge.optimizers.protocol` as tests that any optimizer can be put through.

In a plug-in's test suite:

    SUBJECT = Subject("mine", lambda domain, n_objectives, seed: Mine(domain, n_objectives, seed))

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(SUBJECT)

Each check raises AssertionError with what was expected and what was seen.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from evomerge.optimizers.protocol import Optimizer, Proposal
from evomerge.spaces.domain import Domain, GeneKind
from evomerge.testing.problems import (
    Problem,
    conditional_domain,
    constant,
    continuous_domain,
    integer_domain,
    mixed_domain,
    sphere,
)
from evomerge.testing.simulation import Asked, drive, proposals, replay
from evomerge.types import Genotype, Trial


@dataclass(frozen=True, slots=True)
class Subject:
    """An optimizer under test.

    Attributes:
        name: for messages.
        build: (domain, n_objectives, seed) to a fresh optimizer; its seeds come first.
        n_trials: length of each simulated search; a few generations.
        dimensions: numbers of genes it is tried with.
        kinds: kinds of genes it can vary; without 'categorical' it is spared unordered choices.
        generational: it waits for whole generations, whose order of tells does not matter.
        n_objectives: numbers of objectives, subject to what the optimizer says it needs.
        domains: further domains that it is tried with.
    """

    name: str
    build: Callable[[Domain, int, int], Optimizer]
    n_trials: int = 60
    dimensions: tuple[int, ...] = (1, 2, 10, 120)
    kinds: frozenset[GeneKind] = field(
        default_factory=lambda: frozenset[GeneKind]({"continuous", "integer", "categorical"})
    )
    generational: bool = False
    n_objectives: tuple[int, ...] = (1, 2, 3)
    domains: tuple[Domain, ...] = ()

    def problems(self) -> list[Problem]:
        """List a problem for each number of objectives, and those of the kinds of genes."""
        counts = self.supported_objectives()
        found = [sphere(continuous_domain(3), count) for count in counts]
        if "categorical" in self.kinds:
            found.append(sphere(mixed_domain(), counts[-1]))
            found.append(sphere(conditional_domain(), counts[-1]))
        elif "integer" in self.kinds:
            found.append(sphere(integer_domain(-3, 4, 3), counts[-1]))
            found.append(sphere(conditional_domain("integer"), counts[-1]))
        return found + [sphere(domain, counts[-1]) for domain in self.domains]

    def supported_objectives(self) -> list[int]:
        """List the numbers of objectives that the optimizer's needs allow."""
        needs = self.build(continuous_domain(2), self.n_objectives[-1], 0).needs.objectives
        least, most = {"any": (1, 99), "one": (1, 1), "two": (2, 2), "many": (2, 99)}[needs]
        return [count for count in self.n_objectives if least <= count <= most]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def replay_is_exact(subject: Subject) -> None:
    """Replay a recorded sequence on a fresh optimizer: same proposals, to the last bit."""
    for problem in subject.problems():
        build = _builder(subject, problem)
        events = drive(
            build(3), problem, subject.n_trials, workers=4, order_seed=1, failure_rate=0.2
        )
        replay(build(3), events)


def seed_matters(subject: Subject) -> None:
    """Expect another seed to search elsewhere."""
    problem = subject.problems()[0]
    runs = [
        proposals(drive(_builder(subject, problem)(seed), problem, subject.n_trials))
        for seed in (1, 2)
    ]
    _require(runs[0] != runs[1], f"{subject.name}: seeds 1 and 2 propose the same")


def known_points_come_first(subject: Subject) -> None:
    """Expect the domain's seeds in order, then its initial point, exactly as given."""
    for problem in subject.problems():
        domain = problem.domain
        expected = [*(seed.genotype for seed in domain.seeds), domain.initial]
        run = proposals(drive(_builder(subject, problem)(0), problem, len(expected)))
        seen = [proposal.genotype for proposal in run]
        _require(seen == expected, f"{subject.name}: expected {expected} first, got {seen}")
        origins = [proposal.origin for proposal in run]
        wanted = [f"seed:{seed.name}" for seed in domain.seeds]
        _require(
            origins[: len(wanted)] == wanted, f"{subject.name}: expected {wanted}, got {origins}"
        )


def proposals_are_plain_and_inside(subject: Subject) -> None:
    """Expect floats, ints and strings within bounds, canonical, that survive JSON unchanged."""
    for problem in subject.problems():
        for proposal in proposals(
            drive(_builder(subject, problem)(5), problem, subject.n_trials, workers=3)
        ):
            _check_genotype(subject, problem.domain, proposal)


def every_dimension_runs(subject: Subject) -> None:
    """Search from one gene to many, with each number of objectives that is supported."""
    for n_genes in subject.dimensions:
        for count in subject.supported_objectives():
            problem = sphere(continuous_domain(n_genes), count)
            run = proposals(
                drive(_builder(subject, problem)(0), problem, subject.n_trials, workers=2)
            )
            _require(
                len(run) == subject.n_trials,
                f"{subject.name}: {len(run)} proposals of {subject.n_trials} in {problem.name}",
            )
            for proposal in run:
                _check_genotype(subject, problem.domain, proposal)


def asking_in_vain_changes_nothing(subject: Subject) -> None:
    """Repeat asks that got None; the search must go on as if they had not been made."""
    for problem in subject.problems():
        build = _builder(subject, problem)
        once, often = (
            drive(
                build(2), problem, subject.n_trials, workers=5, order_seed=4, asks_when_none=repeats
            )
            for repeats in (1, 4)
        )
        _require(
            proposals(once) == proposals(often), f"{subject.name}: asks that got None left traces"
        )
        answers = {e.number for e in often if isinstance(e, Asked) and e.proposal is None}
        _require(
            build(2).needs.generations == subject.generational,
            f"{subject.name}: needs.generations must say whether it waits for generations",
        )
        if not subject.generational:
            _require(not answers, f"{subject.name}: a steady-state optimizer waited at {answers}")


def order_within_a_generation_is_free(subject: Subject) -> None:
    """Tell a generation forwards and backwards; the next ones must be the same."""
    if not subject.generational:
        return
    problem = subject.problems()[-1]
    runs = []
    for direction in (1, -1):
        optimizer = _builder(subject, problem)(7)
        number, run = 0, []
        for _ in range(4):
            generation: list[tuple[int, Proposal]] = []
            while (proposal := optimizer.ask(number)) is not None:
                generation.append((number, proposal))
                number += 1
            run += [proposal for _, proposal in generation]
            for told, proposal in generation[::direction]:
                trial = problem.failed if told % 5 == 4 else problem.completed
                optimizer.tell(trial(told, proposal.genotype))
        runs.append(run)
    _require(len(runs[0]) > 4, f"{subject.name}: no generation was proposed")
    _require(runs[0] == runs[1], f"{subject.name}: the order of tells changed the proposals")


def failures_are_survived(subject: Subject) -> None:
    """Let half, or all, of the trials fail; the search must go on with valid proposals."""
    for problem in subject.problems():
        for rate in (0.5, 1.0):
            build = _builder(subject, problem)
            events = drive(
                build(1), problem, subject.n_trials, workers=3, order_seed=2, failure_rate=rate
            )
            run = proposals(events)
            _require(len(run) == subject.n_trials, f"{subject.name}: stopped after {len(run)}")
            for proposal in run:
                _check_genotype(subject, problem.domain, proposal)
            replay(build(1), events)


def ties_are_survived(subject: Subject) -> None:
    """Let every candidate cost the same; the search must go on."""
    for count in subject.supported_objectives():
        problem = constant(continuous_domain(3), count)
        run = proposals(drive(_builder(subject, problem)(1), problem, subject.n_trials, workers=3))
        _require(len(run) == subject.n_trials, f"{subject.name}: stopped after {len(run)}")


def extreme_costs_are_survived(subject: Subject) -> None:
    """Tell finite costs of any size; nothing may overflow."""
    sizes = (1e308, -1e308, 5e-324, 0.0, 1e154, -1e16)
    for count in subject.supported_objectives():
        domain = continuous_domain(2)

        def costs(genotype: Genotype, count: int = count) -> tuple[float, ...]:
            start = int(1000 * float(genotype[0]))
            return tuple(sizes[(start + k) % len(sizes)] for k in range(count))

        problem = Problem("extreme", domain, count, costs)
        for proposal in proposals(
            drive(_builder(subject, problem)(1), problem, subject.n_trials, failure_rate=0.2)
        ):
            _check_genotype(subject, domain, proposal)


def equal_genotypes_may_be_in_flight(subject: Subject) -> None:
    """Search a domain of two points; trials must still correlate by number."""
    if "integer" not in subject.kinds:
        return
    domain = integer_domain(0, 1)
    for count in subject.supported_objectives():
        problem = sphere(domain, count)
        events = drive(_builder(subject, problem)(1), problem, 12, workers=4, order_seed=3)
        _require(len(proposals(events)) >= 2, f"{subject.name}: proposed {proposals(events)}")
        replay(_builder(subject, problem)(1), events)


def wrong_tells_are_refused(subject: Subject) -> None:
    """Expect ValueError for unknown, repeated, foreign and non-finite tells, and no trace."""
    problem = subject.problems()[0]
    build = _builder(subject, problem)
    optimizer, untouched = build(9), build(9)
    first = _proposed(optimizer, 0)
    _require(first == _proposed(untouched, 0), f"{subject.name}: unequal from the start")
    good = problem.completed(0, first.genotype)
    elsewhere = tuple(gene.high for gene in problem.domain.genes)
    other = elsewhere if elsewhere != first.genotype else problem.domain.initial
    wrong = {
        "an unknown trial": problem.completed(99, first.genotype),
        "another genotype": problem.completed(0, other),
        "a NaN": _with_costs(good, (math.nan,) * problem.n_objectives),
        "an infinity": _with_costs(good, (math.inf,) * problem.n_objectives),
        "too many costs": _with_costs(good, (1.0,) * (problem.n_objectives + 1)),
    }
    for what, trial in wrong.items():
        _refuses(subject, what, partial(optimizer.tell, trial))
    _refuses(subject, "a trial number asked for twice", partial(optimizer.ask, 0))
    optimizer.tell(good)
    untouched.tell(good)
    _refuses(subject, "a second tell", partial(optimizer.tell, good))
    _refuses(subject, "a trial number asked for after its tell", partial(optimizer.ask, 0))
    for number in range(1, subject.n_trials):
        proposal = _proposed(optimizer, number)
        _require(
            proposal == _proposed(untouched, number),
            f"{subject.name}: refused tells changed trial {number}",
        )
        trial = problem.completed(number, proposal.genotype)
        optimizer.tell(trial)
        untouched.tell(trial)


def global_randomness_is_left_alone(subject: Subject) -> None:
    """Check that the global generators are neither read nor moved."""
    problem = subject.problems()[-1]
    runs = []
    saved = _global_states()
    try:
        for seed in (11, 12):
            random.seed(seed)
            np.random.seed(seed)  # the global generator is what is tested
            before = _global_states()
            events = drive(
                _builder(subject, problem)(1), problem, subject.n_trials, failure_rate=0.1
            )
            runs.append(proposals(events))
            _require(before == _global_states(), f"{subject.name}: moved a global generator")
    finally:
        random.setstate(saved["random"])
        np.random.set_state(saved["numpy"])
    _require(runs[0] == runs[1], f"{subject.name}: proposals depend on a global generator")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    replay_is_exact,
    seed_matters,
    known_points_come_first,
    proposals_are_plain_and_inside,
    every_dimension_runs,
    asking_in_vain_changes_nothing,
    order_within_a_generation_is_free,
    failures_are_survived,
    ties_are_survived,
    extreme_costs_are_survived,
    equal_genotypes_may_be_in_flight,
    wrong_tells_are_refused,
    global_randomness_is_left_alone,
)


def _builder(subject: Subject, problem: Problem) -> Callable[[int], Optimizer]:
    return lambda seed: subject.build(problem.domain, problem.n_objectives, seed)


def _proposed(optimizer: Optimizer, number: int) -> Proposal:
    proposal = optimizer.ask(number)
    if proposal is None:
        raise AssertionError(f"trial {number}: waits while nothing is in flight")
    return proposal


def _check_genotype(subject: Subject, domain: Domain, proposal: Proposal) -> None:
    genotype = proposal.genotype
    where = f"{subject.name}: {proposal}"
    types = {"continuous": float, "integer": int, "categorical": str}
    _require(type(genotype) is tuple and len(genotype) == len(domain), f"{where}: wrong shape")
    for gene, value in zip(domain.genes, genotype, strict=True):
        _require(type(value) is types[gene.kind], f"{where}: {gene.name} is a {type(value)}")
        if isinstance(value, str):
            _require(value in gene.choices, f"{where}: {gene.name} is no choice")
        else:
            _require(gene.low <= value <= gene.high, f"{where}: {gene.name} is out of bounds")
    _require(
        genotype == domain.canonical(genotype),
        f"{where}: a gene without effect is not at its initial value",
    )
    _require(tuple(json.loads(json.dumps(genotype))) == genotype, f"{where}: JSON changes it")


def _with_costs(trial: Trial, costs: tuple[float, ...]) -> Trial:
    """Force costs past the checks of `Trial`, as a faulty caller might."""
    forced = Trial(trial.number, trial.genotype, trial.outcome, trial.costs)
    object.__setattr__(forced, "costs", costs)
    return forced


def _refuses(subject: Subject, what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except ValueError:
        return
    raise AssertionError(f"{subject.name}: accepted {what}; expected ValueError")


def _global_states() -> dict[str, Any]:
    state = np.random.get_state()
    states = {"random": random.getstate(), "numpy": tuple(_hashable(part) for part in state)}
    torch = sys.modules.get("torch")  # only when something else imported it
    if torch is not None:
        states["torch"] = tuple(torch.get_rng_state().tolist())
    return states


def _hashable(part: Any) -> Any:
    return tuple(part.tolist()) if isinstance(part, np.ndarray) else part
