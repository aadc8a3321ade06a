"""The bundled zoo: a small base model, donors fine-tuned from it, and their tasks.

``models/`` holds one Hugging Face checkpoint per folder and one peft adapter, ``data/`` the
search and held-out items as JSON lines.  ``experiments/zoo`` trains and measures them.
"""

from __future__ import annotations

from pathlib import Path


def path() -> Path:
    """Folder of the zoo inside the installed package."""
    return Path(__file__).resolve().parent


def donors() -> tuple[str, ...]:
    """Names of the models to merge into the base, adapters last."""
    folders = [folder for folder in (path() / "models").iterdir() if folder.name != "base"]
    return tuple(
        folder.name for folder in sorted(folders, key=lambda one: (_is_adapter(one), one.name))
    )


def tasks() -> tuple[str, ...]:
    """Names of the tasks with items."""
    return tuple(sorted(file.name.split(".")[0] for file in path().glob("data/*.search.jsonl")))


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()
