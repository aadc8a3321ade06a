"""What scoring a model once takes: operations, bytes moved, memory held.

A token costs two operations for each weight it meets (Kaplan et al. 2020, arXiv 2001.08361, section
2.1), and attention four for each number of its queries and each token it attends to (queries by
keys, weights by values). Reading prompts is bound by arithmetic; writing answers by memory: each
step reads all weights and the key/value cache (Pope et al. 2023, arXiv 2211.05102).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from evomerge.cost.shape import LayerShape, ModelShape

# transformers' dynamic cache is read by attention, and read and written by the concatenation.
CACHE_TRAFFIC = 3
BATCH_SIZE = 64  # of MergedModel


@dataclass(frozen=True, slots=True)
class Workload:
    """The forward passes of one objective over its items.

    Attributes:
        name: of the objective.
        lengths: tokens of each row that is read: a prompt, or a text that is scored.
        new_tokens: most tokens written after a row; 0 where rows are only read.
        typical: tokens of a usual answer; None where it is not known, and the most are taken.
        scored: positions of a row whose logits are computed; 1 where answers are written.
        batch_size: rows run together, the longest first.
    """

    name: str
    lengths: tuple[int, ...]
    new_tokens: int = 0
    typical: int | None = None
    scored: int = 1
    batch_size: int = BATCH_SIZE

    @property
    def usual(self) -> int:
        """Tokens a row is taken to write."""
        if self.typical is None:
            return self.new_tokens
        return min(self.typical, self.new_tokens)

    def portion(self, share: float) -> Workload:
        """Return the workload of a share of the rows, short and long ones as in the whole."""
        count = max(1, round(share * len(self.lengths)))
        ordered = sorted(self.lengths)
        rows = [ordered[(2 * row + 1) * len(ordered) // (2 * count)] for row in range(count)]
        return replace(self, lengths=tuple(rows))

    def batches(self) -> Iterator[tuple[int, int]]:
        """Yield (rows, tokens of the longest) of each batch, as they are run."""
        lengths = sorted(self.lengths, reverse=True)
        for start in range(0, len(lengths), self.batch_size):
            rows = lengths[start : start + self.batch_size]
            yield len(rows), rows[0]


@dataclass(frozen=True, slots=True)
class Phase:
    """Forward passes of one kind.

    Attributes:
        flops: operations.
        bytes: read from and written to the device's memory, at least.
        passes: how many; a fraction on average over candidates.
    """

    flops: float = 0.0
    bytes: float = 0.0
    passes: float = 0

    def __add__(self, other: Phase) -> Phase:
        """Do both."""
        return Phase(self.flops + other.flops, self.bytes + other.bytes, self.passes + other.passes)

    def times(self, count: float) -> Phase:
        """Do it so many times."""
        return Phase(self.flops * count, self.bytes * count, self.passes * count)


@dataclass(frozen=True, slots=True)
class Forward:
    """Scoring a model once.

    Attributes:
        reading: prompts and scored texts.
        writing: answers, token by token.
    """

    reading: Phase = Phase()
    writing: Phase = Phase()

    def __add__(self, other: Forward) -> Forward:
        """Do both."""
        return Forward(self.reading + other.reading, self.writing + other.writing)

    def times(self, count: float) -> Forward:
        """Do it so many times."""
        return Forward(self.reading.times(count), self.writing.times(count))

    @property
    def flops(self) -> float:
        """Operations in all."""
        return self.reading.flops + self.writing.flops


def forward(shape: ModelShape, workload: Workload, *, stragglers: bool = False) -> Forward:
    """Count what a workload asks for, padding included.

    Args:
        shape: the model.
        workload: what is scored.
        stragglers: half of each batch writes on to the most tokens after the usual ones.
    """
    total = Forward()
    for rows, width in workload.batches():
        reading = _read(shape, rows, width, workload.scored)
        writing = Phase()
        if workload.new_tokens:
            # the pass that reads the prompt writes the first token
            usual = workload.usual
            writing = _write(shape, rows, width + 1, width + usual - 1)
            if stragglers:
                last = width + workload.new_tokens - 1
                writing += _write(shape, max(1, rows // 2), width + usual, last)
        total += Forward(reading, writing)
    return total


def _read(shape: ModelShape, rows: int, width: int, scored: int) -> Phase:
    """One pass over `rows` prompts; attention is dense and masked, not skipped."""
    squares = sum(layer.query for layer in shape.layers) * width * width
    flops = rows * (2 * shape.active * width + 4 * squares + 2 * shape.head * scored)
    cached = sum(layer.cached for layer in shape.layers) * width * rows
    return Phase(flops, (_met(shape, rows * width) + cached) * shape.element_bytes, 1)


def _write(shape: ModelShape, rows: int, first: int, last: int) -> Phase:
    """Write while the context, the new token included, grows from `first` to `last` tokens."""
    steps = last - first + 1
    if steps < 1:
        return Phase()
    seen = cached = 0
    for layer, count in Counter(shape.layers).items():
        tokens = _sum_seen(layer, first, last)
        seen += count * layer.query * tokens
        cached += count * layer.cached * tokens
    flops = rows * (2 * (shape.active + shape.head) * steps + 4 * seen)
    numbers = _met(shape, rows) * steps + CACHE_TRAFFIC * rows * cached
    return Phase(flops, numbers * shape.element_bytes, steps)


def _met(shape: ModelShape, tokens: int) -> int:
    """Count the stored numbers that some of so many tokens meet: few tokens miss experts."""
    layers = sum(min(layer.parameters, tokens * layer.active) for layer in shape.layers)
    return layers + shape.head


def _sum_seen(layer: LayerShape, first: int, last: int) -> int:
    """Sum `seen` over contexts from `first` to `last`."""
    window = last if layer.window is None else layer.window
    growing = max(0, min(last, window) - first + 1)
    steps = last - first + 1
    return growing * first + growing * (growing - 1) // 2 + (steps - growing) * window


def peak_cache_bytes(shape: ModelShape, workloads: Sequence[Workload]) -> int:
    """Return the largest key/value cache: the longest batch with its answers at full length."""
    return max(
        (
            rows * shape.cache_bytes(width + workload.new_tokens - 1)
            for workload in workloads
            if workload.new_tokens
            for rows, width in workload.batches()
        ),
        default=0,
    )


def peak_activation_bytes(shape: ModelShape, workloads: Sequence[Workload]) -> int:
    """Return what one layer and the logits hold while the largest batch is read."""
    inner = max(layer.inner for layer in shape.layers)
    return max(
        (
            rows * width * (4 * shape.hidden + inner) * shape.element_bytes
            # logits in the weights' dtype and in fp32
            + rows * workload.scored * shape.vocabulary * (shape.element_bytes + 4)
            for workload in workloads
            for rows, width in workload.batches()
        ),
        default=0,
    )
