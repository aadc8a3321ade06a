"""What a candidate asks for on average, where rungs let only some go on to more items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evomerge.cost.candidate import Candidate
from evomerge.cost.devices import Device
from evomerge.cost.estimate import Span, candidate_seconds, scoring
from evomerge.cost.forward import Forward, Workload
from evomerge.study.rungs.visits import Visit


@dataclass(frozen=True, slots=True)
class Round:
    """One scoring: a merge, and forward passes over some items.

    Attributes:
        share: of the candidates that come to it.
        workloads: the forward passes, by objective.
    """

    share: float
    workloads: tuple[Workload, ...]


def rounds_of(
    visits: Sequence[Visit],
    items: Mapping[str, int],
    workloads: Sequence[Workload],
    proxies: Sequence[Workload],
) -> tuple[Round, ...]:
    """Return what candidates are scored on, rung by rung.

    Args:
        visits: who is scored at which rung.
        items: objective name to the number of its search items.
        workloads: over all of these.
        proxies: the same by the objectives' proxies.
    """
    return tuple(
        Round(
            visit.share,
            tuple(
                work.portion(visit.items[work.name] / items[work.name])
                for work in (proxies if visit.proxy else workloads)
                if visit.items.get(work.name)
            ),
        )
        for visit in visits
    )


def expected_seconds(
    rounds: Sequence[Round],
    first: Candidate,
    largest: Candidate,
    device: Device,
    *,
    engine_cache: int,
) -> Span:
    """Return how long a candidate takes on average; who climbs is merged anew for each rung."""
    total = Span(0.0, 0.0)
    for one in rounds:
        span = candidate_seconds(first, largest, one.workloads, device, engine_cache=engine_cache)
        total = total.plus(span.times(one.share))
    return total


def expected_scoring(rounds: Sequence[Round], candidate: Candidate, *, stragglers: bool) -> Forward:
    """Count the forward passes of a candidate on average."""
    total = Forward()
    for one in rounds:
        total += scoring(candidate, one.workloads, stragglers=stragglers).times(one.share)
    return total
