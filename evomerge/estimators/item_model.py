"""The item model: how likely a model of given abilities answers each item.

    P(y_i = 1 | theta) = sigmoid(a_i . theta - b_i)

the multidimensional two-parameter logistic model of item response theory (Reckase, 2009, eq. 4.5).
Everything is keyed by item id: the order in which items stand means nothing.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evomerge.errors import DataError, UserError, nearest

Convention: TypeAlias = Literal["logistic", "released"]
"""logistic: the formula above. released: tinyBenchmarks' code (arXiv 2402.14992), which subtracts
an item's offset in every dimension and clips each term to ±30 before adding the terms up, so that
an offset b has the effect of n_dimensions × b."""

_CLIP = 30.0
_COMPARED = 2000  # ids that a wrong one is compared with: comparing is slow


def softplus(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log(1 + exp(z)) without overflow; −softplus(−z) is log sigmoid(z)."""
    return np.logaddexp(0.0, z)


def sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(−z)) without overflow."""
    return np.exp(-softplus(-z))


@dataclass(frozen=True, eq=False)
class ItemParameters:
    """Discriminations and offsets of items.

    Attributes:
        ids: what the items are called, each once.
        discriminations: a, (n_items, n_dimensions).
        offsets: b, (n_items,); where the convention is 'released' also (n_items, n_dimensions),
            an offset for each dimension.
        convention: how probabilities follow from them.

    Raises:
        UserError: an id appears twice, shapes do not fit, or a parameter is not finite.
    """

    ids: tuple[str, ...]
    discriminations: NDArray[np.float64]
    offsets: NDArray[np.float64]
    convention: Convention = "logistic"

    def __post_init__(self) -> None:
        if self.convention not in get_args(Convention):
            hint = nearest(self.convention, get_args(Convention))
            raise UserError(f"item convention '{self.convention}' is unknown; {hint}")
        ids = unique_ids(self.ids)
        a, b = _frozen(self.discriminations), _frozen(self.offsets)
        if a.ndim != 2 or len(a) != len(ids) or not a.shape[1]:
            raise UserError(
                f"discriminations of {len(ids)} items must have shape ({len(ids)}, n_dimensions), "
                f"got {a.shape}"
            )
        if b.shape != (len(ids),) and (self.convention, b.shape) != ("released", a.shape):
            raise UserError(f"offsets of {len(ids)} items must be as many numbers, got {b.shape}")
        finite = np.isfinite(a).all(axis=1) & np.isfinite(b.reshape(len(ids), -1)).all(axis=1)
        if not finite.all():
            raise UserError(
                f"item '{ids[int(np.argmin(finite))]}' has a parameter that is no number"
            )
        for name, value in (("ids", ids), ("discriminations", a), ("offsets", b)):
            object.__setattr__(self, name, value)

    @property
    def n_dimensions(self) -> int:
        """How many abilities a model has."""
        return int(self.discriminations.shape[1])

    @cached_property
    def intercepts(self) -> NDArray[np.float64]:
        """What is subtracted from a . theta, (n_items,): the offsets as they take effect."""
        if self.convention == "logistic":
            return self.offsets
        return np.asarray(self._per_dimension.sum(axis=1))

    @cached_property
    def embeddings(self) -> NDArray[np.float64]:
        """Where each item lies among the others, [a ; b], (n_items, n_dimensions + 1 or more)."""
        return np.column_stack([self.discriminations, self.offsets])

    def probabilities(self, abilities: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of a right answer to each item.

        Args:
            abilities: theta of one model (n_dimensions,), or of several (n_models, n_dimensions).

        Returns:
            (n_items,) or (n_models, n_items).
        """
        theta = np.asarray(abilities, dtype=np.float64)
        if self.convention == "logistic":
            return sigmoid(theta @ self.discriminations.T - self.offsets)
        terms = theta[..., None, :] * self.discriminations - self._per_dimension
        return sigmoid(np.clip(terms, -_CLIP, _CLIP).sum(axis=-1))

    def select(self, ids: Iterable[str]) -> ItemParameters:
        """Return the parameters of these items, in this order.

        Raises:
            UserError: an item has no parameters; it is named.
        """
        position = {name: number for number, name in enumerate(self.ids)}
        wanted = tuple(ids)
        for name in wanted:
            if name not in position:
                raise UserError(
                    f"item '{name}' has no item parameters; {similar_id(name, self.ids)}; give "
                    "parameters of every item of the benchmark, or none to have them fitted"
                )
        rows = [position[name] for name in wanted]
        return ItemParameters(
            wanted, self.discriminations[rows], self.offsets[rows], self.convention
        )

    def save(self, path: Path) -> None:
        """Write the parameters as JSON; numbers come back to the last bit."""
        document = {
            "convention": self.convention,
            "ids": list(self.ids),
            "discriminations": self.discriminations.tolist(),
            "offsets": self.offsets.tolist(),
        }
        path.write_text(json.dumps(document) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> ItemParameters:
        """Read what `save` wrote.

        Raises:
            DataError: the file cannot be read, or is not such a file.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(
                f"{path}: no such file; name one that 'ItemParameters.save' wrote, or none to have "
                "the items fitted"
            ) from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            what = " ".join(str(error).split())
            raise DataError(f"{path}: no file of item parameters: {what}") from error
        return _from_document(document, path)

    @cached_property
    def _per_dimension(self) -> NDArray[np.float64]:
        """Offsets as the released convention subtracts them, (n_items, n_dimensions)."""
        columns = self.offsets.reshape(len(self.ids), -1)
        return np.broadcast_to(columns, self.discriminations.shape)


def unique_ids(ids: Iterable[str]) -> tuple[str, ...]:
    """Return item ids as a tuple.

    Raises:
        UserError: there is none, or one appears twice.
    """
    names = tuple(ids)
    if not names:
        raise UserError("no items are given; a benchmark has at least one")
    if len(set(names)) < len(names):
        again = next(name for name, count in Counter(names).items() if count > 1)
        raise UserError(f"item '{again}' is listed twice; item ids must be unique")
    return names


def similar_id(name: str, ids: Sequence[str]) -> str:
    """Return a hint at what was meant by an item id that is not among `ids`."""
    match = difflib.get_close_matches(name, ids[:_COMPARED], n=1, cutoff=0.6)
    return f"did you mean '{match[0]}'?" if match else f"ids look like '{ids[0]}'"


def _frozen(values: ArrayLike) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _from_document(document: Any, path: Path) -> ItemParameters:
    keys = ("convention", "ids", "discriminations", "offsets")
    if not isinstance(document, Mapping) or set(document) != set(keys):
        raise DataError(
            f"{path}: not a file of item parameters; expected the keys {', '.join(keys)}"
        )
    try:
        ids = tuple(str(name) for name in document["ids"])
        return ItemParameters(
            ids, document["discriminations"], document["offsets"], document["convention"]
        )
    except (TypeError, ValueError, UserError) as error:
        raise DataError(f"{path}: {error}") from error
