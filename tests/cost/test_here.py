"""Which device times are for where none is named, and what is measured of a processor."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from evomerge.cost import here, probe
from evomerge.cost.devices import DEVICES, known_device
from evomerge.cost.here import device_here
from evomerge.cost.probe import measured_processor
from evomerge.study.workers_config import WorkersConfig


def study(dtype="bfloat16", **workers):
    config = SimpleNamespace(workers=WorkersConfig(**workers))
    return SimpleNamespace(config=config, context=SimpleNamespace(dtype=dtype))


@pytest.fixture
def gpu(monkeypatch):
    """A machine with GPUs of any name."""

    def put(*names, memory=85_017_493_504):
        def properties(device):
            return SimpleNamespace(name=names[device.index or 0], total_memory=memory)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
        monkeypatch.setattr(here, "resolve_device", lambda name: name.replace("auto", "cuda"))
        monkeypatch.setattr(here, "measured_processor", None)

    return put


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_a_processor_is_measured_in_the_dtype_of_the_study(dtype):
    before = torch.get_num_threads()
    found = measured_processor(dtype, 1)
    assert torch.get_num_threads() == before
    assert found.measured == dtype
    assert 0 < found.flops(dtype) < math.inf
    assert 0 < found.bandwidth < math.inf


@pytest.mark.parametrize(("seconds", "side"), [(0.01, 1024), (0.06, 64)])
def test_figures_are_those_of_the_largest_product_that_is_not_slow(monkeypatch, seconds, side):
    monkeypatch.setattr(probe, "_best", lambda work, budget_s: seconds)
    found = measured_processor("float32", 1)
    assert found.flops("float32") == pytest.approx(2 * side**3 / seconds)
    # 64 MiB are read and 64 MiB written
    assert found.bandwidth * 1e9 == pytest.approx(2 * 2**26 / seconds)


def test_workers_on_the_cpu_have_its_times_with_their_threads(monkeypatch):
    asked = []

    def measured(dtype, threads):
        asked.append((dtype, threads))
        return probe.Device(probe.PROCESSOR, 0.0512, 0.0512, 12.34, None, measured=dtype)

    monkeypatch.setattr(here, "measured_processor", measured)
    taken = device_here(study("float32", device="cpu", threads=3))
    assert asked == [("float32", 3)]
    assert taken.how == (
        "this machine's processor, measured with 3 threads: 51.2 GFLOP/s in float32, 12.3 GB/s"
    )


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("Tesla T4", None),
    ],
)
def test_a_gpu_is_known_by_the_whole_of_its_name(called, name):
    assert known_device(called) == (None if name is None else DEVICES[name])


def test_a_known_gpu_is_taken_with_the_memory_it_has(gpu):
    gpu("NVIDIA H100 80GB HBM3")
    taken = device_here(study())
    assert taken.device is not None
    assert taken.device.flops("bfloat16") == 989e12
    assert taken.device.memory == pytest.approx(85.017493504)
    assert taken.how == "h100, the GPU here (NVIDIA H100 80GB HBM3)"


def test_it_is_the_one_that_workers_use(gpu):
    gpu("Tesla T4", "NVIDIA H200")
    taken = device_here(study(device="cuda:1"))
    assert taken.device is not None
    assert taken.device.name == "h200"


def test_a_gpu_without_figures_is_named_and_none_is_taken_for_it(gpu):
    gpu("Tesla T4")
    taken = device_here(study())
    assert taken.device is None
    assert taken.how.startswith("no times: the GPU here, Tesla T4, is none of a100, ")
    assert taken.how.endswith("name one: --device h100, or --device-tflops and --bandwidth")


@pytest.mark.parametrize(
    ("dtype", "workers", "words"),
    [
        ("float64", {}, "no times: no figures are kept of h200 for float64 models"),
        ("float32", {"backend": "ray"}, "no times: what devices the cluster has is not asked"),
        ("float32", {"device": "mps"}, "no times: no figures are kept of device 'mps'"),
    ],
)
def test_what_is_not_known_gives_no_times(gpu, dtype, workers, words):
    gpu("NVIDIA H200")
    taken = device_here(study(dtype, **workers))
    assert taken.device is None
    assert taken.how.startswith(words)


def test_models_that_are_elsewhere_run_elsewhere(gpu):
    gpu("NVIDIA H200")
    taken = device_here(study(), SimpleNamespace(used={"base": None}))
    assert taken.device is None
    assert taken.how.startswith("no times: models are not here")
