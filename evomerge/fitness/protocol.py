"""What a fitness is given and what it may return.

The smallest fitness is a function of one argument:

    def brevity(model):
        return -sum(len(text) for text in model.generate(["Say hello."]))
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from evomerge.types import FitnessResult

Item: TypeAlias = Mapping[str, Any]
"""One evaluation example: 'id' (unique in its file) and the fields its fitness reads."""

Score: TypeAlias = float | Mapping[str, float] | FitnessResult


class Fitness(Protocol):
    """Scores a merged model; a plain function is one.

    Beside `model` (see `evomerge.fitness.model.MergedModel`), parameters are bound by name from
    the objective's `args`. A class is built once per worker with those arguments, then called.
    """

    def __call__(self, model: Any) -> Score:
        """Return one score, a mapping of metrics, or a FitnessResult with per-example scores."""
        ...


class BringsItems(Protocol):
    """A fitness class that lists its items itself, because they are not rows of a file.

    The study file's `search`, `validation` and `holdout` are handed to it as they are, and every
    worker must list the same items for them. Where neither `search` nor `holdout` is given, its
    `default_sources` are taken: a mapping with these two keys.

    `goal` and `bounds` are read again once its items were listed, since a fitness of this kind may
    learn only then what it measures.
    """

    def list_items(self, source: Any, limit: int | None = None) -> Items:
        """Return the items of a source, the first `limit` of them; each has an 'id' of its own.

        All that a score depends on beside the id belongs into the item, and nothing else: items
        of equal content count as the same, whichever objective has them.
        """
        ...

    def warnings(self, source: Any) -> Sequence[str]:
        """Say what readers must know of results that were searched for on a source, a line each."""
        ...

    def __call__(self, model: Any) -> Score:
        """Score the model on `model.items`, any of the items that were listed."""
        ...


class Fingerprinted(Protocol):
    """What a fitness may have whose scores depend on files or settings of its own.

    A function has it as an attribute. A class with it is built where the study is checked, too.
    """

    def fingerprint(self) -> Mapping[str, str]:
        """Return what scores depend on beside the arguments, the items and the fitness's own file.

        Names, as users know these things, to texts that change with their content and are the
        same on every machine, such as a sha256. It is asked for when the items were loaded. A
        cached score is used, and a run resumed, only while all of it is the same; a worker that
        finds something else does not start.
        """
        ...


class ChecksTokenizer(Protocol):
    """What a fitness that brings its items may have beside."""

    def check_tokenizer(self, tokenizer: Any) -> None:
        """Refuse the base model's tokenizer by a FitnessError, before there is a run."""
        ...


class ScoredTogether(Protocol):
    """What a fitness class may have whose objectives are cheaper to score at once than in turn."""

    def together(self) -> Hashable:
        """Return what objectives must have in common to be scored at once, beside the class."""
        ...

    @classmethod
    def score_together(cls, fitnesses: Sequence[Any], models: Sequence[Any]) -> Sequence[Score]:
        """Score several objectives, in order; an objective alone is scored by a call, as ever.

        Args:
            fitnesses: of this class, equal in what `together` returns.
            models: for each the merged model, the same one, with the objective's items.
        """
        ...


Items: TypeAlias = Sequence[Item]
