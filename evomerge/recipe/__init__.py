"""What a merge is: a frozen tree over model references, its files and its fingerprint."""

from evomerge.recipe.files import load
from evomerge.recipe.fingerprint import fingerprint, model_refs, pinned, rewritten
from evomerge.recipe.layout import Layout, ParameterCounts, Part, part_of
from evomerge.recipe.model import (
    COMPAT,
    Conditional,
    DType,
    Hop,
    LayerPath,
    ModelRef,
    Node,
    Parameters,
    ParameterValue,
    Recipe,
    Scalar,
    Scaling,
    Slice,
    Source,
)

__all__ = [
    "COMPAT",
    "Conditional",
    "DType",
    "Hop",
    "LayerPath",
    "Layout",
    "ModelRef",
    "Node",
    "ParameterCounts",
    "ParameterValue",
    "Parameters",
    "Part",
    "Recipe",
    "Scalar",
    "Scaling",
    "Slice",
    "Source",
    "fingerprint",
    "load",
    "model_refs",
    "part_of",
    "pinned",
    "rewritten",
]
