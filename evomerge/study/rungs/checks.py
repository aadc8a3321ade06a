"""What rungs need of objectives, found before a run starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from evomerge.errors import nearest
from evomerge.estimators import ItemParameters
from evomerge.study.items import ItemsBySplit
from evomerge.study.problems import Problems
from evomerge.study.rungs.config import EstimatorConfig, RungsConfig
from evomerge.study.rungs.judging import REGRESSION, built
from evomerge.workers.spec import ObjectiveSpec


def check_rungs(
    rungs: RungsConfig,
    parts: Sequence[ObjectiveSpec],
    items: Mapping[str, ItemsBySplit],
    folder: Path,
    problems: Problems,
) -> None:
    """Note which objectives cannot be scored in parts, raced by or estimated."""
    scored = [one.objective for one in parts if "search" in items.get(one.objective.name, {})]
    unread = {one.objective.name for one in parts if one.search is not None}  # said elsewhere
    unread -= {one.name for one in scored}
    if not scored and not unread:
        problems.lines.append("rungs: no objective has search items to score a part of; remove it")
    if scored and not unread:
        _check_sizes(rungs, max(len(items[one.name]["search"]) for one in scored), problems)
    _check_proxies(rungs, parts, {one.name for one in scored} | unread, problems)
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
                "'estimator: regression'"
            )
    if rungs.estimator.refit is not None and rungs.estimator.name in (REGRESSION, "random"):
        problems.lines.append(
            f"rungs.estimator.refit: '{rungs.estimator.name}' fits no items; remove it"
        )
    if rungs.estimator.name == REGRESSION:
        if rungs.estimator.model_extra or rungs.estimator.items is not None:
            problems.lines.append("rungs.estimator: 'regression' has no options; remove them")
        return
    if not _check_files(rungs.estimator, [one.name for one in scored], folder, problems):
        return
    for objective in scored:
        ids = [str(item["id"]) for item in items[objective.name]["search"]]
        some = {"base": dict.fromkeys(ids, 0.0), "donor": dict.fromkeys(ids, 1.0)}
        build = partial(built, rungs.estimator, objective.name, ids, some, {}, 0, folder)
        if problems.attempt("rungs.estimator", build) is None:
            return


def _check_files(
    estimator: EstimatorConfig, scored: Sequence[str], folder: Path, problems: Problems
) -> bool:
    """Say whether the files of item parameters can be read."""
    for name in estimator.items if isinstance(estimator.items, dict) else ():
        if name not in scored:
            problems.lines.append(
                f"rungs.estimator.items.{name}: no such objective has items; "
                f"{nearest(name, scored)}"
            )
            return False
    files = {estimator.file_of(name) for name in scored} - {None}
    loaded = [
        problems.attempt("rungs.estimator.items", partial(ItemParameters.load, folder / str(file)))
        for file in sorted(map(str, files))
    ]
    return None not in loaded


def _check_sizes(rungs: RungsConfig, most: int, problems: Problems) -> None:
    beyond = [size for size in rungs.items if size >= most]
    if beyond:
        problems.lines.append(
            f"rungs.items: {beyond[0]} are not a part of the search items, of which no objective "
            f"has more than {most}; keep the numbers below that, all items follow by themselves"
        )


def _check_proxies(
    rungs: RungsConfig,
    parts: Sequence[ObjectiveSpec],
    scored: Collection[str],
    problems: Problems,
) -> None:
    proxied = [one.objective.name for one in parts if one.proxy is not None]
    for key in ("keep", "least_correlation") if not proxied else ():
        if getattr(rungs, key) != RungsConfig.model_fields[key].default:
            problems.lines.append(
                f"rungs.{key}: it is about proxies, and no objective has one; add 'proxy: "
                "{fitness: negative_log_likelihood}' to each, or remove it"
            )
    for name in proxied:
        if name not in scored:
            problems.lines.append(
                f"objectives.{name}.proxy: there are no search items to score; remove it"
            )
    for name in sorted(set(scored) - set(proxied)) if proxied else ():
        problems.lines.append(
            f"objectives.{name}: '{proxied[0]}' has a proxy, and whom it stops must be judged in "
            "every objective; give this one a proxy too"
        )
