"""How the C library handles memory that tensors free."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT = 512 << 20
_LARGEST = 32 << 20  # the most that glibc allows


def keep_freed_memory() -> None:
    """Have tensors reuse the memory of those before them.

    glibc returns large blocks to the system when they are freed, and takes them page by page at
    the next forward pass, which needs as many. Up to half a gigabyte stays now; where there is
    another C library nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_TRIM_THRESHOLD, _KEPT)
    mallopt(_MMAP_THRESHOLD, _LARGEST)
