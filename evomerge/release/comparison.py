"""Two models compared: bit for bit, or by how far their logits are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evomerge.errors import VerificationError
from evomerge.merging.adapter import AdaptedCheckpoint
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.targets import Targets

_TENSOR_BOUND = 1e-5  # of an adapted tensor, relative to its largest number


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two models are apart where they cannot be equal to the bit.

    Attributes:
        what: which two.
        relative: norm of the difference of the logits, over that of the logits less their mean.
        bound: what is allowed; None for whatever it is.
    """

    what: str
    relative: float
    bound: float | None

    def __str__(self) -> str:
        """Return it as a clause."""
        allowed = "" if self.bound is None else f" (at most {self.bound:g})"
        return f"{self.what}: relative difference {self.relative:.1e}{allowed}"


def difference(
    what: str, got: Sequence[Tensor], expected: Sequence[Tensor], bound: float | None
) -> Difference:
    """Measure how far logits are apart.

    Raises:
        VerificationError: farther than the bound.
    """
    square = size = 0.0
    for one, other in zip(got, expected, strict=True):
        a, b = one.double(), other.double()
        square += float((a - b).square().sum())
        size += float((b - b.mean(dim=-1, keepdim=True)).square().sum())
    found = Difference(what, (square / size) ** 0.5 if size else square**0.5, bound)
    if bound is not None and not found.relative <= bound:
        raise failure(str(found))
    return found


def compare_tensors(module: nn.Module, written: Checkpoint) -> int:
    """Compare every tensor of a checkpoint with a module's, bit for bit; returns how many.

    Raises:
        VerificationError: one differs.
        CheckpointError: one of the two lacks a tensor, or the file is damaged.
    """
    targets = Targets(module, written.names)
    targets.require_complete()
    count = 0
    for name, target, tensor in targets.pairs(written.tensor):
        compare_bits(f"tensor '{name}'", tensor.to(target.dtype), target)
        count += 1
    return count


def compare_adapted(module: nn.Module, written: AdaptedCheckpoint) -> None:
    """Compare adapted tensors with a module's, up to the rounding of a sum in float32.

    Raises:
        VerificationError: one is off by more.
    """
    targets = Targets(module, written.names)
    for name, target, tensor in targets.pairs(written.tensor):
        apart = float((tensor.to(target.dtype) - target).abs().max()) if target.numel() else 0.0
        bound = _TENSOR_BOUND * float(target.abs().max()) if target.numel() else 0.0
        if not apart <= bound:
            raise failure(f"tensor '{name}' is off by {apart:.3g}, and {bound:.3g} is allowed")


def compare_bits(what: str, got: Tensor, expected: Tensor) -> None:
    """Compare two tensors.

    Raises:
        VerificationError: they differ in a bit; the message begins with `what`.
    """
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise failure(
            f"{what}: {tuple(got.shape)} {got.dtype} is on disk, the evaluated model has "
            f"{tuple(expected.shape)} {expected.dtype}"
        )
    one, other = (tensor.contiguous().view(-1).view(torch.uint8) for tensor in (got, expected))
    same = one == other
    if not bool(same.all()):
        apart = same.view(-1, got.element_size()).all(dim=1).logical_not()
        largest = float((got.double() - expected.double()).abs().max())
        raise failure(
            f"{what}: {int(apart.sum())} of {got.numel()} values differ, by up to {largest:.3g}"
        )


def compare_tokenizers(evaluated: Any, written: Any, texts: Sequence[str]) -> None:
    """Compare two tokenizers: vocabulary, tokens of some texts, special tokens, chat templates.

    Raises:
        VerificationError: they differ.
    """
    if evaluated is None or written is None:
        if evaluated is not written:
            raise failure("the tokenizer is missing")
        return
    if evaluated.get_vocab() != written.get_vocab():
        raise failure("the tokenizer has another vocabulary")
    for prompt in texts:
        if evaluated(prompt)["input_ids"] != written(prompt)["input_ids"]:
            raise failure(f"the tokenizer gives other tokens for {prompt!r:.60}")
    for name in ("special_tokens_map", "chat_template"):
        if getattr(evaluated, name, None) != getattr(written, name, None):
            raise failure(f"the tokenizer has another {name}")


def failure(what: str) -> VerificationError:
    """Return the error that says what differs."""
    return VerificationError(
        f"what was written is not the evaluated model: {what}; nothing was kept, export again "
        "(a disk that fails is a usual cause)"
    )
