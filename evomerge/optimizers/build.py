"""From the `search:` section of a study file to an optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from evomerge.errors import ConfigError, PluginError, nearest
from evomerge.optimizers.protocol import Needs, Optimizer
from evomerge.optimizers.scalarise import Combination, Scalarised
from evomerge.registry import Registry
from evomerge.spaces.domain import Domain, Founders
from evomerge.types import Objective

OPTIMIZERS = Registry(
    "optimizer",
    {
        "auto": "evomerge.optimizers.auto:Auto",
        "bayesian_map": "evomerge.optimizers.map.bayesian:BayesianMap",
        "cat_cma": "evomerge.optimizers.cat_cma:CatCma",
        "cma_es": "evomerge.optimizers.cma_es:CmaEs",
        "cma_mae": "evomerge.optimizers.cma_me:CmaMae",
        "cma_me": "evomerge.optimizers.cma_me:CmaMe",
        "cma_wm": "evomerge.optimizers.cma_wm:CmaWm",
        "como_cat_cma": "evomerge.optimizers.como_cat_cma:ComoCatCma",
        "cycle_qd": "evomerge.optimizers.populations.cycle_qd:CycleQd",
        "dirichlet": "evomerge.optimizers.dirichlet:Dirichlet",
        "m2n2": "evomerge.optimizers.populations.m2n2:M2n2",
        "map": "evomerge.optimizers.map.amortised:Map",
        "mm_mo": "evomerge.optimizers.gaussian_processes.mm_mo:MmMo",
        "mobo": "evomerge.optimizers.gaussian_processes.mobo:Mobo",
        "moead": "evomerge.optimizers.moead:Moead",
        "nested_map": "evomerge.optimizers.map.nested:NestedMap",
        "nsga2": "evomerge.optimizers.nsga2:Nsga2",
        "nsga3": "evomerge.optimizers.nsga3:Nsga3",
        "optuna": "evomerge.optimizers.optuna_sampler:OptunaSampler",
        "pycma": "evomerge.optimizers.pycma:Pycma",
        "random": "evomerge.optimizers.random:RandomSearch",
        "smac": "evomerge.optimizers.smac:SmacForest",
        "sms_emoa": "evomerge.optimizers.sms_emoa:SmsEmoa",
        "sobol": "evomerge.optimizers.sobol:SobolSearch",
    },
)
"""Every name `search.optimizer` may take; plug-ins join by the entry point 'evomerge.optimizer'."""

_LEADING = ("domain", "n_objectives", "seed")
_GIVEN = ("objectives", "budget", "expected", "combination", "doubt")


def build_optimizer(
    name: str,
    domain: Founders,
    n_objectives: int,
    seed: int,
    options: Mapping[str, Any],
    folder: Path | None = None,
    *,
    objectives: Sequence[Objective] = (),
    budget: int | None = None,
    expected: int | None = None,
    combination: Combination | None = None,
    doubt: float = 1.0,
) -> Optimizer:
    """Build the optimizer a study names.

    An optimizer whose constructor has the keywords `objectives`, `budget`, `expected`,
    `combination` or `doubt` is told these; they are no options of a study file.

    Args:
        name: a registered name, 'module:attr' or './file.py:attr'.
        domain: the genes to vary and the known points to start with, or what can be bred.
        n_objectives: how many costs a completed trial carries.
        seed: source of all the optimizer's randomness.
        options: the optimizer's own options by name.
        folder: where relative plug-in files start.
        objectives: what is optimised, in the order of the costs.
        budget: how many trials the search has; None when only time or items limit it.
        expected: about how many trials its items pay for; None when these do not limit it.
        combination: what the costs are combined into, where that is minimised and not the front
            looked for. An optimizer that is not told of it sees one cost.
        doubt: by what a model should multiply the standard errors of estimated costs.

    Raises:
        PluginError: the name is unknown or does not stand for an optimizer.
        ConfigError: an option is unknown, missing or out of range, or the optimizer cannot
            handle this number of objectives, or this kind of space.
        SpaceError: the optimizer cannot search this domain.
    """
    factory = OPTIMIZERS.load(name, folder)
    if not callable(factory):
        raise PluginError(f"optimizer '{name}' is a {type(factory).__name__}; expected a class")
    known = option_names(name, factory)
    problems = [
        f"{option}: optimizer '{name}' has no such option; {nearest(option, known)}"
        for option in options
        if option not in known
    ]
    problems += [
        f"{option}: optimizer '{name}' needs a value here"
        for option, required in known.items()
        if required and option not in options
    ]
    if problems:
        raise ConfigError(problems)
    asked_for = given_names(factory)
    one_cost = None if "combination" in asked_for else combination
    if one_cost is not None:
        n_objectives, objectives = 1, ()
    needs = getattr(factory, "needs", None)
    if isinstance(needs, Needs):
        check_objectives(name, needs, n_objectives)
        check_domain(name, needs, domain)
    given = {
        "objectives": tuple(objectives),
        "budget": budget,
        "expected": expected,
        "combination": combination,
        "doubt": doubt,
    }
    wanted = {key: given[key] for key in asked_for}
    optimizer = cast(Optimizer, factory(domain, n_objectives, seed, **options, **wanted))
    check_objectives(name, optimizer.needs, n_objectives)
    check_domain(name, optimizer.needs, domain)
    return optimizer if one_cost is None else Scalarised(optimizer, one_cost)


def option_names(name: str, factory: Callable[..., Any]) -> dict[str, bool]:
    """List the options of an optimizer: name to whether it must be given.

    Raises:
        PluginError: the factory does not start with (domain, n_objectives, seed).
    """
    parameters = list(inspect.signature(factory).parameters.values())
    leading = tuple(parameter.name for parameter in parameters[: len(_LEADING)])
    if leading != _LEADING:
        raise PluginError(
            f"optimizer '{name}' takes ({', '.join(leading)}, ...); "
            f"expected ({', '.join(_LEADING)}, ...) first"
        )
    return {
        parameter.name: parameter.default is inspect.Parameter.empty
        for parameter in parameters[len(_LEADING) :]
        if parameter.name not in _GIVEN
    }


def given_names(factory: Callable[..., Any]) -> list[str]:
    """List what an optimizer wants to be told of the study."""
    parameters = inspect.signature(factory).parameters
    return [name for name in _GIVEN if name in parameters]


def check_domain(name: str, needs: Needs, domain: Founders) -> None:
    """Refuse an optimizer that breeds where there are genes, and one of genes where there are none.

    Raises:
        ConfigError: naming what would go together.
    """
    if needs.breeds and isinstance(domain, Domain):
        raise ConfigError(
            [
                f"optimizer: '{name}' breeds offspring of earlier trials and the space has genes; "
                "use a space with 'population:', e.g. space: m2n2, or another optimizer, e.g. nsga2"
            ]
        )
    if not needs.breeds and not isinstance(domain, Domain):
        raise ConfigError(
            [
                f"optimizer: '{name}' varies genes and a population has none; use m2n2 or "
                "cycle_qd, or a space with genes, e.g. space: task_arithmetic_layerwise"
            ]
        )


def check_objectives(name: str, needs: Needs, n_objectives: int) -> None:
    """Refuse an optimizer that cannot take this number of objectives.

    Raises:
        ConfigError: naming what would take them.
    """
    hint = ""
    if needs.objectives == "one" and n_objectives > 1:
        pair = ", or como_cat_cma for two" if n_objectives == 2 else ""
        hint = (
            f"takes one objective and the study has {n_objectives}; use nsga2{pair}, "
            "or say how to combine them with 'scalarize: mean'"
        )
    elif needs.objectives in ("many", "two") and n_objectives < 2:
        wanted = "two" if needs.objectives == "two" else "two or more"
        other = "m2n2" if needs.breeds else "cma_es, or cat_cma where genes are categorical"
        hint = f"needs {wanted} objectives and the study has {n_objectives}; use {other}"
    elif needs.objectives == "two" and n_objectives > 2:
        hint = f"takes exactly two objectives and the study has {n_objectives}; use nsga2"
    if hint:
        raise ConfigError([f"optimizer: '{name}' {hint}"])
