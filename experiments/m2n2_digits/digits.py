"""The digits, the network that reads them, and the orders its weights may stand in.

Source: Abrantes et al. 2025, arXiv 2508.16204. What its "MNIST" experiment reads are the 1,797
digits of scikit-learn, 8 x 8 pixels from 0 to 16, unscaled; the first four fifths in stored order
train (1,437), the rest tests (360).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from evomerge.recipe.order import Block, Member, Order

Floats: TypeAlias = NDArray[np.float32]
Layout: TypeAlias = Literal["storage", "unit"]

N_PIXELS, N_HIDDEN, N_CLASSES = 64, 256, 10
SHAPES: Mapping[str, tuple[int, ...]] = {
    "w1": (N_PIXELS, N_HIDDEN),
    "b1": (N_HIDDEN,),
    "w2": (N_HIDDEN, N_CLASSES),
    "b2": (N_CLASSES,),
}
N_WEIGHTS = sum(int(np.prod(shape)) for shape in SHAPES.values())
_INPUT = (N_PIXELS + 1) * N_HIDDEN
_OUTPUT = _INPUT + N_HIDDEN * N_CLASSES
# as many individuals, and images, as leave their hidden units in a core's cache
_STACKED, _BLOCK = 4, 240


@dataclass(frozen=True)
class Images:
    """Digits and what they are.

    Attributes:
        pixels: float32 of shape (n, 64), from 0 to 16.
        labels: int64 of shape (n,).
    """

    pixels: Floats
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, which: slice | NDArray[np.bool_]) -> Images:
        """Return some of them."""
        return Images(self.pixels[which], self.labels[which])


def load() -> tuple[Images, Images]:
    """Return the 1,437 images of training and the 360 of the test, in stored order."""
    pixels, labels = load_digits(return_X_y=True)
    images = Images(pixels.astype(np.float32), labels.astype(np.int64))
    n_train = int(0.8 * len(images))
    return images.part(slice(n_train)), images.part(slice(n_train, None))


def order(layout: Layout) -> Order:
    """Return a flat order of the network's weights.

    'storage' is w1, b1, w2, b2, each row by row; in 'unit' each hidden unit has its incoming
    weights, its bias and its outgoing weights together.
    """
    if layout == "storage":
        blocks = [
            Block((Member.whole(name, shape),), shape[0] if len(shape) > 1 else 1)
            for name, shape in SHAPES.items()
        ]
        return Order([("all", blocks)])
    hidden = Block(
        (
            Member.whole("w1", SHAPES["w1"], axis=1),
            Member.whole("b1", SHAPES["b1"]),
            Member.whole("w2", SHAPES["w2"]),
        ),
        N_HIDDEN,
    )
    return Order([("all", [hidden, Block((Member.whole("b2", SHAPES["b2"]),), 1)])])


def places(layout: Layout) -> NDArray[np.int64]:
    """Return where each weight in storage order stands in another order, shape (N_WEIGHTS,)."""
    if layout == "storage":
        return np.arange(N_WEIGHTS)
    tensors, first = {}, 0
    for name, shape in SHAPES.items():
        size = int(np.prod(shape))
        tensors[name] = np.arange(first, first + size).reshape(shape)
        first += size
    units = np.concatenate([tensors["w1"], tensors["b1"][None], tensors["w2"].T]).T
    standing = np.concatenate([units.ravel(), tensors["b2"]])
    return np.argsort(standing)


class Network:
    """The 64-256-10 network with ReLU, many individuals at a time, on a set of images.

    Layer 1 of a handful of individuals is one product of the images, a column of ones beside them,
    with their weights side by side; layer 2 is a product each.

    Args:
        images: what it reads.
        layout: of the individuals it is given.
    """

    def __init__(self, images: Images, layout: Layout = "storage") -> None:
        n = len(images)
        self.labels = images.labels
        self._places = None if layout == "storage" else places(layout)
        pixels = np.column_stack([images.pixels, np.ones(n, np.float32)])
        self._pixels = torch.from_numpy(pixels).split(_BLOCK)
        self._hidden = torch.empty(_BLOCK * _STACKED * N_HIDDEN)
        self._weights = np.empty((_STACKED, N_WEIGHTS), np.float32)
        self._found = torch.empty(0, n, N_CLASSES)
        self._classes = torch.from_numpy(images.labels)[:, None]

    def logits(self, individuals: Sequence[Floats] | Floats) -> Floats:
        """Return the outputs, shape (n_individuals, n_images, 10).

        Args:
            individuals: float32 of shape (N_WEIGHTS,) each.
        """
        return self._forward(individuals).numpy().copy()

    def solved(self, individuals: Sequence[Floats] | Floats) -> NDArray[np.bool_]:
        """Return which images each individual reads right, shape (n_individuals, n_images)."""
        return self._forward(individuals).numpy().argmax(axis=-1) == self.labels

    def accuracy(self, individuals: Sequence[Floats] | Floats) -> NDArray[np.float64]:
        """Return the share of images read right, shape (n_individuals,)."""
        return self.solved(individuals).mean(axis=1)

    def confidence(
        self, individuals: Sequence[Floats] | Floats
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the probability of each image's right class, and which images are read right."""
        outputs = self._forward(individuals)
        solved = outputs.numpy().argmax(axis=-1) == self.labels
        right = outputs.gather(2, self._classes.expand(len(outputs), -1, -1))
        return (outputs - right).exp_().sum(dim=-1).reciprocal_().numpy(), solved

    def _forward(self, individuals: Sequence[Floats] | Floats) -> torch.Tensor:
        """Return the outputs in a tensor that the next call writes to again."""
        if len(self._found) < len(individuals):
            self._found = torch.empty(len(individuals), len(self.labels), N_CLASSES)
        found = self._found[: len(individuals)]
        for first in range(0, len(individuals), _STACKED):
            weights = self._stacked(individuals[first : first + _STACKED])
            size = weights.shape[0]
            inputs = weights[:, :_INPUT].view(size, N_PIXELS + 1, N_HIDDEN)
            side_by_side = inputs.transpose(0, 1).reshape(N_PIXELS + 1, size * N_HIDDEN)
            outputs = weights[:, _INPUT:_OUTPUT].view(size, N_HIDDEN, N_CLASSES)
            biases = weights[:, None, _OUTPUT:]
            results = found[first : first + size].split(_BLOCK, dim=1)
            for pixels, result in zip(self._pixels, results, strict=True):
                n = pixels.shape[0]
                hidden = self._hidden[: n * size * N_HIDDEN].view(n, -1)
                torch.mm(pixels, side_by_side, out=hidden).relu_()
                units = hidden.view(n, size, N_HIDDEN).transpose(0, 1)
                torch.baddbmm(biases, units, outputs, out=result)
        return found

    def _stacked(self, individuals: Sequence[Floats] | Floats) -> torch.Tensor:
        """Return some individuals in storage order, in memory that is used again."""
        for row, weights in zip(self._weights, individuals, strict=False):
            if self._places is None:
                row[:] = weights
            else:
                np.take(weights, self._places, out=row, mode="clip")
        return torch.from_numpy(self._weights[: len(individuals)])
