"""Recipe files: native or mergekit YAML, told apart by their first key."""

from __future__ import annotations

from pathlib import Path

from evomerge.errors import RecipeError
from evomerge.located_yaml import load_located
from evomerge.recipe import mergekit, native
from evomerge.recipe.fingerprint import rewritten
from evomerge.recipe.model import ModelRef, Recipe


def load(path: Path) -> Recipe:
    """Read a recipe file.

    A file with the key 'evomerge_recipe' is native, any other is read as mergekit's. A relative
    model path that is a folder beside the recipe file is taken from there; any other is left
    alone, since it may be a hub id.

    Raises:
        RecipeError: the file cannot be read or means no recipe.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RecipeError(f"recipe {path} cannot be read: {reason}") from None
    data, locate = load_located(text, str(path), RecipeError)
    is_native = isinstance(data, dict) and native.FORMAT_KEY in data
    read = native.read if is_native else mergekit.read
    return _anchored(read(data, locate, str(path)), path.resolve().parent)


def _anchored(recipe: Recipe, folder: Path) -> Recipe:
    def local(path: str | None) -> str | None:
        if not path or Path(path).is_absolute() or not (folder / path).is_dir():
            return path
        return str((folder / path).resolve())

    def change(ref: ModelRef) -> ModelRef:
        return ref.model_copy(update={"path": local(ref.path), "adapter": local(ref.adapter)})

    moved = rewritten(recipe, change)
    return moved.model_copy(update={"tokenizer_source": local(recipe.tokenizer_source)})
