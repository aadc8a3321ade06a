"""A recipe compiled against real checkpoints: what to compute for every output tensor.

Everything is checked here, from configurations and file headers, before a tensor is read.

Identity of a donor, which names its random numbers: the model's sha256 where the recipe pins it,
else 'donor-<position>' counting the recipe's models other than the base in order of first
appearance. Pin the digest to make masks independent of the order of the models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, TypeAlias

import torch

from evomerge.errors import RecipeError, nearest
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.method import Method, Parameter, work_dtype
from evomerge.merging.skeleton import Node, Slot, node_key
from evomerge.merging.tokenizer import OutputTokenizer
from evomerge.recipe.model import ModelRef, ParameterValue, Recipe, Scalar
from evomerge.recipe.parameters import Place, resolve

_SHOWN = 8
Scopes: TypeAlias = tuple[Mapping[str, ParameterValue], ...]

DTYPES: Mapping[str, torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


@dataclass(frozen=True, slots=True)
class Input:
    """One input of one output tensor."""

    checkpoint: Checkpoint
    tensor: str
    donor: str


@dataclass(frozen=True, slots=True)
class TensorMerge:
    """How one output tensor is computed.

    Attributes:
        name: of the output tensor.
        shape: of inputs and output.
        method: the merge method.
        inputs: in the order of the recipe.
        base_index: position of the base in `inputs`, if the method uses one.
        arguments: keyword arguments of the kernel.
        work: dtype of the arithmetic.
        out: dtype of the result.
        copied: no arithmetic: inputs that are not floating point must be equal and are copied,
            and a lone input passes through where the method says so.
        seed: of the recipe.
        compat: reproduce mergekit 0.1.5.
        positions: rows of each input in the output's vocabulary, where an alignment acts.
        origin: position in `inputs` of the recipe's base, whether or not the method uses it.
    """

    name: str
    shape: tuple[int, ...]
    method: Method
    inputs: tuple[Input, ...]
    base_index: int | None
    arguments: Mapping[str, Any]
    work: torch.dtype
    out: torch.dtype
    copied: bool
    seed: int
    compat: bool
    positions: tuple[torch.Tensor, ...] | None = None
    origin: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled recipe.

    Attributes:
        recipe: what was compiled.
        tensors: by output name, embeddings first, then the layers, then norm and head.
        config: content of the output's config.json.
        reference: the checkpoint whose configuration and side files the output takes over.
        tokenizer: what the output takes over or gets as tokenizer.
        models: every checkpoint files are read from, by reference.
    """

    recipe: Recipe
    tensors: Mapping[str, TensorMerge]
    config: Mapping[str, Any]
    reference: Checkpoint
    tokenizer: OutputTokenizer
    models: Mapping[ModelRef, Checkpoint]


def fill_in(recipe: Recipe, method: Method, slots: tuple[Slot, ...]) -> dict[str, TensorMerge]:
    """Resolve every parameter for every output tensor of a laid-out recipe.

    Raises:
        RecipeError: unknown or misplaced parameters, missing or mistyped values; all of them.
    """
    problems = list(_scope_problems(recipe, method))
    if problems:
        raise RecipeError("\n".join(problems))
    donors = _Donors(recipe)
    merges: dict[str, TensorMerge] = {}
    for slot in slots:
        try:
            merges[slot.name] = _fill_slot(recipe, method, slot, donors)
        except RecipeError as error:
            problems.append(str(error))
    if problems:
        shown = problems[:_SHOWN]
        if len(problems) > _SHOWN:
            shown.append(f"... and {len(problems) - _SHOWN} more tensors")
        raise RecipeError("\n".join(shown))
    return merges


def _fill_slot(recipe: Recipe, method: Method, slot: Slot, donors: _Donors) -> TensorMerge:
    stage = slot.stage
    base_index = _position(slot, stage.base_index)
    inputs = tuple(
        Input(stage.checkpoints[i], tensor, donors.name(stage.sources[i].model))
        for i, tensor in zip(slot.members, slot.tensors, strict=True)
    )
    promoted = _promoted(slot.dtypes)
    compat = recipe.compat is not None
    given = DTYPES[recipe.dtype] if recipe.dtype else None
    work = (given or promoted) if compat else work_dtype(slot.dtypes)
    floating = promoted.is_floating_point
    lone = method.singleton == "pass" and len(inputs) == 1
    out = DTYPES[recipe.out_dtype] if recipe.out_dtype else given or promoted
    return TensorMerge(
        name=slot.name,
        shape=slot.shape,
        method=method,
        inputs=inputs,
        base_index=base_index,
        arguments={} if lone or not floating else _arguments(recipe, method, slot, base_index),
        work=work if floating else promoted,
        out=out if floating else promoted,
        copied=lone or not floating,
        seed=recipe.seed,
        compat=compat,
        positions=slot.positions,
        origin=_position(slot, stage.origin),
    )


def _position(slot: Slot, source: int | None) -> int | None:
    """Return the position among a slot's inputs of one of the stage's sources."""
    return slot.members.index(source) if source in slot.members else None


@cache
def _promoted(dtypes: tuple[torch.dtype, ...]) -> torch.dtype:
    return reduce(torch.promote_types, dtypes)


def _arguments(
    recipe: Recipe, method: Method, slot: Slot, base_index: int | None
) -> dict[str, Any]:
    stage = slot.stage
    shared: Scopes = (recipe.parameters,)
    sources = recipe.models or ()
    if stage.index is not None and recipe.slices is not None:
        shared = (recipe.slices[stage.index].parameters, recipe.parameters)
        sources = recipe.slices[stage.index].sources
    arguments: dict[str, Any] = {}
    for parameter in method.parameters.values():
        if parameter.scope == "global":
            place = Place(slot.name, slot.layer, slot.t)
            arguments[parameter.argument] = _value(parameter, shared, place, method, None)
            continue
        values = []
        for position, member in enumerate(slot.members):
            if parameter.scope == "donor" and position == base_index:
                continue
            place = Place(slot.tensors[position], slot.layers[position], slot.t)
            # The stage may come from another recipe of the same structure: only this recipe
            # knows the values. A base that the stage appended has none.
            own = sources[member].parameters if member < len(sources) else {}
            scopes = (own, *shared)
            label = stage.checkpoints[member].label
            values.append(_value(parameter, scopes, place, method, label))
        arguments[parameter.argument] = tuple(values)
    _check_sum(recipe, method, slot, arguments)
    return arguments


def _value(
    parameter: Parameter, scopes: Scopes, place: Place, method: Method, label: str | None
) -> Scalar | None:
    value = resolve(parameter.name, scopes, place)
    if value is not None:
        owner = f"model '{label}', tensor" if label else "tensor"
        return parameter.read(value, f"{owner} '{place.tensor}'")
    if not parameter.required:
        default: Scalar | None = parameter.default
        return default
    owner = f"model '{label}'" if label else method.name
    raise RecipeError(
        f"parameter '{parameter.name}' of {owner} is missing for tensor '{place.tensor}'; "
        "give it a value that holds there, for instance one without a filter"
    )


def _check_sum(recipe: Recipe, method: Method, slot: Slot, arguments: Mapping[str, Any]) -> None:
    if method.nonzero_sum is None or recipe.compat or not arguments.get("normalize"):
        return
    values = arguments[method.parameters[method.nonzero_sum].argument]
    if torch.tensor(values, dtype=torch.float32).sum() == 0:
        raise RecipeError(
            f"tensor '{slot.name}': the {method.nonzero_sum}s {list(values)} sum to 0 and cannot "
            "be normalised; change them or set normalize to false"
        )


def _scope_problems(recipe: Recipe, method: Method) -> Iterator[str]:
    """Find parameter names that mean nothing, and global ones beside a single model."""
    known = set(method.parameters)
    if recipe.compat:
        known = (known | method.inert) - method.native
    shared = {name for name, parameter in method.parameters.items() if parameter.scope == "global"}
    for where, parameters, beside_model in _scopes(recipe):
        for name in parameters:
            if name not in known:
                yield (
                    f"{where}.parameters: {method.name} has no parameter '{name}'; "
                    f"{nearest(name, known)}"
                )
            elif beside_model and name in shared:
                yield (
                    f"{where}.parameters: '{name}' holds for the whole merge, not for one "
                    "model; move it to the parameters of the slice or recipe"
                )


def _scopes(recipe: Recipe) -> Iterator[tuple[str, Mapping[str, ParameterValue], bool]]:
    yield "recipe", recipe.parameters, False
    for i, source in enumerate(recipe.models or ()):
        yield f"models[{i}]", source.parameters, True
    for i, part in enumerate(recipe.slices or ()):
        yield f"slices[{i}]", part.parameters, False
        for j, source in enumerate(part.sources):
            yield f"slices[{i}].sources[{j}]", source.parameters, True


class _Donors:
    """Names every donor of a recipe, see the module's docstring."""

    def __init__(self, recipe: Recipe) -> None:
        # Writing a nested recipe out takes long, and a layer path names it at every hop.
        self._keys: dict[int, tuple[Node, str]] = {}
        self._names: dict[str, str] = {}
        sources = recipe.models or tuple(s for part in recipe.slices or () for s in part.sources)
        for source in sources:
            key = self._key(source.model)
            if key in self._names or source.model == recipe.base_model:
                continue
            pinned = source.model.sha256 if isinstance(source.model, ModelRef) else None
            self._names[key] = pinned or f"donor-{len(self._names)}"

    def name(self, node: Node) -> str:
        """Return the name of one of the recipe's models; 'base' for its base."""
        return self._names.get(self._key(node), "base")

    def _key(self, node: Node) -> str:
        if id(node) not in self._keys:
            self._keys[id(node)] = (node, node_key(node))
        return self._keys[id(node)][1]
