"""Runs the published code itself, its loop compiled, for the line it has in the tables.

    python experiments/m2n2_digits/reference.py --out runs/m2n2_digits --published ../natural_niches

It begins with the founders that our arms begin with, so that the two implementations differ in
nothing but their random numbers.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from arms import BUDGETS
from digits import Floats, Network, load
from published import Jitted, load_published
from run import of, read
from specialists import founders

ARM = "published_code"


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where results are kept")
    parser.add_argument("--published", type=Path, required=True, help="checkout of natural_niches")
    parser.add_argument("--start", choices=list(BUDGETS), nargs="*", default=list(BUDGETS))
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    code = load_published(options.published)
    results = options.out / "results.jsonl"
    train, test = load()
    networks = Network(train), Network(test)
    for start in options.start:
        searches = Jitted(code, scratch=start == "scratch")
        done = {one["seed"] for one in read(results) if of(one, start, ARM)}
        for seed in sorted(set(range(options.seeds)) - done):
            leader, best = searches.run(seed, BUDGETS[start], founders(start, seed, train))
            line = {"start": start, "arm": ARM, "seed": seed, **figures(networks, best)}
            line["test_of_archive"] = figures(networks, leader)["test"]
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{time.strftime('%H:%M:%S')} {start} {seed}", flush=True)


def figures(networks: tuple[Network, Network], weights: Floats) -> dict[str, float]:
    """Return a model's accuracies in per cent."""
    train, test = (100 * float(network.accuracy(weights[None])[0]) for network in networks)
    return {"train": round(train, 3), "test": round(test, 3)}


if __name__ == "__main__":
    main()
