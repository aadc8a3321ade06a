"""What Optuna has of a trial: parameters, attributes, intermediate values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from evomerge.spaces.domain import Domain
from evomerge.study.course import Part
from evomerge.study.rungs.ladder import PROXY
from evomerge.study.seen import SeenTrial
from evomerge.types import Completed, Failed, GeneValue, Genotype, Objective, Outcome

Attribute: TypeAlias = str | int | float | bool


def values_of(part: Part, genotype: Genotype) -> dict[str, GeneValue]:
    """Return the genes that have an effect; none where a part breeds a population."""
    domain = part.space.domain
    if not isinstance(domain, Domain):
        return {}
    return {
        gene.name: value
        for gene, value, is_active in zip(
            domain.genes, genotype, domain.active(genotype), strict=True
        )
        if is_active
    }


def attributes_of(trial: SeenTrial, outcome: Outcome | None) -> dict[str, Attribute]:
    """Return what else there is to say of a trial.

    Args:
        trial: as the journal has it.
        outcome: of the study it is shown in.
    """
    found: dict[str, Attribute] = {"trial": trial.number, "origin": trial.origin}
    if trial.label:
        found["stage"] = trial.label
    if trial.rung is not None:
        found["rung"] = "proxy" if trial.rung == PROXY else trial.rung
    if trial.batch is not None:
        found["batch"] = trial.batch
    if trial.retries:
        found["failed attempts"] = trial.retries
    if trial.same_as is not None:
        found["same as trial"] = trial.same_as
    if not trial.genes:
        found["bred by"] = " ".join(map(str, trial.genotype))
    if isinstance(outcome, Failed):
        found["failure"] = f"{outcome.kind}: {outcome.message}"
    elif isinstance(outcome, Completed):
        found |= outcome.notes
        if trial.state == "estimated":
            found["estimated"] = True
        if trial.state in ("estimated", "searched"):
            word = "estimate" if trial.state == "estimated" else "on its items"
            found |= {f"{word}: {name}": value for name, value in outcome.metrics.items()}
            found |= {f"standard error: {name}": one for name, one in outcome.errors.items()}
    return found


def intermediate_of(trial: SeenTrial, objectives: Sequence[Objective]) -> dict[int, float]:
    """Return the score over all items so far at each rung, by their number; of one objective only.

    Optuna has no intermediate values of several.
    """
    found: dict[int, float] = {}
    if len(objectives) > 1:
        return found
    (objective,) = objectives
    n_items, total = 0, 0.0
    for rung, n_new, metrics in trial.measured:
        if rung != PROXY and objective.name in metrics:
            n_items += n_new
            total += n_new * metrics[objective.name]
            found[n_items] = total / n_items if n_items else metrics[objective.name]
    return found
