"""Train a pair of experts for layer paths: one strong on a language, one on the reasoning.

    python experiments/data_flow/train_pair.py --out runs/pair

Three numbers and a command make a problem. In the plain language a number is written with digits,
in the foreign one with letters and units first: `sort 27 31 08:` is `sort CB HJ GD:`. The base is
stopped while it is half good at everything. From it are fine-tuned, embeddings and head frozen,

- `language`: copying, reversing and the largest and smallest number in the foreign language;
- `reasoning`: sorting in the plain language.

The task of the study is sorting in the foreign language, which the base has hardly seen and of
which neither expert sees more than the base's share of a tenth of its batches. It is the case of
layer swapping (Bandarkar et al. 2025, arXiv 2410.01335): an expert for mathematics is given the
layers that speak a language from another expert.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
PAD, BOS, EOS = 0, 1, 2
DIGITS, LETTERS = "0123456789", "ABCDEFGHIJ"
NUMBERS, LAYERS, WIDTH = 3, 6, 96
SEARCH_ITEMS, HOLDOUT_ITEMS, TRAIN_ITEMS = 128, 400, 40_000

COMMANDS: dict[str, Callable[[Tensor], Tensor]] = {
    "copy": lambda numbers: numbers,
    "flip": lambda numbers: numbers.flip(1),
    "high": lambda numbers: numbers.max(1, keepdim=True).values.expand(-1, NUMBERS),
    "low": lambda numbers: numbers.min(1, keepdim=True).values.expand(-1, NUMBERS),
    "say": lambda numbers: numbers,  # in the other language
    "sort": lambda numbers: numbers.sort(1).values,
}
LANGUAGES = ("plain", "foreign")
TASKS = tuple(f"{language} {command}" for language in LANGUAGES for command in COMMANDS)
TARGET = "foreign sort"
VOCABULARY = (*SPECIALS, *COMMANDS, " ", ":", *DIGITS, *LETTERS)
ID = {piece: index for index, piece in enumerate(VOCABULARY)}
#: The letter of each digit, in an order of its own.
LETTER = torch.tensor([3, 7, 1, 9, 0, 5, 8, 2, 6, 4])

Mixture = Mapping[str, float]

BASE_MIXTURE: Mixture = {
    "plain copy": 0.05,
    "plain flip": 0.08,
    "plain high": 0.13,
    "plain low": 0.13,
    "plain say": 0.07,
    "plain sort": 0.15,
    "foreign copy": 0.04,
    "foreign flip": 0.07,
    "foreign high": 0.07,
    "foreign low": 0.07,
    "foreign say": 0.07,
    "foreign sort": 0.06,
}
#: Share of an expert's batches drawn from the base's mixture, against forgetting.
REPLAY = 0.1


@dataclass(frozen=True)
class Schedule:
    """Length and learning rate of one training: linear warm-up, cosine down to `floor`."""

    steps: int
    peak: float
    floor: float = 0.05
    warmup: int = 20
    batch: int = 64

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from zero."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        ramp = min(1.0, (step + 1) / self.warmup)
        return self.peak * ramp * (self.floor + (1 - self.floor) * cosine)


BASE_SCHEDULE = Schedule(steps=850, peak=2.5e-3, floor=0.15, warmup=50)
EXPERTS: dict[str, tuple[Mixture, Schedule]] = {
    "language": (
        {"foreign copy": 0.1, "foreign flip": 0.2, "foreign high": 0.35, "foreign low": 0.35},
        Schedule(steps=250, peak=5e-4),
    ),
    "reasoning": ({"plain sort": 1.0}, Schedule(steps=250, peak=5e-4)),
}


def main() -> None:
    """Run the command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder that gets models/, data/")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums in the same order on any machine
    torch.use_deterministic_algorithms(True)
    train_pair(options.out, options.seed)


def train_pair(out: Path, seed: int) -> None:
    """Train and write base, experts and items."""
    started = time.perf_counter()
    for folder in (out / "models", out / "data"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    problems = draw_problems(seed)
    tokenizer = build_tokenizer()
    for split in ("search", "holdout"):
        write_items(out / "data" / f"{split}.jsonl", split, problems[split], tokenizer)

    base = build_base(seed)
    fit(base, problems["train"], BASE_MIXTURE, BASE_SCHEDULE, seed)
    save(base, tokenizer, out / "models" / "base")
    report("base", out, problems["holdout"], started)
    for number, (name, (mixture, schedule)) in enumerate(EXPERTS.items(), start=1):
        # From the saved base: task vectors are taken against the rounded checkpoint.
        model = load(out / "models" / "base")
        model.get_input_embeddings().requires_grad_(False)
        model.get_output_embeddings().requires_grad_(False)
        fit(model, problems["train"], with_replay(mixture), schedule, seed + number)
        save(model, tokenizer, out / "models" / name)
        report(name, out, problems["holdout"], started)


def draw_problems(seed: int) -> dict[str, Tensor]:
    """Draw the problems of the splits, (n, NUMBERS) each, no problem in two of them.

    Problems that copying or reversing solves are for training only. 'design' are the items that
    several designs of the pair were compared on; they are no part of any study. The held-out items
    were drawn after the pair was chosen, from what no model was trained on.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = _draw(2 * TRAIN_ITEMS, generator)
    hard = _is_hard(drawn)
    n_rest = int(hard.sum()) - SEARCH_ITEMS - HOLDOUT_ITEMS
    search, design, rest = drawn[hard].split([SEARCH_ITEMS, HOLDOUT_ITEMS, n_rest])
    later = _draw(8 * HOLDOUT_ITEMS, generator)
    new = ~torch.isin(_index(later), _index(drawn))
    return {
        "search": search,
        "design": design,
        "holdout": later[new & _is_hard(later)][:HOLDOUT_ITEMS],
        "train": torch.cat([rest, drawn[~hard]]),
    }


def _draw(n: int, generator: torch.Generator) -> Tensor:
    """Draw at most n different problems."""
    drawn = torch.randint(0, 100, (n, NUMBERS), generator=generator).unique(dim=0)
    return drawn[torch.randperm(len(drawn), generator=generator)]


def _is_hard(problems: Tensor) -> Tensor:
    """Tell which problems neither copying nor reversing solves."""
    steps = problems.diff(dim=1)
    return ~((steps >= 0).all(dim=1) | (steps <= 0).all(dim=1))


def _index(problems: Tensor) -> Tensor:
    """Return each problem as one number."""
    return (problems * 100 ** torch.arange(NUMBERS)).sum(dim=1)


def spell(numbers: Tensor, language: str) -> Tensor:
    """Write (n, k) numbers as (n, 3k - 1) tokens."""
    tens, units = numbers // 10, numbers % 10
    if language == "plain":
        first, second = ID["0"] + tens, ID["0"] + units
    else:
        first, second = ID["A"] + LETTER[units], ID["A"] + LETTER[tens]
    space = torch.full_like(numbers, ID[" "])
    return torch.stack([first, second, space], dim=-1).flatten(1)[:, :-1]


def pose(task: str, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens of prompts and answers; all prompts and all answers are equally long."""
    language, command = task.split()
    other = LANGUAGES[language == LANGUAGES[0]]

    def column(piece: str) -> Tensor:
        return torch.full((len(numbers), 1), ID[piece])

    start = [column(piece) for piece in ("<s>", command, " ")]
    prompt = torch.cat([*start, spell(numbers, language), column(":")], dim=1)
    answer = spell(COMMANDS[command](numbers), other if command == "say" else language)
    return prompt, torch.cat([answer, column("</s>")], dim=1)


def batches(
    problems: Tensor, mixture: Mixture, schedule: Schedule, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield prompts and answers for each step, the tasks drawn in the given proportions."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor([mixture.get(task, 0.0) for task in TASKS])
    for _ in range(schedule.steps):
        drawn = torch.multinomial(weights, schedule.batch, replacement=True, generator=generator)
        rows = torch.randint(len(problems), (schedule.batch,), generator=generator)
        posed = [
            pose(task, problems[rows[drawn == index]])
            for index, task in enumerate(TASKS)
            if (drawn == index).any()
        ]
        prompts, answers = zip(*posed, strict=True)
        yield torch.cat(prompts), torch.cat(answers)


def fit(
    model: LlamaForCausalLM, problems: Tensor, mixture: Mixture, schedule: Schedule, seed: int
) -> None:
    """Train the parameters that require a gradient, with the loss on the answers only."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.01)
    model.train()
    for step, (prompts, answers) in enumerate(batches(problems, mixture, schedule, seed)):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        loss = nn.functional.cross_entropy(
            answer_logits(model, prompts, answers).flatten(0, 1), answers.flatten()
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()


def answer_logits(model: LlamaForCausalLM, prompts: Tensor, answers: Tensor) -> Tensor:
    """Return the logits of each answer's tokens, all tokens before them given."""
    ids = torch.cat([prompts, answers], dim=1)[:, :-1]
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits[:, prompts.shape[1] - 1 :]


def with_replay(mixture: Mixture) -> Mixture:
    """Mix a little of the base's tasks into an expert's."""
    return {
        task: (1 - REPLAY) * mixture.get(task, 0.0) + REPLAY * BASE_MIXTURE[task] for task in TASKS
    }


def build_base(seed: int) -> LlamaForCausalLM:
    """Build the untrained base."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=WIDTH,
            intermediate_size=3 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=64,
            tie_word_embeddings=False,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
        )
    )


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: commands are one token, everything else is read by character."""
    raw = Tokenizer(WordLevel(ID, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[a-z]+|[\s\S]"), "isolated")
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
        model_max_length=64,
    )


def write_items(
    path: Path, split: str, problems: Tensor, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Write the target task's items as JSON lines."""
    prompts, answers = pose(TARGET, problems)
    with path.open("w", encoding="utf-8") as file:
        for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            record = {
                "id": f"{split}-{index:03d}",
                "prompt": tokenizer.decode(prompt, skip_special_tokens=True),
                "answer": tokenizer.decode(answer, skip_special_tokens=True),
            }
            file.write(json.dumps(record) + "\n")


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a half-precision checkpoint."""
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load(folder: Path) -> LlamaForCausalLM:
    """Load a checkpoint in single precision."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


@torch.inference_mode()
def report(name: str, out: Path, problems: Tensor, started: float) -> None:
    """Print the share of held-out problems that a saved model solves, by task."""
    model = load(out / "models" / name).eval()
    print(f"\n{name}, {time.perf_counter() - started:.0f} s")
    for task in TASKS:
        prompts, answers = pose(task, problems)
        # Greedy decoding is right exactly if every token is the likeliest after a right beginning.
        right = answer_logits(model, prompts, answers).argmax(dim=-1) == answers
        print(f"  {task:<13} {right.all(dim=1).float().mean().item():.3f}", flush=True)


if __name__ == "__main__":
    main()
