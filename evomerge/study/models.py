"""The models of a study file: found, identified by content, and described to the spaces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evomerge import zoo
from evomerge.errors import ConfigError, nearest
from evomerge.merging import MergeEngine, parameter_counts, tensor_shapes
from evomerge.merging.checkpoint import resolve_folder
from evomerge.merging.own_code import code_digest
from evomerge.recipe.model import ModelRef, Recipe, Source
from evomerge.spaces import SpaceContext
from evomerge.study.config import StudyConfig
from evomerge.study.unseen import StandIns


def pinned(
    engine: MergeEngine,
    stand_ins: StandIns,
    folder: Path,
    name: str,
    text: str,
    base: ModelRef | None = None,
) -> ModelRef:
    """Resolve a model of the study file and identify it by its content.

    A donor that is a bare adapter folder stands for the base with that adapter.
    """
    ref = _ref(text, folder)
    if base is not None and is_adapter(text, folder):
        ref = base.model_copy(update={"adapter": ref.path, "sha256": None})
    unseen = stand_ins.find(name, ref)
    if unseen is not None:
        engine.stand_in(ref, unseen)
        return ref
    return ref.model_copy(update={"sha256": engine.digest(ref)})


def trusted_code(ref: ModelRef, name: str) -> str:
    """Return the sha256 of a model's own Python code, which its study lets run.

    Raises:
        ConfigError: it has none.
        CheckpointError: it cannot be read.
    """
    folder = resolve_folder(ref.path, ref.revision, code=True)
    digest = None if ref.adapter is not None else code_digest(folder)
    if digest is None:
        what = (
            "an adapter, which has no code" if ref.adapter is not None else f"no code in {folder}"
        )
        raise ConfigError([f"'{name}': {what}; take it out of trust_remote_code"])
    return digest


def _ref(text: str, folder: Path) -> ModelRef:
    """Read a model of the study file; 'zoo:' names a shipped one."""
    if text.startswith("zoo:"):
        name = text.removeprefix("zoo:")
        known = ("base", *zoo.donors())
        if name not in known:
            raise ConfigError([f"the zoo has no model '{name}'; {nearest(name, known)}"])
        return ModelRef(path=str(zoo.path() / "models" / name))
    ref = ModelRef.parse(text)
    return ref.model_copy(
        update={"path": _local(ref.path, folder), "adapter": _local(ref.adapter, folder)}
    )


def is_adapter(text: str, folder: Path) -> bool:
    """Say whether a model of the study file is a folder with a bare adapter."""
    root = zoo.path() / "models" if text.startswith("zoo:") else folder
    return (root / text.removeprefix("zoo:") / "adapter_config.json").is_file()


def _unmerged(ref: ModelRef) -> Recipe:
    """Describe a model as the recipe that leaves it as it is."""
    return Recipe(merge_method="passthrough", models=(Source(model=ref),))


def context_of(
    config: StudyConfig, engine: MergeEngine, base: ModelRef, donors: Mapping[str, ModelRef]
) -> SpaceContext:
    """Describe the models to the spaces; only headers are read."""
    layout = engine.open(base).layout
    depths = {name: engine.open(ref).layout.n_layers for name, ref in donors.items()}
    other = {name: depth for name, depth in depths.items() if depth != layout.n_layers}
    dtype = config.dtype or engine.config(_unmerged(base))["dtype"]
    counts = {ref: parameter_counts(engine.open(ref)) for ref in (base, *donors.values())}
    return SpaceContext(
        base,
        donors,
        layout,
        dtype,
        config.seed,
        other,
        counts,
        tensor_shapes(engine.open(base)),
        engine.inner_products,
    )


def _local(path: str | None, folder: Path) -> Any:
    """Make a path absolute when it names something on disk; else it is a hub id."""
    if path is None:
        return None
    candidate = folder / Path(path).expanduser()
    looks_local = path.startswith((".", "/", "~"))
    return str(candidate.resolve()) if looks_local or candidate.exists() else path
