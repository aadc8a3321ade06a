"""The merge engine: recipes in, weights out, in memory or on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evomerge.errors import CheckpointError
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.compiler import Compiler
from evomerge.merging.compute import FiniteCheck, compute
from evomerge.merging.folder import write_folder
from evomerge.merging.lineages.inner_products import ModelProducts
from evomerge.merging.memory import Memory
from evomerge.merging.own_code import code_digest, require_local
from evomerge.merging.plan import Plan, TensorMerge
from evomerge.merging.spread import is_spread
from evomerge.merging.statistics import delta_statistics
from evomerge.merging.targets import Targets
from evomerge.recipe.model import ModelRef, Node, Recipe
from evomerge.recipe.order import Order
from evomerge.types import DeltaStatistics


class MergeEngine:
    """Merges recipes; opens every model once and keeps what no genotype changes.

    Args:
        device: where the arithmetic runs.
        allow_pickle: read pickled checkpoints (weights only).
        trusted: folders of models whose own code may be run, to the sha256 of that code.
        cache_bytes: what may stay on `device` between merges: inputs, and, in what they leave of
            it, singular value decompositions and values of a lineage's steps.
    """

    def __init__(
        self,
        *,
        device: str | torch.device = "cpu",
        allow_pickle: bool = False,
        trusted: Mapping[Path, str] | None = None,
        cache_bytes: int = 2 << 30,
    ) -> None:
        self._device = torch.device(device)
        self._memory = Memory(self._device, cache_bytes)
        self._compiler = Compiler(allow_pickle, self._memory)
        self._trusted = {folder.resolve(): digest for folder, digest in (trusted or {}).items()}
        self._latest: Plan | None = None

    def check(self, recipe: Recipe) -> Plan:
        """Compile a recipe against its models; only configurations and headers are read.

        The plan of the latest recipe is kept: a candidate is asked for its configuration first,
        then merged.

        Raises:
            RecipeError: the recipe means nothing: names, scopes, ranges, values.
            CheckpointError: the models are missing, damaged or do not match.
            PluginError: the merge method is unknown.
        """
        if self._latest is None or self._latest.recipe is not recipe:
            self._latest = None  # what it read may go before the next one is laid out
            self._latest = self._compiler.compile(recipe)
        return self._latest

    def config(self, recipe: Recipe) -> dict[str, Any]:
        """Return the config.json of what a recipe gives.

        Raises:
            RecipeError, CheckpointError, PluginError: see `check`.
        """
        return dict(self.check(recipe).config)

    def tensors(self, recipe: Recipe) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor that a recipe gives, by name and in its output dtype; read-only.

        Raises:
            RecipeError, CheckpointError, PluginError: see `check`.
        """
        for name, merge in self.check(recipe).tensors.items():
            yield name, self._compute(merge)

    def apply(self, recipe: Recipe, module: nn.Module, *, keep_inputs: bool = True) -> None:
        """Write the merged tensors into a resident module, in place, in the module's dtype.

        Of a module that is spread over devices each tensor is merged on its own.

        After an error the module's weights are undefined until the next apply.

        Args:
            recipe: what to merge.
            module: of the recipe's configuration.
            keep_inputs: whether the inputs will be merged again and may stay on the device.

        Raises:
            NonFiniteMerge: a merged tensor holds inf or NaN.
            CheckpointError: merged tensors and module do not match by name or shape.
            RecipeError, PluginError: see `check`.
        """
        plan = self.check(recipe)
        targets = Targets(module, plan.tensors)
        targets.require_complete()
        written: set[int] = set()
        finite = FiniteCheck()

        def merged_tensor(name: str) -> Tensor:
            device = targets.device_of(name) if is_spread(module) else None
            if device is not None and device.type == "cpu":
                device = None  # an offloaded weight is merged where arithmetic runs
            return compute(plan.tensors[name], self._memory, keep_inputs=keep_inputs, device=device)

        with torch.no_grad():
            for name, target, merged in targets.pairs(merged_tensor):
                if target.shape != merged.shape:
                    raise CheckpointError(
                        f"merged tensor '{name}' has shape {tuple(merged.shape)}, the module "
                        f"{tuple(target.shape)}; load the module from the recipe's config"
                    )
                # A second name of one storage would undo what the first has written.
                if target.data_ptr() in written and target.numel():
                    raise CheckpointError(
                        f"merged tensor '{name}' is tied to another tensor of the module; load "
                        "the module from the recipe's config"
                    )
                written.add(target.data_ptr())
                target.copy_(merged)
                finite.add(name, target)
        finite.require()

    def write(
        self,
        recipe: Recipe,
        directory: str | Path,
        *,
        shard_bytes: int = 5_000_000_000,
        extra_files: Mapping[str, str | bytes] | None = None,
    ) -> None:
        """Write the merged model as a folder that transformers loads.

        Every model whose sha256 the recipe pins is checked against it first.

        Args:
            recipe: what to merge.
            directory: must not exist; it appears finished or not at all.
            shard_bytes: upper size of one weights file.
            extra_files: name to content of further files, such as the recipe itself.

        Raises:
            UserError: the destination exists, cannot be written, or the disk is full.
            NonFiniteMerge: a merged tensor holds inf or NaN.
            CheckpointError, RecipeError, PluginError: see `check`.
        """
        self.require_pinned(recipe)
        write_folder(
            self.check(recipe),
            Path(directory),
            self._compute,
            shard_bytes=shard_bytes,
            extra_files=extra_files or {},
        )

    def require_pinned(self, recipe: Recipe) -> None:
        """Check every model whose sha256 a recipe pins against it; their files are read.

        Raises:
            CheckpointError: the content of one is another.
            RecipeError, PluginError: see `check`.
        """
        for ref, checkpoint in self.check(recipe).models.items():
            if ref.sha256 is not None and checkpoint.digest() != ref.sha256:
                raise CheckpointError(
                    f"model '{ref}' has content {checkpoint.digest()}, the recipe pins "
                    f"{ref.sha256}; restore the model or drop its sha256"
                )

    def inner_products(
        self, order: Order, base: Node, donors: Sequence[Node], *, task_vectors: bool
    ) -> ModelProducts:
        """Return the inner products of models; nothing is read until they are asked for.

        Args:
            order: of `base`.
            base: origin of task vectors.
            donors: in order; models, adapters on the base, or recipes.
            task_vectors: products of donor - base instead of the donors' whole weights.
        """
        return ModelProducts(
            self._compiler.compile, self._memory, order, base, donors, task_vectors=task_vectors
        )

    def delta_statistics(self, module: nn.Module, base: ModelRef) -> DeltaStatistics:
        """Measure how far a resident module is from a base, see `DeltaStatistics`.

        Raises:
            CheckpointError: the base cannot be opened, or shares no tensor with the module.
        """
        return delta_statistics(module, self._compiler.open(base), self._device)

    def digest(self, ref: ModelRef, *, base: ModelRef | None = None) -> str:
        """Return the sha256 of a model's weights, independent of folder, shards and format.

        Args:
            ref: the model.
            base: what it sits on, if it is a bare adapter folder.

        Raises:
            CheckpointError: the model cannot be opened.
        """
        origin = None if base is None else self._compiler.open(base)
        return self._compiler.open(ref, origin).digest()

    def open(self, ref: ModelRef) -> Checkpoint:
        """Open a model, once; no tensor is read.

        Args:
            ref: a checkpoint, with its adapter where it names one.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        return self._compiler.open(ref)

    def trusted_code(self, folder: Path) -> Path | None:
        """Return the folder of a model if its own code may be run, else None.

        Raises:
            CheckpointError: it was to be trusted and is not what it was then, or it takes code
                from elsewhere.
        """
        digest = self._trusted.get(folder.resolve())
        if digest is None:
            return None
        if code_digest(folder) != digest:
            raise CheckpointError(
                f"{folder}: the Python files changed since they were trusted; nothing of them was "
                "run: read them, and start anew"
            )
        require_local(folder)
        return folder

    def stand_in(self, ref: ModelRef, checkpoint: Checkpoint) -> None:
        """Take a checkpoint for a model whose files are not here; recipes can only be checked.

        Args:
            ref: the model.
            checkpoint: its configuration, without weights.
        """
        self._latest = None
        self._compiler.stand_in(ref, checkpoint)

    def _compute(self, merge: TensorMerge) -> Tensor:
        return compute(merge, self._memory)
