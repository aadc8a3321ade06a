"""What a merge method is: a typed function over the tensors of one name.

    @merge_method(base="required")
    def task_arithmetic(group: Group, *, weight: PerDonor[float], lambda_: float = 1.0) -> Tensor:
        ...

The signature is the schema. `PerInput` parameters have one value per input, `PerDonor` ones one
per input that is not the base, all others one for the tensor. A trailing underscore is not part
of a name (`lambda_` is 'lambda' in a recipe). Anything a user registers by the entry point group
'evomerge.merge_method', or names as './file.py:attr', works like the built-in ones.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from evomerge.errors import PluginError, RecipeError
from evomerge.merging.random import Stream
from evomerge.recipe.model import Scalar
from evomerge.registry import Registry

T = TypeVar("T")
Base: TypeAlias = Literal["required", "optional", "ignored"]
Scope: TypeAlias = Literal["input", "donor", "global"]

PerInput = Annotated[tuple[T, ...], "input"]
"""One value per input, base included, in the order of the inputs."""
PerDonor = Annotated[tuple[T, ...], "donor"]
"""One value per input that is not the base, in the order of `Group.donors`."""


@dataclass(frozen=True, slots=True)
class _Each:
    value: Scalar | None


def each(value: Scalar | None) -> Any:
    """Give a per-input or per-donor parameter a default for each of its values."""
    return _Each(value)


@dataclass(frozen=True)
class Group:
    """The tensors that become one merged tensor.

    Attributes:
        name: of the merged tensor.
        inputs: in the order of the recipe, all of one shape and in the work dtype: float32
            natively (float64 if an input is), the recipe's dtype in compat mode. Read-only.
        base_index: position of the base in `inputs`; None when the method ignores the base or
            none is given.
        streams: random numbers of each input.
        compat: reproduce mergekit 0.1.5.
    """

    name: str
    inputs: tuple[Tensor, ...]
    base_index: int | None = None
    streams: tuple[Stream, ...] = ()
    compat: bool = False

    @property
    def base(self) -> Tensor:
        """The base tensor of a method that requires one."""
        if self.base_index is None:
            raise RecipeError(f"tensor '{self.name}' is merged without a base")
        return self.inputs[self.base_index]

    @property
    def donor_indices(self) -> tuple[int, ...]:
        """Positions in `inputs` of everything but the base."""
        return tuple(i for i in range(len(self.inputs)) if i != self.base_index)

    @property
    def donors(self) -> tuple[Tensor, ...]:
        """Every input but the base."""
        return tuple(self.inputs[i] for i in self.donor_indices)


Kernel: TypeAlias = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a method.

    Attributes:
        name: as written in a recipe.
        argument: as written in the signature.
        scope: one value per input, per donor, or one for the tensor.
        kind: the type values are brought to: bool, int, float, str or the allowed texts.
        optional: None is a value too.
        default: `...` when the recipe must give it.
    """

    name: str
    argument: str
    scope: Scope
    kind: type | tuple[Scalar, ...]
    optional: bool
    default: Any

    @property
    def required(self) -> bool:
        """Whether the recipe must give it."""
        return self.default is ...

    def read(self, value: Scalar, where: str) -> Scalar:
        """Bring a value of a recipe to this parameter's type.

        Raises:
            RecipeError: it is of another type; `where` names the tensor and input.
        """
        if isinstance(self.kind, tuple):
            # mergekit knows rescale as a switch; True is its one rule, the L1 norm.
            text = {True: "l1", False: "none"}.get(value) if isinstance(value, bool) else value
            if text in self.kind:
                return str(text)
            expected = f"one of {', '.join(map(str, self.kind))}"
        elif self.kind is float:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
            expected = "a number"
        elif self.kind is int:
            if isinstance(value, int | float) and value == int(value):
                return int(value)
            expected = "a whole number"
        elif self.kind is bool:
            if value in (0, 1):
                return bool(value)
            expected = "true or false"
        else:
            if isinstance(value, str):
                return value
            expected = "a text"
        raise RecipeError(f"parameter '{self.name}' of {where}: expected {expected}, got {value!r}")


@dataclass(frozen=True, slots=True)
class Method:
    """A kernel with what a recipe must fulfil to use it.

    Attributes:
        name: as in recipes, for messages.
        kernel: pure function of a `Group` and its parameters; must not write to the inputs.
        base: whether base_model is a task-vector origin, may be one, or means nothing.
        min_inputs: base included.
        max_inputs: base included; None for any number.
        parameters: by name.
        inert: names mergekit accepts that change nothing; accepted in compat mode only.
        native: parameters mergekit does not have; refused in compat mode.
        singleton: 'pass' returns a lone remaining input where other inputs lack the tensor.
        nonzero_sum: names a per-input parameter whose values must not sum to 0 when the
            parameter 'normalize' holds; natively refused, in compat mode the division shows.
    """

    name: str
    kernel: Kernel
    base: Base
    min_inputs: int
    max_inputs: int | None
    parameters: Mapping[str, Parameter]
    inert: frozenset[str]
    native: frozenset[str]
    singleton: Literal["merge", "pass"]
    nonzero_sum: str | None


METHODS = Registry(
    "merge_method",
    {
        "linear": "evomerge.merging.methods.linear:linear",
        "slerp": "evomerge.merging.methods.slerp:slerp",
        "task_arithmetic": "evomerge.merging.methods.task_arithmetic:task_arithmetic",
        "ties": "evomerge.merging.methods.task_arithmetic:ties",
        "dare_linear": "evomerge.merging.methods.task_arithmetic:dare_linear",
        "dare_ties": "evomerge.merging.methods.task_arithmetic:dare_ties",
        "passthrough": "evomerge.merging.methods.passthrough:passthrough",
    },
)


def load_method(name: str) -> Method:
    """Return a method by its registered name, 'module:attr' or './file.py:attr'.

    Raises:
        PluginError: unknown, or not decorated with `merge_method`.
    """
    method = METHODS.load(name)
    if not isinstance(method, Method):
        raise PluginError(f"merge method '{name}' must be decorated with @merge_method(...)")
    return method


def merge_method(
    *,
    base: Base,
    min_inputs: int = 1,
    max_inputs: int | None = None,
    inert: tuple[str, ...] = (),
    native: tuple[str, ...] = (),
    singleton: Literal["merge", "pass"] = "merge",
    nonzero_sum: str | None = None,
) -> Callable[[Kernel], Method]:
    """Turn a typed function into a `Method`.

    Its keyword-only parameters, with their annotations and defaults, are those of the method.

    Args:
        base: whether a base model is required, optional or ignored.
        min_inputs: the fewest inputs, base included.
        max_inputs: the most; None for any number.
        inert: parameters of recipes that are accepted and change nothing.
        native: parameters that mergekit does not have.
        singleton: with one input, 'merge' as ever or 'pass' it on unchanged.
        nonzero_sum: a per-input parameter whose values may not sum to 0.
    """

    def decorate(kernel: Kernel) -> Method:
        hints = typing.get_type_hints(kernel, include_extras=True)
        signature = inspect.signature(kernel)
        parameters = [
            _parameter(kernel.__name__, argument, hints[argument.name])
            for argument in signature.parameters.values()
            if argument.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        return Method(
            name=kernel.__name__,
            kernel=kernel,
            base=base,
            min_inputs=min_inputs,
            max_inputs=max_inputs,
            parameters={parameter.name: parameter for parameter in parameters},
            inert=frozenset(inert),
            native=frozenset(native),
            singleton=singleton,
            nonzero_sum=nonzero_sum,
        )

    return decorate


def _parameter(method: str, argument: inspect.Parameter, hint: Any) -> Parameter:
    scope: Scope = "global"
    if typing.get_origin(hint) is Annotated:
        container, mark = typing.get_args(hint)[:2]
        if mark not in ("input", "donor"):
            raise PluginError(f"merge method '{method}': '{argument.name}' has an unknown scope")
        scope = mark
        hint = typing.get_args(container)[0]
    optional = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        optional, hint = len(members) < len(typing.get_args(hint)), members[0]
    kind = typing.get_args(hint) if typing.get_origin(hint) is Literal else hint
    if not isinstance(kind, tuple) and kind not in (bool, int, float, str):
        raise PluginError(
            f"merge method '{method}': parameter '{argument.name}' must be a bool, int, float, "
            "str or Literal"
        )
    default = argument.default
    if default is inspect.Parameter.empty:
        default = ...
    elif isinstance(default, _Each):
        default = default.value
    return Parameter(argument.name.rstrip("_"), argument.name, scope, kind, optional, default)


def work_dtype(dtypes: tuple[torch.dtype, ...]) -> torch.dtype:
    """Return the native work dtype for inputs of these dtypes."""
    work = torch.float32
    for dtype in dtypes:
        work = torch.promote_types(work, dtype)
    return work
