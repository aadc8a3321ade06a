"""What accelerators can do, by their makers' data sheets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evomerge.errors import UserError, nearest


@dataclass(frozen=True, slots=True)
class Device:
    """The peak figures of one accelerator.

    Attributes:
        name: as on the command line.
        tflops: 16-bit multiply-adds with fp32 sums, dense, in 10^12 operations a second.
        tflops_fp32: the same in fp32, without tensor cores: torch's default.
        bandwidth: of its memory, in 10^9 bytes a second.
        memory: in 10^9 bytes; None where it was not said.
    """

    name: str
    tflops: float
    tflops_fp32: float
    bandwidth: float
    memory: float | None

    def flops(self, dtype: str) -> float:
        """Return the peak operations a second for weights of a dtype.

        Raises:
            UserError: float64, for which no figure is kept.
        """
        if dtype == "float64":
            raise UserError(f"--device {self.name}: there are no figures for float64 models")
        return 1e12 * (self.tflops_fp32 if dtype == "float32" else self.tflops)


# NVIDIA's data sheets: A100 (80 GB and 40 GB SXM), H100 SXM, H200 SXM, L40S; Ada white paper 2023
# (4090). Figures with sparsity are halved.
DEVICES: Mapping[str, Device] = {
    device.name: device
    for device in (
        Device("a100", 312, 19.5, 2039, 80),
        Device("a100-40gb", 312, 19.5, 1555, 40),
        Device("h100", 989, 67, 3350, 80),
        Device("h200", 989, 67, 4800, 141),
        Device("l40s", 362, 91.6, 864, 48),
        Device("rtx-4090", 165, 82.6, 1008, 24),
    )
}


def find_device(
    name: str | None, tflops: float | None = None, bandwidth: float | None = None
) -> Device | None:
    """Return a device by name, by its figures, or by name with some figures replaced.

    Args:
        name: a key of `DEVICES`.
        tflops: 10^12 operations a second, in the dtype of the study.
        bandwidth: 10^9 bytes a second.

    Returns:
        The device; None where nothing was said.

    Raises:
        UserError: the name is unknown, or only one of two figures is given.
    """
    for option, value in (("--device-tflops", tflops), ("--bandwidth", bandwidth)):
        if value is not None and not value > 0:
            raise UserError(f"{option} {value:g}: give a positive number")
    if name is None:
        if tflops is None and bandwidth is None:
            return None
        if tflops is None or bandwidth is None:
            raise UserError("give --device-tflops and --bandwidth together, or a --device by name")
        return Device("given", tflops, tflops, bandwidth, None)
    if name not in DEVICES:
        raise UserError(
            f"--device {name} is unknown; {nearest(name, DEVICES)} "
            "(or give --device-tflops and --bandwidth)"
        )
    known = DEVICES[name]
    return Device(
        known.name,
        tflops or known.tflops,
        tflops or known.tflops_fp32,
        bandwidth or known.bandwidth,
        known.memory,
    )
