"""What fits and what does not, worked out by hand for models that are not here."""

from types import SimpleNamespace

import pytest

from evomerge import zoo
from evomerge.cost import estimate_study
from evomerge.cost.estimate import FAST, SLOW, Memory, Span
from evomerge.cost.records import Records
from evomerge.cost.resources import Machine, resource_lines, resources, this_machine
from evomerge.study import load_study, prepare
from evomerge.study.workers_config import WorkersConfig

GB = 10**9
# 140 GB of weights: 70 billion in 16 bits; base and two donors
MEMORY = Memory(
    weights=140 * GB, engine_cache=2 * GB, workspace=4 * GB, kv_cache=20 * GB, activations=4 * GB
)
# a kilobyte of journal and four to eight of scores for each of a million trials
RECORDS = Records(Span(10**6, 10**6), 1000.0, Span(4000.0, 8000.0), Span(0.0, 0.0))


def estimate(memory=MEMORY, *, seen=True, device=None, records=RECORDS):
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
        records=records,
    )


def study(**workers):
    return SimpleNamespace(config=SimpleNamespace(workers=WorkersConfig(**workers)))


def found(machine, **workers):
    return resources(study(**workers), estimate(), machine)


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
    assert "  spread      50 GB on each of 4 devices" in resource_lines(needed, RECORDS)


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
        (
            {"here": 145 * GB},
            "an export takes 140 GB beside a run of 9 GB and 145 GB are free here",
        ),
        ({"here": 5 * GB}, "the run takes 9 GB and 5 GB are free where it is written"),
    ],
)
def test_what_does_not_fit_is_said(machine, words):
    there = Machine(**{"device": 80 * GB, **ROOMY, **machine})
    needed = found(there, gpus_per_worker=2, offload="disk", device_memory="64GB")
    warnings = [one for one in needed.warnings if not one.startswith("a device needs")]
    assert only(warnings).startswith(words)
    assert f"  WARNING     {only(warnings)}" in resource_lines(needed, RECORDS)


def test_on_the_cpu_workers_hold_everything_but_copies_of_files():
    needed = found(Machine(memory=500 * GB, temporary=GB, here=2000 * GB), count=4, device="cpu")
    assert needed.device == 0
    assert needed.main == 4 * 168 * GB
    assert only(needed.warnings).startswith("workers need 672 GB of main memory")


@pytest.mark.parametrize(
    ("trials", "line"),
    [
        (Span(10**6, 10**6), "the run 5 GB to 9 GB for 1,000,000 trials: 1 kB of journal and "),
        (Span(50, 100), "the run 250 kB to 900 kB for 50 to 100 trials: 1 kB of journal and "),
        (None, "the run 5 MB to 9 MB for 1,000 trials, of which the study does not say how many"),
    ],
)
def test_what_a_run_records_is_said_for_as_many_trials_as_it_has(trials, line):
    records = Records(trials, 1000.0, Span(4000.0, 8000.0), Span(0.0, 0.0))
    needed = resources(study(), estimate(records=records), Machine(here=150 * GB))
    (shown,) = [one for one in resource_lines(needed, records) if "the run" in one]
    assert shown.startswith(f"  disk        {line}")
    assert shown.endswith("4 kB to 8 kB of item scores for each")
    assert needed.warnings == ()


def test_nodes_that_do_not_see_the_models_copy_them():
    away = {"backend": "ray", "address": "auto"}
    needed = resources(study(**away), estimate(seen=False), Machine())
    assert needed.copies == 420 * GB
    (shown,) = [one for one in resource_lines(needed, RECORDS) if "copies" in one]
    assert shown == (
        "  disk        copies of the models 420 GB, in TMPDIR of each node that does not see "
        "their files"
    )
    config = load_study(zoo.path() / "study.yaml", ["workers={backend: ray}"])
    shipped = prepare(config, zoo.path())
    files = [
        path
        for name in ("base", "sort-up", "flip", "count-bits-lora")
        for path in (zoo.path() / "models" / name).iterdir()
        if path.suffix != ".md"
    ]
    needed = resources(shipped, estimate_study(shipped), Machine())
    assert needed.copies == sum(path.stat().st_size for path in files)
    one_machine = study(backend="ray", address="local")
    assert resources(one_machine, estimate(), Machine(here=150 * GB)).copies == 0


def test_of_another_machine_only_the_device_is_judged(tmp_path):
    there = Machine(device=80 * GB, memory=GB, here=GB)
    needed = resources(study(), estimate(seen=False), there)
    assert only(needed.warnings).startswith("a device needs")
    named = estimate(device=SimpleNamespace(memory=80))
    of_a_cluster = WorkersConfig(backend="ray", address="auto")
    machine = this_machine(named, of_a_cluster, tmp_path / "runs" / "not-there-yet")
    assert (machine.device, machine.memory, machine.temporary) == (80 * GB, None, None)
    assert machine.here is not None  # the driver writes the run
