"""How many trials a budget of items is expected to pay for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evomerge.optimizers.known_points import known_points
from evomerge.spaces import Space
from evomerge.spaces.domain import Domain
from evomerge.study.config import ObjectiveConfig, StudyConfig
from evomerge.study.rungs.brackets import Brackets
from evomerge.study.rungs.config import RungsConfig
from evomerge.study.rungs.proxies import EVERY


def expected_trials(config: StudyConfig, space: Space, items: Mapping[str, int]) -> int | None:
    """Return about how many trials a budget of items pays for; None without such a budget.

    Known points are scored on all items. Of other candidates as many go on from rung to rung as
    `promote` and `keep` say, all of them where only `race` stops anybody.

    Args:
        config: the study; of one with stages, each says its own number of trials.
        space: what is searched.
        items: objective name to the number of its search items, where it has some.
    """
    budget = config.budget.items
    if budget is None or config.stages is not None or not items:
        return None
    counts = dict(items)
    if config.batches is not None:
        counts = {name: min(config.batches.items, count) for name, count in items.items()}
    whole = sum(counts.values())
    domain, n_known = space.domain, 0
    if isinstance(domain, Domain) and config.search.arguments.get("seeds", True):
        n_known = len(known_points(domain))
    each = float(whole)
    if config.rungs is not None:
        each = _items_of_candidate(config.rungs, counts, config.objectives)
    return min(n_known, budget // whole) + int(max(0, budget - n_known * whole) / each)


def _items_of_candidate(
    rungs: RungsConfig, counts: Mapping[str, int], objectives: Mapping[str, ObjectiveConfig]
) -> float:
    """Return how many items a candidate is expected to be scored on, over all brackets."""
    sizes = [size for size in rungs.items if size < max(counts.values())]
    totals = [sum(min(size, count) for count in counts.values()) for size in sizes]
    totals.append(sum(counts.values()))
    share = 1.0 if rungs.promote is None else rungs.promote
    brackets = Brackets(totals, share, min(rungs.n_brackets, len(totals)))
    costs = [_from_rung(first, totals, share) for first in range(len(brackets.shares))]
    foretold = {name: one.proxy for name, one in objectives.items() if one.proxy is not None}
    if foretold and sizes:
        asked = sum(one.cost * min(sizes[0], counts[name]) for name, one in foretold.items())
        costs[0] = asked + (rungs.keep + (1 - rungs.keep) / EVERY) * costs[0]
    return sum(own * cost for own, cost in zip(brackets.shares, costs, strict=True))


def _from_rung(first: int, totals: Sequence[int], share: float) -> float:
    """Return the items of a candidate that begins at a rung, no item being scored twice."""
    higher = range(first + 1, len(totals))
    return totals[first] + sum(
        share ** (rung - first) * (totals[rung] - totals[rung - 1]) for rung in higher
    )
