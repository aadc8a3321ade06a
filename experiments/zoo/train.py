"""Train the zoo: a small base, five experts and one LoRA adapter, in one run from one seed.

    python experiments/zoo/train.py --out evomerge/zoo --seed 0

The base is a Llama of 0.87M parameters stopped while it still gets about half of the items
right; the experts start from it at a quarter to 40 % of its learning rate with embeddings and head
frozen.  Both are what keeps the experts close enough for a merge to mean something: see the
README next to this file.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from cards import write_cards
from measure import accuracy, load_donor, load_full
from peft import LoraConfig, get_peft_model
from tasks import Item, draw_splits, write_items
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
PAD, BOS, EOS = 0, 1, 2
ALPHABET = " :<>+-*/=?!,.()0123456789abcdefghijklmnopqrstuvwxyz"
CONTEXT = 64
IGNORED = -100


#: Share of every task in the base's mixture.  The easy ones get little, so that no task is
#: finished when the base stops.
BASE_MIXTURE = {
    "sort_up": 0.9,
    "sort_down": 0.9,
    "flip": 0.3,
    "turn": 0.3,
    "count_bits": 0.1,
    "filter": 1.2,
}
ADAPTER = "count_bits"


@dataclass(frozen=True)
class Schedule:
    """Length and learning rate of one training: linear warm-up, cosine down to ``floor``."""

    steps: int
    peak: float
    floor: float = 0.05
    warmup: int = 20
    batch: int = 64

    def rate(self, step: int) -> float:
        """Learning rate of ``step``, counted from zero."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        ramp = min(1.0, (step + 1) / self.warmup)
        return self.peak * ramp * (self.floor + (1 - self.floor) * cosine)


BASE_SCHEDULE = Schedule(steps=800, peak=2.5e-3, floor=0.15, warmup=50)
EXPERT_SCHEDULES = {
    "sort_up": Schedule(steps=250, peak=8e-4),
    "sort_down": Schedule(steps=250, peak=8e-4),
    "flip": Schedule(steps=150, peak=6e-4),
    "quarter": Schedule(steps=300, peak=1e-3),
    "filter": Schedule(steps=300, peak=1e-3),
}
ADAPTER_SCHEDULE = Schedule(steps=200, peak=3e-3)
#: Share of an expert's batches drawn from the base's mixture, against forgetting.
REPLAY = 0.05


@dataclass(frozen=True)
class Pool:
    """The training items of one task, encoded and padded once for all batches."""

    ids: Tensor
    labels: Tensor


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Character-level fast tokenizer that puts ``<s>`` in front and round-trips the text."""
    vocab = {piece: index for index, piece in enumerate([*SPECIALS, *ALPHABET])}
    raw = Tokenizer(WordLevel(vocab, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", BOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )


def build_base(vocab_size: int, seed: int) -> LlamaForCausalLM:
    """Untrained base: four layers of width 128."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=False,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
        )
    )


def encode(tokenizer: PreTrainedTokenizerFast, items: Sequence[Item]) -> Pool:
    """Encode items as prompt + answer + end, with the loss on the answer and the end only."""
    ids = torch.full((len(items), CONTEXT), PAD)
    labels = torch.full((len(items), CONTEXT), IGNORED)
    for row, item in enumerate(items):
        prompt = tokenizer(item.prompt).input_ids
        whole = torch.tensor([*tokenizer(item.prompt + item.answer).input_ids, EOS])
        ids[row, : len(whole)] = whole
        labels[row, len(prompt) : len(whole)] = whole[len(prompt) :]
    return Pool(ids, labels)


def sample(
    pools: Sequence[Pool], weights: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw a batch from the pools in the given proportions, cut to its longest row."""
    source = torch.multinomial(weights, count, replacement=True, generator=generator)
    ids, labels = [], []
    for index, pool in enumerate(pools):
        picks = torch.randint(len(pool.ids), (int((source == index).sum()),), generator=generator)
        ids.append(pool.ids[picks])
        labels.append(pool.labels[picks])
    batch_ids, batch_labels = torch.cat(ids), torch.cat(labels)
    longest = int((batch_ids != PAD).sum(dim=1).max())
    return batch_ids[:, :longest], batch_labels[:, :longest]


def fit(
    model: nn.Module,
    label: str,
    pools: dict[str, Pool],
    mixture: dict[str, float],
    schedule: Schedule,
    seed: int,
) -> None:
    """Train the parameters of ``model`` that require a gradient on a mixture of tasks."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor([mixture.get(name, 0.0) for name in pools])
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.01)
    model.train()
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        ids, labels = sample(list(pools.values()), weights, schedule.batch, generator)
        # Rows are padded on the right: under a causal mask no answer sees the padding.
        logits = model(input_ids=ids).logits
        loss = nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(f"  {label} step {step + 1}  loss {loss.item():.3f}", flush=True)


def expert_mixture(task: str) -> dict[str, float]:
    """Mostly the expert's own task, with a little of the base's mixture."""
    total = sum(BASE_MIXTURE.values())
    mixture = {name: REPLAY * share / total for name, share in BASE_MIXTURE.items()}
    mixture[task] = mixture.get(task, 0.0) + 1 - REPLAY
    return mixture


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a self-contained half-precision checkpoint."""
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_readable(folder)


def make_readable(folder: Path) -> None:
    """Let everyone read the weights: they are written for their owner only."""
    for file in folder.iterdir():
        file.chmod(0o644)


def train_expert(base: Path, pools: dict[str, Pool], task: str, seed: int) -> LlamaForCausalLM:
    """Fine-tune every block of the base on one task; embeddings and head stay frozen."""
    model = load_full(base)
    model.get_input_embeddings().requires_grad_(False)
    model.get_output_embeddings().requires_grad_(False)
    fit(model, task, pools, expert_mixture(task), EXPERT_SCHEDULES[task], seed)
    return model


def train_adapter(base: Path, pools: dict[str, Pool], task: str, seed: int, folder: Path) -> None:
    """Fine-tune a LoRA adapter on one task and write it in peft's own format."""
    torch.manual_seed(seed)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_full(base), config)
    fit(model, task, pools, expert_mixture(task), ADAPTER_SCHEDULE, seed)
    # A relative path: the adapter is shipped next to its base, wherever that ends up.
    model.peft_config["default"].base_model_name_or_path = "../base"
    model.half().save_pretrained(str(folder), save_embedding_layers=False)
    make_readable(folder)


def prepare_data(
    out: Path, tokenizer: PreTrainedTokenizerFast, seed: int
) -> tuple[dict[str, Pool], dict[str, list[Item]]]:
    """Draw the three disjoint splits, write the two that ship, encode the third."""
    drawn, _ = draw_splits(seed)
    for name, splits in drawn.items():
        for split in ("holdout", "search"):
            write_items(out / "data" / f"{name}.{split}.jsonl", f"{name}-{split}", splits[split])
    pools = {name: encode(tokenizer, splits["train"]) for name, splits in drawn.items()}
    return pools, {name: splits["search"] for name, splits in drawn.items()}


def single_thread() -> None:
    """Make this process compute alone and in a fixed order."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def train_donor(models: Path, pools: dict[str, Pool], task: str, seed: int) -> Path:
    """Train and save one donor from the saved base; returns its folder.

    From the saved base, not the one in memory: task vectors are taken against the rounded
    checkpoint that ships.
    """
    name = task.replace("_", "-")
    if task == ADAPTER:
        folder = models / f"{name}-lora"
        train_adapter(models / "base", pools, task, seed, folder)
        return folder
    folder = models / name
    save(train_expert(models / "base", pools, task, seed), build_tokenizer(), folder)
    return folder


def report(label: str, folder: Path, search: dict[str, list[Item]], since: float) -> None:
    """Print the search accuracies of a checkpoint as saved."""
    tokenizer, model = build_tokenizer(), load_donor(folder)
    scores = {name: accuracy(model, tokenizer, items) for name, items in search.items()}
    line = "  ".join(f"{name} {score:.2f}" for name, score in scores.items())
    print(f"{label} ({time.perf_counter() - since:.0f}s): {line}", flush=True)


def train_zoo(out: Path, seed: int, workers: int) -> None:
    """Train and write everything the package ships."""
    start = time.perf_counter()
    models = out / "models"
    for folder in (models, out / "data"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    tokenizer = build_tokenizer()
    pools, search = prepare_data(out, tokenizer, seed)
    print(f"data ({time.perf_counter() - start:.0f}s)", flush=True)

    base = build_base(len(tokenizer), seed)
    fit(base, "base", pools, BASE_MIXTURE, BASE_SCHEDULE, seed)
    save(base, tokenizer, models / "base")
    report("base", models / "base", search, start)

    # Two single-threaded processes are faster than one with two threads at this size, and one
    # thread sums in the same order on any machine.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=single_thread) as pool:
        jobs = [
            pool.submit(train_donor, models, pools, task, seed + offset)
            for offset, task in enumerate([*EXPERT_SCHEDULES, ADAPTER], start=1)
        ]
        for job in jobs:
            folder = job.result()
            report(folder.name, folder, search, start)
    write_cards(models)  # the adapter has an empty one from peft
    print(f"total {time.perf_counter() - start:.0f}s", flush=True)


def main() -> None:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description="Train the zoo's base, experts and adapter.")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets models/, data/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="donors trained side by side")
    options = parser.parse_args()
    single_thread()
    train_zoo(options.out, options.seed, options.workers)


if __name__ == "__main__":
    main()
