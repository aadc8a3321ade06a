"""A batch of candidates that a generational algorithm needs back in full."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from evomerge.optimizers.pending import PendingTrials
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


class Generational(ABC):
    """Ask and tell of an algorithm that moves when a whole generation is told.

    A subclass sets `_generation` before the first ask, and in `_advance` the next one, or
    `_stopped`.

    Args:
        n_objectives: how many costs a completed trial carries.
    """

    _generation: Generation

    def __init__(self, n_objectives: int) -> None:
        self._pending = PendingTrials(n_objectives)
        self._stopped: str | None = None

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose the next candidate of the generation, or None to wait for its tells."""
        self._pending.check_new(trial_number)
        if self._stopped is not None:
            return None
        proposal = self._generation.hand_out(trial_number)
        if proposal is not None:
            self._pending.open(trial_number, proposal.genotype)
        return proposal

    def tell(self, trial: Trial) -> None:
        """Learn one outcome; the algorithm moves when the generation is complete.

        Raises:
            ValueError: the trial was never asked for, or was told already.
        """
        self._pending.close(trial)
        self._generation.tell(trial)
        if self._generation.complete:
            self._advance(self._generation.trials())

    def stop_reason(self) -> str | None:
        """Say why the algorithm has ended, or None."""
        return self._stopped

    @abstractmethod
    def _advance(self, trials: Sequence[Trial]) -> None:
        """Learn a complete generation, its trials in the order of the proposals."""
