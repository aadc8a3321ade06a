"""A search space whose genotypes mean what they mean to mergekit-evolve 0.1.5.

Its genome is an array (layer groups, models, parameter sets, parameters), flattened with the last
index running fastest. A parameter set is a filter's, the last one that of all other tensors. Two
things differ from there by nature:

- the interpolation of slerp is a softmax, whose last bits differ between libraries and CPUs;
- slerp merges the two models with the greatest genes of a group. Between equal ones, which do not
  occur in a continuous search but do where it starts, the first listed are taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import nearest
from evomerge.recipe.model import (
    COMPAT,
    Conditional,
    ModelRef,
    Node,
    Parameters,
    ParameterValue,
    Recipe,
    Slice,
    Source,
)
from evomerge.spaces.context import SpaceContext
from evomerge.spaces.domain import Domain, Gene
from evomerge.spaces.mergekit_evolve.spec import BASE, SPREAD, EvolveSpec
from evomerge.spaces.spec import REST, Origin
from evomerge.types import Genotype


class EvolveSpace:
    """A `Space` built from an `EvolveSpec` for the models of a study.

    Args:
        spec: the declaration.
        context: the models.
        origin: where the declaration stands, for messages.

    Raises:
        SpaceError: the declaration does not fit the models.
    """

    def __init__(self, spec: EvolveSpec, context: SpaceContext, origin: Origin) -> None:
        self.spec = spec
        self._context = context
        self._models = _models(spec, context, origin)
        self._steps = _steps(spec, context, origin)
        self._tokenizer = _tokenizer(spec, context, origin)
        self._sets = (*spec.filters, None)
        self._shape = (
            len(self._steps),
            len(self._models),
            len(self._sets),
            len(spec.parameters),
        )
        self._domain = Domain(self._genes())

    @property
    def domain(self) -> Domain:
        """Genes in mergekit-evolve's order, starting where its searches start."""
        return self._domain

    def decode(self, genotype: Genotype) -> Recipe:
        """Turn a genotype into the recipe mergekit-evolve makes of it.

        Raises:
            InvalidGenotype: it has the wrong length, or a value outside the range of the genes.
        """
        values = np.array(self._domain.checked(genotype), dtype=np.float64).reshape(self._shape)
        slices, models = None, None
        if self.spec.merge_method == "slerp":
            slices = self._pairs(values[:, :, 0, 0])
        else:
            arrays = {
                name: self._bounded(name, values[..., index])
                for index, name in enumerate(self.spec.parameters)
            }
            if self.spec.smooth:
                models = self._whole(arrays)
            else:
                slices = self._sliced(arrays)
        return Recipe(
            merge_method=self.spec.merge_method,
            base_model=self._context.base if self.spec.has_base else None,
            models=models,
            slices=slices,
            parameters=self._shared(),
            dtype=self._context.dtype,
            tokenizer_source=self._tokenizer,
            seed=self._context.seed,
            compat=COMPAT,
        )

    def _bounded(self, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if name == "density":
            return np.clip(np.abs(values), 0.0, 1.0)
        return values if self.spec.allow_negative_weights else np.abs(values)

    def _shared(self) -> Parameters:
        """Return the parameters of the whole merge; mergekit-evolve says more than slerp reads."""
        if self.spec.merge_method == "slerp":
            return {}
        normalize: Parameters = {"normalize": self.spec.normalizes}
        return normalize if self.spec.merge_method == "linear" else {**normalize, "int8_mask": True}

    def _sliced(self, arrays: Mapping[str, NDArray[np.float64]]) -> tuple[Slice, ...]:
        """Return one slice a group, with the group's own values."""
        slices, sets = [], range(len(self._sets))
        for group, layers in enumerate(self._steps):
            sources = [
                Source(
                    model=node,
                    layer_range=layers,
                    parameters={
                        name: self._setting([values[group : group + 1, number, i] for i in sets])
                        for name, values in arrays.items()
                    },
                )
                for number, node in enumerate(self._models.values())
            ]
            if self._appends_base:
                sources.append(Source(model=self._context.base, layer_range=layers))
            slices.append(Slice(sources=tuple(sources)))
        return tuple(slices)

    def _whole(self, arrays: Mapping[str, NDArray[np.float64]]) -> tuple[Source, ...]:
        """Return the models with values interpolated over all layers."""
        sets = range(len(self._sets))
        sources = [
            Source(
                model=node,
                parameters={
                    name: self._setting([values[:, number, i] for i in sets])
                    for name, values in arrays.items()
                },
            )
            for number, node in enumerate(self._models.values())
        ]
        if self._appends_base:
            sources.append(Source(model=self._context.base))
        return tuple(sources)

    def _setting(self, by_set: Sequence[NDArray[np.float64]]) -> ParameterValue:
        """Return a parameter's value from its anchors in each parameter set."""
        anchors = [
            float(values[0]) if len(values) == 1 else tuple(values.tolist()) for values in by_set
        ]
        if len(anchors) == 1:
            return anchors[0]
        return tuple(
            Conditional(value=value, filter=filter_)
            for value, filter_ in zip(anchors, self._sets, strict=True)
        )

    def _pairs(self, values: NDArray[np.float64]) -> tuple[Slice, ...]:
        """Return for each group the merge of its two greatest models, the greatest as base."""
        nodes = tuple(self._models.values())
        slices = []
        for layers, row in zip(self._steps, values, strict=True):
            first, second = np.argsort(-row, kind="stable")[:2]
            ratio = math.exp(row[second] - row[first])
            slices.append(
                Slice(
                    sources=tuple(
                        Source(model=nodes[index], layer_range=layers) for index in (first, second)
                    ),
                    base_model=nodes[first],
                    parameters={"t": ratio / (1 + ratio)},
                )
            )
        return tuple(slices)

    @property
    def _appends_base(self) -> bool:
        return self.spec.has_base and BASE not in self._models

    def _genes(self) -> tuple[Gene, ...]:
        spec = self.spec
        low, high = spec.range
        # mergekit-evolve holds its initial genotype in single precision
        starts = {"density": 1.0}
        weight = float(np.float32(1 / len(self._models)))
        names = [
            (parameter, f"{parameter}[{model}]{_layers(spec, layers)}{_part(spec, part)}")
            for layers in self._steps
            for model in self._models
            for part in self._sets
            for parameter in spec.parameters
        ]
        initial = [starts.get(parameter, weight) for parameter, _ in names]
        if spec.random_init:
            initial = np.random.default_rng(self._context.seed).random(len(names)).tolist()
        return tuple(
            Gene(name, low=low, high=high, initial=value, spread=SPREAD)
            for (_, name), value in zip(names, initial, strict=True)
        )


def _layers(spec: EvolveSpec, layers: tuple[int, int]) -> str:
    return f".layers[{layers[0]}:{layers[1]}]" if spec.layer_granularity else ""


def _part(spec: EvolveSpec, part: str | None) -> str:
    return f".{REST if part is None else part}" if spec.filters else ""


def _models(spec: EvolveSpec, context: SpaceContext, origin: Origin) -> dict[str, Node]:
    """Return what has genes, by name and in order."""
    known: dict[str, Node] = {**context.donors, BASE: context.base}
    for index, name in enumerate(spec.models or ()):
        if name not in known:
            raise origin.error(
                ("models", index), f"there is no model '{name}'; {nearest(name, known)}"
            )
    models = {name: known[name] for name in spec.models or context.donors}
    if spec.merge_method == "slerp" and len(models) < 2:
        raise origin.error(("merge_method",), "slerp needs two models or more; add a donor")
    return models


def _steps(spec: EvolveSpec, context: SpaceContext, origin: Origin) -> tuple[tuple[int, int], ...]:
    """Return the layers of each group: first, and one past the last."""
    total = context.layout.n_layers
    step = spec.layer_granularity or total
    if total % step:
        valid = [str(size) for size in range(1, total + 1) if total % size == 0]
        raise origin.error(
            ("layer_granularity",),
            f"{step} does not divide the {total} layers; use {', '.join(valid)}, or 0 for all",
        )
    return tuple((first, first + step) for first in range(0, total, step))


def _tokenizer(spec: EvolveSpec, context: SpaceContext, origin: Origin) -> str | None:
    """Return the recipe's tokenizer_source."""
    source = spec.tokenizer_source
    if source is None or source not in context.donors:
        return source
    node = context.donors[source]
    if not isinstance(node, ModelRef):
        raise origin.error(
            ("tokenizer_source",), f"'{source}' is found by another stage; name a model"
        )
    return str(node)
