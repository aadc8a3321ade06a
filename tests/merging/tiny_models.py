"""Tiny random checkpoints that real merges run on in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCABULARY = ("<pad>", "<eos>", "<unk>", *(f"w{i}" for i in range(61)))


def llama(
    folder: Path,
    *,
    seed: int,
    layers: int = 2,
    hidden: int = 32,
    vocabulary: Sequence[str] = VOCABULARY,
    dtype: torch.dtype = torch.float32,
    tied: bool = False,
    near: Path | None = None,
    spread: float = 0.02,
    shard_size: str = "50GB",
) -> Path:
    """Save a random Llama; with `near`, one that differs from that checkpoint by small noise."""
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    return _save(
        LlamaForCausalLM, config, folder, seed, vocabulary, dtype, near, spread, shard_size
    )


def qwen2(
    folder: Path,
    *,
    seed: int,
    layers: int = 2,
    vocabulary: Sequence[str] = VOCABULARY,
    dtype: torch.dtype = torch.float32,
    tied: bool = True,
    near: Path | None = None,
    spread: float = 0.02,
) -> Path:
    """Save a random Qwen2: biases on attention, tied head by default."""
    config = Qwen2Config(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    return _save(Qwen2ForCausalLM, config, folder, seed, vocabulary, dtype, near, spread, "50GB")


def gpt2(
    folder: Path,
    *,
    seed: int,
    layers: int = 2,
    vocabulary: Sequence[str] = VOCABULARY,
    dtype: torch.dtype = torch.float32,
    near: Path | None = None,
    spread: float = 0.02,
) -> Path:
    """Save a random GPT-2: transposed linear layers, learned positions, tied head."""
    config = GPT2Config(
        vocab_size=len(vocabulary),
        n_embd=32,
        n_layer=layers,
        n_head=4,
        n_positions=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    return _save(GPT2LMHeadModel, config, folder, seed, vocabulary, dtype, near, spread, "50GB")


def _save(cls, config, folder, seed, vocabulary, dtype, near, spread, shard_size) -> Path:
    generator = torch.Generator().manual_seed(seed)
    model = cls(config) if near is None else cls.from_pretrained(near, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if near is None:
                parameter.copy_(noise * 0.1 + (parameter.ndim == 1))
            else:
                parameter.add_(noise * spread)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard_size)
    tokenizer(vocabulary).save_pretrained(folder)
    return folder


def tokenizer(vocabulary: Sequence[str] = VOCABULARY) -> PreTrainedTokenizerFast:
    """Return a word-level tokenizer over `vocabulary`."""
    table = {token: index for index, token in enumerate(vocabulary)}
    inner = Tokenizer(models.WordLevel(table, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
