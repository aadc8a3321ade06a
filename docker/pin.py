"""Splits a resolved list of requirements into what both images have and what comes with a GPU.

Reads the list that `make pins` resolves on standard input and writes `requirements.txt` and
`requirements-cuda.txt` beside itself. PyPI's torch for Linux is built for CUDA and needs the
libraries of the second list; the CPU image takes the same version of torch alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

GPU = ("torch==", "triton==", "cuda-", "nvidia-")


def main() -> None:
    """Write both lists."""
    pins = [line for line in sys.stdin.read().split() if "==" in line]
    for name, wanted in (("requirements-cuda.txt", True), ("requirements.txt", False)):
        chosen = [pin for pin in pins if pin.startswith(GPU) == wanted]
        text = "# Written by `make pins`.\n" + "".join(f"{pin}\n" for pin in sorted(chosen))
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
