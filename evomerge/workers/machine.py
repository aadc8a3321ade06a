"""What this machine has for workers."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Count the cores this process may use, which under a scheduler are fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_gpus() -> int:
    """Count the GPUs this process may use."""
    import torch  # noqa: PLC0415 the driver needs it only to count GPUs

    return int(torch.cuda.device_count())


def physical_memory() -> int:
    """Return the bytes of main memory, used or not."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
