"""Do the published code and our port go the same way from scratch? Many short runs of both.

    python experiments/m2n2_digits/agreement.py --published ../natural_niches

Runs from scratch differ so much that ten long ones say little; the training accuracy of the best
model after 2,000 evaluations takes seconds, from the same founders in both, seeds of their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from arms import COMPARISONS
from digits import Network, load
from driving import drive
from published import Jitted, load_published
from scipy import stats
from specialists import founders
from tables import interval

from evomerge.testing.readme import publish


def main() -> None:
    """Run both and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, required=True, help="checkout of natural_niches")
    parser.add_argument("--evaluations", type=int, default=2_000)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=24)
    options = parser.parse_args()
    torch.set_num_threads(1)
    train, test = load()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    pairs = [founders("scratch", seed, train) for seed in seeds]
    arm, n = COMPARISONS["scratch"]["published"].arm, options.evaluations
    ours = [100 * course.accuracy for course in drive(arm, pairs, seeds, n, train, test)]
    searches = Jitted(load_published(options.published), scratch=True)
    best = [searches.run(seed, n, pair)[1] for seed, pair in zip(seeds, pairs, strict=True)]
    theirs = (100 * Network(train).accuracy(best)).tolist()
    publish(__file__, "agreement", table(n, {"our port": ours, "the published code": theirs}))


def table(n: int, found: dict[str, Sequence[float]]) -> Iterable[str]:
    """Yield markdown."""
    yield f"| training accuracy after {n:,} evaluations | mean ± 95 % | sd | n |"
    yield "|---|---|---|---|"
    for name, values in found.items():
        deviation = np.std(values, ddof=1)
        yield f"| {name} | {interval(values)} | {deviation:.1f} | {len(values)} |"
    p = stats.mannwhitneyu(*found.values()).pvalue
    yield ""
    yield f"Mann-Whitney test of the two: p = {p:.2f}."


if __name__ == "__main__":
    main()
