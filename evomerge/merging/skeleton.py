"""Which input tensors make which output tensor: everything of a plan but the parameters.

A recipe's structure (models, layer ranges, bases) stays the same over a search while parameter
values change with every genotype; so structure is laid out and checked once, from configurations
and file headers alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from evomerge.errors import CheckpointError, RecipeError
from evomerge.merging.alignment import Alignment, has_vocabulary_axis
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.method import Method
from evomerge.recipe.layout import part_of
from evomerge.recipe.model import ModelRef, Recipe, Source

Node = ModelRef | Recipe
_SHOWN = 8  # problems of one kind worth reading; the rest is counted

# Constants some old checkpoints carry along: causal masks and rotary frequencies. No weights.
_CONSTANT = re.compile(r"rotary_emb\.inv_freq$|\.(attn|attention)\.(masked_)?bias$")
_EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|wte|word_embeddings|embed_in|tok_embeddings)\.weight$"
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One slice of a recipe; a recipe over whole models is a single one.

    Attributes:
        where: its key in the recipe, for messages.
        sources: the inputs, the base appended where the recipe implies it.
        checkpoints: one per source.
        ranges: first and one past the last layer of each source.
        base: node of the base in force, if any.
        origin: position of the base in `sources`, if it is there.
        base_index: the same, None where the method ignores it.
        index: position among the slices; None over whole models.
    """

    where: str
    sources: tuple[Source, ...]
    checkpoints: tuple[Checkpoint, ...]
    ranges: tuple[tuple[int, int], ...]
    base: Node | None = None
    origin: int | None = None
    base_index: int | None = None
    index: int | None = None

    @property
    def length(self) -> int:
        """Number of layers."""
        first, end = self.ranges[0]
        return end - first


@dataclass(frozen=True, slots=True)
class Slot:
    """One output tensor and where its inputs lie.

    Attributes:
        name: of the output tensor.
        layer: its output layer; None outside the layers.
        stage: the slice whose sources and parameters it takes.
        members: positions in the stage's sources that take part.
        tensors: the input tensor name of each member.
        layers: the input layer of each member.
        t: position in the slice.
        shape: of inputs and output.
        dtypes: stored dtype of each member.
        positions: rows of each member in the output's vocabulary; None where no alignment acts.
    """

    name: str
    layer: int | None
    stage: Stage
    members: tuple[int, ...]
    tensors: tuple[str, ...]
    layers: tuple[int | None, ...]
    t: float
    shape: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]
    positions: tuple[torch.Tensor, ...] | None = None


def lay_out(
    recipe: Recipe,
    method: Method,
    opened: Mapping[str, Checkpoint],
    base: Checkpoint | None,
    alignment: Alignment | None = None,
) -> tuple[Slot, ...]:
    """Lay out every output tensor of a recipe, in the order of its layers.

    Args:
        recipe: the recipe; parameter values are not looked at.
        method: its merge method.
        opened: `node_key` of every model of the recipe to its opened checkpoint.
        base: the recipe-wide base, opened.
        alignment: of the vocabularies, where they differ.

    Raises:
        RecipeError: structure that means nothing: duplicates, counts, ranges, a missing base.
        CheckpointError: models that do not match, with every tensor concerned.
    """
    stages = _stages(recipe, method, opened, base)
    problems: list[str] = []
    for stage in stages:
        problems += _structure_problems(stage, method)
    if recipe.compat and len(stages[-1].sources) > len(stages[0].sources):
        problems.append(
            f"{stages[-1].where}: has more sources than {stages[0].where}; mergekit 0.1.5 would "
            "leave the last ones out of the final norm and head: list every model in each slice"
        )
    if problems:
        raise RecipeError("\n".join(dict.fromkeys(problems)))
    _check_families(stages, alignment)
    collector = Collector(method, alignment)
    lay_out_outside(collector, stages[0], embedding=True, t=0.0)
    offset = 0
    for stage in stages:
        _lay_out_layers(collector, stage, offset)
        offset += stage.length
    lay_out_outside(collector, stages[-1], embedding=False, t=0.0 if recipe.compat else 1.0)
    return collector.result()


def node_key(node: Node) -> str:
    """Return a text that identifies a model reference or a nested recipe."""
    return node.model_dump_json(exclude_none=True)


def is_embedding(name: str) -> bool:
    """Tell whether a tensor outside the layers belongs to the input side of the model."""
    return part_of(name) == "embedding" or ("embed" in name and part_of(name) != "head")


def _stages(
    recipe: Recipe, method: Method, opened: Mapping[str, Checkpoint], base: Checkpoint | None
) -> list[Stage]:
    if recipe.slices is not None:
        stages = []
        for i, part in enumerate(recipe.slices):
            ranges = tuple(source.layer_range or (0, 0) for source in part.sources)
            stages.append(
                _stage(
                    f"slices[{i}]",
                    part.sources,
                    ranges,
                    part.base_model or recipe.base_model,
                    method,
                    opened,
                    i,
                )
            )
        return stages
    sources = recipe.models or ()
    listed = any(source.model == recipe.base_model for source in sources)
    # mergekit appends an unlisted base for every method; a method that ignores it gains nothing.
    wanted = method.base != "ignored" or (recipe.compat is not None and method.max_inputs != 1)
    if recipe.base_model is not None and base is not None and not listed and wanted:
        sources = (*sources, Source(model=recipe.base_model))
    checkpoints = [opened[node_key(source.model)] for source in sources]
    ranges = tuple((0, checkpoint.layout.n_layers) for checkpoint in checkpoints)
    return [_stage("models", sources, ranges, recipe.base_model, method, opened, None)]


def _stage(
    where: str,
    sources: tuple[Source, ...],
    ranges: tuple[tuple[int, int], ...],
    base: Node | None,
    method: Method,
    opened: Mapping[str, Checkpoint],
    index: int | None,
) -> Stage:
    origin = next((i for i, source in enumerate(sources) if source.model == base), None)
    base_index = None if method.base == "ignored" else origin
    checkpoints = tuple(opened[node_key(source.model)] for source in sources)
    return Stage(where, sources, checkpoints, ranges, base, origin, base_index, index)


def _structure_problems(stage: Stage, method: Method) -> Iterator[str]:
    n = len(stage.sources)
    seen: list[Node] = []
    for source, checkpoint in zip(stage.sources, stage.checkpoints, strict=True):
        if source.model in seen:
            yield (
                f"{stage.where}: model '{checkpoint.label}' is listed twice; list each input once "
                "and add up the weights"
            )
        seen.append(source.model)
    if method.base == "required" and stage.base is None:
        yield f"{stage.where}: {method.name} needs a base_model; add 'base_model'"
    elif method.base == "required" and stage.base_index is None:
        yield (
            f"{stage.where}: the base_model is not among the sources; {method.name} needs it in "
            "every slice, with its own layer_range"
        )
    if n < method.min_inputs:
        yield f"{stage.where}: {method.name} needs at least {method.min_inputs} inputs, got {n}"
    if method.max_inputs is not None and n > method.max_inputs:
        yield f"{stage.where}: {method.name} takes at most {method.max_inputs} inputs, got {n}"
    for i, (checkpoint, (_, end)) in enumerate(zip(stage.checkpoints, stage.ranges, strict=True)):
        if end > checkpoint.layout.n_layers:
            yield (
                f"{stage.where}.sources[{i}]: layer_range ends at {end}, but '{checkpoint.label}' "
                f"has {checkpoint.layout.n_layers} layers"
            )


def _check_families(stages: Sequence[Stage], alignment: Alignment | None) -> None:
    """Refuse models of different architecture, depth or vocabulary, naming both."""
    checkpoints = [checkpoint for stage in stages for checkpoint in stage.checkpoints]
    reference = checkpoints[0]
    for other in checkpoints[1:]:
        for key in ("model_type", "hidden_size", "n_embd", "vocab_size"):
            if key == "vocab_size" and alignment is not None:
                continue
            a, b = reference.config.get(key), other.config.get(key)
            if a is not None and b is not None and a != b:
                cure = (
                    "set tokenizer_source to align them"
                    if key == "vocab_size"
                    else "only models of one architecture and size can be merged"
                )
                raise CheckpointError(
                    f"'{reference.label}' has {key} {a} and '{other.label}' has {b}; {cure}"
                )
    stage = stages[0]
    if stage.index is None:
        for other, (_, depth) in zip(stage.checkpoints, stage.ranges, strict=True):
            if depth != stage.length:
                raise CheckpointError(
                    f"'{stage.checkpoints[0].label}' has {stage.length} layers and "
                    f"'{other.label}' has {depth}; use slices with layer_range to merge parts"
                )


class Collector:
    """Collects slots and every problem met on the way.

    Args:
        method: the merge method.
        alignment: of the vocabularies, where they differ.
    """

    def __init__(self, method: Method, alignment: Alignment | None) -> None:
        self._alignment = alignment
        self._slots: list[Slot] = []
        self._problems: list[str] = []
        self._method = method

    def result(self) -> tuple[Slot, ...]:
        """Return every slot.

        Raises:
            CheckpointError: inputs lacked a tensor or had another shape.
        """
        if self._problems:
            shown = self._problems[:_SHOWN]
            if len(self._problems) > _SHOWN:
                shown.append(f"... and {len(self._problems) - _SHOWN} more tensors")
            raise CheckpointError("\n".join(shown))
        return tuple(self._slots)

    def add(
        self,
        name: str,
        layer: int | None,
        stage: Stage,
        tensors: Sequence[str | None],
        layers: Sequence[int | None],
        t: float,
    ) -> None:
        """Add an output tensor; an input that lacks it has None in `tensors`."""
        present = [i for i, tensor in enumerate(tensors) if tensor is not None]
        lone = self._method.singleton == "pass" and len(present) == 1
        if len(present) < len(tensors) and not lone:
            lacking = [
                stage.checkpoints[i].label for i, tensor in enumerate(tensors) if tensor is None
            ]
            self._problems.append(
                f"tensor '{name}': '{lacking[0]}' does not have it, "
                f"'{stage.checkpoints[present[0]].label}' does; are these one architecture?"
            )
            return
        names = [tensor for tensor in tensors if tensor is not None]
        shapes = [
            stage.checkpoints[i].shape(tensor) for i, tensor in zip(present, names, strict=True)
        ]
        positions = None
        if self._alignment is not None and layer is None and has_vocabulary_axis(name):
            rows, table = self._alignment.rows, self._alignment.positions
            shapes = [(rows, *shape[1:]) for shape in shapes]
            positions = tuple(table[node_key(stage.sources[i].model)] for i in present)
        for i, shape in zip(present, shapes, strict=True):
            if shape != shapes[0]:
                self._problems.append(
                    f"tensor '{name}': shape {shape} in '{stage.checkpoints[i].label}', "
                    f"{shapes[0]} in '{stage.checkpoints[present[0]].label}'"
                )
                return
        self._slots.append(
            Slot(
                name=name,
                layer=layer,
                stage=stage,
                members=tuple(present),
                tensors=tuple(names),
                layers=tuple(layers[i] for i in present),
                t=t,
                shape=shapes[0],
                dtypes=tuple(
                    stage.checkpoints[i].dtype(tensor)
                    for i, tensor in zip(present, names, strict=True)
                ),
                positions=positions,
            )
        )


def _lay_out_layers(collector: Collector, stage: Stage, offset: int) -> None:
    tables = [by_layer(checkpoint) for checkpoint in stage.checkpoints]
    prefix = stage.checkpoints[0].layout.prefix
    for step in range(stage.length):
        t = step / (stage.length - 1) if stage.length > 1 else 1.0
        inputs = [first + step for first, _ in stage.ranges]
        held = [table.get(layer, {}) for table, layer in zip(tables, inputs, strict=True)]
        for rest in sorted(set().union(*held)):
            collector.add(
                f"{prefix}{offset + step}.{rest}",
                offset + step,
                stage,
                [names.get(rest) for names in held],
                inputs,
                t,
            )


def lay_out_outside(collector: Collector, stage: Stage, *, embedding: bool, t: float) -> None:
    """Lay out the tensors before the layers, or those after them."""
    outside = [
        {name for name in weight_names(checkpoint) if checkpoint.layout.layer_of(name) is None}
        for checkpoint in stage.checkpoints
    ]
    nowhere = [None] * len(outside)
    for name in sorted(set().union(*outside)):
        if is_embedding(name) != embedding:
            continue
        tensors = [name if name in names else None for names in outside]
        if part_of(name) == "head" and name.endswith(".weight"):
            tensors = [
                tensor or _tied_to(names) for tensor, names in zip(tensors, outside, strict=True)
            ]
        collector.add(name, None, stage, tensors, nowhere, t)


def _tied_to(names: set[str]) -> str | None:
    """Return the embedding that serves as head in a checkpoint without one."""
    return next((name for name in sorted(names) if _EMBEDDING.search(name)), None)


def weight_names(checkpoint: Checkpoint) -> Iterator[str]:
    """Yield the tensors that merges make: all but constants."""
    for name in checkpoint.names:
        if not (_CONSTANT.search(name) and len(checkpoint.shape(name)) in (0, 1, 4)):
            yield name


def by_layer(checkpoint: Checkpoint) -> dict[int, dict[str, str]]:
    """Return layer index -> local name -> full name."""
    table: dict[int, dict[str, str]] = {}
    cut = len(checkpoint.layout.prefix)
    for name in weight_names(checkpoint):
        layer = checkpoint.layout.layer_of(name)
        if layer is not None:
            local = name[cut:].partition(".")[2]
            table.setdefault(layer, {})[local] = name
    return table
