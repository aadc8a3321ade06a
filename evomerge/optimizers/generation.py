"""A batch of candidates that a generational algorithm needs back in full."""

from __future__ import annotations

from collections.abc import Sequence

from evomerge.optimizers.protocol import Proposal
from evomerge.types import Trial


class Generation:
    """Hands out its proposals in order and collects their trials in any order.

    Args:
        proposals: at least one.
    """

    def __init__(self, proposals: Sequence[Proposal]) -> None:
        self._proposals = tuple(proposals)
        self._numbers: list[int] = []
        self._trials: dict[int, Trial] = {}

    def hand_out(self, number: int) -> Proposal | None:
        """Return the next proposal, or None when all are out; None changes nothing."""
        if len(self._numbers) == len(self._proposals):
            return None
        self._numbers.append(number)
        return self._proposals[len(self._numbers) - 1]

    def tell(self, trial: Trial) -> None:
        """Collect the trial of a proposal that was handed out."""
        self._trials[trial.number] = trial

    @property
    def complete(self) -> bool:
        """Whether the trial of every proposal is in."""
        return len(self._trials) == len(self._proposals)

    def trials(self) -> list[Trial]:
        """Return the trials in the order of the proposals, whatever the order of the tells."""
        return [self._trials[number] for number in self._numbers]
