"""From the `search:` section of a study file to an optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from evomerge.errors import ConfigError, PluginError, nearest
from evomerge.optimizers.protocol import Needs, Optimizer
from evomerge.registry import Registry
from evomerge.spaces.domain import Domain

OPTIMIZERS = Registry(
    "optimizer",
    {
        "cat_cma": "evomerge.optimizers.cat_cma:CatCma",
        "cma_es": "evomerge.optimizers.cma_es:CmaEs",
        "cma_wm": "evomerge.optimizers.cma_wm:CmaWm",
        "como_cat_cma": "evomerge.optimizers.como_cat_cma:ComoCatCma",
        "nsga2": "evomerge.optimizers.nsga2:Nsga2",
        "optuna": "evomerge.optimizers.optuna_sampler:OptunaSampler",
        "random": "evomerge.optimizers.random:RandomSearch",
        "sobol": "evomerge.optimizers.sobol:SobolSearch",
    },
)
"""Every name `search.optimizer` may take; plug-ins join by the entry point 'evomerge.optimizer'."""

_LEADING = ("domain", "n_objectives", "seed")


def build_optimizer(
    name: str,
    domain: Domain,
    n_objectives: int,
    seed: int,
    options: Mapping[str, Any],
    folder: Path | None = None,
) -> Optimizer:
    """Build the optimizer a study names.

    Args:
        name: a registered name, 'module:attr' or './file.py:attr'.
        domain: the genes to vary and the known points to start with.
        n_objectives: how many costs a completed trial carries.
        seed: source of all the optimizer's randomness.
        options: the optimizer's own options by name.
        folder: where relative plug-in files start.

    Raises:
        PluginError: the name is unknown or does not stand for an optimizer.
        ConfigError: an option is unknown, missing or out of range, or the optimizer cannot
            handle this number of objectives.
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
    needs = getattr(factory, "needs", None)
    if isinstance(needs, Needs):
        check_objectives(name, needs, n_objectives)
    optimizer = cast(Optimizer, factory(domain, n_objectives, seed, **options))
    check_objectives(name, optimizer.needs, n_objectives)
    return optimizer


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
    }


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
        hint = (
            f"needs {wanted} objectives and the study has {n_objectives}; use cma_es, or cat_cma "
            "where genes are categorical"
        )
    elif needs.objectives == "two" and n_objectives > 2:
        hint = f"takes exactly two objectives and the study has {n_objectives}; use nsga2"
    if hint:
        raise ConfigError([f"optimizer: '{name}' {hint}"])
