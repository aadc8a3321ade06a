"""Lineages: merges of merges, as the short list of what went into each.

A member of a population descends from the donors by crossover and mutation. Its recipe says so
node by node: a node is a piecewise linear combination of donors, random vectors and earlier nodes,
over segments of a flat order of the model's numbers (`evomerge.recipe.order`). Angles of SLERP are
resolved when a child is made and stand here as coefficients, so that rebuilding a lineage reads no
parent and takes no decision.

`evomerge.recipe.table` collapses a lineage to its normal form, which is a lineage as well: one
node over donors and random vectors, plus one for each step that is not linear.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from evomerge.recipe.flat_layouts import LayoutName


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Donor(_Frozen):
    """A model of the recipe, by position: its task vector, or itself where the origin is zero."""

    donor: int = Field(ge=0)


class Gaussian(_Frozen):
    """Independent standard normal numbers, one for each element, drawn by a key.

    Attributes:
        gaussian: with the recipe's seed it names the numbers.
    """

    gaussian: int = Field(ge=0)


class Spectral(_Frozen):
    """A donor's task vector with its singular values multiplied by random numbers.

    In each matrix U diag(u * sigma) V^T, where U diag(sigma) V^T is the donor's task vector; zero
    in tensors that are no matrices. Source: the mutation of the released code of CycleQD (Kuroki
    et al. 2025, arXiv 2410.14735).

    Attributes:
        spectral: with the recipe's seed this key names the numbers u.
        donor: position of the model.
        symmetric: u is uniform in [-1, 1] instead of [0, 1).
    """

    spectral: int = Field(ge=0)
    donor: int = Field(ge=0)
    symmetric: bool = False


class Earlier(_Frozen):
    """An earlier node, by position."""

    node: int = Field(ge=0)


Input: TypeAlias = Donor | Gaussian | Spectral | Earlier


def _read_input(value: Any) -> Any:
    """Read the short spelling of a donor, its number."""
    return {"donor": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _kind_of_input(value: Any) -> str:
    """Tell inputs apart by the key that only one kind has; messages name that kind's keys."""
    for key, kind in (("gaussian", Gaussian), ("spectral", Spectral), ("node", Earlier)):
        if isinstance(value, dict) and key in value:
            return kind.__name__
    return type(value).__name__ if isinstance(value, Gaussian | Spectral | Earlier) else "Donor"


_Input: TypeAlias = Annotated[
    Annotated[Donor, Tag("Donor")]
    | Annotated[Gaussian, Tag("Gaussian")]
    | Annotated[Spectral, Tag("Spectral")]
    | Annotated[Earlier, Tag("Earlier")],
    Discriminator(_kind_of_input),
    BeforeValidator(_read_input),
]


class Mix(_Frozen):
    """A linear combination of inputs, with other weights in each segment.

    Attributes:
        inputs: what is combined.
        ends: one past the last position of each segment, increasing.
        weights: one row a segment, one number an input; shape (n_segments, n_inputs).
    """

    inputs: tuple[_Input, ...]
    ends: tuple[int, ...]
    weights: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.inputs or not self.ends:
            raise ValueError("a mix needs at least one of 'inputs' and of 'ends'")
        if any(a >= b for a, b in pairwise((0, *self.ends))):
            raise ValueError(f"ends must increase from above 0, got {list(self.ends)}")
        if len(self.weights) != len(self.ends):
            raise ValueError(f"{len(self.ends)} segments need as many rows of weights")
        if any(len(row) != len(self.inputs) for row in self.weights):
            raise ValueError(f"each row of weights needs {len(self.inputs)} numbers, one an input")
        if not all(math.isfinite(weight) for row in self.weights for weight in row):
            raise ValueError("weights must be finite")
        return self


class SvdMutation(_Frozen):
    """An earlier node with its own singular values multiplied by random numbers.

    In each matrix U diag(w * sigma) V^T, where U diag(sigma) V^T is the node's task vector and w
    is uniform in [0, `scale`]; other tensors stay. Source: Kuroki et al. 2025, arXiv 2410.14735,
    section 3.3.

    Attributes:
        svd: position of the node.
        key: with the recipe's seed it names the numbers w.
        scale: their largest value, w_max.
    """

    svd: int = Field(ge=0)
    key: int = Field(ge=0)
    scale: float = Field(gt=0)


class Rebase(_Frozen):
    """An earlier node, computed in full: what descends from it does not look behind it.

    Keeps the number of random vectors small in long lineages with Gaussian mutation.

    Attributes:
        rebase: position of the node.
    """

    rebase: int = Field(ge=0)


LineageNode: TypeAlias = Mix | SvdMutation | Rebase


def _kind_of_node(value: Any) -> str:
    for key, kind in (("svd", SvdMutation), ("rebase", Rebase)):
        if isinstance(value, dict) and key in value:
            return kind.__name__
    return type(value).__name__ if isinstance(value, SvdMutation | Rebase) else "Mix"


_Node: TypeAlias = Annotated[
    Annotated[Mix, Tag("Mix")]
    | Annotated[SvdMutation, Tag("SvdMutation")]
    | Annotated[Rebase, Tag("Rebase")],
    Discriminator(_kind_of_node),
]


class Lineage(_Frozen):
    """How a member of a population came about.

    Attributes:
        layout: which flat order positions count in.
        chromosomes: name to regular expression, see `evomerge.recipe.flat_layouts.order_of`.
        size: number of positions, by which a rebuild notices another model.
        origin: 'base' combines task vectors and adds the base; 'zero' combines whole weights.
        nodes: each made of those before it; the last one is the result.
    """

    layout: LayoutName = "depth"
    chromosomes: dict[str, str] = Field(default_factory=dict)
    size: int = Field(ge=1)
    origin: Literal["base", "zero"] = "base"
    nodes: tuple[_Node, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.nodes:
            raise ValueError("nodes: a lineage needs at least one")
        for position, node in enumerate(self.nodes):
            for earlier in parents_of(node):
                if earlier >= position:
                    raise ValueError(f"nodes[{position}]: node {earlier} does not come before it")
            if isinstance(node, Mix):
                if node.ends[-1] != self.size:
                    raise ValueError(
                        f"nodes[{position}]: its segments end at {node.ends[-1]}, the model has "
                        f"{self.size} positions"
                    )
            elif isinstance(node, SvdMutation) and self.origin == "zero":
                raise ValueError(
                    f"nodes[{position}]: singular values of task vectors are mutated; it needs "
                    "origin: base"
                )
            spectral = isinstance(node, Mix) and any(isinstance(i, Spectral) for i in node.inputs)
            if spectral and self.origin == "zero":
                raise ValueError(f"nodes[{position}]: spectral inputs need origin: base")
        return self

    @property
    def donors(self) -> frozenset[int]:
        """The positions of all models it draws on."""
        return frozenset(
            one.donor
            for node in self.nodes
            if isinstance(node, Mix)
            for one in node.inputs
            if isinstance(one, Donor | Spectral)
        )


def parents_of(node: LineageNode) -> tuple[int, ...]:
    """Return the positions of the nodes a node is made of."""
    if isinstance(node, SvdMutation):
        return (node.svd,)
    if isinstance(node, Rebase):
        return (node.rebase,)
    return tuple(one.node for one in node.inputs if isinstance(one, Earlier))
