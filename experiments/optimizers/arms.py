"""What is compared: every optimizer, as a study file would name it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Protocol

from evomerge.optimizers import Combination, build_optimizer
from evomerge.optimizers.build import OPTIMIZERS, given_names
from evomerge.optimizers.protocol import Optimizer
from evomerge.spaces.domain import Domain
from evomerge.types import Genotype, Objective, Trial


class Posed(Protocol):
    """What a search is carried out on: `MergeProblem` and `SmmBench` are.

    Attributes:
        name: for messages.
        domain: what is varied.
        objectives: what an optimizer is told of them.
        n_objectives: how many.
    """

    name: str
    domain: Domain
    objectives: tuple[Objective, ...]
    n_objectives: int

    def completed(self, number: int, genotype: Genotype) -> Trial:
        """Evaluate a genotype as a search sees it."""
        ...

    def expected_costs(self, genotype: Genotype) -> tuple[float, ...]:
        """Return the costs without noise."""
        ...


@dataclass(frozen=True)
class Arm:
    """One way to search.

    Attributes:
        optimizer: its registered name.
        options: as in a study file.
        scalarize: how several objectives become the one that it takes.
        decided: all that depends on the budget in an optimizer that is told of it: where it is
            equal for two budgets, one search is the beginning of the other. None: anything.
    """

    optimizer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    scalarize: str | None = None
    decided: Callable[[Any], int] | None = None

    def takes_budget(self) -> bool:
        """Say whether it behaves differently when it is told of another budget."""
        return "budget" in given_names(OPTIMIZERS.load(self.optimizer))

    def build(self, problem: Posed, seed: int, budget: int) -> Optimizer:
        """Build it for a problem.

        Raises:
            UserError: it cannot search this problem, or is not installed.
        """
        return build_optimizer(
            self.optimizer,
            problem.domain,
            problem.n_objectives,
            seed,
            self.options,
            objectives=problem.objectives,  # as a study does
            budget=budget,
            combination=Combination.of(problem.n_objectives, self.scalarize)
            if self.scalarize and problem.n_objectives > 1
            else None,
        )


ARMS: Mapping[str, Arm] = {
    "map": Arm("map"),
    "nested_map": Arm("nested_map"),
    "bayesian_map": Arm("bayesian_map"),
    "mm_mo": Arm("mm_mo"),
    "mobo": Arm("mobo", decided=attrgetter("n_start")),
    "smac": Arm("smac"),
    "dirichlet": Arm("dirichlet"),
    "nsga2": Arm("nsga2"),
    "nsga3": Arm("nsga3"),
    "moead": Arm("moead"),
    "sms_emoa": Arm("sms_emoa"),
    "optuna": Arm("optuna"),
    "como_cat_cma": Arm("como_cat_cma"),
    "cma_es": Arm("cma_es", scalarize="mean"),
    "cma_es-tchebycheff": Arm("cma_es", scalarize="tchebycheff"),
    "cma_wm": Arm("cma_wm", scalarize="tchebycheff"),
    "cat_cma": Arm("cat_cma", scalarize="tchebycheff"),
    "cma_me": Arm("cma_me"),
    "cma_mae": Arm("cma_mae"),
    "sobol": Arm("sobol"),
    "random": Arm("random"),
}
"""By the names that tables use. `auto` is not run, since it searches as what it chooses; M2N2 and
CycleQD breed models and search no genes; `pycma`, of one objective, is there to repeat searches of
mergekit-evolve candidate for candidate, and wherever that is not the aim there is `cma_es`."""
