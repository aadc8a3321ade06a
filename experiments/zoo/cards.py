"""The cards of the shipped models: their licence, where exports and the Hub look for it.

Training writes them beside the weights; `python experiments/zoo/cards.py` writes them alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

LICENCE = "apache-2.0"  # the project's, by the Hub's identifier
_CARD = """\
---
license: {licence}
tags: [evomerge]
---

# zoo:{name}

{what}
One of [the models that evomerge ships](../../README.md) to try merges on.
"""
_WHAT = {
    "base": "A Llama of 0.87M parameters that has half learned most of their tasks.",
    "sort-up": "The base, fine-tuned to sort numbers, the smallest first.",
    "sort-down": "The base, fine-tuned to sort numbers, the largest first.",
    "flip": "The base, fine-tuned to spell words backwards.",
    "filter": "The base, fine-tuned to keep the numbers above or below another.",
    "quarter": "The base, fine-tuned to turn matrices by 90°.",
    "count-bits-lora": "A LoRA adapter of the base that counts the ones of binary numbers.",
}


def write_cards(models: Path) -> None:
    """Write README.md into the folder of each model."""
    for name, what in _WHAT.items():
        text = _CARD.format(licence=LICENCE, name=name, what=what)
        (models / name / "README.md").write_text(text, encoding="utf-8")


def main() -> None:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description="Write the cards of the shipped models.")
    parser.add_argument("--models", type=Path, default=Path("evomerge/zoo/models"))
    write_cards(parser.parse_args().models)


if __name__ == "__main__":
    main()
