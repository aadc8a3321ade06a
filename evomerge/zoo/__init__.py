"""The bundled zoo: a small base model, donors fine-tuned from it, and their tasks.

``models/`` holds one Hugging Face checkpoint per folder and one peft adapter, ``data/`` the
search and held-out items as JSON lines.  ``experiments/zoo`` trains and measures them.
"""

from __future__ import annotations

from pathlib import Path


def path() -> Path:
    """Folder of the zoo inside the installed package."""
    return Path(__file__).resolve().parent
