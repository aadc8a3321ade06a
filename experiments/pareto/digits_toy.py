"""Six fine-tunings of a small network on digits, and merges of them that take a millisecond.

scikit-learn's digits, permuted: 900 to train on, 400 to search with, 497 unseen. A task is a
transform of the images: identity, rotation by 90 degrees, mirror, inversion, roll by three columns,
rotation by 180 degrees. The base learns all six from 150 images each, an expert its own from 900.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn

Floats = NDArray[np.float64]

TRANSFORMS: tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], ...] = (
    lambda images: images,
    lambda images: np.rot90(images, axes=(1, 2)),
    lambda images: images[:, :, ::-1],
    lambda images: 1 - images,
    lambda images: np.roll(images, 3, axis=2),
    lambda images: np.rot90(images, 2, axes=(1, 2)),
)
N_TRAIN, N_SEARCH, N_EACH = 900, 400, 150


@dataclass(frozen=True)
class Digits:
    """Base, experts and the items they are scored on.

    Attributes:
        base: all weights as one vector, (n_weights,).
        experts: one vector a task.
        shapes: of the weight matrices and biases, in the order of the vector.
        items: (search, unseen) for each task: images, (n_items, 64), and labels.
    """

    base: torch.Tensor
    experts: tuple[torch.Tensor, ...]
    shapes: tuple[torch.Size, ...]
    items: tuple[tuple[tuple[torch.Tensor, torch.Tensor], ...], ...]

    def accuracy(self, weights: torch.Tensor, task: int, *, unseen: bool = False) -> float:
        """Return the share of items that a network with these weights gets right."""
        images, labels = self.items[task][unseen]
        parts = weights.split([shape.numel() for shape in self.shapes])
        layers = [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        hidden = images
        for number in range(0, len(layers), 2):
            hidden = hidden @ layers[number].T + layers[number + 1]
            if number + 2 < len(layers):
                hidden = hidden.relu()
        return float((hidden.argmax(dim=1) == labels).double().mean())


def build(seed: int = 0) -> Digits:
    """Train base and experts; about ten seconds."""
    torch.manual_seed(seed)
    data = load_digits()
    order = np.random.default_rng(seed).permutation(len(data.images))
    images = (data.images[order] / 16).astype(np.float32)
    labels = torch.as_tensor(data.target[order])
    seen = [torch.as_tensor(change(images).copy()).flatten(1) for change in TRANSFORMS]
    network = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    mixture = torch.cat([view[:N_EACH] for view in seen])
    _train(network, mixture, labels[:N_EACH].repeat(len(seen)), epochs=25, rate=1e-3)
    start = {name: value.clone() for name, value in network.state_dict().items()}
    base = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    experts = []
    for view in seen:
        network.load_state_dict(start)
        _train(network, view[:N_TRAIN], labels[:N_TRAIN], epochs=8, rate=5e-4)
        experts.append(nn.utils.parameters_to_vector(network.parameters()).detach().clone())
    cut = N_TRAIN + N_SEARCH
    items = tuple(
        ((view[N_TRAIN:cut], labels[N_TRAIN:cut]), (view[cut:], labels[cut:])) for view in seen
    )
    shapes = tuple(parameter.shape for parameter in network.parameters())
    return Digits(base, tuple(experts), shapes, items)


def _train(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, epochs: int, rate: float
) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()


class DareTies:
    """DARE-TIES with fixed masks: genes are a density and a weight for each expert.

    Each expert's task vector keeps the entries whose fixed uniform number is below its density and
    is divided by it; the sign of each entry is elected by the weighted sum, and the entries that
    agree with it are summed, without normalisation.

    Args:
        digits: base and experts.
        experts: which are merged.
        seed: of the masks.
    """

    def __init__(self, digits: Digits, experts: Sequence[int], seed: int = 0) -> None:
        self._digits = digits
        self._vectors = torch.stack([digits.experts[task] - digits.base for task in experts])
        generator = torch.Generator().manual_seed(seed)
        self._numbers = torch.rand(self._vectors.shape, generator=generator)

    def delta(self, genotype: Sequence[float]) -> torch.Tensor:
        """Return the change to the base, (n_weights,)."""
        densities, weights = torch.tensor(genotype, dtype=torch.float32).view(-1, 2).unbind(1)
        densities = densities.clamp(0.001, 0.999).unsqueeze(1)
        kept = torch.where(self._numbers < densities, self._vectors / densities, 0.0)
        weighted = weights.unsqueeze(1) * kept
        elected = weighted.sum(dim=0).sign()
        return torch.where(weighted.sign() == elected, weighted, 0.0).sum(dim=0)

    def scores(
        self, genotype: Sequence[float], tasks: Sequence[int], *, unseen: bool = False
    ) -> tuple[float, ...]:
        """Return the accuracy of each task in percent, and the L1 norm of the change."""
        delta = self.delta(genotype)
        weights = self._digits.base + delta
        accuracies = (100 * self._digits.accuracy(weights, t, unseen=unseen) for t in tasks)
        return (*accuracies, float(delta.abs().double().sum()))
