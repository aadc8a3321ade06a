"""A layer path with scales as an ordinary merge: one slice a hop, the scales folded into weights.

Notation of `evomerge.recipe.model.LayerPath`: s_k scales the input of hop k, s_H = 1. Every fold
is the same change of variable. Write the hidden state as x = c_k z at hop k. A norm does not see a
positive factor of its input (but for its eps: norm_eps(c z) = norm_{eps / c^2}(z)), so each branch
computes the same value from z, and adding that value to x is adding 1 / c_k of it to z:

- full: c_k = s_0 s_1 ... s_k; both branches of hop k are divided by c_k.
- delta: c_k = 1 and s_0 multiplies the embeddings; with tied embeddings, which are the head too,
  c_k = s_0 instead. The MLP branch of hop k is multiplied by s_{k+1} / c_k.

The final norm removes the last c. In blocks without a norm before a branch, what reads the
residual stream is multiplied by c_k.

Source: the weights and code of EvoLLM-JP-v1-10B (Akiba et al. 2025, arXiv 2403.13187) for the
meaning of delta; the folds hold by the algebra above.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from evomerge.errors import RecipeError
from evomerge.recipe.blocks import Block
from evomerge.recipe.layout import Layout, part_of
from evomerge.recipe.model import (
    Conditional,
    LayerPath,
    Parameters,
    Recipe,
    Slice,
    Source,
)

MAX_LOG2 = 6.0
"""A fold divides the residual stream and the weights by c_k; beyond 2^6 either way it is refused.

Under 'full' scales compound: 50 hops at 0.9 would multiply weights by 194.
"""


@dataclass(frozen=True, slots=True)
class Folding:
    """What a layer path multiplies the tensors of its hops by, in float64.

    Attributes:
        residual: c_k of each hop; 1 where the residual stream keeps its size.
        attention: factor on what the attention branch of each hop adds.
        mlp: factor on what the MLP branch of each hop adds.
        embeddings: factor on the embeddings.
    """

    residual: tuple[float, ...]
    attention: tuple[float, ...]
    mlp: tuple[float, ...]
    embeddings: float

    @property
    def rescales(self) -> bool:
        """Whether the residual stream of the folded model is another one than the path's."""
        return any(c != 1 for c in self.residual)


def folding(path: LayerPath, *, tied: bool) -> Folding:
    """Return the factors that fold the scales of a path into weights.

    Args:
        path: the hops and what their scales mean.
        tied: the embeddings are the head too, so no factor may be put on them.

    Raises:
        RecipeError: the scales do not fold: their product is too large or too small, or the
            first is not positive and the embeddings are tied.
    """
    scales = [hop.scale for hop in path.hops]
    if path.scaling == "full":
        residual = tuple(itertools.accumulate(scales, lambda c, s: c * s))
        branch = [1.0] * len(scales)
        embeddings = 1.0
    else:
        if tied and scales[0] <= 0:
            raise RecipeError(
                f"path.hops[0]: scale {scales[0]:g} cannot be folded: the embeddings are tied to "
                "the head, so every branch would be divided by it, and a norm sees the sign of "
                "its input; give the first hop a positive scale, or untie: save the model with a "
                "head of its own"
            )
        residual = (scales[0] if tied else 1.0,) * len(scales)
        branch = [*scales[1:], 1.0]
        embeddings = 1.0 if tied else scales[0]
    _require_moderate(path, residual)
    return Folding(
        residual=residual,
        attention=tuple(1 / c for c in residual),
        mlp=tuple(s / c for s, c in zip(branch, residual, strict=True)),
        embeddings=embeddings,
    )


def unrolled(recipe: Recipe, block: Block, *, tied: bool) -> Recipe:
    """Lower a path recipe to a passthrough recipe with one slice a hop.

    Scales become values of the parameters `scale` and, where a norm stores its gain with an
    offset, `shift`: filters name the tensors concerned, every other tensor is taken over as it
    is. The factor on the embeddings stands among the recipe's own parameters, since the first of
    `models` lends them whichever model the first hop belongs to.

    Args:
        recipe: with a path.
        block: of the models' architecture.
        tied: see `folding`.

    Returns:
        A recipe whose base_model is the first of `models`: mergekit takes configuration and
        tokenizer from there.

    Raises:
        RecipeError: see `folding`.
        ValueError: the recipe has no path.
    """
    if recipe.path is None or recipe.models is None:
        raise ValueError("the recipe has no path")
    factors = folding(recipe.path, tied=tied)
    slices = []
    for k, hop in enumerate(recipe.path.hops):
        source = Source(
            model=recipe.models[hop.model].model,
            layer_range=(hop.layer, hop.layer + 1),
            parameters=_hop_parameters(block, factors, k),
        )
        slices.append(Slice(sources=(source,)))
    outside = [(name, factors.embeddings) for name in block.embeddings]
    return recipe.model_copy(
        update={
            "base_model": recipe.models[0].model,
            "models": None,
            "path": None,
            "slices": tuple(slices),
            "parameters": _parameters(outside),
        }
    )


def has_head(layout: Layout) -> bool:
    """Tell whether a model has a head of its own; without one, its embeddings serve as head."""
    return any(part_of(name) == "head" and layout.layer_of(name) is None for name in layout.tensors)


def _hop_parameters(block: Block, factors: Folding, k: int) -> Parameters:
    ends = [(block.attention_out, factors.attention[k]), (block.mlp_out, factors.mlp[k])]
    inputs = [(name, factors.residual[k]) for name in block.inputs]
    parameters = _parameters([*ends, *inputs])
    if block.gain_offset:
        # f * (offset + g) - offset, as a multiple of g and a constant
        shifts = _filtered([(name, block.gain_offset * (f - 1)) for name, f in ends], neutral=0.0)
        return {**parameters, **({"shift": shifts} if shifts else {})}
    return parameters


def _parameters(scales: list[tuple[str, float]]) -> Parameters:
    filtered = _filtered(scales, neutral=1.0)
    return {"scale": filtered} if filtered else {}


def _filtered(values: list[tuple[str, float]], *, neutral: float) -> tuple[Conditional, ...]:
    """Return one condition for each filter whose value changes something."""
    return tuple(Conditional(filter=name, value=v) for name, v in values if v != neutral)


def _require_moderate(path: LayerPath, residual: tuple[float, ...]) -> None:
    for k, c in enumerate(residual):
        if c == 0 or math.isinf(c) or abs(math.log2(c)) > MAX_LOG2:
            raise RecipeError(
                f"path.hops[{k}]: the hidden state is scaled by {c:g} up to here, and folding "
                f"divides weights by it; keep the product of the scales between "
                f"{2**-MAX_LOG2:g} and {2**MAX_LOG2:g}"
                + ("" if path.scaling == "delta" else ", or use scaling 'delta'")
            )
