"""Who should go on: compared with all so far or with the latest, what becomes of equals, how many.

    python experiments/evaluation_economy/promotion.py    # some minutes; writes the README's table

A candidate is a point of the unit cube of four dimensions. Its ability is greatest at a point drawn
for each world and falls off with the squared distance; it answers each of 200 items rightly with
the probability that the logistic curve of the item gives. Searches spend the same number of item
scores. Reported is by how much the true score of whoever was best on all 200 items falls short of
the greatest there is, and how many went on at either rung.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from evomerge.estimators.item_model import sigmoid
from evomerge.optimizers import build_optimizer
from evomerge.spaces.domain import Domain, Gene
from evomerge.study.picks import trial_of
from evomerge.study.rungs import climbing
from evomerge.study.rungs.climbing import Climbing
from evomerge.study.rungs.config import RungsConfig
from evomerge.study.rungs.promotion import Peers
from evomerge.testing.readme import publish
from evomerge.types import Completed, Objective

N_ITEMS, N_GENES = 200, 4
TOP, FALL = 1.0, 8.0
"""Ability at the best point, and by how much it falls with the squared distance from it."""
ACCURACY = Objective("accuracy", bounds=(0.0, 1.0))
IDS = tuple(f"item-{number:03}" for number in range(N_ITEMS))
DOMAIN = Domain(tuple(Gene(f"gene {k}", initial=0.1) for k in range(N_GENES)))
Rule: TypeAlias = Callable[[float, int], "Peers | Variant"]


class Variant:
    """The asynchronous rule as it is not: over all so far, or with all equals going on.

    Args:
        share: of the candidates that goes on.
        seed: of the lots.
        latest: with how many a candidate is compared; None for all.
        lots: equals are told apart by lot.
    """

    def __init__(self, share: float, seed: int, *, latest: int | None, lots: bool) -> None:
        self._share, self._latest, self._lots = share, latest, lots
        self._random = np.random.default_rng(seed)
        self._seen: list[tuple[float, float]] = []

    def goes_on(self, costs: Sequence[float]) -> bool:
        """Add a candidate; say whether it goes on."""
        own = (costs[0], self._random.random() if self._lots else 0.0)
        self._seen.append(own)
        peers = self._seen[-self._latest :] if self._latest else self._seen
        return sum(one < own for one in peers) < max(1, round(self._share * len(peers)))


RULES: Mapping[str, Rule] = {
    "all so far, equals go on": lambda share, seed: Variant(share, seed, latest=None, lots=False),
    "all so far, lots": lambda share, seed: Variant(share, seed, latest=None, lots=True),
    "the latest, equals go on": lambda share, seed: Variant(
        share, seed, latest=round(5 / share), lots=False
    ),
    "the latest, lots": lambda share, seed: Variant(
        share, seed, latest=round(5 / share), lots=True
    ),
    "the latest, lots, no more than the share (evomerge)": Peers,
}
SETTINGS: Mapping[str, tuple[RungsConfig, int]] = {
    "rungs of 10 and 40, promote 0.2": (RungsConfig(items=(10, 40), promote=0.2), 6000),
    "rungs of 10 and 40, promote 1/3": (RungsConfig(items=(10, 40)), 6000),
    "rungs of 32 and 96, promote 0.2": (RungsConfig(items=(32, 96), promote=0.2), 10000),
}


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        regret: the greatest true score minus that of whoever was best on all items.
        scored: candidates that were scored at each rung, (n_rungs,).
    """

    regret: float
    scored: NDArray[np.float64]


def main() -> None:
    """Simulate and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    publish(__file__, "promotion", table(parser.parse_args().seeds))


def table(seeds: int) -> Iterator[str]:
    """Yield mean and standard error of the regret, and the share that went on at each rung."""
    yield f"n = {seeds} worlds a row, the same ones for every rule."
    for title, (rungs, budget) in SETTINGS.items():
        yield ""
        yield f"#### {title}, {budget} item scores"
        yield ""
        yield "| optimizer | compared with | regret | went on | of these |"
        yield "|---|---|---:|---:|---:|"
        for optimizer in ("cma_es", "random"):
            for name, rule in RULES.items():
                found = [searched(seed, optimizer, rule, rungs, budget) for seed in range(seeds)]
                regrets = np.array([one.regret for one in found])
                scored = np.sum([one.scored for one in found], axis=0)
                error = regrets.std(ddof=1) / math.sqrt(seeds)
                yield (
                    f"| {optimizer} | {name} | {regrets.mean():.4f} ± {error:.4f} "
                    f"| {scored[1] / scored[0]:.0%} | {scored[2] / scored[1]:.0%} |"
                )


def searched(seed: int, optimizer: str, rule: Rule, rungs: RungsConfig, budget: int) -> Found:
    """Search one world until so many items were scored."""
    random = np.random.default_rng(seed)
    best_point = random.uniform(0.2, 0.8, N_GENES)
    offsets = random.normal(0.6, 1.5, N_ITEMS)
    search = build_optimizer(
        optimizer, DOMAIN, 1, seed, {"seeds": False}, Path(), objectives=[ACCURACY]
    )
    with patch.object(climbing, "Peers", rule):
        books = Climbing(rungs, [ACCURACY], {ACCURACY.name: IDS}, seed, {}, Path())
        books.enter(whole_generations=False, combine=None)
        spent, number, best = 0, 0, (-math.inf, 0.0)
        scored = np.zeros(len(rungs.items) + 1)
        while spent < budget:
            proposal = search.ask(number)
            if proposal is None:
                raise RuntimeError(f"{optimizer} waits although nothing is in flight")
            books.place(number, proposal.origin)
            distance = np.array(proposal.genotype, dtype=float) - best_point
            chances = sigmoid(TOP - FALL * float(distance @ distance) - offsets)
            answers = (random.random(N_ITEMS) < chances).astype(float)
            while number not in books.stopping:
                chosen = books.positions(number)[ACCURACY.name]
                spent += len(chosen)
                scored[books.rung_of(number)] += 1
                scores = {IDS[position]: float(answers[position]) for position in chosen}
                mean = sum(scores.values()) / len(scores)
                books.add(number, Completed({ACCURACY.name: mean}, {ACCURACY.name: scores}))
                books.apply(books.decide([number], ended=False))
            outcome = books.told(number)
            books.finish(number)
            search.tell(trial_of(number, proposal.genotype, outcome, [ACCURACY]))
            if not outcome.errors:
                best = max(best, (outcome.metrics[ACCURACY.name], float(chances.mean())))
            number += 1
    return Found(float(sigmoid(TOP - offsets).mean()) - best[1], scored)


if __name__ == "__main__":
    main()
