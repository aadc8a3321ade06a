"""What this machine's processor does, measured: products of matrices, and copies in memory.

About a second, with the threads of one worker. The best of several tries counts: other programs
slow some of them down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch.nn.functional import linear

from evomerge.cost.devices import Device
from evomerge.merging.plan import DTYPES

PROCESSOR = "this machine's processor"
BUDGET_S = 0.4
"""Seconds for each of the two measurements, begun tries left to end."""
LONGEST_S = 0.05
"""No larger product is tried once one takes so long."""
_SIDES = (64, 128, 256, 512, 1024)
_COPIED_BYTES = 64 << 20  # twice: far more than caches hold


def measured_processor(dtype: str, threads: int) -> Device:
    """Measure the processor with so many threads.

    Args:
        dtype: of the weights, by torch's name: products are as fast as the processor has
            instructions for it.
        threads: of one worker.

    Returns:
        A device with the operations a second of the fastest square product (a multiply-add is
        two), and bytes read and written a second by a copy.
    """
    with _threads(threads), torch.inference_mode():
        flops = _products(DTYPES[dtype])
        bandwidth = _copies()
    tflops = flops / 1e12
    return Device(PROCESSOR, tflops, tflops, bandwidth / 1e9, None, measured=dtype)


def _products(dtype: torch.dtype) -> float:
    """Return operations a second; from small products to large, for some dtypes are slow."""
    fastest = 0.0
    for side in _SIDES:
        one, other = (torch.ones(side, side, dtype=dtype) for _ in range(2))
        # as layers multiply: in 16 bits `one @ other` may take several times as long
        seconds = _best(partial(linear, one, other), BUDGET_S / len(_SIDES))
        fastest = max(fastest, 2 * side**3 / seconds)
        if seconds > LONGEST_S:
            break
    return fastest


def _copies() -> float:
    source = torch.ones(_COPIED_BYTES // 4)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best(lambda: target.copy_(source), BUDGET_S)


def _best(work: Callable[[], object], budget_s: float) -> float:
    """Return the fewest seconds that some work took, after a first time that does not count."""
    work()
    best, end = float("inf"), time.perf_counter() + budget_s
    while True:
        started = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - started)
        if now >= end:
            return best


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
