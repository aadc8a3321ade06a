"""The ask/tell contract every search algorithm keeps.

The state of an optimizer is a pure function of its constructor arguments and the sequence of
asks and tells: run the same sequence again and it proposes the same genotypes, bit for bit. That
is what makes resume a replay of the journal. `evomerge.testing` holds the contract's tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from evomerge.types import Genotype, Trial


@dataclass(frozen=True, slots=True)
class Proposal:
    """A genotype to evaluate, and where it came from.

    Attributes:
        genotype: of the domain.
        origin: 'seed:uniform', 'cma:gen3', ...; what came from one place has one origin.
    """

    genotype: Genotype
    origin: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What an optimizer must be told; the study checks it before the first merge.

    Attributes:
        objectives: 'one' takes a single cost, 'two' exactly two, 'many' two or more, 'any' any
            number.
        examples: per-example scores are read from completed outcomes.
        nonnegative: these scores must not be negative, larger being better.
        compares: which candidates' costs are compared, and so must come from the same items:
            'all'; 'generation' compares those proposed one after another with the same origin,
            and the known points with one another; 'none' learns from no cost.
        generations: it waits for whole generations; candidates proposed one after another with the
            same origin are one.
        breeds: it proposes offspring of earlier trials, so its space is a population.
    """

    objectives: Literal["one", "two", "many", "any"] = "any"
    examples: bool = False
    nonnegative: bool = False
    compares: Literal["all", "generation", "none"] = "all"
    generations: bool = False
    breeds: bool = False


class Optimizer(Protocol):
    """A search algorithm over a domain; costs are minimised.

    One that has something to say of its search (how well a surrogate fits, what it chose and why)
    has an attribute `notes`, a list of sentences that only grows with asks and tells: the study
    records and shows them. One that takes the keyword `combination` (`scalarise.Combination`, or
    None) sees all costs and minimises what that makes of them, and keeps it in an attribute of that
    name. One with a model has `predict(genotype)`, the expected costs and their standard errors or
    None, which changes nothing: rungs weigh it when they decide who goes on.
    """

    needs: Needs

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose a genotype for a trial, or None to wait for a tell (which changes nothing).

        Args:
            trial_number: under which its outcome is told; a new one.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Learn one outcome; any order, failures included.

        Raises:
            ValueError: the trial was never asked for, or was told already.
        """
        ...

    def stop_reason(self) -> str | None:
        """Say why the search is over by the algorithm's own criteria, or None."""
        ...
