"""Search algorithms with ask and tell; see `evomerge.optimizers.protocol` for their contract."""

from evomerge.optimizers.build import OPTIMIZERS, build_optimizer
from evomerge.optimizers.protocol import Needs, Optimizer, Proposal
from evomerge.optimizers.scalarise import Combination, Scalarised

__all__ = [
    "OPTIMIZERS",
    "Combination",
    "Needs",
    "Optimizer",
    "Proposal",
    "Scalarised",
    "build_optimizer",
]
