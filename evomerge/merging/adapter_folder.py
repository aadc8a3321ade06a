"""A LoRA adapter in PEFT's file format, written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from evomerge.merging.adapter import ADAPTER_WEIGHTS, PEFT_PREFIX
from evomerge.merging.checkpoint import ADAPTER_CONFIG
from evomerge.merging.low_rank import Update
from evomerge.merging.safetensors_file import SafetensorsWriter
from evomerge.recipe.model import ModelRef


@dataclass(frozen=True, slots=True)
class WrittenAdapter:
    """What was written.

    Attributes:
        ranks: rank by module.
        size: squared norm of all task vectors together; 0 where nothing was to be cut off.
        lost: squared norm of what was cut off.
    """

    ranks: Mapping[str, int]
    size: float = 0.0
    lost: float = 0.0

    @property
    def is_exact(self) -> bool:
        """Whether nothing was cut off."""
        return self.lost == 0

    @property
    def error(self) -> float:
        """Norm of what was cut off, over that of all task vectors."""
        return (self.lost / self.size) ** 0.5 if self.lost else 0.0

    @property
    def rank(self) -> int:
        """The largest rank."""
        return max(self.ranks.values())


def write_adapter(
    folder: Path, updates: Iterable[Update], base: ModelRef, like: Mapping[str, Any]
) -> WrittenAdapter:
    """Write adapter_config.json and adapter_model.safetensors.

    Scales are part of the factors: alpha equals the rank everywhere. Modules are named in full, so
    the adapter acts on these and no others.

    Args:
        folder: an existing one.
        updates: at least one, each tensor once.
        base: the base model, where PEFT is to find it.
        like: settings of an adapter that goes into it, for what does not follow from the factors.
    """
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    size = lost = 0.0
    for update in updates:
        low = update.low_rank
        for side, factor in (("A", low.a), ("B", low.b)):
            kind = f"lora_embedding_{side}" if low.embedding else f"lora_{side}.weight"
            tensors[f"{PEFT_PREFIX}{low.module}.{kind}"] = factor
        ranks[low.module] = low.a.shape[0]
        size += update.size
        lost += update.lost
    rank, _ = Counter(ranks.values()).most_common(1)[0]
    others = {module: own for module, own in sorted(ranks.items()) if own != rank}
    config = {
        "peft_type": "LORA",
        "task_type": like.get("task_type"),
        "base_model_name_or_path": base.path,
        "revision": base.revision,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": sorted(ranks),
        "fan_in_fan_out": bool(like.get("fan_in_fan_out")),
        "lora_dropout": 0.0,
        "bias": "none",
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
    }
    specs = [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()]
    with SafetensorsWriter(folder / ADAPTER_WEIGHTS, specs) as writer:
        for name, _, _ in writer.layout:
            writer.write(name, tensors[name])
    text = json.dumps(config, indent=2)
    (folder / ADAPTER_CONFIG).write_text(f"{text}\n", encoding="utf-8")
    return WrittenAdapter(ranks, size, lost)
