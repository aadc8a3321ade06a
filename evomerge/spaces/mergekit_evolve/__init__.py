"""The genome of mergekit-evolve: its genotypes, meaning the recipes they mean there."""

from evomerge.spaces.mergekit_evolve.space import EvolveSpace
from evomerge.spaces.mergekit_evolve.spec import PARAMETERS, EvolveMethod, EvolveSpec

__all__ = ["PARAMETERS", "EvolveMethod", "EvolveSpace", "EvolveSpec"]
