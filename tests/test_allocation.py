"""Memory that tensors free is kept for the next ones."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROBE = """
import resource
import torch
from evomerge.allocation import keep_freed_memory

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
def test_a_pass_takes_the_pages_of_the_one_before():
    def faults():
        done = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    # Of itself glibc takes all pages anew in most processes, as the heap happens to lie: 16,352 of
    # 4 KB a pass.
    assert [faults() < 20 for _ in range(4)] == [True] * 4
