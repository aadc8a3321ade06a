"""Skipping the hops of a path that another path has already passed with the same batch."""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evomerge.merging.layer_path.prefix_cache import KeysValues, PrefixCache, State, prefix_keys
from evomerge.merging.layer_path.shell import layers_of

_BATCH = ("input_ids", "attention_mask", "position_ids", "cache_position")
_HARMLESS = {*_BATCH, "use_cache", "return_dict"}


@dataclass(slots=True)
class HopCount:
    """How much work paths were, in tokens times hops; padding counts, for it is computed too.

    Attributes:
        called: by forward passes.
        reused: how much of it was taken from a cache.
    """

    called: int = 0
    reused: int = 0


class PrefixReuse:
    """Makes a shell count its hops, and skip those of a prefix that a cache knows.

    Only whole prompts are looked up. A pass that continues from a key/value cache, that starts
    from embeddings, that asks for hidden states or attention, and any pass after somebody has
    hooked, changed or trained the shell is computed as if there were no cache.

    Args:
        shell: of `build_shell`; its layers are wrapped in place.
        first: identifies the model that lends the embeddings, by content.
        steps: identify the hops, by content.
        cache: shared by all shells of a search.
        count: where hops are counted.
    """

    def __init__(
        self, shell: Any, first: str, steps: Sequence[str], cache: PrefixCache, count: HopCount
    ) -> None:
        decoder, layers = shell.get_decoder(), layers_of(shell)
        self._first = first
        self._steps = steps
        self._cache = cache
        self._count = count
        self._pass: _Pass | None = None
        self._decoder_call = inspect.signature(decoder.forward)
        self._layer_call = inspect.signature(layers[0].forward)
        # transformers 5.24 renamed the key/value cache of decoders and layers
        self._past = "cache" if "cache" in self._layer_call.parameters else "past_key_values"
        for position, layer in enumerate(layers):
            # A bound method would make the layer part of a cycle, and keep the weights of a path
            # that is gone in memory until they are collected.
            forward = functools.partial(_forward_of, weakref.ref(layer), type(layer).forward)
            layer.forward = functools.partial(self._hop, position, forward)
        if cache.limit_bytes > 0 and _is_stateless(decoder.config):
            decoder.register_forward_pre_hook(self._begin, with_kwargs=True)
            decoder.register_forward_hook(self._end, always_call=True)
        self._as_built = _state_of(decoder)

    def _begin(self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._pass = None
        call = dict(self._decoder_call.bind(*args, **kwargs).arguments)
        call |= call.pop("kwargs", {})
        root = self._identify(decoder, call)
        if root is not None and _state_of(decoder) == self._as_built:
            keys = prefix_keys(root, self._steps)
            self._pass = _Pass(keys, self._cache.longest(keys))

    def _end(self, *_: Any) -> None:
        self._pass = None

    def _identify(self, decoder: Any, call: Mapping[str, Any]) -> bytes | None:
        """Digest all that decides the hidden states beside the hops; None: not to be looked up."""
        from transformers import DynamicCache  # noqa: PLC0415 -- seconds to import

        config, past = decoder.config, call.get(self._past)
        if past is not None and (type(past) is not DynamicCache or past.get_seq_length() > 0):
            return None
        asked = call.keys() - _HARMLESS - {self._past}
        if any(call[key] is not None and call[key] is not False for key in asked):
            return None
        if config.output_attentions or config.output_hidden_states or decoder.training:
            return None
        ids, mask = call.get("input_ids"), call.get("attention_mask")
        if not isinstance(ids, Tensor) or not (mask is None or isinstance(mask, Tensor)):
            return None
        if torch.is_autocast_enabled(ids.device.type):
            return None
        caching = call.get("use_cache")
        caching = config.use_cache if caching is None else caching
        kernels = config._attn_implementation, getattr(config, "_experts_implementation", None)
        root = hashlib.sha256(f"{self._first} {kernels} {bool(caching)} {past is None}".encode())
        for name in _BATCH:
            value = call.get(name)
            if value is None:
                root.update(b"none")
            else:
                root.update(f"{tuple(value.shape)} {value.dtype}".encode())
                root.update(value.cpu().contiguous().view(torch.uint8).numpy().data)
        return root.digest()

    def _hop(self, position: int, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run one layer, or take what it gave for the same prefix."""
        hidden = args[0] if args else kwargs["hidden_states"]
        tokens = hidden.shape[0] * hidden.shape[1]
        self._count.called += tokens
        ongoing = self._pass
        if ongoing is None or not ongoing.keeping:
            return forward(*args, **kwargs)
        call = self._layer_call.bind(*args, **kwargs)
        past = call.arguments.get(self._past)
        if position < len(ongoing.known):
            state = ongoing.known[position]
            if past is not None and state.keys_values is not None:
                past.update(*state.keys_values, position)
            self._count.reused += tokens
            return state.hidden
        recorder = None if past is None else _Recorder(past)
        if recorder is not None:
            call.arguments[self._past] = recorder
        output = forward(*call.args, **call.kwargs)
        ongoing.keeping = self._keep(ongoing.keys[position], position, output, recorder)
        return output

    def _keep(self, key: bytes, position: int, output: Any, recorder: _Recorder | None) -> bool:
        if not isinstance(output, Tensor) or (recorder is not None and recorder.written is None):
            return False
        keys_values = None if recorder is None else recorder.written
        return self._cache.keep(key, position, State(output, keys_values))


@dataclass(slots=True)
class _Pass:
    """One forward pass over whole prompts, and what is known of its prefix."""

    keys: list[bytes]
    known: list[State]
    keeping: bool = True


class _Recorder:
    """A key/value cache that remembers what a layer hands to it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.written: KeysValues | None = None

    def update(self, keys: Tensor, values: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.written = (_compact(keys), _compact(values))
        return self._inner.update(keys, values, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _compact(tensor: Tensor) -> Tensor:
    """Return the tensor without memory that it does not show."""
    if tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size():
        return tensor
    return tensor.contiguous() if not tensor.is_contiguous() else tensor.clone()


def _is_stateless(config: Any) -> bool:
    """Tell whether the rotary embedding of a batch is independent of earlier, longer batches."""
    return "dynamic" not in str(getattr(config, "rope_parameters", None))


def _forward_of(
    layer: weakref.ref[nn.Module], forward: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Run a layer that is being called, and so alive."""
    return forward(layer(), *args, **kwargs)


def _state_of(decoder: nn.Module) -> tuple[Any, ...]:
    """Return what changes when somebody replaces, hooks or writes into modules of a decoder."""
    modules = tuple(
        (id(module), len(module._forward_hooks), len(module._forward_pre_hooks))
        for module in decoder.modules()
    )
    return modules, weights_state(decoder)


def weights_state(module: nn.Module) -> tuple[Any, ...]:
    """Return what changes when somebody writes into weights or buffers, replaces or trains them."""
    return tuple(
        # tensors made while inference mode is on have no version
        (None if t.is_inference() else t._version, t.data_ptr(), t.requires_grad)
        for t in itertools.chain(module.parameters(), module.buffers())
    )
