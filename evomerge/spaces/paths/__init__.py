"""Data-flow spaces: which layers of which donors, in what order, with what scales."""

from evomerge.spaces.paths.joint import JointSpace
from evomerge.spaces.paths.known import known_paths
from evomerge.spaces.paths.pool import Pool
from evomerge.spaces.paths.repair import Guards, repaired, with_valid_scales
from evomerge.spaces.paths.space import PathSpace
from evomerge.spaces.paths.spec import (
    DepthwiseSpec,
    JointSpec,
    LimitsSpec,
    PathSpec,
    SequenceSpec,
    SlotsSpec,
    StartSpec,
)
from evomerge.spaces.paths.through import ThroughPath, through

__all__ = [
    "DepthwiseSpec",
    "Guards",
    "JointSpace",
    "JointSpec",
    "LimitsSpec",
    "PathSpace",
    "PathSpec",
    "Pool",
    "SequenceSpec",
    "SlotsSpec",
    "StartSpec",
    "ThroughPath",
    "known_paths",
    "repaired",
    "through",
    "with_valid_scales",
]
