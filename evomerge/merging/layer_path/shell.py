"""An ordinary transformers model whose layers are those of other models, in any order.

The model is made of ghosts: shallow copies of modules that share every parameter and buffer with
their originals. A layer that is passed twice has two ghosts, each with its own place in the
key/value cache, and one set of weights.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from evomerge.recipe.blocks import BLOCKS, is_dense
from evomerge.recipe.model import LayerPath

_PER_LAYER_LISTS = ("layer_types", "mlp_layer_types")
# What torch keeps in a module: tables of its own tensors, and hooks.
_TABLES = ("_parameters", "_buffers", "_non_persistent_buffers_set")
_HOOKS = (
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"),
    *("_backward_hooks", "_backward_pre_hooks"),
)


def build_shell(donors: Sequence[Any], path: LayerPath) -> Any:
    """Build the model of a path; no weight is copied and no donor is changed.

    Args:
        donors: transformers modules whose layers may follow one another, see
            `require_compatible`; the first lends embeddings, final norm, head and configuration.
        path: hops into `donors`.

    Returns:
        A module of the first donor's class with one layer a hop, its scales as hooks. A scale of
        1 adds no operation.
    """
    first = donors[0]
    config = hop_config([donor.config for donor in donors], path)
    configs = {id(donor.config): config for donor in donors}
    shell = _ghost(first, configs)
    shell.generation_config = copy.deepcopy(getattr(first, "generation_config", None))
    layers = [
        _hop_ghost(layers_of(donors[hop.model])[hop.layer], position, configs)
        for position, hop in enumerate(path.hops)
    ]
    decoder = shell.get_decoder()
    setattr(decoder, _layers_name(decoder), nn.ModuleList(layers).eval())
    _match_layer_kinds(decoder, first.config, config)
    block = BLOCKS[config.model_type]
    for layer, (before, after) in zip(layers, factors(path), strict=True):
        if before != 1:
            layer.register_forward_pre_hook(_scale_input(before), with_kwargs=True)
        if after != 1:
            layer.get_submodule(block.mlp).register_forward_hook(_scale_output(after))
    return shell


def factors(path: LayerPath) -> list[tuple[float, float]]:
    """Return per hop what its input and what its MLP branch's output is multiplied by.

    With s_k the scale of hop k and s_H = 1: under 'delta' the first input by s_0 and the branch of
    hop k by s_{k+1}; under 'full' the input of hop k by s_k. See `LayerPath`.
    """
    scales = [hop.scale for hop in path.hops]
    if path.scaling == "full":
        return [(scale, 1.0) for scale in scales]
    return list(zip([scales[0]] + [1.0] * (len(scales) - 1), [*scales[1:], 1.0], strict=True))


def hop_config(configs: Sequence[Any], path: LayerPath) -> Any:
    """Return a copy of the first configuration with one layer a hop, each of its own kind."""
    config = copy.deepcopy(configs[0])
    # Written past the configuration's own checks: they want all lists to change at once.
    values = vars(config)
    depth = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    values[depth] = len(path.hops)
    for name in _PER_LAYER_LISTS:
        if isinstance(getattr(config, name, None), list):
            values[name] = [getattr(configs[hop.model], name)[hop.layer] for hop in path.hops]
    if hasattr(config, "mlp_only_layers"):
        values["decoder_sparse_step"] = 1
        values["mlp_only_layers"] = [
            position
            for position, hop in enumerate(path.hops)
            if is_dense(vars(configs[hop.model]), hop.layer)
        ]
    return config


def layers_of(module: Any) -> nn.ModuleList:
    """Return the decoder layers of a transformers module."""
    decoder = module.get_decoder()
    layers: nn.ModuleList = getattr(decoder, _layers_name(decoder))
    return layers


def _layers_name(decoder: nn.Module) -> str:
    return next(
        name for name, child in decoder.named_children() if isinstance(child, nn.ModuleList)
    )


def _ghost(module: nn.Module, configs: Mapping[int, Any]) -> Any:
    """Copy a tree of modules, sharing every tensor; hooks on forward and backward stay behind."""
    twin = type(module).__new__(type(module))
    content = dict(vars(module))
    content |= {name: OrderedDict() for name in _HOOKS if name in content}
    content |= {name: content[name].copy() for name in _TABLES if name in content}
    content["_modules"] = {
        name: child and _ghost(child, configs) for name, child in module._modules.items()
    }
    if "config" in content:
        content["config"] = configs.get(id(module.config), module.config)
    content.pop("_output_capturing_hooks_installed", None)  # they are no more
    twin.__dict__.update(content)
    return twin


def _hop_ghost(layer: nn.Module, position: int, configs: Mapping[int, Any]) -> Any:
    """Copy a layer and give it its place in the key/value cache."""
    twin = _ghost(layer, configs)
    for module in twin.modules():
        if hasattr(module, "layer_idx"):
            module.layer_idx = position
    return twin


def _match_layer_kinds(decoder: Any, before: Any, after: Any) -> None:
    """Bring in line what a decoder derives from the kinds of its layers when it is built."""
    if hasattr(decoder, "has_sliding_layers"):
        decoder.has_sliding_layers = "sliding_attention" in after.layer_types
    rotary: Any = getattr(decoder, "rotary_emb", None)
    if hasattr(rotary, "layer_types") and not set(after.layer_types) <= set(before.layer_types):
        decoder.rotary_emb = type(rotary)(after).to(decoder.device)


def _scale_input(factor: float) -> Any:
    def scale(
        _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (args[0] * factor, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"] * factor}

    return scale


def _scale_output(factor: float) -> Any:
    def scale(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        # Mixtures of experts may return the router's decisions beside the branch.
        if isinstance(output, tuple):
            return (output[0] * factor, *output[1:])
        return output * factor

    return scale
