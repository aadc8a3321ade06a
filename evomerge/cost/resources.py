"""Whether a study fits: device memory, main memory and disk of the machine, and what does not.

Of a worker with several devices each holds its share of the weights and of the key/value caches,
and a cache of donors' tensors, a workspace and activations of its own. Donors' files are mapped, so
main memory holds them once for all workers of a machine; with less of it they are read again for
every candidate. Weights that fit on no device take main memory or disk once for each worker, and
cross to a device in every forward pass.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from evomerge.cost.estimate import FAST, GB, SLOW, Memory, Span
from evomerge.cost.records import UNKNOWN_TRIALS, Records
from evomerge.cost.stages import StageEstimate
from evomerge.cost.study import StudyEstimate
from evomerge.merging.spread import FREE_SHARE
from evomerge.study import Prepared
from evomerge.study.executors import model_folders
from evomerge.study.workers_config import WorkersConfig
from evomerge.workers.machine import available_gpus, physical_memory


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to fit into, in bytes; None where that is not known.

    Attributes:
        device: memory of one accelerator; None also where models run on the CPU.
        memory: main memory.
        temporary: free in the folder of temporary files.
        here: free where the run is written, and exports beside it.
    """

    device: int | None = None
    memory: int | None = None
    temporary: int | None = None
    here: int | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """What a study needs of a machine, in bytes.

    Attributes:
        devices: of one worker.
        device: what one of them holds; 0 where models run on the CPU.
        main: main memory of all workers, mapped files left out.
        files: of all models, which are mapped.
        offloaded: weights of one worker that fit on no device.
        temporary: disk for offloaded weights, of all workers.
        run: its folder: the journal and the scores of items, at the end of the search; after
            `UNKNOWN_TRIALS` trials where the study does not say how many it has.
        export: of one model.
        copies: of the models' files, on each node of a cluster that does not see them.
        transfer: seconds that a candidate waits for offloaded weights.
        warnings: what does not fit, a sentence each.
    """

    devices: int
    device: int
    main: int
    files: int
    offloaded: int
    temporary: int
    run: Span
    export: int
    copies: int
    transfer: Span
    warnings: tuple[str, ...]


def this_machine(estimate: StudyEstimate, workers: WorkersConfig, run_folder: Path) -> Machine:
    """Return what is here; of a cluster's nodes nothing is known but the device that was named.

    Args:
        estimate: says for which device.
        workers: of the study.
        run_folder: where the run is going to be written; it need not be there yet.
    """
    here = shutil.disk_usage(_existing(run_folder)).free
    named = estimate.device.memory if estimate.device is not None else None
    device = None if named is None else int(named * GB)
    if workers.backend == "ray" and workers.address != "local":
        return Machine(device, here=here)
    if device is None and workers.device != "cpu" and available_gpus():
        import torch  # noqa: PLC0415 only where there is a GPU to ask

        device = int(torch.cuda.get_device_properties(0).total_memory)
    return Machine(
        device,
        physical_memory(),
        shutil.disk_usage(tempfile.gettempdir()).free,
        here,
    )


def resources(prepared: Prepared, estimate: StudyEstimate, machine: Machine) -> Resources:
    """Add up what a study needs and compare it with what there is.

    Args:
        prepared: the study.
        estimate: of it.
        machine: to fit into.
    """
    workers = prepared.config.workers
    on_device = machine.device is not None or workers.gpus_per_worker is not None
    most = max(estimate.stages, key=lambda stage: stage.memory.total)
    memory = most.memory
    if estimate.final_memory is not None and estimate.final_memory.total > memory.total:
        memory = estimate.final_memory
    devices = workers.gpus_each
    room = _room(workers, machine, on_device=on_device)
    offloaded = 0
    if workers.offload != "none" and room is not None:
        offloaded = max(0, memory.weights - devices * room)
    held = _one_device(memory, memory.weights - offloaded, devices)
    on_disk = offloaded if workers.offload == "disk" else 0
    beside = offloaded - on_disk
    main = workers.count * (beside if on_device else held - memory.engine_cache)
    found = Resources(
        devices=devices,
        device=held if on_device else 0,
        main=main,
        files=sum(donor.shape.bytes for donor in estimate.models),
        offloaded=offloaded,
        temporary=workers.count * on_disk,
        run=estimate.records.total,
        export=max(stage.exported[1].export_bytes for stage in estimate.stages),
        copies=_copies(prepared, estimate),
        transfer=_transfer(most, offloaded),
        warnings=(),
    )
    seen = all(donor.seen for donor in estimate.models)
    warnings = _warnings(found, machine if seen else Machine(machine.device), workers)
    filling = _filling(found, machine, estimate.records) if seen else ()
    return replace(found, warnings=(*warnings, *filling))


def resource_lines(found: Resources, records: Records) -> list[str]:
    """Write them for people.

    Args:
        found: what a study needs.
        records: what its run writes down.
    """
    lines = []
    if found.devices > 1:
        lines.append(f"  spread      {_bytes(found.device)} on each of {found.devices} devices")
    if found.offloaded:
        where = "in files" if found.temporary else "in main memory"
        low, high = found.transfer.low, found.transfer.high
        lines.append(
            f"  offload     {_bytes(found.offloaded)} a worker {where}; {low:.3g} to {high:.3g} s "
            "more for a candidate"
        )
    own = f"{_bytes(found.main)} for all workers, and " if found.main else ""
    lines.append(
        f"  main memory {own}{_bytes(found.files)} of model files, better kept than read anew"
    )
    lines.append(f"  disk        {_run(records)}")
    disk = f"an export {_bytes(found.export)}"
    if found.temporary:
        disk += f", offloaded weights {_bytes(found.temporary)} in {tempfile.gettempdir()}"
    lines.append(f"  disk        {disk}")
    if found.copies:
        lines.append(
            f"  disk        copies of the models {_bytes(found.copies)}, in TMPDIR of each node "
            "that does not see their files"
        )
    return lines + [f"  WARNING     {line}" for line in found.warnings]


def _room(workers: WorkersConfig, machine: Machine, *, on_device: bool) -> int | None:
    """Return what one device may hold of the weights."""
    if workers.device_memory is not None:
        return int(workers.device_memory)
    there = machine.device if on_device else machine.memory
    return None if there is None else int(FREE_SHARE * there)


def _one_device(memory: Memory, weights: int, devices: int) -> int:
    shared = weights + memory.kv_cache
    return memory.total - memory.weights - memory.kv_cache + -(-shared // devices)


def _transfer(stage: StageEstimate, offloaded: int) -> Span:
    low, high = (
        (work.reading.passes + work.writing.passes) * offloaded / use.host
        for work, use in ((stage.low, FAST), (stage.high, SLOW))
    )
    return Span(low, high)


def _warnings(found: Resources, machine: Machine, workers: WorkersConfig) -> Iterator[str]:
    if machine.device is not None and found.device > machine.device:
        yield (
            f"a device needs {_bytes(found.device)} and has {_bytes(machine.device)}: lower "
            "batch_size, raise workers.gpus_per_worker, or say offload: cpu"
        )
    if machine.memory is not None and found.main > machine.memory:
        yield (
            f"workers need {_bytes(found.main)} of main memory and this machine has "
            f"{_bytes(machine.memory)}: lower workers.count or batch_size"
        )
    elif machine.memory is not None and found.main + found.files > machine.memory:
        yield (
            f"model files of {_bytes(found.files)} do not stay in the main memory of "
            f"{_bytes(machine.memory)}: they are read from disk again for every candidate"
        )
    if machine.temporary is not None and found.temporary > machine.temporary:
        yield (
            f"offloaded weights need {_bytes(found.temporary)} in {tempfile.gettempdir()}, where "
            f"{_bytes(machine.temporary)} are free: set TMPDIR to another disk"
        )
    there = available_gpus() if workers.backend != "ray" else 0
    if there and workers.gpus_each == 1 and workers.device in ("auto", "cuda"):
        sharing = -(-workers.count // there)
        if sharing > 1 and machine.device is not None and sharing * found.device > machine.device:
            yield (
                f"{sharing} workers share a GPU and need {_bytes(sharing * found.device)} of its "
                f"{_bytes(machine.device)}: lower workers.count"
            )


def _filling(found: Resources, machine: Machine, records: Records) -> Iterator[str]:
    """Say whether the disk of the run folder is too small for the run, or for an export as well."""
    if machine.here is None:
        return
    run = found.run.high if records.trials is not None else 0.0
    if run > machine.here:
        yield (
            f"the run takes {_bytes(run)} and {_bytes(machine.here)} are free where it is written: "
            "give run a folder on another disk with --out"
        )
    elif run + found.export > machine.here:
        beside = f" beside a run of {_bytes(run)}" if run else ""
        yield (
            f"an export takes {_bytes(found.export)}{beside} and {_bytes(machine.here)} are free "
            "here: give export a folder on another disk"
        )


def _run(records: Records) -> str:
    """Say what the run folder takes, and what for."""
    trials, each = records.trials, records.journal
    if trials is None:
        many = f"{UNKNOWN_TRIALS:,} trials, of which the study does not say how many it has"
    else:
        many = f"{_between(trials, '{:,.0f}'.format)} trials"
    scores = (
        f" and {_between(records.scores, _bytes)} of item scores" if records.scores.high else ""
    )
    return (
        f"the run {_between(records.total, _bytes)} for {many}: {_bytes(each)} of journal{scores} "
        "for each"
    )


def _between(span: Span, shown: Callable[[float], str]) -> str:
    low, high = shown(span.low), shown(span.high)
    return low if low == high else f"{low} to {high}"


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    return next(one for one in (folder, *folder.absolute().parents) if one.exists())


def _copies(prepared: Prepared, estimate: StudyEstimate) -> int:
    """Return what each node of a cluster copies that does not see the models' files."""
    workers = prepared.config.workers
    if workers.backend != "ray" or workers.address == "local":
        return 0
    if not all(donor.seen for donor in estimate.models):
        return sum(donor.shape.bytes for donor in estimate.models)
    return sum(file.size for folder in model_folders(prepared).values() for file in folder.files)


def _bytes(number: float) -> str:
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} B"
