"""How often racing drops a candidate that is as good as its rival, and one that is worse.

    python experiments/evaluation_economy/racing.py         # a minute; writes the README's table

A pair of candidates answers N items in random order and is looked at after 20, 50 and 100 of them.
Compared are the betting test that `rungs: {race: 0.05}` uses and the exact sign test with the error
rate divided among the looks (Bonferroni). "Equal on all items": both have the same mean over the N
items, the border of what the betting test is about. "Best of 3 by the first 20": likewise, and the
rival is that one of three such rivals which did best on the items that are looked at first, as one
that was promoted by them is. "Best of 30": the rival is the best of 30 candidates of equal ability
by all N items, as an incumbent is; the candidate is drawn anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evomerge.study.rungs.racing import log_threshold, log_wealth
from evomerge.testing.readme import publish

LOOKS = (20, 50, 100)
ALPHA = 0.05
N_ITEMS = 400
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator], Floats]


def main() -> None:
    """Simulate and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    publish(__file__, "racing", table(options.pairs, options.seed))


def table(pairs: int, seed: int) -> Iterator[str]:
    """Yield the share of pairs in which the candidate is dropped, and its 95 % interval."""
    yield f"n = {pairs} pairs a row, N = {N_ITEMS} items, error rate {ALPHA}."
    yield ""
    yield "| candidate and rival | betting | exact sign test |"
    yield "|---|---:|---:|"
    for name, draw in PAIRS.items():
        random = np.random.default_rng(seed)
        counts = np.zeros(2)
        for _ in range(pairs):
            differences = draw(random)
            counts += [bets(differences), signs(differences)]
        yield f"| {name} | {' | '.join(share(int(count), pairs) for count in counts)} |"


def share(count: int, pairs: int) -> str:
    """Return a share of pairs with its exact (Clopper and Pearson) interval."""
    low, high = stats.binomtest(count, pairs).proportion_ci()
    return f"{count / pairs:.1%} [{low:.1%}, {high:.1%}]"


def bets(differences: Floats) -> bool:
    """Say whether the betting test drops the candidate at any look."""
    needed = log_threshold(ALPHA, 1)
    return any(log_wealth(differences[:n], len(differences), 1.0) >= needed for n in LOOKS)


def signs(differences: Floats) -> bool:
    """Say whether the exact sign test does, at the error rate divided by the looks."""
    for n in LOOKS:
        wins, losses = (int((differences[:n] == sign).sum()) for sign in (-1, 1))
        if wins + losses and stats.binom.cdf(wins, wins + losses, 0.5) < ALPHA / len(LOOKS):
            return True
    return False


def drawn(worse: float, better: float) -> Draw:
    """Return pairs of which each item is lost, won or tied with these chances."""
    ways = [worse, better, 1 - worse - better]
    return lambda random: random.choice([1.0, -1.0, 0.0], size=N_ITEMS, p=ways)


def balanced(share_discordant: float) -> Draw:
    """Return pairs that are exactly equal on all items."""
    half = int(share_discordant * N_ITEMS / 2)
    every = np.array([1.0] * half + [-1.0] * half + [0.0] * (N_ITEMS - 2 * half))
    return lambda random: random.permutation(every)


def promoted(n_others: int, n_first: int) -> Draw:
    """Return pairs that are equal on all items, the rival promoted by the first of them."""
    draw = balanced(0.4)
    return lambda random: max(
        (draw(random) for _ in range(n_others)), key=lambda differences: differences[:n_first].sum()
    )


def against_best(n_others: int, ability: float, spread: float) -> Draw:
    """Return pairs of a candidate and the best of others, all of one ability."""

    def draw(random: np.random.Generator) -> Floats:
        items = np.clip(ability + spread * random.standard_normal(N_ITEMS), 0.02, 0.98)
        others = (random.random((n_others, N_ITEMS)) < items).astype(float)
        rival = others[np.argmax(others.mean(axis=1))]
        return rival - (random.random(N_ITEMS) < items)

    return draw


PAIRS: Mapping[str, Draw] = {
    "equal, 40 % of items discordant": drawn(0.2, 0.2),
    "equal, 10 % discordant": drawn(0.05, 0.05),
    "equal on all items, 40 % discordant": balanced(0.4),
    "equal on all items, 10 % discordant": balanced(0.1),
    "equal on all items, rival the best of 3 by the first 20": promoted(3, 20),
    "equal on all items, rival the best of 5 by the first 20": promoted(5, 20),
    "rival is the best of 30 equals": against_best(30, 0.6, 0.3),
    "worse by 0.05 (0.20 against 0.15)": drawn(0.2, 0.15),
    "worse by 0.2 (0.3 against 0.1)": drawn(0.3, 0.1),
    "worse by 0.3 (0.35 against 0.05)": drawn(0.35, 0.05),
}


if __name__ == "__main__":
    main()
