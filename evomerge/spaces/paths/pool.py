"""The layers a path may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from evomerge.recipe.blocks import BLOCKS
from evomerge.recipe.model import Node
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.spec import Origin

Step: TypeAlias = tuple[int, int]
"""A donor's position in the pool, and one of its layers."""
Steps: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """The donors of a path space; the first lends everything outside the layers.

    Attributes:
        names: of the donors.
        nodes: their models.
        depths: their numbers of layers.
    """

    names: tuple[str, ...]
    nodes: tuple[Node, ...]
    depths: tuple[int, ...]

    @classmethod
    def of(cls, context: SpaceContext, origin: Origin) -> Pool:
        """Take the donors of a study.

        Raises:
            SpaceError: we do not know the architecture's blocks, or a donor has no layers.
        """
        kind = context.layout.model_type
        if kind not in BLOCKS:
            raise origin.error(
                ("path",),
                f"layer paths need a decoder whose blocks are known, the base is "
                f"'{kind or 'of unknown type'}'; supported: {', '.join(BLOCKS)}",
            )
        depths = tuple(map(context.depth, context.donors))
        for name, depth in zip(context.donors, depths, strict=True):
            if depth < 1:
                raise origin.error(("path",), f"donor '{name}' has no layers")
        return cls(tuple(context.donors), tuple(context.donors.values()), depths)

    @property
    def layers(self) -> Steps:
        """Every layer, donor by donor: the M layers of the pool."""
        return tuple((d, layer) for d, depth in enumerate(self.depths) for layer in range(depth))

    @property
    def own(self) -> Steps:
        """The first donor alone."""
        return tuple((0, layer) for layer in range(self.depths[0]))

    def label(self, first: Step, size: int = 1) -> str:
        """Write a run of layers: 'math:4', 'math:4-7'."""
        donor, layer = first
        return f"{self.names[donor]}:{layer}" + (f"-{layer + size - 1}" if size > 1 else "")
