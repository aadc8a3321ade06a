"""Merges of LoRA adapters as one LoRA: task vectors of low rank add up to one of low rank.

With donors x_i = W + s_i B_i A_i on one base W and a merge out = W + sum_i c_i (x_i - W), factors
are laid side by side, and the rank of the whole is the sum of theirs (concatenation, as in PEFT's
`add_weighted_adapter` with combination type 'cat'):

    out = W + B A,    B = [c_1 s_1 B_1, c_2 s_2 B_2, ...],    A = [A_1; A_2; ...]

A coefficient may differ along the rows or the columns of a matrix, as in populations: it then
scales the rows of its B or the columns of its A.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.errors import RecipeError
from evomerge.merging.adapter import AdaptedCheckpoint, LowRank
from evomerge.merging.checkpoint import Checkpoint, FileCheckpoint
from evomerge.merging.lineages.segments import spread
from evomerge.merging.methods.lineage import MixPart, TensorLineage
from evomerge.merging.plan import Plan, TensorMerge
from evomerge.merging.skeleton import is_embedding
from evomerge.recipe.lineage import Donor

_NO_WEIGHT = 1e-8  # as in `task_arithmetic`: a sum of weights below this does not divide
_SHARE = 1e-6  # the base is whole if its share is 1 up to this


@dataclass(frozen=True, eq=False, slots=True)
class Along:
    """A coefficient that differs along an axis of the tensor.

    Attributes:
        axis: of the tensor.
        values: float64, one for each index along it.
    """

    axis: int
    values: NDArray[np.float64]


Coefficient: TypeAlias = float | Along
Terms: TypeAlias = tuple[tuple[AdaptedCheckpoint, Coefficient], ...]


@dataclass(frozen=True, slots=True)
class Update:
    """What one LoRA adds to one tensor of the base.

    Attributes:
        tensor: name of the tensor.
        low_rank: its factors, scale 1.
        size: squared Frobenius norm of the whole task vector; 0 where nothing is to be cut off.
        lost: squared Frobenius norm of what was cut off.
    """

    tensor: str
    low_rank: LowRank
    size: float = 0.0
    lost: float = 0.0


def low_rank_terms(plan: Plan) -> dict[str, Terms]:
    """Return which adapters a merge adds to which tensors, and how much.

    Raises:
        RecipeError: the merge is no sum of LoRA adapters on one base; the message says why.
    """
    recipe = plan.recipe
    if recipe.path is not None or recipe.slices is not None:
        raise _refusal("it rearranges layers, and an adapter keeps those of its base")
    if recipe.compat is not None:
        raise _refusal(f"compat {recipe.compat} rounds after every step")
    origin = _origin(plan)
    terms: dict[str, Terms] = {}
    for merge in plan.tensors.values():
        if merge.positions is not None or any(one.tensor != merge.name for one in merge.inputs):
            raise _refusal("it moves tensors or tokens, and an adapter keeps those of its base")
        found = _terms(merge, origin)
        if found:
            terms[merge.name] = found
    if plan.config.get("tie_word_embeddings") and any(map(is_embedding, terms)):
        raise _refusal("its embeddings are tied to the head, which PEFT leaves as it is")
    if not terms:
        raise _refusal("no donor has a weight, so that it is the base itself")
    return terms


def low_rank_updates(
    plan: Plan, terms: dict[str, Terms], rank: int | None = None
) -> Iterator[Update]:
    """Yield what one adapter adds to each tensor, one tensor at a time.

    Args:
        plan: of the merge.
        terms: see `low_rank_terms`.
        rank: cut each task vector off after so many singular values; None is exact.
    """
    for name, own in terms.items():
        dtype = torch.promote_types(plan.tensors[name].work, torch.float32)
        whole = _concatenated(name, own)
        update = Update(name, whole) if rank is None else _truncated(name, whole, rank)
        low = update.low_rank
        rounded = replace(low, a=low.a.to(dtype), b=low.b.to(dtype))
        yield replace(update, low_rank=rounded)


def _origin(plan: Plan) -> Checkpoint:
    """Return the one base under all adapters."""
    found: Checkpoint | None = None
    for checkpoint in plan.models.values():
        if not isinstance(checkpoint, AdaptedCheckpoint):
            continue
        own = checkpoint.base
        if isinstance(own, AdaptedCheckpoint) or (found and not _same(found, own)):
            raise _refusal("its adapters sit on different bases")
        whole = next(checkpoint.replaced(), None)
        if whole is not None:
            raise _refusal(f"adapter '{checkpoint.label}' stores '{whole}' whole")
        found = own
    if found is None:
        raise _refusal("none of its donors is a LoRA adapter")
    return found


def _same(one: Checkpoint, other: Checkpoint) -> bool:
    """Tell whether two checkpoints are one model: each reference opens its own."""
    files = isinstance(one, FileCheckpoint) and isinstance(other, FileCheckpoint)
    return one is other or (files and one.folder.resolve() == other.folder.resolve())


def _terms(merge: TensorMerge, origin: Checkpoint) -> Terms:
    """Return the adapters that change a tensor, each once.

    Raises:
        RecipeError: something else changes it too.
    """
    coefficients = _coefficients(merge)
    terms: list[tuple[AdaptedCheckpoint, Coefficient]] = []
    for source, coefficient in zip(merge.inputs, coefficients, strict=True):
        checkpoint = source.checkpoint
        if coefficient == 0 or _same(checkpoint, origin):
            continue
        if not isinstance(checkpoint, AdaptedCheckpoint):
            raise _refusal(f"donor '{checkpoint.label}' is no LoRA adapter on the base")
        if checkpoint.adapts(merge.name):
            terms.append((checkpoint, coefficient))
    return tuple(terms)


def _coefficients(merge: TensorMerge) -> Sequence[Coefficient]:
    """Return what each input counts, that of the base being 1 less the others'.

    Raises:
        RecipeError: the merge is not linear in the weights, or scales the base.
    """
    arguments, name = merge.arguments, merge.method.name
    if merge.copied:  # a lone input, or equal ones
        return [1.0] + [0.0] * (len(merge.inputs) - 1)
    if name == "lineage":
        return _lineage_coefficients(merge, arguments["part"])
    if name == "task_arithmetic":
        weights = list(arguments["weight"])
        total = sum(weights) if arguments["normalize"] else 1.0
        factor = arguments["lambda_"] / (1.0 if abs(total) < _NO_WEIGHT else total)
        given = iter(weights)
        return [
            0.0 if position == merge.base_index else factor * next(given)
            for position in range(len(merge.inputs))
        ]
    if name == "linear":
        weights = list(arguments["weight"])
        total = sum(weights) if arguments["normalize"] else 1.0
        return _of_whole_weights(merge, [weight / total for weight in weights])
    if name == "passthrough" and not arguments["shift"][0]:
        return _of_whole_weights(merge, [arguments["scale"][0] or 1.0])
    raise _refusal(f"'{name}' is not linear in the weights")


def _of_whole_weights(merge: TensorMerge, shares: list[float]) -> list[float]:
    """Return shares of whole weights; the base is in each of them and must be there once."""
    total = sum(shares)
    if abs(total - 1) > _SHARE:
        raise _refusal(f"its weights sum to {total:g} in '{merge.name}', which scales the base too")
    return shares


def _lineage_coefficients(merge: TensorMerge, part: TensorLineage) -> Sequence[Coefficient]:
    last = part.nodes[-1]
    if not isinstance(last, MixPart) or not all(isinstance(one, Donor) for one in last.inputs):
        raise _refusal("its lineage has mutations or steps that are not linear")
    if part.origin == "zero":
        for piece in last.pieces:
            for total in piece.rows.sum(axis=1).tolist():
                _of_whole_weights(merge, [total])
    found: list[Coefficient] = [0.0] * len(merge.inputs)
    for column, one in enumerate(last.inputs):
        if isinstance(one, Donor):
            found[part.places[one.donor]] = _along(merge, last, column)
    return found


def _along(merge: TensorMerge, part: MixPart, column: int) -> Coefficient:
    """Return the weight of an input of a mix: one, or one for each row or column."""
    rows = [piece.rows[:, column] for piece in part.pieces]
    first = float(rows[0][0])
    if all((own == first).all() for own in rows):
        return first
    axes = {piece.member.axis for piece in part.pieces}
    values = np.zeros(merge.shape[min(axes)])
    for piece, own in zip(part.pieces, rows, strict=True):
        by_index, cut = spread(piece, own)
        if len(axes) > 1 or (cut and len(merge.shape) > 1):
            raise _refusal(f"a split point falls inside a row or column of '{merge.name}'")
        values[piece.member.first : piece.member.end] = by_index
    return Along(min(axes), values)


def _concatenated(name: str, terms: Terms) -> LowRank:
    """Lay the factors of all terms side by side, in float64."""
    parts = []
    for checkpoint, coefficient in terms:
        own = checkpoint.low_rank(name, torch.float64)
        if own is None:
            raise ValueError(f"adapter '{checkpoint.label}' has no factors for '{name}'")
        a, b = own.a, own.b * own.scale
        if isinstance(coefficient, Along):
            values = torch.from_numpy(coefficient.values)
            if (coefficient.axis == 0) != own.transposed:
                b = b * values[:, None]
            else:
                a = a * values
        else:
            b = b * coefficient
        parts.append(replace(own, a=a, b=b, scale=1.0))
    a, b = torch.cat([part.a for part in parts]), torch.cat([part.b for part in parts], dim=1)
    return replace(parts[0], a=a, b=b)


def _truncated(name: str, whole: LowRank, rank: int) -> Update:
    """Keep the largest singular values of B A, found from its factors (Eckart & Young 1936)."""
    left, from_left = torch.linalg.qr(whole.b)
    right, from_right = torch.linalg.qr(whole.a.T)
    u, sigma, vt = torch.linalg.svd(from_left @ from_right.T, full_matrices=False)
    low = whole
    if rank < whole.a.shape[0]:
        root = sigma[:rank].sqrt()
        low = replace(whole, a=root[:, None] * (vt[:rank] @ right.T), b=(left @ u[:, :rank]) * root)
    return Update(name, low, _square(sigma), _square(sigma[rank:]))


def _square(values: Tensor) -> float:
    return float(values.square().sum())


def _refusal(why: str) -> RecipeError:
    return RecipeError(f"the merge cannot be written as one LoRA adapter: {why}; export it whole")
