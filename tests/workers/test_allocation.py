"""Workers keep the memory that tensors free."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

PROBE = """
import resource, sys
import torch
from evomerge.workers.allocation import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
def forward():
    return [torch.ones(1 << 20) for _ in range(16)]  # 16 tensors of 4 MB, free when all are made

for _ in range(3):
    forward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    forward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_tensor_takes_the_pages_of_the_one_before():
    def faults(how):
        done = subprocess.run(
            [sys.executable, "-c", PROBE, how], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    pages = (64 << 20) // resource.getpagesize()
    assert faults("plain") > 10 * pages  # of 20 passes
    assert faults("kept") < pages
