"""What rungs need of objectives, found before a run starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from evomerge.study.config import RungsConfig
from evomerge.study.items import ItemsBySplit
from evomerge.study.problems import Problems
from evomerge.study.rungs.judging import DIFFERENCE, built
from evomerge.types import Objective


def check_rungs(
    rungs: RungsConfig,
    objectives: Sequence[Objective],
    items: Mapping[str, ItemsBySplit],
    folder: Path,
    problems: Problems,
) -> None:
    """Note which objectives cannot be raced by or estimated, and a wrong estimator."""
    scored = [one for one in objectives if "search" in items.get(one.name, {})]
    for objective in scored:
        where = f"objectives.{objective.name}"
        if rungs.race is not None and None in objective.bounds:
            problems.lines.append(
                f"{where}: race needs to know the least and the greatest score of an item; give "
                "bounds: [0, 1], or remove race"
            )
        if rungs.needs_endpoints and objective.bounds != (0, 1):
            problems.lines.append(
                f"{where}: an order or estimator from the answers of base and donors takes scores "
                "from 0 to 1; give bounds: [0, 1] if they are, or use 'order: random' and "
                "'estimator: difference'"
            )
    if rungs.estimator.name == DIFFERENCE:
        if rungs.estimator.model_extra or rungs.estimator.items is not None:
            problems.lines.append("rungs.estimator: 'difference' has no options; remove them")
        return
    for objective in scored:
        ids = [str(item["id"]) for item in items[objective.name]["search"]]
        some = {"base": dict.fromkeys(ids, 0.0), "donor": dict.fromkeys(ids, 1.0)}
        build = partial(built, rungs.estimator, ids, some, {}, 0, folder)
        if problems.attempt("rungs.estimator", build) is None:
            return
