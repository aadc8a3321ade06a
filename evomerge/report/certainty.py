"""How sure it is that a member of the front belongs there: dominance under the items' noise.

The items are resampled for all rows at once. A member whose lead is smaller than the noise is
dominated in many resamples, whatever the scores as they stand say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evomerge.pareto import dominance_probabilities
from evomerge.report.estimates import SplitEstimates
from evomerge.report.front import Front


@dataclass(frozen=True, slots=True)
class Rival:
    """The row that most probably dominates a member.

    Attributes:
        name: of the row.
        probability: that it dominates the member, above 0.5.
    """

    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class Certainty:
    """What the items' noise leaves of a front.

    Attributes:
        on_front: member to the probability that no other row, member or baseline, dominates it;
            empty where rows have no scores on common items.
        rivals: member to the row that probably dominates it; members without one are left out.
        left_out: scored rows that could not be compared: their items are others.
        exact: objectives that do not depend on items and so are taken to have no noise.
    """

    on_front: Mapping[str, float]
    rivals: Mapping[str, Rival]
    left_out: tuple[str, ...]
    exact: tuple[str, ...]


def certainty_of(front: Front, estimates: SplitEstimates) -> Certainty:
    """Return the probabilities of all members that were scored on the same items."""
    names = estimates.comparable
    members = [row.name for row in front.members if row.name in names]
    if not members:
        return Certainty({}, {}, (), ())
    found = dominance_probabilities(estimates.resampled_costs(names))
    place = {name: index for index, name in enumerate(names)}
    rivals = {}
    for name in members:
        against = found.dominates[:, place[name]]
        rival = int(against.argmax())
        if against[rival] > 0.5:
            rivals[name] = Rival(names[rival], float(against[rival]))
    return Certainty(
        {name: float(found.non_dominated[place[name]]) for name in members},
        rivals,
        tuple(name for name in estimates.scores if name not in place),
        estimates.exact,
    )


def certainty_notes(certainty: Certainty, *, optimistic: bool) -> Iterable[str]:
    """Yield what a reader must know of the probabilities, one sentence each; none without any.

    Args:
        certainty: of the front.
        optimistic: the front was picked by the scores that it comes from.
    """
    if not certainty.on_front:
        return
    sure = sum(probability >= 0.95 for probability in certainty.on_front.values())
    yield (
        "P(front) is the probability, by bootstrap over the items, that no other member and no "
        f"baseline dominates a member: 0.95 or more for {sure} of {len(certainty.on_front)}"
        f"{', and optimistic like the scores' if optimistic else ''}."
    )
    if certainty.rivals:
        doubtful = [
            f"{name} by {rival.name} ({rival.probability:.2f})"
            for name, rival in certainty.rivals.items()
        ]
        yield f"Probably dominated: {', '.join(doubtful)}."
    if certainty.exact:
        yield (
            f"P(front) takes {', '.join(certainty.exact)} as exact, because the same score on both "
            "splits does not depend on items."
        )
    if certainty.left_out:
        yield (
            f"P(front) leaves out {', '.join(certainty.left_out)}, not scored on the same items "
            "in every objective."
        )
