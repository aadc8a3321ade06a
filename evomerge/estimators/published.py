"""Item parameters that tinyBenchmarks has published, from a file the user has.

The release (arXiv 2402.14992) is a pickled dictionary, `tinyBenchmarks.pkl`, which has for each of
'lb', 'mmlu', 'helm_lite' and 'alpaca'

    irt_parameters        {'A': (1, D, N), 'B': (1, 1 or D, N)}
    scenarios_position    {scenario: positions of its items among the N}
    subscenarios_position {scenario: {subtask: positions}}
    seen_examples         positions of the anchors, 100 for each scenario
    examples_weights      {scenario: weights of its anchors}
    optimal_lambdas       {scenario: c of gp-IRT with those anchors}

It is read by `evomerge.estimators.plain_pickle`, which runs nothing. The file knows items by their
place only: give ids in the published order, or items are called '<scenario>/<place>'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evomerge.errors import DataError, UserError, nearest
from evomerge.estimators.item_model import ItemParameters, unique_ids
from evomerge.estimators.plain_pickle import load_plain


@dataclass(frozen=True, slots=True)
class PublishedScenario:
    """What is published of one scenario.

    Attributes:
        items: its item parameters, in the published order and the 'released' convention.
        subtasks: the subtask of each item; each counts the same in the published scores.
        anchors: weight of each anchor, by item id; what `weights` of an estimator takes.
        trust: c of gp-IRT with those anchors.
    """

    items: ItemParameters
    subtasks: Mapping[str, str]
    anchors: Mapping[str, float]
    trust: float

    def irt_error(self, item_variance: float) -> float:
        """Return B, as gp_irt takes it beside this v, from c = B² / (B² + v / (4 n))."""
        noise = item_variance / (4.0 * len(self.anchors))
        return float(np.sqrt(self.trust / (1.0 - self.trust) * noise))


def load_tinybenchmarks(
    path: Path, benchmark: str, scenario: str, item_ids: Sequence[str] | None = None
) -> PublishedScenario:
    """Read one scenario of tinyBenchmarks' file.

    Args:
        path: tinyBenchmarks.pkl; it is never fetched.
        benchmark: which item model: 'lb', 'mmlu', 'helm_lite' or 'alpaca'.
        scenario: for example 'gsm8k' of 'lb'.
        item_ids: what its items are called, in the published order.

    Raises:
        DataError: the file cannot be read, holds more than plain data, or is not of this form.
        UserError: the benchmark or the scenario is unknown, or there are not as many ids as items.
    """
    published = _keyed(load_plain(path), benchmark, "benchmark", path)
    positions = _keyed(_part(published, "scenarios_position", path), scenario, "scenario", path)
    try:
        places = [int(at) for at in positions]
        parameters = published["irt_parameters"]
        a, b = (np.asarray(parameters[name], dtype=np.float64)[0].T[places] for name in ("A", "B"))
        subtask_of = {
            int(at): str(subtask)
            for subtask, members in published["subscenarios_position"][scenario].items()
            for at in members
        }
        subtasks = [subtask_of[at] for at in places]
        own = set(places)
        anchors = [int(at) for at in published["seen_examples"] if int(at) in own]
        weights = [float(weight) for weight in published["examples_weights"][scenario]]
        trust = float(published["optimal_lambdas"][scenario])
        pairs = list(zip(anchors, weights, strict=True))
        if not pairs or not 0.0 <= trust < 1.0:
            raise ValueError(f"{len(pairs)} anchors, and c = {trust}")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not as tinyBenchmarks publishes it: {error!r}") from error
    if item_ids is not None and len(item_ids) != len(places):
        raise UserError(
            f"{len(item_ids)} ids are given for the {len(places)} published items of "
            f"'{scenario}'; give one for each, in the published order"
        )
    ids = unique_ids(item_ids or (f"{scenario}/{place}" for place in range(len(places))))
    try:
        items = ItemParameters(ids, a, b[:, 0] if b.shape[1] == 1 else b, "released")
    except UserError as error:
        raise DataError(f"{path}: {error}") from error
    name_of = dict(zip(places, ids, strict=True))
    mass: dict[str, float] = {}
    for at, weight in pairs:  # two clusters may have chosen the same item
        mass[name_of[at]] = mass.get(name_of[at], 0.0) + weight
    return PublishedScenario(items, dict(zip(ids, subtasks, strict=True)), mass, trust)


def _part(document: Any, key: str, path: Path) -> Any:
    if not isinstance(document, dict) or key not in document:
        raise DataError(f"{path}: not as tinyBenchmarks publishes it: '{key}' is missing")
    return document[key]


def _keyed(document: Any, key: str, kind: str, path: Path) -> Any:
    """Return what stands under a name that the user chose."""
    if not isinstance(document, dict) or not document:
        raise DataError(f"{path}: not as tinyBenchmarks publishes it: no {kind}s stand in it")
    if key not in document:
        raise UserError(f"{path} has no {kind} '{key}'; {nearest(key, map(str, document))}")
    return document[key]
