"""What fits and what does not, worked out by hand for models that are not here."""

from types import SimpleNamespace

import pytest

from evomerge.cost.estimate import FAST, SLOW, Memory
from evomerge.cost.resources import Machine, resource_lines, resources, this_machine
from evomerge.study.workers_config import WorkersConfig

GB = 10**9
# 140 GB of weights: 70 billion in 16 bits; base and two donors
MEMORY = Memory(
    weights=140 * GB, engine_cache=2 * GB, workspace=4 * GB, kv_cache=20 * GB, activations=4 * GB
)


def estimate(memory=MEMORY, *, seen=True, device=None):
    shape = SimpleNamespace(bytes=140 * GB)
    work = SimpleNamespace(reading=SimpleNamespace(passes=10), writing=SimpleNamespace(passes=90))
    stage = SimpleNamespace(
        memory=memory,
        low=work,
        high=work,
        exported=(None, SimpleNamespace(export_bytes=140 * GB)),
    )
    return SimpleNamespace(
        stages=(stage,),
        final_memory=None,
        models=(SimpleNamespace(shape=shape, seen=seen),) * 3,
        device=device,
    )


def found(machine, **workers):
    study = SimpleNamespace(config=SimpleNamespace(workers=WorkersConfig(**workers)))
    return resources(study, estimate(), machine)


def only(warnings):
    (warning,) = warnings
    return warning


ROOMY = {"memory": 2000 * GB, "temporary": 2000 * GB, "here": 2000 * GB}


def test_a_model_on_one_device_needs_all_of_it():
    needed = found(Machine(device=80 * GB, **ROOMY))
    assert needed.device == MEMORY.total == 170 * GB
    assert needed.files == 420 * GB
    assert only(needed.warnings).startswith("a device needs 170 GB and has 80 GB")


def test_several_devices_share_weights_and_caches_and_nothing_else():
    needed = found(Machine(device=80 * GB, **ROOMY), gpus_per_worker=4)
    assert needed.device == (140 + 20) * GB // 4 + (2 + 4 + 4) * GB
    assert needed.warnings == ()
    assert "  spread      50 GB on each of 4 devices" in resource_lines(needed)


@pytest.mark.parametrize(("offload", "main", "temporary"), [("cpu", 24, 0), ("disk", 0, 24)])
def test_what_fits_on_no_device_is_counted_where_it_stays(offload, main, temporary):
    machine = Machine(device=80 * GB, **ROOMY)
    needed = found(machine, count=2, gpus_per_worker=2, offload=offload, device_memory="64GB")
    assert needed.offloaded == 12 * GB  # 140 less 2 x 64
    assert needed.main == main * GB
    assert needed.temporary == temporary * GB
    # 100 passes of 12 GB, at 25 and at 5 GB/s
    assert needed.transfer.low == pytest.approx(100 * 12e9 / FAST.host) == pytest.approx(48.0)
    assert needed.transfer.high == pytest.approx(100 * 12e9 / SLOW.host)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        ({"memory": 300 * GB}, "model files of 420 GB do not stay in the main memory of 300 GB"),
        ({"temporary": 5 * GB}, "offloaded weights need 12 GB in"),
        ({"here": 100 * GB}, "an export takes 140 GB and 100 GB are free here"),
    ],
)
def test_what_does_not_fit_is_said(machine, words):
    there = Machine(**{"device": 80 * GB, **ROOMY, **machine})
    needed = found(there, gpus_per_worker=2, offload="disk", device_memory="64GB")
    warnings = [one for one in needed.warnings if not one.startswith("a device needs")]
    assert only(warnings).startswith(words)
    assert f"  WARNING     {only(warnings)}" in resource_lines(needed)


def test_on_the_cpu_workers_hold_everything_but_copies_of_files():
    needed = found(Machine(memory=500 * GB, temporary=GB, here=2000 * GB), count=4, device="cpu")
    assert needed.device == 0
    assert needed.main == 4 * 168 * GB
    assert only(needed.warnings).startswith("workers need 672 GB of main memory")


def test_of_another_machine_only_the_device_is_judged():
    study = SimpleNamespace(config=SimpleNamespace(workers=WorkersConfig()))
    needed = resources(study, estimate(seen=False), Machine(device=80 * GB, memory=GB, here=GB))
    assert only(needed.warnings).startswith("a device needs")
    named = estimate(device=SimpleNamespace(memory=80))
    assert this_machine(named, WorkersConfig(backend="ray", address="auto")) == Machine(80 * GB)
