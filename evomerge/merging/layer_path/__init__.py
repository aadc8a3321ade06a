"""Data-flow recipes: tokens take a path of their own through the layers of resident models.

`executor.PathExecutor` runs them; `require_compatible` says which models' layers fit together,
also to those who write a path as a checkpoint.
"""

from evomerge.merging.layer_path.compatibility import require_compatible

__all__ = ["require_compatible"]
