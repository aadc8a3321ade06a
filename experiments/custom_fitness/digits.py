"""Three small vision transformers that read digits, and the digits as items.

`python digits.py` writes `models/base`, `models/low` and `models/high` in seconds: the base reads
all digits middling well, one donor has gone on with 0 to 4 and the other with 5 to 9, and each
has forgotten much of what it was not shown. The images are scikit-learn's, 8 x 8 pixels.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from transformers import ViTConfig, ViTForImageClassification

CONFIG = ViTConfig(
    image_size=8,
    patch_size=2,
    num_channels=1,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    num_labels=10,
)
TRAIN, SEARCH, HOLDOUT = slice(0, 1000), slice(1000, 1400), slice(1400, 1797)


def low_search() -> list[dict[str, Any]]:
    """Return the items by which merges are searched, digits 0 to 4."""
    return _items(SEARCH, range(5))


def low_holdout() -> list[dict[str, Any]]:
    """Return the items on which they are reported, digits 0 to 4."""
    return _items(HOLDOUT, range(5))


def high_search() -> list[dict[str, Any]]:
    """Return the items by which merges are searched, digits 5 to 9."""
    return _items(SEARCH, range(5, 10))


def high_holdout() -> list[dict[str, Any]]:
    """Return the items on which they are reported, digits 5 to 9."""
    return _items(HOLDOUT, range(5, 10))


def train(folder: Path) -> None:
    """Train base and donors."""
    torch.manual_seed(0)
    base = ViTForImageClassification(CONFIG)
    _fit(base, range(10), steps=120, rate=2e-3)
    base.save_pretrained(folder / "base")
    for name, digits in (("low", range(5)), ("high", range(5, 10))):
        donor = ViTForImageClassification.from_pretrained(folder / "base")
        _fit(donor, digits, steps=40, rate=5e-4)
        donor.save_pretrained(folder / name)


def _fit(model: ViTForImageClassification, digits: range, *, steps: int, rate: float) -> None:
    images, labels = _pixels(TRAIN, digits)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    random = torch.Generator().manual_seed(1)
    model.train()
    for _ in range(steps):
        batch = torch.randint(len(images), (64,), generator=random)
        model(pixel_values=images[batch], labels=labels[batch]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def _pixels(part: slice, digits: range) -> tuple[torch.Tensor, torch.Tensor]:
    data = load_digits()
    images = torch.tensor(data.images[part] / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(data.target[part])
    chosen = torch.isin(labels, torch.tensor(list(digits)))
    return images[chosen], labels[chosen]


def _items(part: slice, digits: range) -> list[dict[str, Any]]:
    images, labels = _pixels(part, digits)
    return [
        {"id": f"{part.start}-{number}", "pixels": image.tolist(), "label": int(label)}
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


if __name__ == "__main__":
    train(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "models")
