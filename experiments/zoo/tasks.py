"""Tasks of the zoo: short character-level items cut from reasoning-gym puzzles.

Every task takes its problems *and* its answers from a `reasoning-gym`_ generator and only
rewrites the wording, so that a prompt of about twenty characters is enough for a model of
less than a million parameters.  A prompt always ends with ``:`` and the greedy continuation
is the answer followed by the end-of-sequence token.

.. _reasoning-gym: https://github.com/open-thought/reasoning-gym (Apache-2.0)
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import reasoning_gym

#: Distance between the seeds of two splits.  reasoning-gym derives the seed of item ``i`` as
#: ``seed + i``, so two splits are independent only if their seeds are further apart than
#: the number of items ever drawn from either.
SPLIT_STRIDE = 50_000_000
TASK_STRIDE = 3_000_000
SPLITS = ("holdout", "search", "train")
COUNTS = {"holdout": 400, "search": 128, "train": 12_000}

Entry = dict[str, Any]


@dataclass(frozen=True)
class Item:
    """One question with its only accepted answer."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class Task:
    """How to draw raw reasoning-gym entries and how to shorten them.

    ``rewrite`` turns one entry into an item, or into nothing if the entry does not fit.
    """

    name: str
    dataset: str
    config: dict[str, Any]
    rewrite: Callable[[Entry, random.Random], Item | None]


def _sorting(direction: str, word: str) -> Callable[[Entry, random.Random], Item | None]:
    """Sorting in one direction; half of the prompts leave the direction unsaid."""

    def rewrite(entry: Entry, rng: random.Random) -> Item | None:
        meta = entry["metadata"]
        if meta["direction"] != direction:
            return None
        numbers = " ".join(str(int(float(n))) for n in meta["original_numbers"])
        answer = " ".join(str(int(float(n))) for n in meta["sorted_numbers"])
        said = f" {word}" if rng.random() < 0.5 else ""
        return Item(f"sort{said} {numbers}:", answer)

    return rewrite


def _backward(entry: Entry, _rng: random.Random) -> Item | None:
    word = entry["metadata"]["word"].lower()
    return Item(f"flip {word}:", entry["answer"].lower()) if word.isalpha() else None


def _rotation(word: str) -> Callable[[Entry, random.Random], Item | None]:
    """Rotate a 3 x 3 matrix of digits, written as three words."""

    def rewrite(entry: Entry, _rng: random.Random) -> Item | None:
        matrix = " ".join("".join(map(str, row)) for row in entry["metadata"]["matrix"])
        return Item(f"{word} {matrix}:", entry["answer"].replace(" ", "").replace("\n", " "))

    return rewrite


def _bits(entry: Entry, _rng: random.Random) -> Item | None:
    return Item(f"count 1 {entry['metadata']['binary']}:", entry["answer"])


def _filter(entry: Entry, _rng: random.Random) -> Item | None:
    meta = entry["metadata"]
    sign = "<" if meta["operation"] in ("keep_smaller", "remove_larger") else ">"
    numbers = " ".join(meta["original_numbers"])
    answer = " ".join(meta["result"])
    return Item(f"keep {sign}{meta['filter_value']} {numbers}:", answer or "none")


_TWO_DIGITS = {"min_decimals": 0, "max_decimals": 0, "min_value": 0, "max_value": 99}
_THREE_NUMBERS = {"min_numbers": 3, "max_numbers": 3, **_TWO_DIGITS}


def _rotate(quarters: int) -> dict[str, Any]:
    """Configure rotate_matrix for 3 x 3 matrices and one angle."""
    return {"min_n": 3, "max_n": 3, "min_rotations": quarters, "max_rotations": quarters}


_ALL = (
    Task("sort_up", "number_sorting", _THREE_NUMBERS, _sorting("ascending", "up")),
    Task("sort_down", "number_sorting", _THREE_NUMBERS, _sorting("descending", "down")),
    Task("flip", "spell_backward", {"min_word_len": 3, "max_word_len": 7}, _backward),
    Task("turn", "rotate_matrix", _rotate(2), _rotation("turn")),
    Task("count_bits", "count_bits", {"min_n": 16, "max_n": 16383}, _bits),
    Task("filter", "number_filtering", _THREE_NUMBERS, _filter),
    Task("quarter", "rotate_matrix", _rotate(1), _rotation("roll")),
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def _stream(task: Task, seed: int, limit: int) -> Iterator[Item]:
    """Items of ``task`` in the order reasoning-gym yields them."""
    dataset = reasoning_gym.create_dataset(task.dataset, size=limit, seed=seed, **task.config)
    rng = random.Random(seed)
    for index in range(limit):
        item = task.rewrite(dataset[index], rng)
        if item is not None:
            yield item


def draw(task: Task, split: str, count: int, seed: int, taken: set[str]) -> list[Item]:
    """Draw up to ``count`` items with unseen prompts and add these prompts to ``taken``.

    Fewer are returned when the generator runs dry (there are only so many English words).
    """
    start = seed + SPLIT_STRIDE * SPLITS.index(split) + TASK_STRIDE * list(TASKS).index(task.name)
    found: list[Item] = []
    for item in _stream(task, start, min(20 * count, TASK_STRIDE)):
        if item.prompt in taken:
            continue
        taken.add(item.prompt)
        found.append(item)
        if len(found) == count:
            break
    return found


def draw_splits(seed: int) -> tuple[dict[str, dict[str, list[Item]]], set[str]]:
    """Draw the zoo's disjoint splits: task to split to items; and all prompts that are in any."""
    taken: set[str] = set()
    drawn = {
        name: {split: draw(task, split, count, seed, taken) for split, count in COUNTS.items()}
        for name, task in TASKS.items()
    }
    return drawn, taken


def write_items(path: Path, prefix: str, items: list[Item]) -> None:
    """Write items as the JSON lines the package ships."""
    with path.open("w", encoding="utf-8") as file:
        for index, item in enumerate(items):
            record = {"id": f"{prefix}-{index:03d}", "prompt": item.prompt, "answer": item.answer}
            file.write(json.dumps(record) + "\n")


def read_items(path: Path) -> list[Item]:
    """Read items back."""
    with path.open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    return [Item(record["prompt"], record["answer"]) for record in records]
