"""From answered requests to metrics, by the tasks' own rules and lm-eval's aggregation."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

from lm_eval.api.group import Group
from lm_eval.api.metrics import mean, sample_stddev, stderr_for_metric

from evomerge.errors import FitnessError, nearest
from evomerge.fitness.lm_eval.requests import Asked
from evomerge.fitness.lm_eval.tasks import Suite

Key: TypeAlias = tuple[str, str]
"""A metric and the filter its answers went through."""

Values: TypeAlias = dict[Key, dict[int, Any]]
"""By metric and filter: document to value, in order."""

_CHUNK = 1000  # resamples drawn from one seed
_SLOW = frozenset({"bleu", "chrf", "chrf++", "ter"})  # metrics resampled 100 times at most
_CLOSED_FORM = frozenset({"mean", "acc_all"})  # aggregations with a formula for their error


@dataclass(frozen=True, slots=True)
class Scores:
    """What one candidate scored.

    Attributes:
        metrics: task or group to 'metric,filter' to value; 'metric_stderr,filter' where known.
        values: task to the values of single documents.
    """

    metrics: dict[str, dict[str, float]]
    values: dict[str, Values]


def score(suite: Suite, asked: Mapping[str, Sequence[Asked]], bootstrap_iters: int) -> Scores:
    """Score answered requests.

    Args:
        suite: the tasks and groups.
        asked: answered requests of each scored task.
        bootstrap_iters: resamples for standard errors without a formula; 0 leaves these out.
    """
    values = {name: _values(suite.tasks[name], documents) for name, documents in asked.items()}
    found: dict[str, dict[str, Any]] = {
        name: _aggregate(suite.tasks[name], of_task, bootstrap_iters)
        for name, of_task in values.items()
    }
    for group in suite.groups:
        found[group.name] = dict(group.aggregate(found))
    metrics = {
        name: {key: float(value) for key, value in of_one.items() if _is_score(key, value)}
        for name, of_one in found.items()
    }
    return Scores(metrics, values)


def chosen(suite: Suite, scores: Scores, wanted: str | None) -> tuple[str, Key]:
    """Return what the optimised metric is called, and its metric and filter.

    Args:
        suite: what was scored.
        scores: of one candidate.
        wanted: the metric, with or without a filter; None for the only one.

    Raises:
        FitnessError: there is no such metric, or there are several.
    """
    known = [key for key in scores.metrics[suite.main] if "_stderr," not in key]
    if wanted is None:
        found = known
    elif "," in wanted:
        found = [key for key in known if key == wanted]
    else:
        found = [key for key in known if key.split(",")[0] == wanted]
    if len(found) == 1:
        metric, _, name = found[0].partition(",")
        return wanted or found[0], (metric, name)
    listed = "; ".join(known) or "none"
    if wanted is None or found:
        raise FitnessError(f"{suite.main} has the metrics {listed}; name one with 'metric'")
    hint = nearest(wanted, known)
    raise FitnessError(f"{suite.main} has no metric '{wanted}' but {listed}; {hint}")


def others(suite: Suite, scores: Scores, key: Sequence[str]) -> dict[str, float]:
    """Return every metric but the optimised one; those of parts under 'part/metric,filter'."""
    found = {}
    for part, metrics in scores.metrics.items():
        for name, value in metrics.items():
            if part != suite.main:
                found[f"{part}/{name}"] = value
            elif name != ",".join(key):
                found[name] = value
    return found


def examples(suite: Suite, scores: Scores, key: Key) -> dict[str, dict[int, float]]:
    """Return the scores of single documents where the metric is their mean, else nothing.

    Args:
        suite: what was scored.
        scores: of one candidate.
        key: the metric and filter.

    Returns:
        Task to document to score. It is empty where a task aggregates otherwise (perplexities,
        corpus scores), where some documents have no score, and where a group weighs its tasks
        equally though they differ in size.
    """
    group = suite.main_group
    if group is None:
        names = [suite.main]
    else:
        names = [
            task.task_name for task in group.get_all_tasks() if task.task_name in scores.values
        ]
    found: dict[str, dict[int, float]] = {}
    for name in names:
        of_task = scores.values[name]
        own = of_task.get(key, {})
        complete = len(own) == max(map(len, of_task.values()))
        if not complete or _aggregation(suite.tasks[name], key[0]) is not mean:
            return {}
        found[name] = {doc_id: float(value) for doc_id, value in own.items()}
    sizes = {len(of_task) for of_task in found.values()}
    return found if len(sizes) == 1 or _weighs_by_size(group, key[0]) else {}


def _values(task: Any, asked: Sequence[Asked]) -> Values:
    """Filter the answers of one task and score each document, as `lm_eval.evaluate` does."""
    instances = [instance for document in asked for instance in document.instances]
    task._instances = instances
    task.apply_filters()
    values: Values = defaultdict(dict)
    for name in instances[0].filtered_resps:
        for document in asked:
            ordered = sorted(document.instances, key=lambda one: one.idx)
            responses = [one.filtered_resps[name] for one in ordered]
            for metric, value in task.process_results(document.doc, responses).items():
                values[metric, name][document.doc_id] = value
    return dict(values)


def _aggregate(task: Any, values: Values, bootstrap_iters: int) -> dict[str, Any]:
    found: dict[str, Any] = {"sample_len": max(map(len, values.values()))}
    for (metric, name), by_document in values.items():
        own = list(by_document.values())
        aggregation = _aggregation(task, metric)
        found[f"{metric},{name}"] = aggregation(own)
        found[f"{metric}_stderr,{name}"] = _stderr(metric, aggregation, own, bootstrap_iters)
    return found


def _aggregation(task: Any, metric: str) -> Callable[[Sequence[Any]], Any]:
    """Return how a task aggregates a metric; one that it does not name is averaged."""
    found: Callable[[Sequence[Any]], Any] = task.aggregation().get(metric, mean)
    return found


def _stderr(
    metric: str, aggregation: Callable[[Sequence[Any]], Any], values: Sequence[Any], iters: int
) -> Any:
    """Return a standard error as lm-eval does; 'N/A', its own word, where there is none."""
    known = stderr_for_metric(aggregation, 1)
    if known is None or len(values) < 2:
        return "N/A"
    if aggregation.__name__ in _CLOSED_FORM:
        return known(values)
    if not iters:
        return "N/A"
    iters = min(iters, 100) if metric in _SLOW else iters
    return _bootstrap(aggregation, values, iters)


def _bootstrap(
    aggregation: Callable[[Sequence[Any]], Any], values: Sequence[Any], iters: int
) -> float:
    """Resample as lm-eval does, seed by seed, without its pool of processes."""
    chunk = min(_CHUNK, iters)
    drawn = []
    for seed in range(iters // chunk):
        rng = random.Random(seed)  # noqa: S311 no secret
        drawn += [aggregation(rng.choices(values, k=len(values))) for _ in range(chunk)]
    return float(sample_stddev(drawn))


def _weighs_by_size(group: Group | None, metric: str) -> bool:
    if group is None:
        return True
    return all(
        one.weight_by_size for one in group.aggregate_metric_list or () if one.metric == metric
    )


def _is_score(key: str, value: Any) -> bool:
    """Say whether an entry of lm-eval's results is a metric with a finite value."""
    return (
        "," in key
        and isinstance(value, Real)
        and not isinstance(value, bool)
        and math.isfinite(float(value))
    )
