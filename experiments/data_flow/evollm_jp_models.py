"""Cut Abel-7B-002 to the vocabulary of its base, so that it can be merged with the others.

    python experiments/data_flow/evollm_jp_models.py

GAIR/Abel-7B-002 has 32 rows more in embedding and head than Mistral-7B-v0.1. mergekit cuts such
rows while it merges; evomerge refuses models of different vocabularies, so they are cut here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

ABEL = "GAIR/Abel-7B-002"
ROWS = 32000  # of mistralai/Mistral-7B-v0.1


def main() -> None:
    """Read the model from the hub or a folder and write the smaller one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--model", default=ABEL, help=f"a folder or hub id; {ABEL} by default")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "evollm-jp-models" / "abel-7b-002"
    )
    given = parser.parse_args()
    cut(given.model, ROWS, given.out)
    print(f"{given.out}: {ROWS} rows")


def cut(model: str, rows: int, out: Path) -> None:
    """Write a model with the first rows of its embedding and head only.

    Raises:
        ValueError: it has fewer rows.
    """
    import torch  # noqa: PLC0415 -- seconds to import
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 -- as above

    module = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    found = module.config.vocab_size
    if found < rows:
        raise ValueError(f"{model} has {found} rows, fewer than {rows}")
    module.resize_token_embeddings(rows)
    module.save_pretrained(out)
    AutoTokenizer.from_pretrained(model).save_pretrained(out)


if __name__ == "__main__":
    main()
