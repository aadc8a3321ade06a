"""What a search varies: genes, and the recipe each genotype means."""

from evomerge.spaces.context import SpaceContext
from evomerge.spaces.declared import DeclaredSpace
from evomerge.spaces.domain import Condition, Domain, Gene, GeneKind, HopSequence, Seed, Space
from evomerge.spaces.known import known_recipes, single_lambda
from evomerge.spaces.load import SPACES, load_space, shipped_spaces
from evomerge.spaces.spec import GeneSpec, Origin, SpaceSpec

__all__ = [
    "SPACES",
    "Condition",
    "DeclaredSpace",
    "Domain",
    "Gene",
    "GeneKind",
    "GeneSpec",
    "HopSequence",
    "Origin",
    "Seed",
    "Space",
    "SpaceContext",
    "SpaceSpec",
    "known_recipes",
    "load_space",
    "shipped_spaces",
    "single_lambda",
]
