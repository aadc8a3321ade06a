"""In which order items are asked: every prefix of an order is a subset to score candidates on.

Candidates that are compared answer the same items (common random numbers), and a longer prefix
holds the shorter ones, so that no item is asked twice. An order follows from the ids, the answers
and the seed alone, not from how the ids are listed.

An entropy order serves for ranking and for discarding: its prefixes are harder or more divided
than the benchmark, so their mean is biased.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import UserError
from evomerge.estimators.evidence import Answers, Benchmark

_EQUAL = 12  # decimals to which shares of right answers are told apart


def random_order(item_ids: Iterable[str], seed: int) -> tuple[str, ...]:
    """Return the items shuffled.

    Raises:
        UserError: no items, or an id appears twice.
    """
    ids = Benchmark(item_ids).ids
    return tuple(ids[at] for at in np.random.default_rng(seed).permutation(len(ids)))


def entropy_order(
    item_ids: Iterable[str], probes: Mapping[str, Answers], seed: int
) -> tuple[str, ...]:
    """Return the items on which probe models disagree most first (Evo-L2S, arXiv 2604.06465).

    With p the mean score of the probes, items come by falling entropy -p log p - (1-p) log(1-p),
    that is by rising |p - 1/2|, ties in random order; those that all probes solve, or none, are
    last.

    Args:
        item_ids: every item.
        probes: full answers of a few models, such as donors and some merges, by name.
        seed: of the ties.

    Raises:
        UserError: there are no probes, or an item is unknown, missing or listed twice; it is
            named.
    """
    benchmark, table = _probed(item_ids, probes)
    doubt = np.round(np.abs(table.mean(axis=0) - 0.5), _EQUAL)
    ties = np.random.default_rng(seed).permutation(len(benchmark))
    return tuple(benchmark.ids[at] for at in np.lexsort((ties, doubt)))


def half_entropy_order(
    item_ids: Iterable[str], probes: Mapping[str, Answers], seed: int
) -> tuple[str, ...]:
    """Return items of `entropy_order` and of `random_order` in turn, each item once.

    Half of any prefix sorts candidates quickly, the other half keeps its winner honest.

    Args:
        item_ids: every item.
        probes: full answers of a few models, by name.
        seed: of both orders, which do not share their draws.

    Raises:
        UserError: as `entropy_order`.
    """
    ids = tuple(item_ids)
    for_ties, for_order = np.random.SeedSequence(seed).generate_state(2)
    divided = entropy_order(ids, probes, int(for_ties))
    drawn = random_order(ids, int(for_order))
    taken: dict[str, None] = {}
    queues = [iter(divided), iter(drawn)]
    while len(taken) < len(ids):
        queue = queues[len(taken) % 2]
        taken[next(name for name in queue if name not in taken)] = None
    return tuple(taken)


def stratified_order(
    item_ids: Iterable[str],
    seed: int,
    *,
    subtasks: Mapping[str, str] | None = None,
    probes: Mapping[str, Answers] | None = None,
) -> tuple[str, ...]:
    """Return an order whose prefixes hold every kind of item in proportion.

    Items of one subtask that equally many probes solve make a stratum. The item at place j of a
    stratum of m, shuffled, is sorted in at (j + u) / m, u in [0, 1) drawn for the stratum
    (systematic sampling, Cochran, 1977, ch. 8): a prefix of n items holds n m / n_items of the
    stratum up to a fraction, and each item is as likely as any other to be among the first.

    Args:
        item_ids: every item.
        seed: of the shuffling.
        subtasks: subtask of each item.
        probes: full answers of a few models, by name.

    Raises:
        UserError: neither subtasks nor probes are given, or an item is unknown, missing or
            listed twice; it is named.
    """
    if not subtasks and not probes:
        raise UserError(
            "a stratified order needs subtasks of the items, answers of probes, or both"
        )
    benchmark = Benchmark(item_ids, subtasks)
    counts: NDArray[np.float64] = np.zeros(len(benchmark))
    if probes:
        counts = np.round(_probed(benchmark.ids, probes)[1].sum(axis=0), _EQUAL)
    strata: dict[tuple[str, float], list[int]] = {}
    for at, name in enumerate(benchmark.ids):
        kind = (subtasks[name] if subtasks else "", float(counts[at]))
        strata.setdefault(kind, []).append(at)
    rng = np.random.default_rng(seed)
    places: list[tuple[float, int]] = []
    for _, members in sorted(strata.items()):
        sorted_in = (np.arange(len(members)) + rng.random()) / len(members)
        places += zip(sorted_in.tolist(), rng.permutation(members).tolist(), strict=True)
    return tuple(benchmark.ids[position] for _, position in sorted(places))


def _probed(
    item_ids: Iterable[str], probes: Mapping[str, Answers]
) -> tuple[Benchmark, NDArray[np.float64]]:
    """Return the benchmark and the probes' answers, (n_probes, n_items)."""
    if not probes:
        raise UserError("an order by answers needs probes: full answers of at least one model")
    benchmark = Benchmark(item_ids)
    rows = [benchmark.read_all(given, f"probe '{name}'") for name, given in sorted(probes.items())]
    return benchmark, np.array(rows)
