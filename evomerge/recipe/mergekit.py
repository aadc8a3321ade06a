"""Reading mergekit's YAML: what mergekit 0.1.5 understands, and nothing it would ignore.

mergekit drops keys it does not know without a word; here each is an error with its line and the
nearest valid name, but for parameters that mergekit-evolve writes whatever the method, which are
dropped. `dumps`, the way back, stands in `evomerge.recipe.mergekit_writer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from evomerge.errors import RecipeError, nearest
from evomerge.located_yaml import Locator, Path, explain, load_located, render
from evomerge.recipe.mergekit_writer import dumps
from evomerge.recipe.model import COMPAT, ModelRef, Recipe
from evomerge.recipe.vocabulary import METHODS, MethodWords

__all__ = ["dumps", "loads", "read"]

_TOP = (
    "merge_method",
    "base_model",
    "models",
    "slices",
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
)
# mergekit knows these; each would change the result or do nothing, so none is passed over
_REFUSED = {
    "modules": "merges of several modules are not supported; write 'models' or 'slices' at the top",
    "chat_template": "chat templates are not part of a recipe; set it on the written tokenizer",
    "residual_weight": "mergekit reads it and does nothing with it; remove it",
    "tokens": "embeddings of single tokens cannot be chosen; remove it",
    "pad_to_multiple_of": "padding the vocabulary is not supported; remove it",
    "override_architecture": "the architecture is read from the checkpoint; remove it",
    "layer_range": "mergekit ignores it beside a whole model; remove it, or write 'slices'",
}


def loads(text: str, *, source: str = "<string>") -> Recipe:
    """Read a mergekit recipe; the result reproduces mergekit 0.1.5 (`compat`).

    Args:
        text: the YAML.
        source: the file's name for messages.

    Raises:
        RecipeError: one line 'file:line: key: what is wrong' for each problem.
    """
    data, locate = load_located(text, source, RecipeError)
    return read(data, locate, source)


def read(data: Any, locate: Locator, source: str) -> Recipe:
    """Translate a loaded document; see `loads`."""
    if not isinstance(data, dict):
        raise RecipeError(f"{source}:1: a recipe is a mapping with the key 'merge_method'")
    reader = _Reader(locate, source, METHODS.get(str(data.get("merge_method"))))
    fields = reader.top(data)
    if reader.problems:
        raise RecipeError("\n".join(reader.problems))
    try:
        return Recipe.model_validate({**fields, "compat": COMPAT})
    except ValidationError as error:
        raise RecipeError("\n".join(explain(error, locate, source, Recipe))) from None


class _Reader:
    """Walks the document, collects problems, and keeps paths where the recipe has them.

    Values of the wrong shape are passed on: the recipe's own validation names them.
    """

    def __init__(self, locate: Locator, source: str, words: MethodWords | None) -> None:
        self.problems: list[str] = []
        self._locate = locate
        self._source = source
        self._words = words

    def top(self, data: Mapping[str, Any]) -> dict[str, Any]:
        fields = self._known(data, _TOP, (), refused=("modules", "chat_template"))
        method = fields.get("merge_method")
        if isinstance(method, str) and method not in METHODS:
            self._problem(("merge_method",), f"'{method}' is unknown; {nearest(method, METHODS)}")
        for key in ("dtype", "out_dtype"):
            if isinstance(fields.get(key), str):
                fields[key] = fields[key].removeprefix("torch.")
        if "base_model" in fields:
            fields["base_model"] = self._ref(fields["base_model"], ("base_model",))
        if "parameters" in fields:
            fields["parameters"] = self._parameters(fields["parameters"], ("parameters",))
        if isinstance(fields.get("models"), list):
            fields["models"] = [
                self._input(one, ("models", i), ("model", "parameters"))
                for i, one in enumerate(fields["models"])
            ]
        if isinstance(fields.get("slices"), list):
            fields["slices"] = [
                self._slice(one, ("slices", i)) for i, one in enumerate(fields["slices"])
            ]
        self._tokenizer(fields)
        return fields

    def _tokenizer(self, fields: dict[str, Any]) -> None:
        place: Path = ("tokenizer_source",)
        if "tokenizer" in fields:
            if "tokenizer_source" in fields:
                self._problem(place, "give 'tokenizer_source' or 'tokenizer', not both")
            place = ("tokenizer", "source")
            tokenizer = fields.pop("tokenizer")
            if not isinstance(tokenizer, dict):
                self._problem(place[:1], "expected a mapping with the key 'source'")
                return
            known = self._known(
                tokenizer, ("source",), place[:1], refused=("tokens", "pad_to_multiple_of")
            )
            fields["tokenizer_source"] = known.get("source", "union")
        source = fields.get("tokenizer_source")
        if source not in (None, "union", "base"):
            ref = self._ref(source, place)
            fields["tokenizer_source"] = str(ref) if isinstance(ref, ModelRef) else ref

    def _slice(self, data: Any, path: Path) -> Any:
        if not isinstance(data, dict):
            return data
        keys = ("sources", "base_model", "parameters")
        fields = self._known(data, keys, path, refused=("residual_weight",))
        if "base_model" in fields:
            fields["base_model"] = self._ref(fields["base_model"], (*path, "base_model"))
        if "parameters" in fields:
            fields["parameters"] = self._parameters(fields["parameters"], (*path, "parameters"))
        if isinstance(fields.get("sources"), list):
            fields["sources"] = [
                self._input(one, (*path, "sources", i), ("model", "layer_range", "parameters"))
                for i, one in enumerate(fields["sources"])
            ]
        return fields

    def _input(self, data: Any, path: Path, keys: tuple[str, ...]) -> Any:
        if not isinstance(data, dict):
            return data
        fields = self._known(data, keys, path, refused=("layer_range",))
        if "model" in fields:
            fields["model"] = self._ref(fields["model"], (*path, "model"))
        if "parameters" in fields:
            place = (*path, "parameters")
            fields["parameters"] = self._parameters(fields["parameters"], place)
            self._refuse_shared(fields["parameters"], place)
        return fields

    def _parameters(self, data: Any, path: Path) -> Any:
        if not isinstance(data, dict):
            return data
        known = self._words.all if self._words else frozenset(map(str, data))
        idle = self._words.idle if self._words else frozenset()
        data = {name: value for name, value in data.items() if name not in idle}
        for name, value in data.items():
            place = (*path, name)
            if name not in known:
                reason = nearest(str(name), known) if known else "the method has no parameters"
                self._problem(place, f"unknown parameter; {reason}")
            if value == []:
                self._problem(place, "the list is empty; give at least one value")
            conditions = value if isinstance(value, list) else [value]
            for index, one in enumerate(conditions):
                if isinstance(one, dict):
                    at = (*place, index) if isinstance(value, list) else place
                    self._known(one, ("value", "filter"), at)
        return data

    def _refuse_shared(self, data: Any, path: Path) -> None:
        for name in data if isinstance(data, dict) and self._words else ():
            if self._words and name in self._words.shared:
                self._problem(
                    (*path, name),
                    "mergekit ignores this parameter beside an input; move it to the top-level "
                    "'parameters'",
                )

    def _ref(self, value: Any, path: Path) -> Any:
        """Read 'path[@revision][+adapter[@revision]]' or {model, lora}."""
        if isinstance(value, str):
            ends = value.split("+")
            if len(ends) > 2 or any(end.count("@") > 1 for end in ends):
                self._problem(path, f"'{value}' is not path[@revision][+adapter[@revision]]")
                return None
            return ModelRef.parse(value) if ends[0].split("@")[0] else {"path": ""}
        if not isinstance(value, dict):
            self._problem(path, "expected a model's path, or a mapping with 'model' and 'lora'")
            return None
        known = self._known(value, ("model", "lora"), path, refused=("override_architecture",))
        model = self._path(known.get("model"), (*path, "model"))
        lora = self._path(known.get("lora"), (*path, "lora"))
        if model is None:
            self._problem(path, "the mapping needs the key 'model'")
            return None
        fields = {"path": model[0], "revision": model[1]}
        if lora is not None:
            fields |= {"adapter": lora[0], "adapter_revision": lora[1]}
        return ModelRef.model_validate(fields) if model[0] else {"path": ""}

    def _path(self, value: Any, path: Path) -> tuple[str, str | None] | None:
        if isinstance(value, dict):
            known = self._known(value, ("path", "revision"), path)
            name, revision = known.get("path"), known.get("revision")
        else:
            name, _, revision = value.partition("@") if isinstance(value, str) else (value, "", "")
        if name is None:
            return None
        if not isinstance(name, str) or not isinstance(revision, str | None):
            self._problem(path, "expected a path, path@revision or {path, revision}")
            return None
        return name, revision or None

    def _known(
        self,
        data: Mapping[Any, Any],
        keys: Iterable[str],
        path: Path,
        *,
        refused: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Report keys that are not known here; return the known ones that are not null."""
        valid = tuple(keys)
        for key in data:
            if key in valid:
                continue
            reason = f"unknown key; {nearest(str(key), valid)}"
            self._problem((*path, key), _REFUSED[key] if key in refused else reason)
        return {key: data[key] for key in valid if data.get(key) is not None}

    def _problem(self, path: Path, message: str) -> None:
        self.problems.append(f"{self._source}:{self._locate(path)}: {render(path)}: {message}")
