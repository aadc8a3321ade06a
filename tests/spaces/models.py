"""Contexts to build spaces for."""

from evomerge.recipe import Layout, ModelRef
from evomerge.spaces import SpaceContext

DONORS = ("math", "code", "chat", "bio", "law", "art")


def context(layout: Layout, n_donors: int = 2, **fields) -> SpaceContext:
    donors = {name: ModelRef(path=f"./{name}") for name in DONORS[:n_donors]}
    return SpaceContext(base=ModelRef(path="./base"), donors=donors, layout=layout, **fields)
