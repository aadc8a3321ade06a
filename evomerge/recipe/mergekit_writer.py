"""Writing mergekit's YAML: the same merge in mergekit 0.1.5's words, or a refusal that says why."""

from __future__ import annotations

from typing import Any

from evomerge.errors import nearest
from evomerge.located_yaml import Path, render
from evomerge.recipe.filters import Expansion
from evomerge.recipe.fingerprint import model_refs
from evomerge.recipe.flat_layouts import TensorShapes
from evomerge.recipe.layout import Layout
from evomerge.recipe.mergekit_lineage import flattened
from evomerge.recipe.mergekit_path import sliced
from evomerge.recipe.model import (
    COMPAT,
    Conditional,
    DType,
    ModelRef,
    Parameters,
    ParameterValue,
    Recipe,
    Scalar,
    Slice,
    Source,
)
from evomerge.recipe.native import spelling, to_yaml
from evomerge.recipe.vocabulary import METHODS, MethodWords, refusal

# Under `models`, mergekit appends a base that is not listed; these methods would merge it in.
_COUNTS_EVERY_INPUT = frozenset({"linear", "karcher", "passthrough"})
_NO_TASK_VECTORS = _COUNTS_EVERY_INPUT | {"slerp", "nuslerp", "multislerp"}
_RESCALE = {"l1": True, "none": False}


def dumps(
    recipe: Recipe,
    *,
    layout: Layout | None = None,
    dtype: DType | None = None,
    shape: TensorShapes | None = None,
) -> str:
    """Write a recipe as mergekit YAML.

    Args:
        recipe: native or in compat mode. A native one is written so that mergekit computes in
            float32 and rounds once, as evomerge does. A layer path becomes one slice a hop, a
            lineage of donors alone a linear merge.
        layout: of the models; needed for a layer path (of its first model then), where a
            parameter depends on the layer by `layers`, or, in a native recipe, is a gradient
            (mergekit gives the final norm and the head a gradient's first value, evomerge its
            last).
        dtype: of the merged model, where a native recipe leaves it open.
        shape: of the base; needed for a lineage.

    Raises:
        RecipeError: mergekit 0.1.5 cannot express the recipe; the message names the field.
    """
    notes: list[str] = []
    if recipe.path is not None:
        out = recipe.out_dtype or recipe.dtype or dtype
        recipe, notes = sliced(recipe, recipe.path, layout, out)
    if recipe.lineage is not None:
        recipe, notes = flattened(recipe, recipe.lineage, shape)
        layout = shape.layout if shape is not None else layout
    writer = _Writer(recipe, layout)
    data = writer.recipe(dtype)
    return "".join(f"# {line}\n" for line in [*writer.comments(), *notes]) + to_yaml(data)


class _Writer:
    def __init__(self, recipe: Recipe, layout: Layout | None) -> None:
        if recipe.merge_method not in METHODS:
            raise refusal(
                "merge_method",
                f"mergekit 0.1.5 has no '{recipe.merge_method}'",
                nearest(recipe.merge_method, METHODS),
            )
        self._recipe = recipe
        self._words: MethodWords = METHODS[recipe.merge_method]
        self._native = recipe.compat != COMPAT
        self._layout = layout
        if self._native and recipe.merge_method == "sce":
            raise refusal(
                "merge_method",
                "mergekit 0.1.5 weighs sce's donors equally below 1e-6, evomerge does not",
                f"set compat: {COMPAT} and evaluate the recipe again",
            )

    def comments(self) -> list[str]:
        """Say what the YAML cannot."""
        lines = []
        if self._words.random:
            lines.append(
                f"{self._recipe.merge_method} draws random numbers: mergekit's differ from "
                f"evomerge's (seed {self._recipe.seed}), and so will the merged model"
            )
        digests = {str(ref): ref.sha256 for ref in model_refs(self._recipe) if ref.sha256}
        lines += [f"sha256 of {name!r}: {digest}" for name, digest in digests.items()]
        return lines

    def recipe(self, dtype: DType | None) -> dict[str, Any]:
        recipe = self._recipe
        data: dict[str, Any] = {"merge_method": recipe.merge_method}
        if recipe.base_model is not None:
            data["base_model"] = _ref(recipe.base_model, "base_model")
        if recipe.models is not None:
            self._check_models(recipe.models)
            data["models"] = [
                self._source(one, ("models", i), last=True) for i, one in enumerate(recipe.models)
            ]
        slices = recipe.slices or ()
        if slices:
            self._check_slices(slices)
            data["slices"] = [
                self._slice(one, i, last=i == len(slices) - 1) for i, one in enumerate(slices)
            ]
        self._put_parameters(data, recipe.parameters, ("parameters",), last=True)
        data |= self._dtypes(dtype)
        if recipe.tokenizer_source is not None:
            data["tokenizer_source"] = recipe.tokenizer_source
        return data

    def _dtypes(self, dtype: DType | None) -> dict[str, str]:
        recipe = self._recipe
        if not self._native:
            given = {"dtype": recipe.dtype, "out_dtype": recipe.out_dtype}
            return {key: name for key, name in given.items() if name is not None}
        out = recipe.out_dtype or recipe.dtype or dtype
        if out is None:
            raise refusal(
                "out_dtype",
                "without it mergekit computes in the dtype of the files, evomerge in float32",
                "name the dtype of the merged model",
            )
        return {"dtype": "float64" if out == "float64" else "float32", "out_dtype": out}

    def _check_models(self, models: tuple[Source, ...]) -> None:
        base, method = self._recipe.base_model, self._recipe.merge_method
        listed = base is None or any(one.model == base for one in models)
        if not listed and method in _COUNTS_EVERY_INPUT:
            raise refusal(
                "base_model",
                f"mergekit's {method} merges a base that is not listed as one more input",
                "remove base_model",
            )
        if not listed and method == "slerp":
            raise refusal("base_model", "slerp's base is one of its two models", "list it")

    def _check_slices(self, slices: tuple[Slice, ...]) -> None:
        if len(slices[-1].sources) > len(slices[0].sources):
            raise refusal(
                f"slices[{len(slices) - 1}].sources",
                "with more sources than the first slice has, mergekit drops some of them from "
                "the final norm and the head",
                "list every model in every slice, with weight 0 where it is unused",
            )
        if self._recipe.merge_method in _NO_TASK_VECTORS:
            return
        for index, one in enumerate(slices):
            base = one.base_model or self._recipe.base_model
            if base is not None and all(source.model != base for source in one.sources):
                raise refusal(
                    f"slices[{index}].sources",
                    "mergekit wants the base among the sources of a slice",
                    f"list '{base}' with its layer_range",
                )

    def _slice(self, run: Slice, index: int, *, last: bool) -> dict[str, Any]:
        path = ("slices", index)
        data: dict[str, Any] = {
            "sources": [
                self._source(one, (*path, "sources", i), last=last)
                for i, one in enumerate(run.sources)
            ]
        }
        if run.base_model is not None:
            data["base_model"] = _ref(run.base_model, render((*path, "base_model")))
        self._put_parameters(data, run.parameters, (*path, "parameters"), last=last)
        return data

    def _source(self, one: Source, path: Path, *, last: bool) -> dict[str, Any]:
        data: dict[str, Any] = {"model": _ref(one.model, render((*path, "model")))}
        if one.layer_range is not None:
            data["layer_range"] = list(one.layer_range)
        if one.parameters:
            place = (*path, "parameters")
            for name in one.parameters:
                if name in self._words.shared:
                    raise refusal(
                        render((*place, name)),
                        "mergekit ignores this parameter beside an input",
                        "move it to the top-level parameters",
                    )
            self._put_parameters(data, one.parameters, place, last=last)
        return data

    def _parameters(self, parameters: Parameters, path: Path, *, last: bool) -> dict[str, Any]:
        for name in parameters:
            if name not in self._words.all:
                method = self._recipe.merge_method
                raise refusal(
                    render((*path, name)),
                    f"mergekit's {method} has no such parameter",
                    nearest(name, self._words.all),
                )
        written = {
            name: self._value(name, value, render((*path, name)), last=last)
            for name, value in parameters.items()
        }
        # conditions that hold for no tensor at all leave the next scope to decide
        return {name: value for name, value in written.items() if value != []}

    def _put_parameters(
        self, data: dict[str, Any], parameters: Parameters, path: Path, *, last: bool
    ) -> None:
        written = self._parameters(parameters, path, last=last)
        if written:
            data["parameters"] = written

    def _value(self, name: str, value: ParameterValue, where: str, *, last: bool) -> Any:
        if not isinstance(value, tuple):
            return _scalar(name, value, where)
        if not value:
            raise refusal(where, "the list is empty", "give at least one value")
        entries = tuple(one for one in value if isinstance(one, Conditional))
        gradient = tuple(one for one in value if not isinstance(one, Conditional))
        conditions = entries or (Conditional(value=gradient),)
        # only the last slice reaches the tensors after the layers
        ends = self._native and last and any(map(_varies, conditions))
        if any(one.layers for one in conditions) or ends:
            if self._layout is None:
                cause = "'layers'" if any(one.layers for one in conditions) else "a gradient"
                raise refusal(
                    where,
                    f"{cause} can be written for mergekit only when the tensor names are known",
                    "pass the layout of the models",
                )
            conditions = Expansion(self._layout, self._n_layers()).expand(
                conditions, where, last_value_after_layers=ends
            )
        elif not entries:
            return [_scalar(name, one, where) for one in gradient]
        return [
            {
                **({} if one.filter is None else {"filter": one.filter}),
                "value": [_scalar(name, v, where) for v in one.value]
                if isinstance(one.value, tuple)
                else _scalar(name, one.value, where),
            }
            for one in conditions
        ]

    def _n_layers(self) -> int:
        """Count the layers that can be named: filters see input and output names."""
        runs = [source.layer_range for one in self._recipe.slices or () for source in one.sources]
        ends = [run[1] for run in runs if run]
        firsts = [one.sources[0].layer_range for one in self._recipe.slices or ()]
        return max([0, *ends, sum(run[1] - run[0] for run in firsts if run)])


def _varies(one: Conditional) -> bool:
    return isinstance(one.value, tuple) and any(value != one.value[0] for value in one.value)


def _scalar(name: str, value: Scalar, where: str) -> Scalar:
    if not isinstance(value, str):
        return value
    if name == "rescale" and value in _RESCALE:
        return _RESCALE[value]
    raise refusal(
        where,
        f"mergekit cannot express '{value}'",
        "use none or l1" if name == "rescale" else "use a number",
    )


def _ref(model: ModelRef | Recipe, where: str) -> Any:
    if isinstance(model, Recipe):
        raise refusal(where, "a nested recipe is not a model", "write its result to a folder first")
    plain = model.model_copy(update={"sha256": None})
    text = spelling(plain)
    if text is not None:
        return text
    if plain.adapter_revision and not plain.adapter:
        raise refusal(where, "adapter_revision stands without an adapter", "remove it")
    data: dict[str, Any] = {"model": {"path": plain.path}}
    if plain.revision:
        data["model"]["revision"] = plain.revision
    if plain.adapter:
        data["lora"] = {"path": plain.adapter}
        if plain.adapter_revision:
            data["lora"]["revision"] = plain.adapter_revision
    return data
