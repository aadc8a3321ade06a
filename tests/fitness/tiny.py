"""Tiny models, tokenizers and merged models."""

import string

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from evomerge.fitness import MergedModel
from evomerge.recipe.model import Recipe
from evomerge.types import DeltaStatistics

CHARACTERS = string.digits + "+-*=:?. \n" + string.ascii_letters
SPECIAL = ["<pad>", "<bos>", "<eos>"]


def character_tokenizer(*, bos=True, pad=True):
    """One token per character."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>" if bos else None,
        eos_token="<eos>",
        pad_token="<pad>" if pad else None,
    )


def tiny_module(family, *, seed=0, dtype=torch.float64):
    """Build a random model whose logits are far apart, so that rounding decides nothing."""
    vocabulary = len(SPECIAL) + len(CHARACTERS)
    shared = {"vocab_size": vocabulary, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None}
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    make = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**shared, **small, **heads)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**shared, **small, **heads)),
        "gpt2": lambda: GPT2LMHeadModel(
            GPT2Config(**shared, n_embd=32, n_layer=2, n_head=4, n_positions=64)
        ),
    }[family]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = make().to(dtype).eval()
        for parameter in module.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.4)
    # A handful of ends, so that answers have many lengths.
    module.generation_config.eos_token_id = [2, 5, 17, 23, 31, 40, 46, 58, 66]
    module.generation_config.pad_token_id = 0
    return module.requires_grad_(False)


RECIPE = Recipe.model_validate({"merge_method": "linear", "models": [{"model": "./donor"}]})
DELTA = DeltaStatistics(l1=3.0, l2=2.0, base_l1=12.0, base_l2=5.0, zeros=25, elements=100)


def merged_model(module=None, tokenizer=None, *, items=(), split="search", write=None, delta=None):
    """Build a merged model around a module; `write` and `delta` are rarely of interest."""

    def no_write(path):
        raise AssertionError("nothing should be written")

    return MergedModel(
        module,
        tokenizer,
        recipe=RECIPE,
        split=split,
        items=items,
        device="cpu",
        write=write or no_write,
        delta=delta or (lambda: DELTA),
    )
