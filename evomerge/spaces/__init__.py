"""What a search varies: genes, and the recipe each genotype means."""

from evomerge.spaces.context import SpaceContext
from evomerge.spaces.declared import DeclaredSpace
from evomerge.spaces.domain import (
    Condition,
    Domain,
    Founders,
    Gene,
    GeneKind,
    HopSequence,
    Seed,
    Space,
)
from evomerge.spaces.known import known_recipes, single_lambda
from evomerge.spaces.load import SPACES, AnySpec, declaration, load_space, shipped_spaces
from evomerge.spaces.mergekit_evolve import EvolveSpace, EvolveSpec
from evomerge.spaces.operators import OperatorsSpace, OperatorsSpec
from evomerge.spaces.paths import JointSpace, JointSpec, PathSpace, PathSpec, ThroughPath
from evomerge.spaces.populations import PopulationSpace, PopulationSpec
from evomerge.spaces.seeded import seeded
from evomerge.spaces.spec import GeneSpec, Origin, SpaceSpec
from evomerge.spaces.starting import starting_at

__all__ = [
    "SPACES",
    "AnySpec",
    "Condition",
    "DeclaredSpace",
    "Domain",
    "EvolveSpace",
    "EvolveSpec",
    "Founders",
    "Gene",
    "GeneKind",
    "GeneSpec",
    "HopSequence",
    "JointSpace",
    "JointSpec",
    "OperatorsSpace",
    "OperatorsSpec",
    "Origin",
    "PathSpace",
    "PathSpec",
    "PopulationSpace",
    "PopulationSpec",
    "Seed",
    "Space",
    "SpaceContext",
    "SpaceSpec",
    "ThroughPath",
    "declaration",
    "known_recipes",
    "load_space",
    "seeded",
    "shipped_spaces",
    "single_lambda",
    "starting_at",
]
