"""Models that bring their own code: run only where the study trusts them, and only what was seen.

Without trust nothing here is called, and a model whose architecture transformers does not know is
refused. With it, the classes that the model's configuration names (`auto_map`) are imported from
the Python files in its folder, whose content is pinned by its sha256: from the moment a study is
prepared, no other code runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError
from evomerge.merging.checkpoint import read_json
from evomerge.merging.confinement import require_own


def code_digest(folder: Path) -> str | None:
    """Return the sha256 of a folder's Python files, names included; None where it has none.

    Raises:
        CheckpointError: one is a link to another folder's file.
    """
    files = sorted(folder.glob("*.py"))
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        require_own(file)
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def require_local(folder: Path) -> None:
    """Refuse a model whose configuration takes code from elsewhere.

    Raises:
        CheckpointError: naming the repository that it would be fetched from.
    """
    for name in ("config.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            continue
        table = read_json(folder / name, f"model {folder}").get("auto_map")
        for kind, found in (table if isinstance(table, dict) else {}).items():
            for reference in found if isinstance(found, list) else [found]:
                if "--" in str(reference):
                    raise CheckpointError(
                        f"{folder / name}: {kind} is code of another repository ({reference}); put "
                        "the files into the model's folder and read them before you trust them"
                    )


def names_own_code(config: Mapping[str, Any]) -> bool:
    """Say whether a configuration names classes of its own."""
    return bool(config.get("auto_map"))


def own_classes(config: Mapping[str, Any], folder: Path) -> tuple[Any, Any]:
    """Import the classes of a trusted model: of its configuration, and of the model itself.

    The model's is the one that `architectures` names, else what AutoModelForCausalLM would take.

    Raises:
        CheckpointError: the configuration does not name them.
    """
    from transformers.dynamic_module_utils import (  # noqa: PLC0415 -- seconds to import
        get_class_from_dynamic_module,
    )

    table = config.get("auto_map") or {}
    architecture = next(iter(config.get("architectures") or ()), None)
    named = [key for key in table if str(table[key]).rpartition(".")[2] == architecture]
    kinds = ("AutoConfig", (named or ["AutoModelForCausalLM"])[0])
    found = []
    for kind in kinds:
        reference = table.get(kind)
        if not isinstance(reference, str):
            raise CheckpointError(
                f"{folder / 'config.json'}: its auto_map names no {kind}, so its own code cannot "
                "be used"
            )
        found.append(get_class_from_dynamic_module(reference, str(folder)))
    return found[0], found[1]
