"""Which device a study's times are for where none is named: that of its workers on this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from evomerge.cost.devices import DEVICES, Device, known_device
from evomerge.cost.probe import measured_processor
from evomerge.errors import UserError
from evomerge.merging import resolve_device
from evomerge.study import Prepared, StandIns

NAME_ONE = "name one: --device h100, or --device-tflops and --bandwidth"


@dataclass(frozen=True, slots=True)
class Taken:
    """What times are for.

    Attributes:
        device: whose figures are taken; None where there are no times.
        how: which it is, or why there is none, in words; '' where the user named it.
    """

    device: Device | None
    how: str = ""


def device_here(prepared: Prepared, stand_ins: StandIns | None = None) -> Taken:
    """Find the device of a study's workers here: a GPU by its name, a processor by measuring it.

    Args:
        prepared: the checked study.
        stand_ins: what it was prepared with; models that are not here run on another machine.
    """
    workers = prepared.config.workers
    dtype = prepared.context.dtype or "float32"  # a study's context always says
    if workers.backend == "ray" and workers.address != "local":
        return Taken(None, f"no times: what devices the cluster has is not asked; {NAME_ONE}")
    if stand_ins is not None and stand_ins.used:
        return Taken(None, f"no times: models are not here, so it runs elsewhere; {NAME_ONE}")
    kind = resolve_device(workers.device_each)
    if kind.startswith("cuda"):
        return _gpu(kind, dtype)
    if kind != "cpu":
        return Taken(None, f"no times: no figures are kept of device '{kind}'; {NAME_ONE}")
    threads = workers.threads_each
    found = measured_processor(dtype, threads)
    many = f"{threads} thread{'' if threads == 1 else 's'}"
    return Taken(
        found,
        f"{found.name}, measured with {many}: {_rate(found.tflops)} in {found.measured}, "
        f"{found.bandwidth:.3g} GB/s",
    )


def _gpu(kind: str, dtype: str) -> Taken:
    there = torch.cuda.get_device_properties(torch.device(kind))
    known = known_device(there.name)
    if known is None:
        listed = ", ".join(DEVICES)
        return Taken(None, f"no times: the GPU here, {there.name}, is none of {listed}; {NAME_ONE}")
    found = replace(known, memory=there.total_memory / 1e9)
    try:
        found.flops(dtype)
    except UserError:
        return Taken(None, f"no times: no figures are kept of {found.name} for {dtype} models")
    return Taken(found, f"{found.name}, the GPU here ({there.name})")


def _rate(tflops: float) -> str:
    return f"{tflops:.3g} TFLOP/s" if tflops >= 1 else f"{1e3 * tflops:.3g} GFLOP/s"
