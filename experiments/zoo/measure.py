"""Measure the zoo: donors, uniform average, task-arithmetic grid and a small search.

    python experiments/zoo/measure.py --zoo evomerge/zoo

Prints the markdown tables of the README.  The merging here is a dozen lines of plain tensor
arithmetic on purpose: the tables must not depend on the package they are meant to check.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cma
import numpy as np
import torch
from peft import PeftModel
from tasks import TASKS, Item, read_items
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

LAMBDAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5)
BATCH = 256

State = dict[str, Tensor]
Scores = dict[str, float]
#: Weight of a donor (first argument) in a tensor (second argument).
Weight = Callable[[str, str], float]


@torch.inference_mode()
def accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, items: Sequence[Item]
) -> float:
    """Share of items whose greedy continuation is exactly the answer and then stops."""
    model.eval()
    correct = 0
    # Sorting by length keeps the padding of a batch short.
    ordered = sorted(items, key=lambda item: len(item.prompt))
    for start in range(0, len(ordered), BATCH):
        batch = ordered[start : start + BATCH]
        inputs = tokenizer([item.prompt for item in batch], return_tensors="pt", padding=True)
        output = model.generate(
            input_ids=inputs.input_ids,
            attention_mask=inputs.attention_mask,
            # One token more than the longest answer: the end-of-sequence token.
            max_new_tokens=max(len(item.answer) for item in batch) + 1,
            do_sample=False,
        )
        for item, row in zip(batch, output[:, inputs.input_ids.shape[1] :].tolist(), strict=True):
            if tokenizer.eos_token_id not in row:
                continue
            said = row[: row.index(tokenizer.eos_token_id)]
            correct += tokenizer.decode(said, skip_special_tokens=True) == item.answer
    return correct / len(items)


class Zoo:
    """The shipped checkpoints in float32, as a base and one task vector per donor."""

    def __init__(self, root: Path) -> None:
        models = root / "models"
        self.tokenizer = AutoTokenizer.from_pretrained(models / "base")
        self.scratch = load_full(models / "base")
        self.base: State = {k: v.clone() for k, v in self.scratch.state_dict().items()}
        self.deltas: dict[str, State] = {}
        for folder in sorted(models.iterdir()):
            if folder.name != "base":
                state = load_donor(folder).state_dict()
                # What no donor changed (embeddings, head) needs no arithmetic.
                self.deltas[folder.name] = {
                    key: state[key] - value
                    for key, value in self.base.items()
                    if not torch.equal(state[key], value)
                }
        self.items = {
            split: {name: read_items(root / "data" / f"{name}.{split}.jsonl") for name in TASKS}
            for split in ("search", "holdout")
        }

    def scores(self, split: str, weight: Weight) -> Scores:
        """Accuracies of ``base + sum(weight(donor, tensor) * delta)`` on one split."""
        state = {key: value.clone() for key, value in self.base.items()}
        for donor, delta in self.deltas.items():
            for key, value in delta.items():
                state[key].add_(value, alpha=weight(donor, key))
        self.scratch.load_state_dict(state)
        return {
            name: accuracy(self.scratch, self.tokenizer, items)
            for name, items in self.items[split].items()
        }


def load_full(folder: Path) -> LlamaForCausalLM:
    """Load a full checkpoint in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def load_donor(folder: Path) -> LlamaForCausalLM:
    """Load any donor in float32, an adapter folded into the base that lies next to it."""
    if not (folder / "adapter_config.json").exists():
        return load_full(folder)
    adapted = PeftModel.from_pretrained(load_full(folder.parent / "base"), folder)
    return adapted.float().merge_and_unload()


def mean(scores: Scores) -> float:
    """Average the tasks without weights."""
    return sum(scores.values()) / len(scores)


def row(label: str, scores: Scores) -> str:
    """Format one line of a markdown table, the mean last."""
    cells = [f"{scores[name]:.3f}" for name in TASKS]
    return f"| {label} | {' | '.join(cells)} | {mean(scores):.3f} |"


def header(first: str) -> str:
    """Format the head of a markdown table with one column per task."""
    return f"| {first} | {' | '.join(TASKS)} | mean |\n|---|{'---:|' * (len(TASKS) + 1)}"


def constant(value: float) -> Weight:
    """Weigh every donor and tensor alike."""
    return lambda _donor, _key: value


def only(name: str) -> Weight:
    """Take one donor as it is."""
    return lambda donor, _key: float(donor == name)


def group_of(key: str, split: str) -> int:
    """Which searched weight of a donor a tensor takes: by block kind, or by layer and kind."""
    attention = "self_attn" in key or "input_layernorm" in key
    if split == "donor":
        return 0
    if split == "kind":
        return int(not attention)
    layer = int(key.split(".")[2]) if ".layers." in key else 3
    return 2 * layer + int(not attention)


#: Searched weights per donor: one, by attention/MLP, by layer and attention/MLP.
GROUPS = {"donor": 1, "kind": 2, "layer-kind": 8}
PARTS = ("donors", "grid", *GROUPS)
FRONT_TASKS = ("sort_up", "sort_down", "filter", "flip")


def recipe(vector: Sequence[float], donors: Sequence[str], split: str) -> Weight:
    """Read a search vector laid out donor by donor, group by group."""
    count = GROUPS[split]
    place = {donor: index * count for index, donor in enumerate(donors)}
    return lambda donor, key: float(vector[place[donor] + group_of(key, split)])


@dataclass(frozen=True)
class Found:
    """What a search brought home: its best vector and the scores of everything it tried."""

    best: list[float]
    tried: list[Scores]


def search(zoo: Zoo, split: str, start: float, budget: int, seed: int) -> Found:
    """Maximise the mean search accuracy with CMA-ES from one lambda for all donors."""
    donors = list(zoo.deltas)
    strategy = cma.CMAEvolutionStrategy(
        GROUPS[split] * len(donors) * [start],
        0.25,
        {"seed": seed + 1, "verbose": -9, "popsize": 10},
    )
    tried: list[Scores] = []
    while len(tried) < budget:
        vectors = strategy.ask()
        scores = [zoo.scores("search", recipe(vector, donors, split)) for vector in vectors]
        strategy.tell(vectors, [-mean(each) for each in scores])
        tried += scores
        best = max(mean(each) for each in tried)
        print(f"{split}: {len(tried)} evaluations, best {best:.3f}", file=sys.stderr, flush=True)
    # The mean of the distribution is steadier than its luckiest sample: the search set is small.
    return Found([float(weight) for weight in strategy.result.xfavorite], tried)


def front_size(tried: Sequence[Scores], tasks: Sequence[str]) -> int:
    """Count the distinct score vectors on these tasks that none of the others dominates."""
    points = np.unique([[scores[task] for task in tasks] for scores in tried], axis=0)
    dominated = [
        bool(((points >= point).all(axis=1) & (points > point).any(axis=1)).any())
        for point in points
    ]
    return len(points) - sum(dominated)


def print_grid(zoo: Zoo, split: str) -> None:
    """Print the uniform average and the task-arithmetic grid."""
    print(f"\n### One lambda for all donors, {split} items\n\n{header('lambda')}")
    uniform = 1 / len(zoo.deltas)
    print(row(f"1/{len(zoo.deltas)} (uniform average)", zoo.scores(split, constant(uniform))))
    for value in LAMBDAS:
        print(row(f"{value:.1f}", zoo.scores(split, constant(value))), flush=True)


def print_donors(zoo: Zoo, split: str) -> None:
    """Print what the base and each donor get."""
    print(f"\n### Donors, {split} items\n\n{header('model')}")
    print(row("base", zoo.scores(split, constant(0.0))))
    for name in zoo.deltas:
        print(row(name, zoo.scores(split, only(name))), flush=True)


def print_search(zoo: Zoo, split: str, start: float, budget: int, seed: int) -> None:
    """Print what a search on the search items finds, scored on both splits."""
    began = time.perf_counter()
    found = search(zoo, split, start, budget, seed)
    seconds = time.perf_counter() - began
    weights = recipe(found.best, list(zoo.deltas), split)
    print(f"\n### CMA-ES on the search mean, weights per {split}\n\n{header('items')}")
    for items in ("search", "holdout"):
        print(row(items, zoo.scores(items, weights)))
    print(f"\n{len(found.tried)} evaluations in {seconds:.0f} s; weights by donor:\n")
    for donor, values in zip(
        zoo.deltas, np.array_split(np.array(found.best), len(zoo.deltas)), strict=True
    ):
        print(f"- {donor}: {', '.join(f'{value:.2f}' for value in values)}")
    sizes = [
        f"{front_size(found.tried, tasks)} on {', '.join(tasks)}"
        for tasks in (FRONT_TASKS[:3], FRONT_TASKS)
    ]
    print(f"\nNon-dominated score vectors among those tried: {'; '.join(sizes)}.", flush=True)


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description="Print the zoo's tables.")
    parser.add_argument("--zoo", type=Path, required=True, help="folder with models/ and data/")
    parser.add_argument("--budget", type=int, default=240, help="evaluations per search")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--start", type=float, default=0.3, help="lambda the searches start from")
    parser.add_argument("--search-items", type=int, default=128, help="search items per task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    zoo = Zoo(options.zoo)
    zoo.items["search"] = {
        name: items[: options.search_items] for name, items in zoo.items["search"].items()
    }
    for part in options.parts:
        if part in GROUPS:
            print_search(zoo, part, options.start, options.budget, options.seed)
        for split in ("search", "holdout"):
            if part == "donors":
                print_donors(zoo, split)
            elif part == "grid":
                print_grid(zoo, split)


if __name__ == "__main__":
    main()
