"""Contexts to build spaces for."""

from dataclasses import replace

from evomerge.located_yaml import load_located
from evomerge.recipe import Layout, ModelRef
from evomerge.spaces import SpaceContext, shipped_spaces
from tests.recipe.layouts import llama

DONORS = ("math", "code", "chat", "bio", "law", "art")


def context(layout: Layout, n_donors: int = 2, **fields) -> SpaceContext:
    donors = {name: ModelRef(path=f"./{name}") for name in DONORS[:n_donors]}
    return SpaceContext(base=ModelRef(path="./base"), donors=donors, layout=layout, **fields)


def decoders(n_layers: int = 4, n_donors: int = 2, **fields) -> SpaceContext:
    """Models whose layers a path can use."""
    return context(replace(llama(n_layers), model_type="llama"), n_donors, **fields)


def shipped_with(key: str) -> list[str]:
    """Return the names of the shipped spaces whose files have this key at the top."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in shipped_spaces().items()}
    return sorted(name for name, text in texts.items() if key in load_located(text, name)[0])
