"""From a name in a study file to a fitness, its arguments bound."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_args

from evomerge.binding import PlugIn, bind_arguments
from evomerge.errors import FitnessError
from evomerge.fitness.bound import BoundFitness, FitnessSpec, declared_bounds
from evomerge.registry import Registry
from evomerge.types import Arguments, Goal

FITNESSES = Registry(
    "fitness",
    {
        "exact_match": "evomerge.fitness.exact_match:ExactMatch",
        "negative_log_likelihood": "evomerge.fitness.negative_log_likelihood:NegativeLogLikelihood",
        "multiple_choice": "evomerge.fitness.multiple_choice:MultipleChoice",
        "program_test": "evomerge.fitness.program_test:ProgramTest",
        "l1_distance": "evomerge.fitness.distance:L1Distance",
        "l2_distance": "evomerge.fitness.distance:L2Distance",
        "delta_sparsity": "evomerge.fitness.distance:DeltaSparsity",
        "lm_eval": "evomerge.fitness.lm_eval:LmEval",
    },
)


def check_fitness(
    name: str, args: Arguments, *, metric: str | None = None, folder: Path
) -> FitnessSpec:
    """Find a fitness and bind its arguments, running none of it.

    Args:
        name: a built-in, an entry point, 'module:attr' or './file.py:attr'.
        args: bound by name to the constructor's parameters, or to a function's beyond the model.
        metric: which of several metrics is optimised; also bound to a parameter of that name.
        folder: where relative paths start.

    Raises:
        PluginError: the name is unknown or cannot be imported.
        FitnessError: it is not a fitness, or the arguments do not fit.
    """
    target = FITNESSES.load(name, folder)
    if not callable(target):
        raise FitnessError(
            f"fitness '{name}' is a {type(target).__name__}; expected a function of the merged "
            "model or a class that is built and then called with it"
        )
    is_class = inspect.isclass(target)
    if is_class and not any("__call__" in vars(base) for base in inspect.getmro(target)):
        raise FitnessError(f"fitness '{name}': the class has no __call__(self, model)")
    has_group = is_class and callable(getattr(target, "together", None))
    if has_group and not isinstance(
        inspect.getattr_static(target, "score_together", None), classmethod | staticmethod
    ):
        raise FitnessError(
            f"fitness '{name}': the class has together() and no classmethod "
            "score_together(cls, fitnesses, models); add it, see evomerge.fitness.ScoredTogether"
        )
    arguments = bind_arguments(
        PlugIn(f"fitness '{name}'", target, FitnessError),
        args,
        folder=folder,
        given=None if is_class else "model",
        offered={} if metric is None else {"metric": metric},
    )
    goal: Any = getattr(target, "goal", "maximize")
    if goal not in get_args(Goal):
        raise FitnessError(f"fitness '{name}': goal must be maximize or minimize, got {goal!r}")
    return FitnessSpec(
        name=name,
        target=target,
        arguments=arguments,
        metric=metric,
        goal=goal,
        bounds=declared_bounds(name, target, metric),
        needs_items=bool(getattr(target, "needs_items", False)),
        brings_items=is_class and callable(getattr(target, "list_items", None)),
        has_fingerprint=callable(getattr(target, "fingerprint", None)),
        has_group=has_group,
        default_sources=dict(getattr(target, "default_sources", {})),
    )


def build_fitness(
    name: str, args: Arguments, *, metric: str | None = None, folder: Path
) -> BoundFitness:
    """Find, bind and build a fitness in one step, as a worker does.

    Args:
        name: a built-in, an entry point, 'module:attr' or './file.py:attr'.
        args: bound by name.
        metric: which of several metrics is optimised.
        folder: where relative paths start.

    Raises:
        PluginError: the name is unknown or cannot be imported.
        FitnessError: it is not a fitness, or the arguments do not fit.
    """
    return check_fitness(name, args, metric=metric, folder=folder).build()
