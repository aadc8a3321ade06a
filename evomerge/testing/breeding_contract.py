"""The ask/tell contract for optimizers that breed populations, as tests for any of them.

In a plug-in's test suite:

    SUBJECT = BreedingSubject("mine", lambda domain, n, seed: Mine(domain, n, seed, objectives=...))

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(SUBJECT)

Each check raises AssertionError with what was expected and what was seen.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from evomerge.optimizers.protocol import Optimizer, Proposal
from evomerge.recipe.lineage import Donor, Lineage, Mix
from evomerge.recipe.order import Block, Member, Order
from evomerge.spaces.populations import Breeding, Offspring, VirtualBreeding
from evomerge.spaces.populations.genotypes import is_founder
from evomerge.testing.simulation import Asked, drive, proposals, replay
from evomerge.types import Completed, Failed, Genotype, Objective, Trial

N_EXAMPLES = 8
"""Per-example scores that each objective of a completed trial carries."""


@dataclass(frozen=True, slots=True)
class Litter:
    """Scores that are a pure function of a genotype, with nothing to be learnt in them.

    Attributes:
        n_objectives: how many costs a completed trial carries.
        level: all scores are this, instead of drawn; None draws them.
    """

    n_objectives: int
    level: float | None = None

    def completed(self, number: int, genotype: Genotype) -> Trial:
        """Score an individual; examples are 0 or 1, or the level."""
        digest = hashlib.sha256(json.dumps(genotype).encode()).digest()
        drawn = np.random.default_rng(list(digest)).random((self.n_objectives, N_EXAMPLES))
        scores = (
            (drawn < 0.5).astype(float) if self.level is None else np.full_like(drawn, self.level)
        )
        metrics = {
            one.name: float(row.mean()) for one, row in zip(self.objectives, scores, strict=True)
        }
        examples = {
            one.name: {f"item{i}": float(value) for i, value in enumerate(row)}
            for one, row in zip(self.objectives, scores, strict=True)
        }
        costs = tuple(-value for value in metrics.values())
        return Trial(number, genotype, Completed(metrics, examples), costs)

    def failed(self, number: int, genotype: Genotype) -> Trial:
        """Fail an individual."""
        return Trial(number, genotype, Failed("error", "failed on purpose"), None)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Their names and goals."""
        return tuple(Objective(f"task{k}") for k in range(self.n_objectives))


@dataclass(frozen=True, slots=True)
class BreedingSubject:
    """An optimizer of populations under test.

    Attributes:
        name: for messages.
        build: (domain, n_objectives, seed) to a fresh optimizer told of `Litter`'s objectives.
        n_trials: length of each simulated search.
        n_objectives: numbers of objectives it is tried with.
        waits: it may wait for what is in flight.
    """

    name: str
    build: Callable[[Breeding, int, int], Optimizer]
    n_trials: int = 60
    n_objectives: tuple[int, ...] = (2, 3)
    waits: bool = False


def domain(n_donors: int = 3) -> VirtualBreeding:
    """Return a small population that needs no models: two tensors, linear crossover."""
    order = Order(
        [
            ("first", [Block((Member.whole("a", (4, 3)),), 4)]),
            ("second", [Block((Member.whole("b", (5, 2)),), 5)]),
        ]
    )
    names = [f"donor{k}" for k in range(n_donors)]
    nothing = Mix(inputs=(Donor(donor=0),), ends=(order.size,), weights=((1.0,),))
    template = Lineage(layout="depth", size=order.size, nodes=(nothing,))

    def no_products(*_: object) -> np.ndarray:
        raise AssertionError("linear crossover asked for an angle")

    return VirtualBreeding(
        names,
        {},
        template,
        order,
        operator="linear",
        angle="global",
        granularity="element",
        max_random_vectors=8,
        products=no_products,
    )


def replay_is_exact(subject: BreedingSubject) -> None:
    """Replay a recorded sequence on a fresh optimizer: same offspring, to the last bit."""
    for count in subject.n_objectives:
        litter = Litter(count)
        for workers in (1, 4):
            events = drive(
                subject.build(domain(), count, 3),
                litter,
                subject.n_trials,
                workers=workers,
                order_seed=1,
                failure_rate=0.2,
            )
            replay(subject.build(domain(), count, 3), events)


def seed_matters(subject: BreedingSubject) -> None:
    """Expect another seed to breed others."""
    runs = [_run(subject, seed=seed) for seed in (1, 2)]
    _require(runs[0] != runs[1], f"{subject.name}: seeds 1 and 2 breed the same")


def donors_come_first(subject: BreedingSubject) -> None:
    """Expect the founders in order, under their names."""
    founders = domain().seeds
    run = _run(subject)[: len(founders)]
    wanted = [Proposal(seed.genotype, f"seed:{seed.name}") for seed in founders]
    _require(run == wanted, f"{subject.name}: expected {wanted} first, got {run}")


def offspring_are_plain_and_descend(subject: BreedingSubject) -> None:
    """Expect genotypes that survive JSON, whose parents were proposed before."""
    for count in subject.n_objectives:
        found = drive(subject.build(domain(), count, 5), Litter(count), subject.n_trials, workers=3)
        asked = [event for event in found if isinstance(event, Asked) and event.proposal]
        for event in asked:
            genotype = event.proposal.genotype if event.proposal else ()
            where = f"{subject.name}: trial {event.number} is {genotype}"
            plain = all(type(value) in (int, float, str) for value in genotype)
            _require(plain and tuple(json.loads(json.dumps(genotype))) == genotype, where)
            if not is_founder(genotype):
                parents = Offspring.read(genotype).parents
                _require(all(0 <= one < event.number for one in parents), where)


def workers_are_not_left_idle(subject: BreedingSubject) -> None:
    """Expect an answer to every ask, unless the optimizer says that it may wait."""
    events = drive(subject.build(domain(), 2, 2), Litter(2), subject.n_trials, workers=6)
    waits = sum(isinstance(event, Asked) and event.proposal is None for event in events)
    _require(subject.waits or not waits, f"{subject.name}: waited {waits} times")


def asking_in_vain_changes_nothing(subject: BreedingSubject) -> None:
    """Repeat asks that got None; the search must go on as if they had not been made."""
    once, often = (
        drive(
            subject.build(domain(), 2, 2),
            Litter(2),
            subject.n_trials,
            workers=5,
            order_seed=4,
            asks_when_none=repeats,
        )
        for repeats in (1, 4)
    )
    same = proposals(once) == proposals(often)
    _require(same, f"{subject.name}: asks that got None left traces")


def failures_are_survived(subject: BreedingSubject) -> None:
    """Let half, or all, of the trials fail, the donors among them; the search must go on."""
    for rate in (0.5, 1.0):
        events = drive(
            subject.build(domain(), 2, 1),
            Litter(2),
            subject.n_trials,
            workers=3,
            order_seed=2,
            failure_rate=rate,
        )
        _require(len(proposals(events)) == subject.n_trials, f"{subject.name}: stopped early")
        replay(subject.build(domain(), 2, 1), events)


def ties_are_survived(subject: BreedingSubject) -> None:
    """Let everybody solve everything, or nothing; the search must go on, without a NaN."""
    for level in (0.0, 1.0):
        litter = Litter(2, level)
        optimizer = subject.build(domain(), 2, 1)
        run = proposals(drive(optimizer, litter, subject.n_trials, workers=2))
        if optimizer.stop_reason() is None:
            _require(len(run) == subject.n_trials, f"{subject.name}: stopped after {len(run)}")
        _require("NaN" not in json.dumps([one.genotype for one in run]), f"{subject.name}: NaN")


def wrong_tells_are_refused(subject: BreedingSubject) -> None:
    """Expect ValueError for unknown, repeated and foreign tells, and no trace of them."""
    litter = Litter(2)
    optimizer, untouched = (subject.build(domain(), 2, 9) for _ in range(2))
    first = optimizer.ask(0)
    if first is None or first != untouched.ask(0):
        raise AssertionError(f"{subject.name}: unequal from the start")
    good = litter.completed(0, first.genotype)
    for what, trial in {
        "an unknown trial": litter.completed(99, first.genotype),
        "another genotype": litter.completed(0, ("donor", "nobody")),
    }.items():
        _refuses(subject, what, partial(optimizer.tell, trial))
    optimizer.tell(good)
    untouched.tell(good)
    _refuses(subject, "a second tell", partial(optimizer.tell, good))
    _refuses(subject, "a trial number asked for twice", partial(optimizer.ask, 0))
    for number in range(1, subject.n_trials):
        proposal, other = optimizer.ask(number), untouched.ask(number)
        _require(proposal == other, f"{subject.name}: refused tells changed trial {number}")
        if proposal is None:
            break
        trial = litter.completed(number, proposal.genotype)
        optimizer.tell(trial)
        untouched.tell(trial)


def global_randomness_is_left_alone(subject: BreedingSubject) -> None:
    """Check that the global generators are neither read nor moved."""
    saved = random.getstate(), np.random.get_state(legacy=True)
    runs = []
    try:
        for seed in (11, 12):
            random.seed(seed)
            np.random.seed(seed)  # the global generator is what is tested
            before = repr((random.getstate(), np.random.get_state(legacy=True)))
            runs.append(_run(subject))
            after = repr((random.getstate(), np.random.get_state(legacy=True)))
            _require(before == after, f"{subject.name}: moved a global generator")
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])
    _require(runs[0] == runs[1], f"{subject.name}: depends on a global generator")


CHECKS: tuple[Callable[[BreedingSubject], None], ...] = (
    replay_is_exact,
    seed_matters,
    donors_come_first,
    offspring_are_plain_and_descend,
    workers_are_not_left_idle,
    asking_in_vain_changes_nothing,
    failures_are_survived,
    ties_are_survived,
    wrong_tells_are_refused,
    global_randomness_is_left_alone,
)


def _run(subject: BreedingSubject, seed: int = 0) -> list[Proposal]:
    count = subject.n_objectives[0]
    return proposals(drive(subject.build(domain(), count, seed), Litter(count), subject.n_trials))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _refuses(subject: BreedingSubject, what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except ValueError:
        return
    raise AssertionError(f"{subject.name}: accepted {what}; expected ValueError")
