"""What accelerators can do, by their makers' data sheets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evomerge.errors import UserError, nearest


@dataclass(frozen=True, slots=True)
class Device:
    """The figures of one accelerator, or of a processor.

    Attributes:
        name: as on the command line, or what it is.
        tflops: 16-bit multiply-adds with fp32 sums, dense, in 10^12 operations a second.
        tflops_fp32: the same in fp32, without tensor cores: torch's default.
        bandwidth: of its memory, in 10^9 bytes a second.
        memory: in 10^9 bytes; None where it was not said.
        measured: the dtype whose operations were measured, which are then the figure for every
            dtype; '' where the figures are peaks off a data sheet, or were given.
    """

    name: str
    tflops: float
    tflops_fp32: float
    bandwidth: float
    memory: float | None
    measured: str = ""

    def flops(self, dtype: str) -> float:
        """Return the operations a second for weights of a dtype.

        Raises:
            UserError: float64, for which data sheets' figures are not kept.
        """
        if self.measured:
            return 1e12 * self.tflops
        if dtype == "float64":
            raise UserError(f"--device {self.name}: there are no figures for float64 models")
        return 1e12 * (self.tflops_fp32 if dtype == "float32" else self.tflops)


# NVIDIA's data sheets: A100 (SXM, PCIe), H100 (SXM, PCIe, NVL), H200 SXM, L40S; Ada white paper
# 2023 (4090). Figures with sparsity are halved.
DEVICES: Mapping[str, Device] = {
    device.name: device
    for device in (
        Device("a100", 312, 19.5, 2039, 80),
        Device("a100-40gb", 312, 19.5, 1555, 40),
        Device("a100-pcie", 312, 19.5, 1935, 80),
        Device("h100", 989, 67, 3350, 80),
        Device("h100-pcie", 756, 51, 2000, 80),
        Device("h100-nvl", 835, 60, 3900, 94),
        Device("h200", 989, 67, 4800, 141),
        Device("l40s", 362, 91.6, 864, 48),
        Device("rtx-4090", 165, 82.6, 1008, 24),
    )
}

# What torch calls them, without the maker, whom older drivers leave out. A name that says more
# (a variant, a slice of a GPU) is another device.
_CALLED: Mapping[str, str] = {
    "A100-SXM4-80GB": "a100",
    "A100-SXM4-40GB": "a100-40gb",
    "A100-PCIE-40GB": "a100-40gb",
    "A100 80GB PCIe": "a100-pcie",
    "H100 80GB HBM3": "h100",
    "H100 PCIe": "h100-pcie",
    "H100 NVL": "h100-nvl",
    "H200": "h200",
    "L40S": "l40s",
    "GeForce RTX 4090": "rtx-4090",
}


def known_device(called: str) -> Device | None:
    """Return the device that torch calls so; None where no figures are kept of it."""
    name = _CALLED.get(called.strip().removeprefix("NVIDIA "))
    return None if name is None else DEVICES[name]


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
