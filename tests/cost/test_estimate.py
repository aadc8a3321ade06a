"""Times and memory against figures worked out by hand."""

from __future__ import annotations

import pytest

from evomerge.cost.candidate import Candidate
from evomerge.cost.devices import DEVICES, Device, find_device
from evomerge.cost.estimate import (
    FAST,
    SLOW,
    Span,
    Utilisation,
    candidate_seconds,
    merge_seconds,
    phase_seconds,
    worker_memory,
)
from evomerge.cost.forward import Phase, Workload
from evomerge.cost.shape import LayerShape, ModelShape
from evomerge.errors import UserError

DEVICE = Device("x", tflops=100, tflops_fp32=10, bandwidth=1000, memory=80)
USE = Utilisation(arithmetic=0.5, bandwidth=0.5, merging=0.5, launch_s=0.001, host=10e9)
# 7 billion weights in the layers, 16 bit, 8 of 32 heads of 128 cached: about Mistral's
LAYER = LayerShape(218_112_000, 218_103_808, query=4096, cached=2048, inner=28672)
SHAPE = ModelShape("mistral", (LAYER,) * 32, 4096, 32000, 131_072_000, 4096, False, "bfloat16")


@pytest.mark.parametrize(
    ("phase", "seconds"),
    [
        (Phase(1e14, 1, 1), 2.0),  # 10^14 at 50 % of 10^14 a second
        (Phase(1, 1e12, 1), 2.0),  # 10^12 bytes at 50 % of 10^12 a second
        (Phase(1, 1, 100), 3.2),  # 100 passes of 32 layers, 1 ms each
        (Phase(), 0.0),
    ],
)
def test_the_slowest_of_arithmetic_memory_and_launches_counts(phase, seconds):
    assert phase_seconds(phase, 32, DEVICE, "bfloat16", USE) == pytest.approx(seconds)


def test_fp32_models_run_without_tensor_cores():
    phase = Phase(1e14, 1, 1)
    assert phase_seconds(phase, 32, DEVICE, "float32", USE) == pytest.approx(20.0)
    with pytest.raises(UserError, match="no figures for float64"):
        phase_seconds(phase, 32, DEVICE, "float64", USE)


def test_merging_waits_for_what_the_device_does_not_keep():
    one = Candidate(SHAPE, 4, read=40_000_000_000, written=10_000_000_000, resident=0, path=False)
    # 30 GB from the host at 10 GB/s, 50 GB within the device at 500 GB/s
    found = merge_seconds(one, DEVICE, USE, engine_cache=10_000_000_000)
    assert found == pytest.approx(3.1)


def test_the_low_end_is_below_the_high_end_and_scales():
    one = Candidate(SHAPE, 0, read=0, written=0, resident=SHAPE.bytes, path=False)
    work = [Workload("x", (200,) * 128, new_tokens=100, typical=50)]
    span = candidate_seconds(one, one, work, DEVICE)
    assert 0 < span.low < span.high
    assert span.times(3) == Span(3 * span.low, 3 * span.high)
    assert FAST.arithmetic > SLOW.arithmetic


def test_memory_of_a_worker_by_hand():
    one = Candidate(SHAPE, 3, 3 * SHAPE.bytes, SHAPE.bytes, SHAPE.bytes, path=False)
    memory = worker_memory(
        one, [Workload("x", (100,) * 70, new_tokens=25)], engine_cache=2 << 30, prefix_cache=1 << 30
    )
    assert memory.weights == 14_483_464_192
    assert memory.engine_cache == 2 << 30
    # 64 rows, 124 tokens in the cache, 32 layers of 2048 numbers, 2 bytes each
    assert memory.kv_cache == 64 * 124 * 32 * 2048 * 2
    # embeddings of 32000 x 4096 are the largest tensor: three inputs and the result in fp32
    assert memory.workspace == 4 * 131_072_000 * 4
    assert memory.prefix_cache == 0
    assert memory.total == sum(
        (memory.weights, memory.engine_cache, memory.workspace, memory.kv_cache, memory.activations)
    )


def test_devices_are_found_by_name_or_by_figures():
    assert find_device(None) is None
    assert find_device("h100") == DEVICES["h100"]
    given = find_device(None, 50, 900)
    assert given is not None
    assert (given.tflops, given.bandwidth, given.memory) == (50, 900, None)
    slower = find_device("h100", bandwidth=2000)
    assert slower is not None
    assert (slower.tflops, slower.bandwidth) == (989, 2000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("h1000",), "did you mean 'h100'"),
        ((None, 50.0), "give --device-tflops and --bandwidth together"),
        (("h100", 0.0), "--device-tflops 0: give a positive number"),
        (("h100", None, float("nan")), "--bandwidth nan: give a positive number"),
    ],
)
def test_a_device_that_means_nothing_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        find_device(*arguments)
