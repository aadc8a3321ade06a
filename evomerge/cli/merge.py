"""The verb that makes a checkpoint of a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from evomerge.errors import RunDirectoryError


def merge(
    recipe: Annotated[Path, typer.Argument(help="A recipe: native or mergekit YAML.")],
    out: Annotated[Path, typer.Argument(help="The checkpoint folder to write; must not exist.")],
    device: Annotated[
        str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1, …")
    ] = "cpu",
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Accept pickle checkpoints (weights only).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Write the merged checkpoint of a recipe, loadable with AutoModelForCausalLM.

    mergekit's YAML is merged as mergekit 0.1.5 merges it.
    """
    if out.exists():
        raise RunDirectoryError(f"{out} exists already; name a new folder")
    from evomerge.merging import MergeEngine, resolve_device  # noqa: PLC0415
    from evomerge.recipe import ModelRef, fingerprint, load, pinned  # noqa: PLC0415
    from evomerge.recipe.native import dumps  # noqa: PLC0415

    engine = MergeEngine(device=resolve_device(device), allow_pickle=allow_pickle)
    described = load(recipe)
    engine.check(described)
    base = described.base_model if isinstance(described.base_model, ModelRef) else None
    described = pinned(described, lambda ref: engine.digest(ref, base=base))
    engine.write(described, out, extra_files={"evomerge_recipe.yaml": dumps(described)})
    if as_json:
        typer.echo(json.dumps({"checkpoint": str(out), "fingerprint": fingerprint(described)}))
    else:
        typer.echo(f"wrote {out} ({described.merge_method}, recipe {fingerprint(described)[:12]})")
