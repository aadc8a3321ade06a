"""Hypervolumes of a front and of its baselines, on the scale that the base and the donors set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evomerge.pareto import (
    REFERENCE,
    Anchors,
    Interval,
    anchored_hypervolume,
    hypervolume_interval,
)
from evomerge.report.estimates import SplitEstimates
from evomerge.report.front import BASE, DONOR_PREFIX, Front
from evomerge.types import Split


@dataclass(frozen=True, slots=True)
class Volumes:
    """Hypervolume on the scale 0 = base, 1 = best donor per objective, above -0.1 in each.

    Attributes:
        front_search: of the members, on search items (optimistic).
        front_holdout: of the members that stand for all, on hold-out items; None when one of these
            is missing.
        baselines_search: of all baselines together, on search items.
        baselines_holdout: of all baselines together, on hold-out items.
        interval: of the members' volume on the analysis' split, the scale held fixed; it allows
            for the luck that a front of noisy scores collects, so that it may lie below the
            volume. None where the members, on hold-out items those that stand for all, have no
            scores on common items.
        degenerate: objectives in which no donor beats the base, scaled as
            `evomerge.pareto.anchors.AnchorKind` says.
    """

    front_search: float
    front_holdout: float | None
    baselines_search: float
    baselines_holdout: float | None
    interval: Interval | None
    degenerate: tuple[str, ...]


def anchors_of(front: Front, estimates: SplitEstimates) -> Anchors | None:
    """Return the scale of a split; None where the base or every donor is missing there."""
    scores = estimates.scores
    donors = [scores[name] for name in scores if name.startswith(DONOR_PREFIX)]
    if BASE not in scores or not donors:
        return None
    return Anchors.of(front.objectives, scores[BASE], donors, degenerate="adapt")


def volumes_of(
    front: Front, search: SplitEstimates, holdout: SplitEstimates, split: Split
) -> Volumes | None:
    """Measure a front; None where the scale does not exist."""
    by_search = anchors_of(front, search)
    if by_search is None:
        return None
    by_holdout = anchors_of(front, holdout)
    members, baselines = ([row.name for row in rows] for rows in (front.members, front.baselines))
    standing = [row.name for row in front.to_hold_out]
    complete = all(name in holdout.scores for name in standing)
    known = [by_search, *([by_holdout] if by_holdout else [])]
    return Volumes(
        front_search=_volume(by_search, search, members),
        front_holdout=_volume(by_holdout, holdout, standing) if by_holdout and complete else None,
        baselines_search=_volume(by_search, search, baselines),
        baselines_holdout=_volume(by_holdout, holdout, baselines) if by_holdout else None,
        interval=_interval(by_holdout, holdout, standing)
        if split == "holdout"
        else _interval(by_search, search, members),
        degenerate=tuple(dict.fromkeys(name for one in known for name in one.degenerate)),
    )


def _volume(anchors: Anchors, estimates: SplitEstimates, names: Sequence[str]) -> float:
    scored = [estimates.scores[name] for name in names if name in estimates.scores]
    return anchored_hypervolume(anchors.scale_all(scored))


def _interval(
    anchors: Anchors | None, estimates: SplitEstimates, members: Sequence[str]
) -> Interval | None:
    if anchors is None or not members or not set(members) <= set(estimates.comparable):
        return None
    # Scaling a cost: the sign is in both ends, so that smaller stays better.
    signs = np.array([objective.cost(1.0) for objective in anchors.objectives])
    zero, one = np.array(anchors.zero), np.array(anchors.one)
    resampled = -(estimates.resampled_costs(members) * signs - zero) / (one - zero)
    if not np.ptp(resampled, axis=1).any():
        return None  # every member scores the same on all items: resampling says nothing of others
    costs = -anchors.scale_all([estimates.scores[name] for name in members])
    reference = np.full(len(signs), -REFERENCE)
    return hypervolume_interval(costs, resampled, reference, estimates.confidence)
