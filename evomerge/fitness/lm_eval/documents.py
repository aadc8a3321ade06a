"""Which documents of a task are searched with, and which are held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from evomerge.errors import DataError, nearest

DatasetSplit: TypeAlias = Literal["train", "validation", "test"]
Half: TypeAlias = Literal["search", "holdout"]

_KEYS = ("docs", "half", "split")


@dataclass(frozen=True, slots=True)
class Source:
    """Documents as a study file names them.

    Attributes:
        first: position of the first document of each task, from 0.
        last: position after the last one; None goes to the end.
        half: take only the documents of this half, see `half_of`.
        split: of the task's dataset; None is the one that lm-eval scores on.
    """

    first: int = 0
    last: int | None = None
    half: Half | None = None
    split: DatasetSplit | None = None

    @classmethod
    def parse(cls, source: Any) -> Source:
        """Read `{docs: [0, 200]}` or `{half: search}`, either with a `split`.

        Raises:
            DataError: it is neither.
        """
        if not isinstance(source, Mapping):
            raise DataError(
                f"lm_eval's documents are named by position: {{docs: [0, 200]}}, got {source!r:.80}"
            )
        for key in source:
            if key not in _KEYS:
                raise DataError(f"documents: key '{key}' is unknown; {nearest(str(key), _KEYS)}")
        half, split = source.get("half"), source.get("split")
        for key, value, valid in (
            ("half", half, get_args(Half)),
            ("split", split, get_args(DatasetSplit)),
        ):
            if value is not None and value not in valid:
                raise DataError(f"documents: {key} must be {' or '.join(valid)}, got {value!r}")
        first, last = _bounds(source.get("docs", (0, None)))
        return cls(first, last, half, split)

    def choose(self, documents: Sequence[Any]) -> list[int]:
        """Return positions of documents: in order, or shuffled where a half is taken.

        The first so many of a half are a random sample of it, since datasets are often sorted.
        """
        positions = list(range(len(documents)))[self.first : self.last]
        if self.half is None:
            return positions
        marks = {position: _mark(documents[position]) for position in positions}
        own = [position for position in positions if _half(marks[position]) == self.half]
        return sorted(own, key=lambda position: (marks[position], position))


def half_of(document: Any) -> Half:
    """Return the half that a document belongs to: one bit of its hash.

    It follows from the document alone: not from its place, nor from the task that asks for it. So
    equal documents of two tasks are never on both sides, and about half of any are on each.
    """
    return _half(_mark(document))


def interleaved(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Order the documents of several tasks so that any first part is spread over all of them.

    Args:
        counts: documents of each task.

    Returns:
        Pairs of task and position within it; each task's own are in order.
    """
    places = [
        ((place + 0.5) / count, task, place)
        for task, count in enumerate(counts)
        for place in range(count)
    ]
    return [(task, place) for _, task, place in sorted(places)]


def _bounds(docs: Any) -> tuple[int, int | None]:
    if isinstance(docs, list | tuple) and len(docs) == 2:
        first, last = docs
        whole = all(
            isinstance(one, int) and not isinstance(one, bool) for one in (first, last or 0)
        )
        if whole and first >= 0 and (last is None or last > first):
            return first, last
    raise DataError(f"documents: docs must be [first, last], last null for all, got {docs!r:.80}")


def _mark(document: Any) -> bytes:
    text = json.dumps(document, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).digest()


def _half(mark: bytes) -> Half:
    return "holdout" if mark[0] & 1 else "search"
