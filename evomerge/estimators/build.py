"""From the name of an estimator to one that is ready for candidates."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from evomerge.errors import PluginError, UserError, nearest
from evomerge.estimators.estimate import Estimator
from evomerge.estimators.evidence import Answers, Evidence
from evomerge.estimators.item_model import ItemParameters
from evomerge.registry import Registry

ESTIMATORS = Registry(
    "estimator",
    {
        "gmp_irt": "evomerge.estimators.irt:GmpIrt",
        "gp_irt": "evomerge.estimators.irt:GpIrt",
        "mp_irt": "evomerge.estimators.irt:MpIrt",
        "p_irt": "evomerge.estimators.irt:PIrt",
        "random": "evomerge.estimators.sampling:Mean",
        "weighted": "evomerge.estimators.sampling:Weighted",
    },
)
"""Every name of an estimator; plug-ins join by the entry point group 'evomerge.estimator'."""


def build_estimator(
    name: str,
    item_ids: Iterable[str],
    *,
    endpoints: Mapping[str, Answers] | None = None,
    items: ItemParameters | None = None,
    answers: Mapping[str, Answers] | None = None,
    subtasks: Mapping[str, str] | None = None,
    rank: int = 1,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Estimator:
    """Build an estimator by name.

    Args:
        name: a registered name, 'module:attr' or './file.py:attr'.
        item_ids: every item of the benchmark whose score is wanted.
        endpoints: full answers of the donors and the base, by model name.
        items: item parameters; where an estimator needs them and none are given, they are fitted
            on `endpoints` and `answers`.
        answers: more answers to fit item parameters on, by model name; gaps are allowed.
        subtasks: subtask of each item; each subtask then counts the same in the score.
        rank: how many abilities a fitted item model has, 1 or 2.
        seed: of the fit's start.
        options: the estimator's own options by name.
        folder: where relative plug-in files start.

    Raises:
        PluginError: the name is unknown or does not stand for an estimator.
        UserError: an option is unknown or out of range, or what the estimator needs is missing.
    """
    factory = ESTIMATORS.load(name, folder)
    if not callable(factory):
        raise PluginError(f"estimator '{name}' is a {type(factory).__name__}; expected a class")
    known = list(inspect.signature(factory).parameters)[1:]
    for option in options or {}:
        if option not in known:
            raise UserError(
                f"{option}: estimator '{name}' has no such option; {nearest(option, known)}"
            )
    evidence = Evidence(
        item_ids,
        endpoints=endpoints,
        items=items,
        answers=answers,
        subtasks=subtasks,
        rank=rank,
        seed=seed,
    )
    return cast(Estimator, factory(evidence, **(options or {})))
