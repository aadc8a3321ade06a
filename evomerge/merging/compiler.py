"""Turns recipes into plans, and keeps what the next recipe needs again."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

import torch

from evomerge.errors import CheckpointError
from evomerge.merging.checkpoint import Checkpoint, is_adapter, open_checkpoint, resolve_folder
from evomerge.merging.compute import MergedCheckpoint
from evomerge.merging.folding import lay_out_path, lower, require_range
from evomerge.merging.lineages.parts import Orders, with_lineage
from evomerge.merging.memory import Memory
from evomerge.merging.method import Method, load_method
from evomerge.merging.methods.lineage import LINEAGE_METHOD
from evomerge.merging.model_config import output_config, set_dtype
from evomerge.merging.plan import Plan, fill_in
from evomerge.merging.recent import Recent
from evomerge.merging.skeleton import Node, Slot, lay_out, node_key
from evomerge.merging.tokenizer import OutputTokenizer, choose_tokenizer
from evomerge.recipe.model import ModelRef, Recipe

_KEPT_SKELETONS = 8
_KEPT_NESTED = 8
Skeleton: TypeAlias = tuple[tuple[Slot, ...], OutputTokenizer]


class Compiler:
    """Compiles recipes against checkpoints that are opened once.

    Args:
        allow_pickle: see `open_checkpoint`.
        memory: where nested recipes read their inputs from.
    """

    def __init__(self, allow_pickle: bool, memory: Memory) -> None:
        self._allow_pickle = allow_pickle
        self._memory = memory
        self._recent = Recent(memory)
        self._orders = Orders()
        self._opened: dict[tuple[ModelRef, Checkpoint | None], Checkpoint] = {}
        self._skeletons: OrderedDict[str, Skeleton] = OrderedDict()
        self._nested: OrderedDict[str, tuple[Plan, MergedCheckpoint]] = OrderedDict()

    def compile(self, recipe: Recipe) -> Plan:
        """Check a recipe completely and lay out every tensor; no tensor is read.

        Raises:
            RecipeError, CheckpointError, PluginError: every problem found, one a line.
        """
        lineage = recipe.lineage
        method = load_method(recipe.merge_method) if lineage is None else LINEAGE_METHOD
        models: dict[ModelRef, Checkpoint] = {}
        base = None
        if recipe.base_model is not None:
            base = self._open(recipe.base_model, None, models)
        opened = self._open_all(recipe, base, models)
        if recipe.path is not None:
            sources = recipe.models or ()
            inputs = [opened[node_key(source.model)] for source in sources]
            reference, tokenizer = inputs[0], _own_tokenizer(inputs[0])
            lowered = lower(recipe, recipe.path, inputs)
            slots = lay_out_path(sources, recipe.path, inputs, method)
            tensors = fill_in(lowered, method, slots)
            require_range(recipe.path, reference, tensors.values())
        else:
            reference = base or next(iter(opened.values()))
            slots, tokenizer = self._lay_out(recipe, method, opened, base, reference)
            tensors = fill_in(recipe, method, slots)
        if lineage is not None:
            order = self._orders.of(reference, lineage)
            tensors = with_lineage(tensors, recipe, lineage, order, reference, self._recent)
        config = output_config(reference.config, slots, tokenizer)
        set_dtype(
            config, [(merge.out, torch.Size(merge.shape).numel()) for merge in tensors.values()]
        )
        return Plan(recipe, tensors, config, reference, tokenizer, models)

    def stand_in(self, ref: ModelRef, checkpoint: Checkpoint) -> None:
        """Take a checkpoint for a model whose files are not here."""
        self._opened[ref, None] = checkpoint

    def open(self, ref: ModelRef, base: Checkpoint | None = None) -> Checkpoint:
        """Open a checkpoint, once; `base` is what an adapter folder sits on."""
        if (ref, None) in self._opened:
            return self._opened[ref, None]
        if base is not None and not is_adapter(resolve_folder(ref.path, ref.revision)):
            base = None
        key = (ref, base)
        if key not in self._opened:
            self._opened[key] = open_checkpoint(ref, allow_pickle=self._allow_pickle, base=base)
        return self._opened[key]

    def _open(
        self, node: Node, base: Checkpoint | None, models: dict[ModelRef, Checkpoint]
    ) -> Checkpoint:
        if isinstance(node, ModelRef):
            models[node] = self.open(node, base)
            return models[node]
        key = node_key(node)
        if key not in self._nested:
            plan = self.compile(node)
            label = f"nested {node.merge_method}"
            self._nested[key] = (plan, MergedCheckpoint(plan, label, self._memory))
        self._nested.move_to_end(key)
        while len(self._nested) > _KEPT_NESTED:
            self._nested.popitem(last=False)
        plan, checkpoint = self._nested[key]
        models.update(plan.models)
        return checkpoint

    def _open_all(
        self, recipe: Recipe, base: Checkpoint | None, models: dict[ModelRef, Checkpoint]
    ) -> dict[str, Checkpoint]:
        opened: dict[str, Checkpoint] = {}
        problems: list[str] = []
        for node in _nodes(recipe):
            if node_key(node) in opened:
                continue
            try:
                opened[node_key(node)] = (
                    base
                    if base is not None and node == recipe.base_model
                    else self._open(node, base, models)
                )
            except CheckpointError as error:
                problems.append(str(error))
        if problems:
            raise CheckpointError("\n".join(problems))
        return opened

    def _lay_out(
        self,
        recipe: Recipe,
        method: Method,
        opened: dict[str, Checkpoint],
        base: Checkpoint | None,
        reference: Checkpoint,
    ) -> Skeleton:
        key = None if any(isinstance(n, Recipe) for n in _nodes(recipe)) else _structure_key(recipe)
        if key is not None and key in self._skeletons:
            self._skeletons.move_to_end(key)
            return self._skeletons[key]
        source = recipe.tokenizer_source
        named = None
        if source not in (None, "base", "union"):
            named = self.open(ModelRef.parse(source), base)
        if source is None:
            tokenizer = _own_tokenizer(reference)
        else:
            tokenizer = choose_tokenizer(source, reference, named, opened)
        slots = lay_out(recipe, method, opened, base, tokenizer.alignment)
        if key is not None:
            self._skeletons[key] = (slots, tokenizer)
            if len(self._skeletons) > _KEPT_SKELETONS:
                self._skeletons.popitem(last=False)
        return slots, tokenizer


def _own_tokenizer(checkpoint: Checkpoint) -> OutputTokenizer:
    """Return the tokenizer a checkpoint has; that of a nested merge may be in no folder."""
    if isinstance(checkpoint, MergedCheckpoint):
        return replace(checkpoint.tokenizer, alignment=None)
    return OutputTokenizer(checkpoint.folder)


def _nodes(recipe: Recipe) -> Iterator[Node]:
    if recipe.base_model is not None:
        yield recipe.base_model
    for source in recipe.models or ():
        yield source.model
    for part in recipe.slices or ():
        if part.base_model is not None:
            yield part.base_model
        yield from (source.model for source in part.sources)


def _structure_key(recipe: Recipe) -> str:
    """Return a text equal for recipes that differ in parameter values and seed only."""
    parts = [recipe.merge_method, repr(recipe.compat), repr(recipe.tokenizer_source)]
    for part in recipe.slices or ():
        parts.append(f"slice {node_key(part.base_model) if part.base_model else ''}")
        parts.extend(f"{source.layer_range} {node_key(source.model)}" for source in part.sources)
    parts.extend(node_key(source.model) for source in recipe.models or ())
    parts.append(f"base {node_key(recipe.base_model) if recipe.base_model else ''}")
    return "\n".join(itertools.chain(parts))
