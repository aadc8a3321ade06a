"""How many trials a budget of items is expected to pay for."""

from __future__ import annotations

from collections.abc import Mapping

from evomerge.optimizers.known_points import known_points
from evomerge.spaces import Space
from evomerge.spaces.domain import Domain
from evomerge.study.config import ObjectiveConfig, SearchConfig, StudyConfig
from evomerge.study.rungs.config import RungsConfig
from evomerge.study.rungs.visits import Visit, visits


def expected_trials(config: StudyConfig, space: Space, items: Mapping[str, int]) -> int | None:
    """Return about how many trials a budget of items pays for; None without such a budget.

    Known points are scored on all items unless they climb, other candidates as `visits` expects.

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
    whole, known = sum(counts.values()), n_whole(config.search, space, config.rungs)
    foretold = [name for name, one in config.objectives.items() if one.proxy is not None]
    each = items_of_candidate(visits(config.rungs, counts, foretold), config.objectives)
    return min(known, budget // whole) + int(max(0, budget - known * whole) / each)


def n_whole(search: SearchConfig, space: Space, rungs: RungsConfig | None) -> int:
    """Return how many known points a search begins with that are scored on all items."""
    if rungs is not None and not rungs.measure_known:
        return 0
    if isinstance(space.domain, Domain) and search.arguments.get("seeds", True):
        return len(known_points(space.domain))
    return 0


def items_of_candidate(
    expected: tuple[Visit, ...], objectives: Mapping[str, ObjectiveConfig]
) -> float:
    """Return how many items a candidate is expected to cost, a proxy's by its `cost`."""
    prices = {name: one.proxy.cost for name, one in objectives.items() if one.proxy is not None}
    return sum(
        visit.share * count * (prices[name] if visit.proxy else 1.0)
        for visit in expected
        for name, count in visit.items.items()
    )
