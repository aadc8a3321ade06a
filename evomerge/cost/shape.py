"""How large a decoder is, read off its configuration alone.

Counts are closed forms of the architectures in `evomerge.recipe.blocks`, as transformers builds
them; what a configuration leaves out takes the default of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evomerge.errors import CheckpointError
from evomerge.merging.settings import filled
from evomerge.recipe.blocks import BLOCKS, is_dense

DTYPE_BYTES: Mapping[str, int] = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class LayerShape:
    """The size of one decoder layer.

    Attributes:
        parameters: stored numbers.
        active: those of them that a token is multiplied with: no norms, no biases, and of a
            mixture only the experts that a token is sent to.
        query: numbers in a token's queries, heads x head size.
        cached: numbers a token leaves in the key/value cache.
        inner: numbers in a token's widest hidden activation.
        window: most tokens a token sees, itself included; None for all.
    """

    parameters: int
    active: int
    query: int
    cached: int
    inner: int
    window: int | None = None

    def seen(self, context: int) -> int:
        """Return how many tokens the last of `context` tokens attends to."""
        return context if self.window is None else min(context, self.window)

    def kept(self, context: int) -> int:
        """Return for how many of `context` tokens keys and values are kept for later ones.

        transformers' sliding cache keeps one token less than the window: the next is added to it.
        """
        return context if self.window is None else min(context, self.window - 1)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The size of a decoder.

    Attributes:
        model_type: the architecture in transformers' words.
        layers: in order; a layer path has one for each hop.
        hidden: width of the residual stream.
        vocabulary: rows of the embedding.
        embedding: stored numbers of the embeddings, learnt positions included.
        final_norm: stored numbers of the last norm.
        tied: the head is the embedding.
        dtype: of the stored weights.
    """

    model_type: str
    layers: tuple[LayerShape, ...]
    hidden: int
    vocabulary: int
    embedding: int
    final_norm: int
    tied: bool
    dtype: str

    @property
    def head(self) -> int:
        """Numbers that each predicted token is multiplied with."""
        return self.hidden * self.vocabulary

    @property
    def outside(self) -> int:
        """Stored numbers outside the layers."""
        return self.embedding + self.final_norm + (0 if self.tied else self.head)

    @property
    def parameters(self) -> int:
        """Stored numbers in all."""
        return self.outside + sum(layer.parameters for layer in self.layers)

    @property
    def active(self) -> int:
        """Numbers of the layers that a token is multiplied with."""
        return sum(layer.active for layer in self.layers)

    @property
    def element_bytes(self) -> int:
        """Bytes of one stored number."""
        return DTYPE_BYTES[self.dtype]

    @property
    def bytes(self) -> int:
        """Bytes of the weights."""
        return self.parameters * self.element_bytes

    def with_layers(self, layers: Sequence[LayerShape]) -> ModelShape:
        """Return the model with other layers: a layer path, exported or executed."""
        return replace(self, layers=tuple(layers))

    def with_dtype(self, dtype: str) -> ModelShape:
        """Return the model stored in another dtype."""
        return replace(self, dtype=dtype)

    def cache_bytes(self, context: int) -> int:
        """Return the bytes of the key/value cache of one row after `context` tokens."""
        kept = sum(layer.cached * layer.kept(context) for layer in self.layers)
        return kept * self.element_bytes


def shape_of(config: Mapping[str, Any], label: str = "the model") -> ModelShape:
    """Read the size of a model off the content of its config.json.

    Args:
        config: the configuration.
        label: how a message names the model.

    Raises:
        CheckpointError: the architecture is none of those whose size is known.
    """
    kind = str(config.get("model_type"))
    if kind not in _FEED_FORWARD:
        raise CheckpointError(
            f"{label}: no cost model for model_type {kind!r}; known: {', '.join(BLOCKS)}"
        )
    settings = filled(config, label)
    hidden, vocabulary = settings.hidden_size, settings.vocab_size
    n_layers = settings.num_hidden_layers
    positions = settings.max_position_embeddings * hidden if kind == "gpt2" else 0
    return ModelShape(
        model_type=kind,
        layers=tuple(_layer(kind, settings, number) for number in range(n_layers)),
        hidden=hidden,
        vocabulary=vocabulary,
        embedding=vocabulary * hidden + positions,
        final_norm=_norm(kind, hidden),
        tied=bool(settings.tie_word_embeddings),
        dtype=_dtype(config),
    )


def _layer(kind: str, settings: Any, number: int) -> LayerShape:
    hidden, heads = settings.hidden_size, settings.num_attention_heads
    size = getattr(settings, "head_dim", None) or hidden // heads
    query = heads * size
    cached = 2 * (getattr(settings, "num_key_value_heads", None) or heads) * size
    attention = hidden * (2 * query + cached)
    stored, active, inner = _FEED_FORWARD[kind](settings, number)
    norms = BLOCKS[kind].norms * _norm(kind, hidden)
    return LayerShape(
        parameters=attention + _attention_extras(kind, settings, query, cached) + stored + norms,
        active=attention + active,
        query=query,
        cached=cached,
        inner=max(inner, query + cached),
        window=_window(settings, number),
    )


def _attention_extras(kind: str, settings: Any, query: int, cached: int) -> int:
    """Count biases and the norms of queries and keys."""
    hidden, key = int(settings.hidden_size), cached // 2
    size = query // int(settings.num_attention_heads)
    inputs, output = query + cached, hidden
    extras = 0
    if kind in {"qwen3", "qwen3_moe", "gemma3_text"}:
        extras += 2 * size
    if kind == "olmo2":
        extras += query + key
    if kind == "gpt2":
        return inputs + output
    if kind == "qwen2" or (kind == "qwen2_moe" and settings.qkv_bias):
        return inputs
    if getattr(settings, "attention_bias", False):
        extras += inputs + output
    return extras


def _norm(kind: str, hidden: int) -> int:
    return 2 * hidden if kind == "gpt2" else hidden


def _gated(settings: Any, number: int) -> tuple[int, int, int]:  # noqa: ARG001 one of a table
    hidden, inner = settings.hidden_size, settings.intermediate_size
    active = 3 * hidden * inner
    bias = 2 * inner + hidden if getattr(settings, "mlp_bias", False) else 0
    return active + bias, active, 2 * inner


def _plain(settings: Any, number: int) -> tuple[int, int, int]:  # noqa: ARG001 one of a table
    hidden = settings.hidden_size
    inner = settings.n_inner or 4 * hidden
    active = 2 * hidden * inner
    return active + inner + hidden, active, inner


def _experts(settings: Any, inner: int) -> tuple[int, int, int]:
    hidden, chosen = settings.hidden_size, settings.num_experts_per_tok
    count = getattr(settings, "num_local_experts", None) or settings.num_experts
    expert, router = 3 * hidden * inner, hidden * count
    return count * expert + router, chosen * expert + router, 2 * inner * chosen


def _mixture(settings: Any, number: int) -> tuple[int, int, int]:  # noqa: ARG001 one of a table
    return _experts(settings, settings.intermediate_size)


def _sparse(settings: Any, number: int) -> tuple[int, int, int]:
    """Qwen's mixtures: some layers are dense, and a shared expert may serve every token."""
    if is_dense(vars(settings), number):
        return _gated(settings, number)
    stored, active, inner = _experts(settings, settings.moe_intermediate_size)
    shared = getattr(settings, "shared_expert_intermediate_size", None)
    if shared:
        more = 3 * settings.hidden_size * shared + settings.hidden_size
        stored, active, inner = stored + more, active + more, inner + 2 * shared
    return stored, active, inner


_FEED_FORWARD: Mapping[str, Callable[[Any, int], tuple[int, int, int]]] = {
    **dict.fromkeys(BLOCKS, _gated),
    "gpt2": _plain,
    "mixtral": _mixture,
    "qwen2_moe": _sparse,
    "qwen3_moe": _sparse,
}
"""By model_type: stored numbers, numbers a token is multiplied with, widest activation."""


def _window(settings: Any, number: int) -> int | None:
    """Return a layer's attention window, by the rule of transformers' DynamicCache."""
    window: int | None = getattr(settings, "sliding_window", None) or None
    kinds = getattr(settings, "layer_types", None)
    if kinds is not None and kinds[number] != "sliding_attention":
        return None
    return window


def _dtype(config: Mapping[str, Any]) -> str:
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    name = name.removeprefix("torch.")
    return name if name in DTYPE_BYTES else "float32"
