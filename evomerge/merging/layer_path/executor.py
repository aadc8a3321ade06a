"""Running layer paths on resident donors."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch

from evomerge.errors import CheckpointError, RecipeError
from evomerge.merging.checkpoint import is_adapter, resolve_folder
from evomerge.merging.engine import MergeEngine
from evomerge.merging.layer_path.prefix_cache import PrefixCache
from evomerge.merging.layer_path.reuse import HopCount, PrefixReuse, weights_state
from evomerge.merging.layer_path.shell import build_shell, factors
from evomerge.merging.plan import Plan
from evomerge.merging.resident import Resident, build_module, output_tokenizer
from evomerge.recipe.fingerprint import fingerprint
from evomerge.recipe.model import DType, ModelRef, Node, Recipe, Source

_RECENT = 64  # paths: some generations


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A model that a path needs.

    Attributes:
        label: how messages name it.
        content: the recipe that makes its weights.
        dtype: what it must run in; None leaves that to its weights.
        nested: whether it is the result of a merge, which may never be asked for again.
    """

    label: str
    content: Recipe
    dtype: DType | None
    nested: bool

    @property
    def identity(self) -> str:
        """Names the weights."""
        return f"{fingerprint(self.content)} {self.dtype}"


@dataclass(slots=True, eq=False)
class _Donor:
    """A resident model whose layers are lent.

    Attributes:
        plan: what its weights are made by.
        config: what its module was built from.
        module: of transformers.
        nested: see `_Wanted`.
        weights: `weights_state` as merged.
        tokenizers: none or its own.
    """

    plan: Plan
    config: dict[str, Any]
    module: Any
    nested: bool
    weights: tuple[Any, ...] = ()
    tokenizers: list[Any] = field(default_factory=list)

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer, loaded when first asked for."""
        if not self.tokenizers:
            self.tokenizers.append(output_tokenizer(self.plan.tokenizer))
        return self.tokenizers[0]

    def is_changed(self) -> bool:
        """Tell whether a fitness has written into its weights, or moved them."""
        return self.weights != weights_state(self.module)


class PathExecutor:
    """Runs the layers of resident models in any order, without copying a weight.

    Resident are every checkpoint that a path has ever named, once and whole, and as many nested
    recipes as the recent path with most of them has, those used last. A nested recipe is merged
    in place into the module of one that has to go, where they have the same configuration. A path
    itself adds no weights, only a key/value cache for
    each hop, and the states of `PrefixCache`, up to `cache_bytes` on the same device.

    Args:
        engine: merges nested recipes and opens models.
        device: where the models live and run.
        cache_bytes: what hidden states, keys and values of common prefixes may take together.
    """

    def __init__(
        self,
        engine: MergeEngine,
        device: str | torch.device = "cpu",
        *,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self._engine = engine
        self._device = torch.device(device)
        self._donors: dict[str, _Donor] = {}
        self._adapters: dict[ModelRef, bool] = {}
        self._n_nested: deque[int] = deque(maxlen=_RECENT)
        self.cache = PrefixCache(cache_bytes)
        self.count = HopCount()

    def load(self, recipe: Recipe) -> Resident:
        """Make the model of a recipe with a path.

        Its weights are the donors': who writes into them changes every hop that uses them. The
        next `load` notices, unless it was done through `.data`, and merges these donors anew.

        Raises:
            RecipeError: the recipe has no path, its scales do not fold into a checkpoint, or a
                nested recipe means nothing.
            CheckpointError: models are missing or damaged, their layers do not fit together (see
                `require_compatible`), or run in different dtypes.
            NonFiniteMerge, PluginError: see `MergeEngine.apply`.
        """
        path = recipe.path
        if path is None or recipe.models is None:
            raise RecipeError("only a recipe with a path can be run without merging")
        # What cannot be written as a checkpoint is not worth scoring.
        self._engine.check(recipe)
        wanted = [self._wanted(source, recipe) for source in recipe.models]
        with torch.inference_mode(False):
            donors = self._make_resident(wanted)
            shell = build_shell([donor.module for donor in donors], path)
        self.cache.next_candidate()
        names = [one.identity for one in wanted]
        steps = [
            f"{names[hop.model]} {hop.layer} {before!r} {after!r}"
            for hop, (before, after) in zip(path.hops, factors(path), strict=True)
        ]
        PrefixReuse(shell, names[0], steps, self.cache, self.count)
        return Resident(shell, donors[0].tokenizer)

    def _wanted(self, source: Source, recipe: Recipe) -> _Wanted:
        node: Node = source.model
        dtype = recipe.out_dtype or recipe.dtype
        if isinstance(node, Recipe):
            return _Wanted(f"nested {node.merge_method}", node, dtype, nested=True)
        if node not in self._adapters:
            self._adapters[node] = is_adapter(resolve_folder(node.path, node.revision))
        content = Recipe(
            merge_method="passthrough",
            base_model=recipe.base_model if self._adapters[node] else None,
            models=(Source(model=node),),
        )
        return _Wanted(str(node), content, dtype, nested=False)

    def _make_resident(self, wanted: list[_Wanted]) -> list[_Donor]:
        """Return the donors of a path, in the order of its models."""
        names = [one.identity for one in wanted]
        plans = {
            name: self._donors[name].plan
            if name in self._donors
            else self._engine.check(one.content)
            for name, one in zip(names, wanted, strict=True)
        }
        self._require_one_dtype(wanted, [plans[name] for name in names])
        for name in names:
            if name in self._donors and self._donors[name].is_changed():
                del self._donors[name]
        spares = self._free(dict(zip(names, wanted, strict=True)), plans)
        for name, one in zip(names, wanted, strict=True):
            found = self._donors.pop(name, None)
            # put back at the end: the order is that of use
            self._donors[name] = found or self._merge(one, plans[name], spares)
        return [self._donors[name] for name in names]

    def _free(self, wanted: dict[str, _Wanted], plans: dict[str, Plan]) -> list[_Donor]:
        """Drop the idle nested results that leave no room for those of a path.

        Returns:
            Those whose modules the new ones can take over.
        """
        self._n_nested.append(sum(one.nested for one in wanted.values()))
        resident = [name for name, donor in self._donors.items() if donor.nested]
        idle = [name for name in resident if name not in wanted]
        missing = [
            _config(one, plans[name])
            for name, one in wanted.items()
            if one.nested and name not in self._donors
        ]
        excess = len(resident) + len(missing) - max(self._n_nested)
        # the least recently used first, but before them those whose modules are of use
        idle.sort(key=lambda name: self._donors[name].config not in missing)
        dropped = [self._donors.pop(name) for name in idle[: max(0, excess)]]
        return [one for one in dropped if one.config in missing and not one.is_changed()]

    def _require_one_dtype(self, wanted: list[_Wanted], plans: list[Plan]) -> None:
        labels = [one.label for one in wanted]
        dtypes = [_config(one, plan).get("dtype") for one, plan in zip(wanted, plans, strict=True)]
        for label, dtype in zip(labels, dtypes, strict=True):
            if dtype != dtypes[0]:
                raise CheckpointError(
                    f"model '{label}' is stored in {dtype} and model '{labels[0]}' in {dtypes[0]}; "
                    "give the recipe a dtype for their layers to run together"
                )

    def _merge(self, one: _Wanted, plan: Plan, spares: list[_Donor]) -> _Donor:
        config = _config(one, plan)
        spare = next((donor for donor in spares if one.nested and donor.config == config), None)
        if spare is None:
            donor = _Donor(plan, config, build_module(config, self._device), one.nested)
        else:
            spares.remove(spare)
            donor = _Donor(plan, config, spare.module, True, tokenizers=spare.tokenizers)
        # what is not nested is read once and never merged again
        self._engine.apply(one.content, donor.module, keep_inputs=one.nested)
        donor.weights = weights_state(donor.module)
        return donor


def _config(one: _Wanted, plan: Plan) -> dict[str, Any]:
    config = dict(plan.config)
    return {**config, "dtype": one.dtype} if one.dtype else config
