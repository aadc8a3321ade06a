"""The steps that the scripts of searches have: `run` carries them out, `report` writes tables."""

from __future__ import annotations

import argparse
from pathlib import Path


def command_line(
    description: str, *, seeds: int
) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Return a parser of both steps, and that of `run`, for the options of a script's own.

    Args:
        description: of the script; its first line is shown.
        seeds: how many searches each arm has by default.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    run = steps.add_parser("run", help="carry out the searches")
    run.add_argument("--seeds", type=int, default=seeds, help="how many; they are 1, 2, ...")
    report = steps.add_parser("report", help="write what was found into the README")
    for step in (run, report):
        step.add_argument("--out", type=Path, required=True, help="where results are kept")
    return parser, run
