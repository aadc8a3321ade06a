"""A study in miniature: asks, simulated workers that finish in any order, tells, and the replay."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from evomerge.optimizers.protocol import Optimizer, Proposal
from evomerge.types import Genotype, Trial


@dataclass(frozen=True, slots=True)
class Asked:
    """An ask and its answer; None is recorded too."""

    number: int
    proposal: Proposal | None


@dataclass(frozen=True, slots=True)
class Told:
    """A tell."""

    trial: Trial


Event: TypeAlias = Asked | Told


class Scores(Protocol):
    """What evaluates the candidates of a simulated search."""

    def completed(self, number: int, genotype: Genotype) -> Trial:
        """Evaluate a genotype."""
        ...

    def failed(self, number: int, genotype: Genotype) -> Trial:
        """Fail a genotype."""
        ...


def drive(
    optimizer: Optimizer,
    problem: Scores,
    n_trials: int,
    *,
    workers: int = 1,
    order_seed: int = 0,
    failure_rate: float = 0.0,
    asks_when_none: int = 1,
) -> list[Event]:
    """Run a search and record every event, in order.

    Args:
        optimizer: fresh.
        problem: what is searched.
        n_trials: how many trials are asked for.
        workers: trials in flight at a time; a random one of them finishes first.
        order_seed: of the order of completion and of the failures.
        failure_rate: share of trials that fail.
        asks_when_none: how often the same ask is repeated while the optimizer waits.

    Raises:
        AssertionError: the optimizer waits while nothing is in flight, or proposes although its
            search is over.
    """
    order = random.Random(order_seed)  # noqa: S311  # a simulation, not cryptography
    events: list[Event] = []
    in_flight: list[Proposal] = []
    numbers: list[int] = []
    asked = 0
    while True:
        while len(in_flight) < workers and asked < n_trials:
            over = optimizer.stop_reason() is not None
            proposal = optimizer.ask(asked)
            events.append(Asked(asked, proposal))
            if proposal is None:
                if not in_flight and not over:
                    raise AssertionError(f"trial {asked}: waits while nothing is in flight")
                for _ in range(asks_when_none - 1):
                    events.append(Asked(asked, optimizer.ask(asked)))
                break
            if over:
                raise AssertionError(f"trial {asked}: proposed although the search is over")
            in_flight.append(proposal)
            numbers.append(asked)
            asked += 1
        if not in_flight:
            return events
        index = order.randrange(len(in_flight))
        proposal, number = in_flight.pop(index), numbers.pop(index)
        if order.random() < failure_rate:
            trial = problem.failed(number, proposal.genotype)
        else:
            trial = problem.completed(number, proposal.genotype)
        optimizer.tell(trial)
        events.append(Told(trial))


def replay(optimizer: Optimizer, events: Sequence[Event]) -> None:
    """Run the recorded sequence again on a fresh optimizer.

    Raises:
        AssertionError: it answers an ask with something else than was recorded.
    """
    for position, event in enumerate(events):
        if isinstance(event, Told):
            optimizer.tell(event.trial)
            continue
        proposal = optimizer.ask(event.number)
        if proposal != event.proposal:
            raise AssertionError(
                f"event {position}, trial {event.number}: recorded {event.proposal}, "
                f"replayed {proposal}"
            )


def proposals(events: Sequence[Event]) -> list[Proposal]:
    """Return what was proposed, in order."""
    return [e.proposal for e in events if isinstance(e, Asked) and e.proposal is not None]


def trials(events: Sequence[Event]) -> list[Trial]:
    """Return what was told, in order."""
    return [event.trial for event in events if isinstance(event, Told)]
