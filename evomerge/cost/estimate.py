"""How long a search takes and how much memory a worker needs: from sizes and a device's figures.

Every figure is a range between two sets of stated assumptions. Nothing is measured here; a device's
figures may have been.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evomerge.cost.candidate import Candidate
from evomerge.cost.devices import Device
from evomerge.cost.forward import (
    Forward,
    Phase,
    Workload,
    forward,
    peak_activation_bytes,
    peak_cache_bytes,
)

GB = 1e9


@dataclass(frozen=True, slots=True)
class Utilisation:
    """What share of a device's peak figures is reached.

    Attributes:
        arithmetic: of the peak operations, while much is computed at once.
        bandwidth: of the memory's.
        merging: of the memory's, while weights are merged: conversions and arithmetic beside moves.
        launch_s: seconds Python and the driver take for one layer of one forward pass; a pass
            never takes less.
        host: bytes a second from the host's memory, where the donors' files are mapped.
    """

    arithmetic: float
    bandwidth: float
    merging: float
    launch_s: float
    host: float


FAST = Utilisation(arithmetic=0.6, bandwidth=0.8, merging=0.8, launch_s=0.0002, host=25 * GB)
SLOW = Utilisation(arithmetic=0.3, bandwidth=0.4, merging=0.4, launch_s=0.001, host=5 * GB)
# Seen on two cores without 16-bit arithmetic: models with layers 128 to 1024 wide read with 24 % to
# 86 % of the fastest product, and merge with 5 % to 15 % of the bandwidth of a copy.
FAST_MEASURED = replace(FAST, arithmetic=0.9, merging=0.15, host=math.inf)
SLOW_MEASURED = replace(SLOW, arithmetic=0.3, merging=0.05, host=math.inf)


def utilisations(device: Device) -> tuple[Utilisation, Utilisation]:
    """Return the favourable and the unfavourable assumptions for a device.

    Of a measured processor the figures are no peaks, but what a product and a copy reached; its
    memory is the host's.
    """
    return (FAST_MEASURED, SLOW_MEASURED) if device.measured else (FAST, SLOW)


@dataclass(frozen=True, slots=True)
class Span:
    """A range: a figure under favourable and under unfavourable assumptions."""

    low: float
    high: float

    def times(self, count: float) -> Span:
        """Scale both ends."""
        return Span(self.low * count, self.high * count)

    def plus(self, other: Span) -> Span:
        """Add both ends."""
        return Span(self.low + other.low, self.high + other.high)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a worker holds on its device, in bytes.

    Attributes:
        weights: of the model that is scored, or of all donors of a layer path.
        engine_cache: donors' tensors kept between merges.
        workspace: of one merged tensor: its inputs and the result in fp32.
        kv_cache: of the largest batch, at its longest.
        prefix_cache: hidden states kept for paths that begin alike, at most.
        activations: of one layer and the logits.
    """

    weights: int
    engine_cache: int = 0
    workspace: int = 0
    kv_cache: int = 0
    prefix_cache: int = 0
    activations: int = 0

    @property
    def total(self) -> int:
        """All of it together."""
        return (
            self.weights
            + self.engine_cache
            + self.workspace
            + self.kv_cache
            + self.prefix_cache
            + self.activations
        )


def worker_memory(
    candidate: Candidate,
    workloads: Sequence[Workload],
    *,
    engine_cache: int = 0,
    prefix_cache: int = 0,
) -> Memory:
    """Add up what a worker holds.

    Args:
        candidate: the largest one.
        workloads: of all objectives.
        engine_cache: the engine's limit in bytes; 0 where nothing is copied to a device.
        prefix_cache: limit of the cache of common prefixes in bytes.
    """
    shape = candidate.shape
    largest = max(shape.head, *(shape.hidden * layer.inner for layer in shape.layers))
    return Memory(
        weights=candidate.resident,
        engine_cache=min(engine_cache, candidate.read),
        workspace=4 * largest * (candidate.inputs + 1) if candidate.written else 0,
        kv_cache=peak_cache_bytes(shape, workloads),
        prefix_cache=prefix_cache if candidate.path else 0,
        activations=peak_activation_bytes(shape, workloads),
    )


def phase_seconds(phase: Phase, hops: int, device: Device, dtype: str, use: Utilisation) -> float:
    """Return how long forward passes take: the slowest of arithmetic, memory and launches.

    The roofline of Williams et al. 2009 (doi:10.1145/1498765.1498785), with the launches of
    eagerly run kernels as a floor.
    """
    if not phase.passes:
        return 0.0
    return max(
        phase.flops / (device.flops(dtype) * use.arithmetic),
        phase.bytes / (device.bandwidth * GB * use.bandwidth),
        phase.passes * hops * use.launch_s,
    )


def forward_seconds(
    work: Forward, hops: int, device: Device, dtype: str, use: Utilisation
) -> float:
    """Return how long one scoring takes."""
    return phase_seconds(work.reading, hops, device, dtype, use) + phase_seconds(
        work.writing, hops, device, dtype, use
    )


def merge_seconds(
    candidate: Candidate, device: Device, use: Utilisation, *, engine_cache: int = 0
) -> float:
    """Return how long merging takes at least: moving inputs to the device and results in place."""
    from_host = max(0, candidate.read - engine_cache)
    moved = candidate.read + candidate.written
    return from_host / use.host + moved / (device.bandwidth * GB * use.merging)


def scoring(candidate: Candidate, workloads: Sequence[Workload], *, stragglers: bool) -> Forward:
    """Count the forward passes over all objectives."""
    total = Forward()
    for workload in workloads:
        total += forward(candidate.shape, workload, stragglers=stragglers)
    return total


def candidate_seconds(
    first: Candidate,
    largest: Candidate,
    workloads: Sequence[Workload],
    device: Device,
    *,
    engine_cache: int = 0,
) -> Span:
    """Return how long one candidate takes, merging included.

    Args:
        first: the candidate a search starts with; the low end.
        largest: the costliest the space allows; the high end, with answers of which half of
            each batch goes on to the most tokens.
        workloads: of all objectives.
        device: where it runs.
        engine_cache: bytes of inputs that stay on the device.
    """
    ends = []
    fast, slow = utilisations(device)
    for one, use, stragglers in ((first, fast, False), (largest, slow, True)):
        work = scoring(one, workloads, stragglers=stragglers)
        hops = len(one.shape.layers)
        ends.append(
            forward_seconds(work, hops, device, one.shape.dtype, use)
            + merge_seconds(one, device, use, engine_cache=engine_cache)
        )
    return Span(*ends)
