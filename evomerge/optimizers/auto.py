"""The optimizer that fits a search, by what `experiments/optimizers` measured."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evomerge.optimizers.arguments import checked_domain, integer
from evomerge.optimizers.build import build_optimizer
from evomerge.optimizers.map.amortised import BATCH
from evomerge.optimizers.map.quadratic import n_coefficients
from evomerge.optimizers.map.search import SPARE
from evomerge.optimizers.protocol import Needs, Optimizer, Proposal
from evomerge.optimizers.scalarise import Combination
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype, Objective, Trial

MOST_GENES = 100
"""Genes for which a Gaussian process of several objectives is taken, whatever the number of trials:
with up to 20, after up to 1000 trials, its mean was above that of NSGA-II on every problem, and
`dirichlet` was better by more than noise on one; with 48 and 96 it was far above both after 100."""
FEW_TRIALS = 200
"""Up to here quadratics, and a Gaussian process of one objective, are taken."""
MOST_OF_QUADRATICS = 5
"""Genes for which a quadratic of all of them was above the search without a model; with 8 it was
below."""
MOST_OF_ONE = 20
"""Genes, all of them numbers, for which a Gaussian process of one objective was compared with
CMA-ES: it pays, with 20 most of all."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An optimizer, its options, and why it was chosen."""

    name: str
    why: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Auto:
    """Chooses an optimizer and lets it search.

    Args:
        domain: genes of any kind.
        n_objectives: any number.
        seed: the chosen optimizer's.
        seeds: propose the domain's seeds and initial point first.
        objectives: told by the study and passed on.
        budget: told by the study and passed on.
        combination: told by the study and passed on; with one there is one objective.
        doubt: told by the study and passed on.
        expected: told by the study: about how many trials its items pay for. Where neither is
            known the search is taken for a long one.

    Attributes:
        choice: what was chosen and why; also the first of the notes.
        combination: as it was told.
    """

    needs = Needs(objectives="any")

    def __init__(
        self,
        domain: Domain,
        n_objectives: int,
        seed: int,
        *,
        seeds: bool = True,
        objectives: Sequence[Objective] = (),
        budget: int | None = None,
        expected: int | None = None,
        combination: Combination | None = None,
        doubt: float = 1.0,
    ) -> None:
        count = integer("n_objectives", n_objectives, 1)
        self.combination = combination
        aims = count if combination is None else 1
        self.choice = choose(
            checked_domain(domain), aims, budget, has_botorch=has_botorch(), expected=expected
        )
        name, options = self.choice.name, {"seeds": seeds, **self.choice.options}
        self._optimizer: Optimizer = build_optimizer(
            name,
            domain,
            count,
            seed,
            options,
            objectives=objectives,
            budget=budget,
            combination=combination,
            doubt=doubt,
        )
        self.needs = self._optimizer.needs
        self._note = f"auto: {name}: {self.choice.why}"

    @property
    def notes(self) -> list[str]:
        """What was chosen and why, then what the chosen one says."""
        return [self._note, *getattr(self._optimizer, "notes", ())]

    def ask(self, trial_number: int) -> Proposal | None:
        """Propose what the chosen optimizer proposes."""
        return self._optimizer.ask(trial_number)

    def tell(self, trial: Trial) -> None:
        """Pass an outcome on.

        Raises:
            ValueError: the trial was never asked for, or was told already.
        """
        self._optimizer.tell(trial)

    def predict(self, genotype: Genotype) -> tuple[list[float], list[float]] | None:
        """Return what the chosen optimizer's model expects; None where it has none."""
        found = getattr(self._optimizer, "predict", None)
        expected: tuple[list[float], list[float]] | None = found(genotype) if found else None
        return expected

    def stop_reason(self) -> str | None:
        """Return the chosen optimizer's reason."""
        return self._optimizer.stop_reason()


def has_botorch() -> bool:
    """Say whether Gaussian processes can be used."""
    return importlib.util.find_spec("botorch") is not None


def choose(
    domain: Domain,
    n_objectives: int,
    budget: int | None,
    *,
    has_botorch: bool,
    expected: int | None = None,
) -> Choice:
    """Choose by the kinds and number of genes, the number of objectives and the budget.

    Args:
        domain: what is varied.
        n_objectives: how many costs a trial carries.
        budget: of trials; None when there is none.
        has_botorch: whether Gaussian processes can be used.
        expected: about how many trials a budget of items pays for; the smaller number counts.
    """
    if domain.sequence is not None:
        return Choice("nsga2", "its operators move the elements of a sequence as a whole")
    numeric = all(gene.kind != "categorical" for gene in domain.genes)
    n_genes = len(domain)
    length = "no limit of trials" if budget is None else f"{budget} trials"
    if expected is not None and (budget is None or expected < budget):
        budget, length = expected, f"about {expected} trials by its items"
    long = None
    if budget is None:  # of hours, which say nothing of the number of trials
        long = "taken for a long search; if it is short, give trials"
    elif budget > FEW_TRIALS:
        long = "long enough to do without a model"
    if n_objectives == 1:
        why = f"one objective, {n_genes} genes, {length}"
        return _of_one(n_genes, why, long, numeric=numeric, has_botorch=has_botorch)
    why = f"{n_objectives} objectives, {n_genes} genes, {length}"
    if has_botorch and n_genes <= MOST_GENES:
        return Choice("mobo", f"{why}: few enough genes for Gaussian processes")
    why += ", more genes than Gaussian processes take" if has_botorch else ", BoTorch is missing"
    without_model = "dirichlet" if numeric else "sms_emoa"
    if long is not None or budget is None:
        return Choice(without_model, f"{why}: {long}")
    enough = n_coefficients(n_genes) + SPARE <= budget - BATCH
    if numeric and enough and n_genes <= MOST_OF_QUADRATICS:
        return Choice("map", f"{why}: enough to fit quadratics")
    return Choice(without_model, f"{why}: no quadratics fit that")


def _of_one(
    n_genes: int, why: str, long: str | None, *, numeric: bool, has_botorch: bool
) -> Choice:
    """Choose for one objective; `long` says why the search is none of few trials."""
    without_model = "cma_es" if numeric else "cat_cma"
    if long is not None:
        return Choice(without_model, f"{why}: {long}")
    if not numeric:
        return Choice(without_model, f"{why}: over choices and numbers")
    if n_genes > MOST_OF_ONE:
        return Choice(without_model, f"{why}: with so many no Gaussian process was tried")
    if not has_botorch:
        return Choice(without_model, f"{why}: BoTorch is missing")
    return Choice("mobo", f"{why}: few enough for Gaussian processes")
