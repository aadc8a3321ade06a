"""A member to take home: by a preference, at the knee, or a few that stand for all.

Members are picked by their scores on the items the front was picked on, and reported on hold-out
items: whoever picks by the scores that he reports picks the lucky ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import UserError, nearest
from evomerge.pareto import (
    Anchors,
    ThinningRule,
    additive_epsilon,
    own_range,
    preferred,
    thin,
)
from evomerge.report.analysis import Analysis, cost_rows
from evomerge.report.front import BASE, DONOR_PREFIX, Front
from evomerge.report.table import number

PickKind: TypeAlias = Literal["preferred", "knee", "thinned"]
Scale: TypeAlias = Literal["anchors", "range"]
"""anchors: 0 is the base and 1 the best donor of each objective; range: 0 is the worst member of
the front and 1 the best."""

RULES: tuple[ThinningRule, ...] = ("farthest", "hypervolume", "epsilon")
_EXAMPLE = "for example math=2,code=1"


@dataclass(frozen=True, slots=True)
class Pick:
    """What was picked, and how.

    Attributes:
        kind: by what.
        members: names of the picked members, in the order of the front's rows.
        scale: of the scores it was picked by.
        details: what else JSON says of it.
        text: the same in one sentence.
    """

    kind: PickKind
    members: tuple[str, ...]
    scale: Scale
    details: Mapping[str, Any]
    text: str


def parse_weights(text: str) -> dict[str, float]:
    """Read weights as a user types them: 'math=2,code=1'.

    Raises:
        UserError: it is not that.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.rpartition("="))
        if not equals or not name:
            raise UserError(f"--prefer: '{part.strip()}' is no OBJECTIVE=WEIGHT, {_EXAMPLE}")
        if name in weights:
            raise UserError(f"--prefer: '{name}' has two weights")
        try:
            weights[name] = float(value)
        except ValueError:
            raise UserError(
                f"--prefer: the weight of '{name}' must be a number, got '{value}', {_EXAMPLE}"
            ) from None
    return weights


def pick_preferred(front: Front, weights: Mapping[str, float]) -> Pick:
    """Pick the member with the smallest weighted shortfall (see `evomerge.pareto.preferred`).

    The best value seen of an objective is that of all members and baselines. Scores are scaled by
    the base and the donors where these were scored, otherwise to the range of the members.

    Raises:
        UserError: the front is empty, or a weight is impossible.
    """
    _check_members(front, "--prefer")
    names = [objective.name for objective in front.objectives]
    scaled, best, scale = _scaled(front)
    try:
        index = preferred(scaled, names, weights, best)
    except UserError as error:
        raise UserError(f"--prefer: {error}") from None
    name = front.members[index].name
    given = ", ".join(f"{key}={weight:g}" for key, weight in weights.items())
    how = {
        "anchors": "0 = base, 1 = best donor",
        "range": "0 = worst, 1 = best member, because base or donors were not scored",
    }[scale]
    text = (
        f"preferred by {given}: {name}, whose worst weighted shortfall from the best score of each "
        f"objective is smallest (augmented Tchebycheff; scores scaled to {how})."
    )
    details = {"weights": dict(weights)}
    return Pick("preferred", (name,), scale, details, text)


def pick_knee(analysis: Analysis) -> Pick:
    """Pick the member that gives up least overall.

    Raises:
        UserError: there are fewer than three members, or one objective.
    """
    front = analysis.front
    if analysis.knee is None:
        raise UserError(
            "--knee: a knee needs two objectives and three members of the front, got "
            f"{len(front.objectives)} and {len(front.members)}; use --prefer"
        )
    text = (
        f"knee: {analysis.knee}, which gives up least overall (scores scaled to 0 = worst, "
        "1 = best member)."
    )
    return Pick("knee", (analysis.knee,), "range", {}, text)


def pick_thinned(front: Front, k: int, by: str) -> Pick:
    """Pick members that stand for all (see `evomerge.pareto.thin`).

    Raises:
        UserError: the front is empty, `k` is below 1, or there is no such rule.
    """
    _check_members(front, "--thin")
    if k < 1:
        raise UserError(f"--thin: at least 1 member must be kept, got {k}")
    rule = next((known for known in RULES if known == by), None)
    if rule is None:
        raise UserError(f"--by: '{by}' is no rule; {nearest(by, RULES)}")
    costs = cost_rows(front.objectives, (row.search for row in front.members))
    kept = thin(costs, k, by=rule)
    unit = own_range(costs)
    epsilon = max(0.0, additive_epsilon(unit[kept], unit))
    names = tuple(front.members[index].name for index in kept)
    text = (
        f"thinned to {len(names)} of {len(front.members)} by {rule}: {', '.join(names)}; each "
        f"member has one among these that is at most {number(epsilon)} worse in any objective (of "
        "the front's range)."
    )
    return Pick("thinned", names, "range", {"by": rule, "epsilon": epsilon}, text)


def items_note(analysis: Analysis) -> str:
    """Say by which items members are picked and on which they are shown."""
    picked_on = analysis.front.picked_on
    if analysis.split == "holdout":
        return f"Picked by {picked_on} scores; hold-out scores had no part in it."
    return (
        f"Picked by {picked_on} scores, and there are no others: these scores are optimistic "
        "(winner's curse)."
    )


def picks_document(analysis: Analysis, picks: Sequence[Pick]) -> dict[str, Any]:
    """Return picks as JSON: {items, note, preferred, knee, thinned}, the last three where picked.

    Each pick is {members, scale} and `weights`, or `by` and `epsilon`.
    """
    found: dict[str, Any] = {
        pick.kind: {"members": list(pick.members), "scale": pick.scale, **pick.details}
        for pick in picks
    }
    return {"items": analysis.front.picked_on, "note": items_note(analysis), **found}


def _check_members(front: Front, option: str) -> None:
    if not front.members:
        raise UserError(f"{option}: the front is empty, no trial was completed")


def _scaled(front: Front) -> tuple[NDArray[np.float64], NDArray[np.float64], Scale]:
    """Return the members' scaled scores, the best seen per objective, and the scale."""
    base = [row.search for row in front.baselines if row.name == BASE]
    donors = [row.search for row in front.baselines if row.name.startswith(DONOR_PREFIX)]
    members = [row.search for row in front.members]
    if base and donors:
        anchors = Anchors.of(front.objectives, base[0], donors, degenerate="adapt")
        everybody = anchors.scale_all([row.search for row in front.rows])
        return anchors.scale_all(members), everybody.max(axis=0), "anchors"
    costs = cost_rows(front.objectives, members)
    everybody = cost_rows(front.objectives, (row.search for row in front.rows))
    worst, span = costs.max(axis=0), np.ptp(costs, axis=0)
    # Where all members tie there is nothing to choose, whatever a baseline reached.
    unit = np.where(span > 0, span, np.inf)
    return (worst - costs) / unit, (worst - everybody.min(axis=0)) / unit, "range"
