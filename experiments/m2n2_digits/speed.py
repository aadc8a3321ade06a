"""Evaluations a second: this package's M2N2, and the published JAX code as shipped and jitted.

    python experiments/m2n2_digits/speed.py --published ../natural_niches --threads 2

All three search from scratch with the published settings, in turn and several times over, in one
process on the same number of cores. Ours asks for 20 children at a time and scores them together;
with a second core it breeds the next 20 meanwhile, in which case the archive learns of children one
batch later. A first round, in which JAX compiles, does not count. On a machine that others use,
measure one thread by processor time (`--threads 1 --clock cpu`).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path


def main() -> None:
    """Measure, print the ratios, and put them into the README."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, required=True, help="checkout of natural_niches")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=2000, help="of a search")
    parser.add_argument("--shipped-evaluations", type=int, default=300)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    if options.clock == "cpu" and options.threads > 1:
        parser.error("--clock cpu adds the time of all threads up; use it with --threads 1")
    _limit(options.threads)
    rates = measure(options)
    from evomerge.testing.readme import publish  # noqa: PLC0415 -- after the threads are limited

    publish(__file__, "speed", table(options, rates))


def _limit(threads: int) -> None:
    """Give both sides as many cores; JAX makes a thread for each.

    Ours spends the second on breeding: numerical libraries that split each product over threads
    wait for one another.
    """
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))


def measure(options: argparse.Namespace) -> dict[str, list[float]]:
    """Return evaluations a second of each round."""
    import torch  # noqa: PLC0415 -- after the threads are limited
    from arms import COMPARISONS  # noqa: PLC0415
    from digits import load  # noqa: PLC0415
    from driving import drive  # noqa: PLC0415
    from published import Jitted, as_shipped, load_published  # noqa: PLC0415
    from specialists import random_pair  # noqa: PLC0415

    torch.set_num_threads(1)
    code = load_published(options.published)
    jitted, bare = (Jitted(code, scratch=True, testing=testing) for testing in (True, False))
    train, test = load()
    arm = COMPARISONS["scratch"]["published"].arm
    n, shipped = options.evaluations, options.shipped_evaluations

    def ours() -> object:
        ahead, batch = options.threads > 1, options.batch
        return drive(arm, [random_pair(0)], [0], n, train, test, batch=batch, ahead=ahead)

    sides: dict[str, tuple[int, Callable[[], object]]] = {
        "ours": (n, ours),
        "as shipped": (shipped, lambda: as_shipped(code, shipped, scratch=True)),
        "jitted": (n, lambda: jitted.run(0, n, random_pair(0))),
        "jitted, without its tests": (n, lambda: bare.run(0, n, random_pair(0))),
    }
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(1 + options.rounds):
        for name, (count, search) in sides.items():
            begun = clock()
            search()
            rates[name].append(count / (clock() - begun))
    return {name: found[1:] for name, found in rates.items()}


def table(options: argparse.Namespace, rates: dict[str, list[float]]) -> Iterable[str]:
    """Yield markdown: ratios of the same round, their median and range."""
    yield (
        f"Cores: {options.threads}, {platform.machine()}; {options.clock} time; "
        f"{options.rounds} rounds; {options.batch} children at a time."
    )
    yield ""
    yield "| evaluations a second, ours to theirs | median | lowest | highest | n |"
    yield "|---|---|---|---|---|"
    for name in sorted(set(rates) - {"ours"}):
        ratios = [one / other for one, other in zip(rates["ours"], rates[name], strict=True)]
        yield (
            f"| published code, {name} | {statistics.median(ratios):.2f} | {min(ratios):.2f} | "
            f"{max(ratios):.2f} | {len(ratios)} |"
        )


if __name__ == "__main__":
    main()
