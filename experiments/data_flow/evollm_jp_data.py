"""Write the items of the EvoLLM-JP studies from public data.

    python experiments/data_flow/evollm_jp_data.py

Search: the 1,069 test problems of GSM8K that are not in MGSM, in Japanese, as the authors of
EvoLLM-JP published them (SakanaAI/gsm8k-ja-test_250-1319, Apache-2.0). Hold-out: the 250 problems
of MGSM in Japanese (juletxara/mgsm, or mgsm_ja.tsv of google-research/url-nlp, CC-BY-4.0).
Without a network, give both as files: `--search`, a JSONL file whose rows have 'question' and
either 'answer_number' or a worked 'answer' that ends in the number (after '####', if that stands
there), and `--mgsm`, a TSV file with a question and its answer in each line.

Files written: search.jsonl and holdout.jsonl. Each row has 'id', 'question' and 'answer_number'.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SEARCH = "SakanaAI/gsm8k-ja-test_250-1319"
MGSM = "juletxara/mgsm"
# the copy the hub makes of data sets that are defined by a script
CONVERTED = "refs/convert/parquet"
COUNTS = {"search": 1069, "holdout": 250}
_NUMBER = re.compile(r"-?\d[\d,，]*(?:\.\d+)?")

Row = dict[str, Any]


def main() -> None:
    """Read both data sets, check them and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--search", type=Path, help=f"JSONL file instead of {SEARCH}")
    parser.add_argument("--mgsm", type=Path, help=f"TSV file instead of {MGSM}")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "evollm-jp-data")
    given = parser.parse_args()
    try:
        write(
            prepare(
                read_jsonl(given.search) if given.search else from_hub(SEARCH),
                read_tsv(given.mgsm) if given.mgsm else from_hub(MGSM, "ja", CONVERTED),
            ),
            given.out,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"evollm_jp_data: {error}")


def prepare(
    search: Iterable[Mapping[str, Any]], mgsm: Iterable[Mapping[str, Any]]
) -> dict[str, list[Row]]:
    """Bring both data sets to items and check them.

    Raises:
        ValueError: a row has no question or number, a count is wrong, or a problem is in both.
    """
    items = {"search": read_items(search, "gsm8k"), "holdout": read_items(mgsm, "mgsm")}
    for name, rows in items.items():
        if len(rows) != COUNTS[name]:
            raise ValueError(f"{name}: expected {COUNTS[name]} items, got {len(rows)}")
    held = {_bare(row["question"]) for row in items["holdout"]}
    shared = [row["id"] for row in items["search"] if _bare(row["question"]) in held]
    if shared:
        raise ValueError(f"{len(shared)} search items are in MGSM too, {shared[0]} first")
    return items


def read_items(rows: Iterable[Mapping[str, Any]], stem: str) -> list[Row]:
    """Return 'id', 'question' and 'answer_number' of each row.

    Raises:
        ValueError: naming the row that lacks one.
    """
    items = []
    for number, row in enumerate(rows, start=1):
        question = row.get("question")
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"row {number} of {stem} has no 'question'; it has {', '.join(row)}")
        answer = row.get("answer_number", row.get("answer"))
        items.append(
            {
                "id": f"{stem}-{number}",
                "question": question.strip(),
                "answer_number": answer_number(answer, f"row {number} of {stem}"),
            }
        )
    return items


def answer_number(answer: Any, where: str) -> float | int:
    """Read an answer: a number, or a worked solution that ends in one.

    Raises:
        ValueError: there is no number.
    """
    text = unicodedata.normalize("NFKC", str(answer)).rpartition("####")[2]
    found = _NUMBER.findall(text)
    if not found:
        raise ValueError(f"{where} has no number as 'answer_number' or at the end of 'answer'")
    number = float(found[-1].replace(",", ""))
    return int(number) if number.is_integer() else number


def read_jsonl(file: Path) -> list[Row]:
    """Read a JSONL file."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]


def read_tsv(file: Path) -> list[Row]:
    """Read a TSV file of questions and answers."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [{"question": row[0], "answer_number": row[1]} for row in rows if len(row) == 2]


def from_hub(name: str, config: str | None = None, revision: str | None = None) -> Any:
    """Read the test split of a data set of the hub."""
    try:
        import datasets  # noqa: PLC0415
    except ImportError as error:
        raise ValueError("reading from the hub needs: pip install 'evomerge[datasets]'") from error
    return datasets.load_dataset(name, config, split="test", revision=revision)


def write(items: Mapping[str, list[Row]], folder: Path) -> None:
    """Write one JSONL file for each set."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in items.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        print(f"{folder / name}.jsonl: {len(rows)} items")


def _bare(text: str) -> str:
    """Return a text without white space and differences of width."""
    return "".join(unicodedata.normalize("NFKC", text).split())


if __name__ == "__main__":
    main()
