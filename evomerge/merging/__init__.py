"""Recipes to weights: open checkpoints lazily, merge tensor by tensor, in memory or on disk."""

from evomerge.merging.checkpoint import Checkpoint, open_checkpoint, parameter_counts
from evomerge.merging.device import resolve_device
from evomerge.merging.engine import MergeEngine
from evomerge.merging.layer_path.executor import PathExecutor
from evomerge.merging.method import METHODS, Group, PerDonor, PerInput, each, merge_method
from evomerge.merging.plan import Plan
from evomerge.merging.resident import Resident, load_resident
from evomerge.merging.tensor_shapes import tensor_shapes

__all__ = [
    "METHODS",
    "Checkpoint",
    "Group",
    "MergeEngine",
    "PathExecutor",
    "PerDonor",
    "PerInput",
    "Plan",
    "Resident",
    "each",
    "load_resident",
    "merge_method",
    "open_checkpoint",
    "parameter_counts",
    "resolve_device",
    "tensor_shapes",
]
