"""A fitness that is ready to score, and what it returns, checked."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

from evomerge.errors import FitnessError, nearest
from evomerge.fitness.data import load_items
from evomerge.fitness.model import MergedModel
from evomerge.fitness.protocol import Item
from evomerge.fitness.public_tests import public_test_of
from evomerge.types import Bounds, FitnessResult, Goal

ModelScore: TypeAlias = tuple[float, dict[str, float], dict[str, float]]
"""The optimised metric, the score of each item where the fitness gives them, other metrics."""


@dataclass(frozen=True, slots=True)
class FitnessSpec:
    """A fitness whose arguments are known to fit; nothing of it has run yet.

    Attributes:
        name: as in the study file.
        target: the class or callable.
        arguments: bound and converted.
        metric: which of its metrics the objective optimises, where the study says.
        goal: the direction in which the metric improves by nature.
        bounds: the least and the greatest value the metric can have, as far as they are known.
        needs_items: the objective must name data.
        brings_items: it lists its items itself, see `evomerge.fitness.protocol.BringsItems`.
        has_fingerprint: it says what its scores depend on, see `BoundFitness.fingerprint`.
        has_group: its class says which objectives are scored at once, see `BoundFitness.group`.
        default_sources: what such a fitness scores where the objective names no items, by split.
    """

    name: str
    target: Callable[..., Any]
    arguments: Mapping[str, Any]
    metric: str | None
    goal: Goal
    bounds: Bounds
    needs_items: bool
    brings_items: bool = False
    has_fingerprint: bool = False
    has_group: bool = False
    default_sources: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> BoundFitness:
        """Build the class, once per worker; a function is ready as it is.

        Whatever a constructor raises passes through.
        """
        if not inspect.isclass(self.target):
            return BoundFitness(self, self.target, self.arguments)
        built: Any = self.target(**self.arguments)
        return BoundFitness(self, built, {})


class BoundFitness:
    """A fitness that is ready to score.

    Args:
        spec: what is known of it.
        call: what scores a model, built where it is a class.
        arguments: it is called with beside the model.

    Attributes:
        needs_items: it scores items, so the objective must name data.
        fields: what each item must have.
    """

    def __init__(
        self, spec: FitnessSpec, call: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> None:
        self.name = spec.name
        self.needs_items = spec.needs_items
        self.fields: tuple[str, ...] = tuple(getattr(call, "fields", ()))
        self._spec = spec
        self._call = call
        self._arguments = arguments

    @property
    def metric(self) -> str | None:
        """Which of its metrics is optimised; None where it returns one only."""
        return self._spec.metric or getattr(self._call, "metric", None)

    @property
    def goal(self) -> Goal:
        """The direction in which its metric improves by nature; a study may say otherwise.

        A fitness that brings its items may know it only when these are listed.
        """
        goal: Goal = getattr(self._call, "goal", self._spec.goal)
        return goal

    @property
    def bounds(self) -> Bounds:
        """The least and the greatest value of its metric, known like the goal."""
        if not self._spec.brings_items:
            return self._spec.bounds
        return declared_bounds(self.name, self._call, None)

    def load_items(
        self, source: Any, *, folder: Path, limit: int | None = None
    ) -> tuple[Item, ...]:
        """Read the items of a source: from data, or from the fitness itself if it brings them.

        Args:
            source: as the study has it, see `evomerge.fitness.load_items`.
            folder: where relative paths start.
            limit: read the first so many items only.

        Raises:
            DataError: they cannot be read, or lack what the fitness reads.
            FitnessError: the fitness cannot list them, or two have the same id.
        """
        if not self._spec.brings_items:
            return load_items(source, folder=folder, limit=limit, fields=self.fields)
        items = tuple(self._call.list_items(source, limit))  # type: ignore[attr-defined]
        ids = {item["id"] for item in items}
        if len(ids) < len(items):
            raise FitnessError(f"fitness '{self.name}' lists {len(items)} items by {len(ids)} ids")
        return items

    def warnings(self, source: Any) -> list[str]:
        """Say what readers of the results must know about searching on a source, a line each."""
        own = getattr(self._call, "warnings", None)
        if self._spec.brings_items and callable(own):
            return list(own(source))
        return list(public_test_of(source))

    def fingerprint(self) -> dict[str, str]:
        """Identify what its scores depend on, see `evomerge.fitness.protocol.Fingerprinted`.

        Raises:
            FitnessError: it returned something else than a mapping of texts, or cannot read a
                file.
        """
        own = getattr(self._call, "fingerprint", None)
        if not callable(own):
            return {}
        try:
            found = own()
        except OSError as error:
            raise FitnessError(f"fitness '{self.name}': fingerprint() failed: {error}") from error
        if not isinstance(found, Mapping) or not all(
            isinstance(text, str) for pair in found.items() for text in pair
        ):
            raise FitnessError(
                f"fitness '{self.name}': fingerprint() returned {found!r:.80}; "
                "expected a mapping from names to texts"
            )
        return dict(found)

    @property
    def checks_tokenizers(self) -> bool:
        """It has something to ask of a tokenizer, see `check_tokenizer`."""
        return callable(getattr(self._call, "check_tokenizer", None))

    def check_tokenizer(self, tokenizer: Any) -> None:
        """Let the fitness refuse a tokenizer; what it raises passes through."""
        self._call.check_tokenizer(tokenizer)  # type: ignore[attr-defined]

    @property
    def group(self) -> Hashable:
        """What is equal of fitnesses that are scored at once, see `score_together`.

        None where this one is scored alone.

        Raises:
            FitnessError: what the class returned cannot be compared.
        """
        if not self._spec.has_group:
            return None
        own = self._call.together()  # type: ignore[attr-defined]
        try:
            hash(own)
        except TypeError:
            raise FitnessError(
                f"fitness '{self.name}': together() returned {own!r:.80}, which has no hash; "
                "return a text, a number or a tuple of these"
            ) from None
        return (type(self._call), own)

    def score(self, model: MergedModel) -> ModelScore:
        """Score a merged model, see `score_together`."""
        (score,) = score_together([self], [model])
        return score

    def _require_items(self, model: MergedModel) -> None:
        if self.needs_items and not model.items:
            raise FitnessError(
                f"fitness '{self.name}' scores items and has none for the {model.split} split; "
                "give the objective its data"
            )

    def _checked(self, returned: Any, model: MergedModel) -> ModelScore:
        if isinstance(returned, FitnessResult):
            metrics, examples = returned.metrics, self._examples(returned.examples, model)
        elif isinstance(returned, Mapping):
            metrics, examples = returned, {}
        else:
            return self._number(returned, "returned"), {}, {}
        numbers = {
            key: self._number(value, f"returned for metric '{key}'")
            for key, value in self._mapping(metrics, "metrics").items()
        }
        chosen = self._choose(numbers)
        return numbers.pop(chosen), examples, numbers

    def _choose(self, numbers: Mapping[str, float]) -> str:
        if self.metric is None:
            if len(numbers) == 1:
                return next(iter(numbers))
            raise FitnessError(
                f"fitness '{self.name}' returned {', '.join(numbers) or 'no metric at all'}; "
                "say which one is optimised with 'metric'"
            )
        if self.metric not in numbers:
            raise FitnessError(
                f"fitness '{self.name}' returned no metric '{self.metric}'; "
                f"{nearest(self.metric, numbers)}"
            )
        return self.metric

    def _examples(self, examples: Any, model: MergedModel) -> dict[str, float]:
        examples = self._mapping(examples, "examples")
        if model.items:
            known = set(model.item_ids)
            for key in examples:
                if key not in known:
                    raise FitnessError(
                        f"fitness '{self.name}' returned a score for item '{key}', which is not "
                        f"among the {len(known)} items of the {model.split} split"
                    )
        return {
            key: self._number(value, f"returned for item '{key}'")
            for key, value in examples.items()
        }

    def _mapping(self, value: Any, what: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise FitnessError(
                f"fitness '{self.name}' returned {what} {value!r:.80}; "
                "expected a mapping from names to numbers"
            )
        return value

    def _number(self, value: Any, where: str) -> float:
        # numpy's scalars are Real; a bool is too and most likely a mistake.
        if isinstance(value, bool) or not isinstance(value, Real):
            raise FitnessError(
                f"fitness '{self.name}' {where} {value!r:.80} ({type(value).__name__}); "
                "expected a number, a mapping of metrics or a FitnessResult"
            )
        number = float(value)
        if not math.isfinite(number):
            raise FitnessError(f"fitness '{self.name}' {where} {number}; scores must be finite")
        return number


def score_together(
    fitnesses: Sequence[BoundFitness], models: Sequence[MergedModel]
) -> list[ModelScore]:
    """Score a merged model by one fitness, or by several that are scored at once.

    Args:
        fitnesses: one, or several whose `group` is equal and not None.
        models: for each the merged model with its items.

    Raises:
        FitnessError: what a fitness returned is not a score. Its own exceptions pass through.
    """
    for fitness, model in zip(fitnesses, models, strict=True):
        fitness._require_items(model)
    if len(fitnesses) == 1:
        returned: Any = [fitnesses[0]._call(models[0], **fitnesses[0]._arguments)]
    else:
        calls: list[Any] = [fitness._call for fitness in fitnesses]
        returned = type(calls[0]).score_together(calls, models)
        if not isinstance(returned, Sequence) or len(returned) != len(fitnesses):
            raise FitnessError(
                f"fitness '{fitnesses[0].name}': score_together returned {returned!r:.80} for "
                f"{len(fitnesses)} objectives; return a list with a score for each, in order"
            )
    return [
        fitness._checked(one, model)
        for fitness, one, model in zip(fitnesses, returned, models, strict=True)
    ]


def declared_bounds(name: str, target: Any, metric: str | None) -> Bounds:
    """Return the bounds a fitness declares; they hold for the metric it optimises by itself."""
    if metric is not None and metric != getattr(target, "metric", None):
        return (None, None)
    bounds: Any = getattr(target, "bounds", (None, None))
    sound = isinstance(bounds, tuple) and len(bounds) == 2
    if not sound or not all(one is None or isinstance(one, int | float) for one in bounds):
        raise FitnessError(
            f"fitness '{name}': bounds must be (least, greatest), None for no limit, got {bounds!r}"
        )
    low, high = bounds
    if low is not None and high is not None and low >= high:
        raise FitnessError(f"fitness '{name}': bounds must be (least, greatest), got {bounds!r}")
    return (low, high)
