"""What a search begins with: random networks, or two that know half of the digits each.

As published, from scratch: two models of normal numbers, standard deviation 0.01, biases included,
others in each run. Specialists: two such models after 10 steps of Adam (learning rate 0.003, the
cross-entropy over all 10 classes, all images at once) on the training images of digits 0 to 4 and
of 5 to 9. What merging can make of two specialists depends on the pair, so there are two setups:
the published pair in every run, and a pair of each seed's own.

The random models of the published pair are the published code's (`threefry`); all others are
NumPy's.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import threefry
import torch
from digits import N_CLASSES, N_HIDDEN, N_PIXELS, N_WEIGHTS, Floats, Images
from torch.nn import functional

Start: TypeAlias = Literal["specialists", "pairs", "scratch"]
"""The published pair of specialists, a pair of each seed's own, or random models."""

_STD = 0.01
_STEPS, _RATE = 10, 0.003


def founders(start: Start, seed: int, train: Images) -> tuple[Floats, Floats]:
    """Return the two models that a seed begins with, in storage order."""
    if start == "scratch":
        return random_pair(seed)
    return specialists(train, published_pair() if start == "specialists" else random_pair(seed))


def random_pair(seed: int) -> tuple[Floats, Floats]:
    """Return two random networks."""
    random = np.random.default_rng([42, seed])
    one, other = (_STD * random.standard_normal((2, N_WEIGHTS))).astype(np.float32)
    return one, other


def published_pair() -> tuple[Floats, Floats]:
    """Return the two random networks that the published specialists were trained from."""
    one, other = (
        threefry.normals(key, N_WEIGHTS) * np.float32(_STD)
        for key in threefry.split(threefry.key_of(42))
    )
    return one, other


def specialists(train: Images, untrained: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Return a network that learned digits 0 to 4 and one that learned 5 to 9."""
    low = train.labels < N_CLASSES // 2
    one, other = untrained
    return trained(one, train.part(low)), trained(other, train.part(~low))


def trained(weights: Floats, images: Images, steps: int = _STEPS) -> Floats:
    """Return a network after some steps of Adam on all images at once."""
    flat = torch.from_numpy(weights.copy()).requires_grad_()
    pixels, labels = torch.from_numpy(images.pixels), torch.from_numpy(images.labels)
    sizes = (N_PIXELS * N_HIDDEN, N_HIDDEN, N_HIDDEN * N_CLASSES, N_CLASSES)
    optimizer = torch.optim.Adam([flat], lr=_RATE)
    for _ in range(steps):
        w1, b1, w2, b2 = flat.split(sizes)
        hidden = torch.relu(pixels @ w1.view(N_PIXELS, N_HIDDEN) + b1)
        loss = functional.cross_entropy(hidden @ w2.view(N_HIDDEN, N_CLASSES) + b2, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return flat.detach().numpy()
