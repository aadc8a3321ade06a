"""LoRA adapters in PEFT's file format, read as low-rank task vectors over a base.

Hu et al. 2021, arXiv 2106.09685: W' = W + s B A, with s = alpha / r, or alpha / sqrt(r) when rank
stabilised (Kalajdzievski 2023, arXiv 2312.03732). Only A and B are held; W' exists for one tensor
at a time.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.errors import CheckpointError
from evomerge.merging.checkpoint import ADAPTER_CONFIG, Checkpoint, read_json, update_digest
from evomerge.merging.safetensors_file import SafetensorsFile

ADAPTER_WEIGHTS = "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
_FACTOR = re.compile(r"^(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(\.weight)?$")
# Settings that change what the factors mean; each would be merged wrongly, so each is refused.
_REFUSED = (
    "use_dora",
    "lora_bias",
    "target_parameters",
    "trainable_token_indices",
    "layer_replication",
    "megatron_config",
    "use_qalora",
)
_REWRITING_INITS = ("pissa", "olora", "corda", "loftq")


@dataclass(frozen=True, slots=True)
class LowRank:
    """What a LoRA adds to one tensor.

    Attributes:
        module: the adapted module, as PEFT names it inside the base model.
        a: shape (rank, in), floating point.
        b: shape (out, rank).
        scale: s of s B A.
        embedding: the module is an embedding.
        transposed: the tensor is stored as (in, out), so (s B A)^T is added.
    """

    module: str
    a: Tensor
    b: Tensor
    scale: float
    embedding: bool
    transposed: bool

    def delta(self) -> Tensor:
        """Return what is added, in the shape of the tensor."""
        delta = (self.b @ self.a) * self.scale
        return delta.T if self.transposed else delta


class AdaptedCheckpoint:
    """A checkpoint with a LoRA adapter on top of it.

    Args:
        base: the model the adapter was trained on.
        folder: holds adapter_config.json and adapter_model.safetensors.
        label: how messages name it.

    Attributes:
        base: as given.
        settings: the content of adapter_config.json.

    Raises:
        CheckpointError: the adapter is of a kind that is not a plain LoRA, is damaged, or does
            not fit the base.
    """

    def __init__(self, base: Checkpoint, folder: Path, label: str) -> None:
        self.base = base
        self.label = label
        self.constant = base.constant
        where = folder / ADAPTER_CONFIG
        self.settings = read_json(where, f"adapter '{label}'")
        _refuse(self.settings, where)
        if not (folder / ADAPTER_WEIGHTS).is_file():
            raise CheckpointError(f"adapter '{label}': {folder / ADAPTER_WEIGHTS} is missing")
        self._file = SafetensorsFile(folder / ADAPTER_WEIGHTS)
        self._factors: dict[str, dict[str, str]] = {}
        self._replaced: dict[str, str] = {}
        for key in sorted(self._file.entries):
            self._sort(key)
        self.config = base.config
        self.names = base.names
        self.layout = base.layout
        self.folder = base.folder
        for name, factors in self._factors.items():
            self._check(name, factors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape, which is the base's."""
        return self.base.shape(name)

    def dtype(self, name: str) -> torch.dtype:
        """Return the dtype the model would be saved in, which is the base's."""
        return self.base.dtype(name)

    def tensor(self, name: str) -> Tensor:
        """Return the adapted tensor; float32 (float64 for a float64 base) where the LoRA acts."""
        # PEFT may store a whole embedding beside its factors; then the factors act on that.
        whole = self._replaced.get(name)
        base = self.base.tensor(name) if whole is None else self._file.tensor(whole)
        work = torch.promote_types(base.dtype, torch.float32)
        low_rank = self.low_rank(name, work)
        return base if low_rank is None else base.to(work) + low_rank.delta()

    def replaced(self) -> Iterator[str]:
        """Yield the tensors that the adapter stores whole and that are not the base's."""
        for name, key in self._replaced.items():
            own, base = self._file.tensor(key), self.base.tensor(name)
            if not torch.equal(own.to(base.dtype), base):
                yield name

    def adapts(self, name: str) -> bool:
        """Tell whether the adapter adds factors to a tensor."""
        return name in self._factors

    def low_rank(self, name: str, work: torch.dtype) -> LowRank | None:
        """Return the factors of a tensor in a dtype; None where the adapter has none."""
        if name not in self._factors:
            return None
        keys = self._factors[name]
        a, b = (self._file.tensor(keys[side]).to(work) for side in "AB")
        rank = a.shape[0]
        alpha = float(self._pattern("alpha_pattern", name, self.settings.get("lora_alpha", rank)))
        scale = alpha / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)
        embedding = "lora_embedding" in keys["A"]
        transposed = (
            bool(self.settings.get("fan_in_fan_out"))
            or embedding
            or (b.shape[0], a.shape[1]) != self.base.shape(name)
        )
        module = keys["A"].removeprefix(PEFT_PREFIX).rpartition(".lora_")[0]
        return LowRank(module, a, b, scale, embedding, transposed)

    def digest(self) -> str:
        """Return the sha256 over base digest, adapter settings that scale, and factors."""
        digest = hashlib.sha256(self.base.digest().encode())
        keys = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "fan_in_fan_out")
        settings = {key: self.settings.get(key) for key in keys}
        digest.update(json.dumps(settings, sort_keys=True).encode())
        for name in sorted(self._file.entries):
            update_digest(digest, name, self._file.tensor(name))
        return digest.hexdigest()

    def _sort(self, key: str) -> None:
        """File one adapter tensor under the base tensor it changes."""
        local = key.removeprefix(PEFT_PREFIX)
        match = _FACTOR.match(local)
        if match:
            self._factors.setdefault(self._target(f"{match['module']}.weight", key), {})[
                match["side"]
            ] = key
            return
        # Modules trained whole ('modules_to_save') come under their plain name.
        name = self._target(local.replace(".base_layer.", "."), key)
        if self._file.entries[key].shape != self.base.shape(name):
            raise CheckpointError(
                f"adapter '{self.label}': '{name}' has shape {self._file.entries[key].shape}, the "
                f"base {self.base.shape(name)}"
            )
        self._replaced[name] = key

    def _target(self, name: str, key: str) -> str:
        for candidate in (name, *_without_first(name)):
            if candidate in self.base.names:
                return candidate
        raise CheckpointError(
            f"adapter '{self.label}': '{key}' changes '{name}', which model "
            f"'{self.base.label}' does not have; is it the adapter's base?"
        )

    def _check(self, name: str, factors: Mapping[str, str]) -> None:
        if set(factors) != {"A", "B"}:
            raise CheckpointError(f"adapter '{self.label}': one factor of '{name}' is missing")
        shapes = [self._file.entries[factors[side]].shape for side in "AB"]
        if any(len(shape) != 2 for shape in shapes):
            raise CheckpointError(
                f"adapter '{self.label}': '{name}' has convolutional factors {shapes}; only "
                "linear and embedding layers are supported"
            )
        (rank, fan_in), (fan_out, rank_b) = shapes
        base = self.base.shape(name)
        if rank != rank_b or base not in ((fan_out, fan_in), (fan_in, fan_out)):
            raise CheckpointError(
                f"adapter '{self.label}': factors {shapes} do not fit '{name}' of shape {base}"
            )
        configured = self._pattern("rank_pattern", name, self.settings.get("r", rank))
        if configured != rank:
            raise CheckpointError(
                f"adapter '{self.label}': '{name}' has rank {rank}, its config says {configured}"
            )

    def _pattern(self, setting: str, name: str, default: Any) -> Any:
        """Look a module up in rank_pattern or alpha_pattern: keys are suffixes, or expressions."""
        module = name.removesuffix(".weight")
        for key, value in (self.settings.get(setting) or {}).items():
            if re.fullmatch(rf"(.*\.)?({key})", module):
                return value
        return default


def _without_first(name: str) -> Iterable[str]:
    """Names without a leading wrapper, for checkpoints saved without their head's prefix."""
    _, dot, rest = name.partition(".")
    return (rest,) if dot else ()


def _refuse(settings: Mapping[str, Any], where: Path) -> None:
    kind = settings.get("peft_type", "LORA")
    if kind != "LORA":
        raise CheckpointError(f"{where}: peft_type {kind} is not supported; only LORA is")
    for key in _REFUSED:
        if settings.get(key):
            raise CheckpointError(
                f"{where}: '{key}' is not supported; merge the adapter with PEFT and name the "
                "merged model instead"
            )
    if settings.get("bias", "none") != "none":
        raise CheckpointError(
            f"{where}: bias '{settings['bias']}' is not supported; only adapters with bias 'none'"
        )
    start = str(settings.get("init_lora_weights", "")).lower()
    if start.startswith(_REWRITING_INITS):
        raise CheckpointError(
            f"{where}: init_lora_weights '{start}' rewrites the base model; convert the adapter "
            "to a plain LoRA with PEFT first"
        )
