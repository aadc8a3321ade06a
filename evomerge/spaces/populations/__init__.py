"""Populations: individuals that descend from the donors by merges of merges."""

from evomerge.spaces.populations.dense import DenseBreeding, DenseFamily
from evomerge.spaces.populations.genotypes import (
    ChildSvdMutation,
    GaussianMutation,
    Mutation,
    Offspring,
    SeedSvdMutation,
)
from evomerge.spaces.populations.protocol import (
    Bred,
    Breeding,
    Descends,
    Family,
    InnerProducts,
    InnerProductsOf,
)
from evomerge.spaces.populations.space import Descent, PopulationSpace
from evomerge.spaces.populations.spec import PopulationSpec
from evomerge.spaces.populations.virtual import VirtualBreeding, VirtualFamily

__all__ = [
    "Bred",
    "Breeding",
    "ChildSvdMutation",
    "DenseBreeding",
    "DenseFamily",
    "Descends",
    "Descent",
    "Family",
    "GaussianMutation",
    "InnerProducts",
    "InnerProductsOf",
    "Mutation",
    "Offspring",
    "PopulationSpace",
    "PopulationSpec",
    "SeedSvdMutation",
    "VirtualBreeding",
    "VirtualFamily",
]
