"""How the C library handles memory that tensors free."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT = 512 << 20
_LARGEST = 32 << 20  # the most that glibc allows
_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Have tensors reuse the memory of those before them, in the whole process.

    glibc returns blocks to the system when they are freed, and takes them page by page at the next
    forward pass, which needs as many. Now half a gigabyte at the end of the heap stays, and tensors
    up to 32 MB lie there. Nothing changes where the environment says what glibc shall do, and where
    there is another C library.
    """
    if any(name in os.environ for name in _SETTINGS):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_TRIM_THRESHOLD, _KEPT)
    mallopt(_MMAP_THRESHOLD, _LARGEST)
