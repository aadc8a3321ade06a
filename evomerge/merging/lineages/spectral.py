"""Singular values of task vectors, and random numbers on them.

Source: the mutation of CycleQD, Kuroki et al. 2025, "Agent Skill Acquisition for Large Language
Models via CycleQD", arXiv 2410.14735, section 3.3 (a child's own singular values) and its released
code (those of a donor).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

from evomerge.merging.compute import require_finite
from evomerge.merging.random import Stream

_CHUNK = 1 << 20
_HALF_STEP = 2.0**-33
Factors: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""U of shape (rows, r), sigma of shape (r,) and V^T of shape (r, columns), in float64.

float64 and one thread make the decomposition the same whatever else the machine does, and after
rounding nearly always the same on other machines; a library of linear algebra promises no more.
"""


def factors(name: str, matrix: Tensor) -> Factors:
    """Return the singular value decomposition of a matrix, in float64.

    Raises:
        NonFiniteMerge: it holds inf or NaN.
    """
    require_finite(name, matrix)
    with _one_thread():
        u, sigma, vt = torch.linalg.svd(matrix.double(), full_matrices=False)
    return u.contiguous(), sigma, vt.contiguous()


def recomposed(parts: Factors, by: Tensor, dtype: torch.dtype) -> Tensor:
    """Return U diag(by * sigma) V^T, rounded once.

    Args:
        parts: of a matrix.
        by: float64, shape (r,).
        dtype: of the result.
    """
    u, sigma, vt = parts
    with _one_thread():
        return ((u * (by * sigma)) @ vt).to(dtype)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let linear algebra run on one thread: with others a library adds up in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def normals(stream: Stream, like: Tensor) -> Tensor:
    """Return standard normal numbers in the shape, dtype and device of a tensor.

    Element i, row by row, is the normal quantile of (k + 1/2) / 2^32 with k the stream's i-th
    word, computed in float64.
    """
    out = torch.empty_like(like, memory_format=torch.contiguous_format)
    flat = out.view(-1)
    for start in range(0, flat.numel(), _CHUNK):
        end = min(start + _CHUNK, flat.numel())
        u = stream.words(start, end, like.device).double().mul_(2.0**-32).add_(_HALF_STEP)
        flat[start:end] = torch.special.ndtri(u)
    return out
