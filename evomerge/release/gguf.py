"""Does a folder have what llama.cpp's `convert_hf_to_gguf.py` needs? Checked without llama.cpp.

What the converter reads, and what is checked of it:

    architecture   config.json names one class; the converter knows models by it
    weights        model.safetensors, or shards whose index lists their tensors, no more, no less
    numbers        every tensor is float32, float16 or bfloat16, and nothing is quantised
    layers         numbered from 0 without gaps, as many as config.json says
    head           no head of its own where config.json ties it to the embeddings
    vocabulary     embeddings have `vocab_size` rows, and every token has a number below it
    tokenizer      tokenizer.model, or a tokenizer.json of a kind the converter has code for
    files          no code, no pickles, no other weights in the way

Not checked here, because only the converter knows it: whether it supports the architecture
(`--print-supported-models`) and, of byte-level BPE, the rule that splits words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evomerge.errors import UserError
from evomerge.merging.checkpoint import FileCheckpoint
from evomerge.merging.model_config import DEPTH_KEYS, text_section
from evomerge.merging.tokenizer import vocabulary
from evomerge.recipe.layout import part_of

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
_IN_THE_WAY = ("*.py", "*.bin", "*.pt", "*.pth", "*.gguf", "consolidated*.safetensors")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the converter needs.

    Attributes:
        what: in a word.
        missing: what is wrong; None where it is there.
    """

    what: str
    missing: str | None


def gguf_findings(folder: Path) -> tuple[Finding, ...]:
    """Check an exported checkpoint; one finding for each line of the list above.

    Raises:
        CheckpointError: the folder is no checkpoint.
    """
    checkpoint = FileCheckpoint(folder, str(folder))
    checks: Mapping[str, Callable[[FileCheckpoint], str | None]] = {
        "architecture": _architecture,
        "weights": _weights,
        "numbers": _numbers,
        "layers": _layers,
        "head": _head,
        "vocabulary": _vocabulary,
        "tokenizer": _tokenizer,
        "files": _files,
    }
    return tuple(Finding(what, check(checkpoint)) for what, check in checks.items())


def gguf_summary(findings: tuple[Finding, ...]) -> str:
    """Say in one line whether the converter has what it needs."""
    missing = [f"{one.what}: {one.missing}" for one in findings if one.missing]
    if missing:
        return f"not ready: {'; '.join(missing)}"
    return "ready for convert_hf_to_gguf.py, if it knows the architecture and the tokenizer"


def _architecture(checkpoint: FileCheckpoint) -> str | None:
    names = checkpoint.config.get("architectures")
    if names and isinstance(names, list) and len(names) == 1:
        return None
    return "config.json must name one class in 'architectures'"


def _weights(checkpoint: FileCheckpoint) -> str | None:
    files = {path.name for path in checkpoint.folder.glob("model*.safetensors")}
    index = checkpoint.folder / "model.safetensors.index.json"
    if not index.is_file():
        return None if files == {"model.safetensors"} else f"{sorted(files)} need an index"
    listed: Mapping[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    strangers = files ^ set(listed.values())
    if strangers:
        return f"{min(strangers)} is not both in the index and in the folder"
    from safetensors import safe_open  # noqa: PLC0415

    for file in sorted(files):
        with safe_open(checkpoint.folder / file, "pt") as opened:
            own = {name for name, place in listed.items() if place == file}
            odd = own ^ set(opened.keys())
        if odd:
            return f"tensor '{min(odd)}' is not both in the index and in {file}"
    return None


def _numbers(checkpoint: FileCheckpoint) -> str | None:
    for name in checkpoint.names:
        if checkpoint.dtype(name) not in _FLOATS:
            return f"tensor '{name}' is {checkpoint.dtype(name)}".replace("torch.", "")
    return None


def _layers(checkpoint: FileCheckpoint) -> str | None:
    section = text_section(dict(checkpoint.config))
    depth = next((section[key] for key in DEPTH_KEYS if key in section), None)
    found = {checkpoint.layout.layer_of(name) for name in checkpoint.names} - {None}
    if depth is None or found == set(range(depth)):
        return None
    return f"config.json says {depth} layers, the tensors have {len(found)}"


def _head(checkpoint: FileCheckpoint) -> str | None:
    head = [
        name
        for name in checkpoint.names
        if part_of(name) == "head" and checkpoint.layout.layer_of(name) is None
    ]
    if checkpoint.config.get("tie_word_embeddings") and head:
        return f"'{head[0]}' is stored although config.json ties it to the embeddings"
    return None


def _vocabulary(checkpoint: FileCheckpoint) -> str | None:
    size = text_section(dict(checkpoint.config)).get("vocab_size")
    if size is None:
        return "config.json has no vocab_size"
    for name in checkpoint.names:
        if name.endswith(_EMBEDDINGS) and checkpoint.shape(name)[0] != size:
            return f"'{name}' has {checkpoint.shape(name)[0]} rows, config.json says {size}"
    try:
        numbers = vocabulary(checkpoint).values()
    except UserError:
        return None  # told once, of the tokenizer
    last = max(numbers, default=0)
    return None if last < size else f"token {last} is beyond vocab_size {size}"


def _tokenizer(checkpoint: FileCheckpoint) -> str | None:
    folder = checkpoint.folder
    if (folder / "tokenizer.model").is_file():
        return None
    file = folder / "tokenizer.json"
    if not file.is_file():
        return "neither tokenizer.json nor tokenizer.model is there"
    content = json.loads(file.read_text(encoding="utf-8"))
    model = content.get("model") or {}
    kind = model.get("type")
    known = (kind == "BPE" and (model.get("byte_fallback") or "ByteLevel" in _types(content))) or (
        kind in ("WordPiece", "Unigram") and not _is_decoder(checkpoint.config)
    )
    if known:
        return None
    return (
        f"tokenizer.json is {kind or 'of no kind'} without bytes; the converter takes byte-level "
        "BPE, BPE with byte fallback, and WordPiece or Unigram for encoders"
    )


def _types(content: Mapping[str, Any]) -> set[str]:
    """Collect the kinds of pre-tokenizers and decoders."""
    return set(_walk([content.get("pre_tokenizer"), content.get("decoder")]))


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _walk(one)
    elif isinstance(value, dict):
        yield str(value.get("type"))
        for one in value.values():
            yield from _walk(one)


def _is_decoder(config: Mapping[str, Any]) -> bool:
    return any("CausalLM" in name for name in config.get("architectures") or ())


def _files(checkpoint: FileCheckpoint) -> str | None:
    found = sorted(path.name for pattern in _IN_THE_WAY for path in checkpoint.folder.glob(pattern))
    return f"{found[0]} is in the way" if found else None
