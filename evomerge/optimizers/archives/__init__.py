"""Archives of quality diversity: the best of every kind, whatever the order of the offers."""

from evomerge.optimizers.archives.centroids import CvtArchive, centroids
from evomerge.optimizers.archives.dominated_novelty import DominatedNoveltyArchive
from evomerge.optimizers.archives.grid import MOST_CELLS, EdgeRule, GridArchive
from evomerge.optimizers.archives.protocol import (
    IMPROVED,
    NEW,
    REJECTED,
    AddInfo,
    Archive,
    Elite,
    Ranges,
)

__all__ = [
    "IMPROVED",
    "MOST_CELLS",
    "NEW",
    "REJECTED",
    "AddInfo",
    "Archive",
    "CvtArchive",
    "DominatedNoveltyArchive",
    "EdgeRule",
    "Elite",
    "GridArchive",
    "Ranges",
    "centroids",
]
