"""What a merge is: a frozen tree over model references, its files and its fingerprint."""

from evomerge.recipe.files import load
from evomerge.recipe.fingerprint import fingerprint, model_refs, pinned, rewritten
from evomerge.recipe.flat_layouts import LayoutName, TensorShapes, order_of
from evomerge.recipe.layout import Layout, ParameterCounts, Part, part_of
from evomerge.recipe.lineage import (
    Donor,
    Earlier,
    Gaussian,
    Lineage,
    Mix,
    Rebase,
    Spectral,
    SvdMutation,
)
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
from evomerge.recipe.order import Order
from evomerge.recipe.table import Table, collapsed

__all__ = [
    "COMPAT",
    "Conditional",
    "DType",
    "Donor",
    "Earlier",
    "Gaussian",
    "Hop",
    "LayerPath",
    "Layout",
    "LayoutName",
    "Lineage",
    "Mix",
    "ModelRef",
    "Node",
    "Order",
    "ParameterCounts",
    "ParameterValue",
    "Parameters",
    "Part",
    "Rebase",
    "Recipe",
    "Scalar",
    "Scaling",
    "Slice",
    "Source",
    "Spectral",
    "SvdMutation",
    "Table",
    "TensorShapes",
    "collapsed",
    "fingerprint",
    "load",
    "model_refs",
    "order_of",
    "part_of",
    "pinned",
    "rewritten",
]
