"""The configuration files of mergekit-evolve 0.1.5: their keys, defaults and meaning.

mergekit-evolve ignores keys it does not know. A file that runs there must run here, so they are
ignored here too, and named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from evomerge.errors import ConfigError, nearest
from evomerge.located_yaml import Locator, Path, explain, render
from evomerge.recipe.model import ModelRef
from evomerge.spaces.mergekit_evolve import EvolveMethod


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def _read_model(value: Any) -> Any:
    """Read 'path[@revision][+adapter[@revision]]' or {model, lora}, each a text or a mapping."""
    if isinstance(value, str):
        ends = value.split("+")
        if len(ends) > 2 or not all(ends) or any(end.count("@") > 1 for end in ends):
            raise ValueError(f"expected path[@revision][+adapter[@revision]], got '{value}'")
        return ModelRef.parse(value)
    if not isinstance(value, Mapping) or value.get("model") is None:
        raise ValueError("expected a model's path, or a mapping with 'model' and 'lora'")
    if value.get("override_architecture") is not None:
        raise ValueError("override_architecture: the architecture is the checkpoint's; remove it")
    path, revision = _path(value["model"])
    adapter, adapter_revision = _path(value.get("lora"))
    return ModelRef(
        path=path or "", revision=revision, adapter=adapter, adapter_revision=adapter_revision
    )


def _path(value: Any) -> tuple[str | None, str | None]:
    if isinstance(value, Mapping):
        return value.get("path"), value.get("revision")
    if value is None:
        return None, None
    path, _, revision = str(value).partition("@")
    return path, revision or None


def _not_empty(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list; pydantic's own limit counts only the entries that are well-formed."""
    if not value:
        raise ValueError("the list is empty; name at least one")
    return value


Model: TypeAlias = Annotated[ModelRef, BeforeValidator(_read_model)]


class GenomeSection(_Section):
    """What is searched; see `evomerge.spaces.EvolveSpec` for the keys."""

    models: tuple[Model, ...]
    merge_method: EvolveMethod
    base_model: Model | None = None
    tokenizer_source: str | None = None
    layer_granularity: int = 0
    normalize: bool | None = None
    allow_negative_weights: bool = False
    filters: tuple[str, ...] | None = None
    smooth: bool = False

    _some_models = field_validator("models")(_not_empty)


class TaskSection(_Section):
    """A task of lm-evaluation-harness.

    Attributes:
        name: of the task or group.
        weight: its metric is multiplied by in the sum that is maximised.
        metric: key of the harness's results: metric,filter.
    """

    name: str = Field(min_length=1)
    weight: float = 1.0
    metric: str = Field(default="acc,none", min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data


class EvolveConfiguration(_Section):
    """A whole configuration file.

    Attributes:
        genome: what is searched.
        tasks: what candidates are scored by.
        limit: use the first documents of each task only.
        num_fewshot: examples before each question; the task's own number by default.
        shuffle: shuffle each task's documents first.
        random_init: start at a random genotype.
        apply_chat_template: put questions as the tokenizer's chat template says.
        fewshot_as_multiturn: put examples as earlier turns of the conversation.
    """

    genome: GenomeSection
    tasks: tuple[TaskSection, ...]
    limit: int | None = Field(default=None, ge=1)
    num_fewshot: int | None = Field(default=None, ge=0)
    shuffle: bool = False
    random_init: bool = False
    apply_chat_template: bool = True
    fewshot_as_multiturn: bool = True

    _some_tasks = field_validator("tasks")(_not_empty)


def is_configuration(data: Any) -> bool:
    """Recognise a configuration of mergekit-evolve by its two sections."""
    return isinstance(data, Mapping) and "genome" in data and "tasks" in data


def read_configuration(data: Any, locate: Locator, source: str) -> EvolveConfiguration:
    """Read a loaded document.

    Raises:
        ConfigError: one line 'file:line: key: what was expected' for each problem.
    """
    try:
        return EvolveConfiguration.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, locate, source, EvolveConfiguration)) from None


def ignored_keys(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each key that mergekit-evolve does not know, and a hint at what may have been meant."""
    yield from _unknown(data, EvolveConfiguration, ())
    yield from _unknown(data["genome"], GenomeSection, ("genome",))
    for index, task in enumerate(data["tasks"]):
        if isinstance(task, Mapping):
            yield from _unknown(task, TaskSection, ("tasks", index))


def _unknown(
    data: Mapping[str, Any], section: type[BaseModel], path: Path
) -> Iterator[tuple[str, str]]:
    for key in data:
        if key not in section.model_fields:
            yield render((*path, key)), nearest(str(key), section.model_fields)
