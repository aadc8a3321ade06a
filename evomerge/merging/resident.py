"""A merged model in memory, ready to be scored and merged into again."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evomerge.errors import CheckpointError
from evomerge.merging.engine import MergeEngine
from evomerge.merging.folder import generation_config_owner
from evomerge.merging.plan import Plan
from evomerge.merging.tokenizer import OutputTokenizer, load_tokenizer
from evomerge.recipe.model import Recipe


@dataclass(frozen=True, slots=True)
class Resident:
    """A transformers module and its tokenizer.

    Attributes:
        module: in eval mode, without gradients.
        tokenizer: None for models that have none.
    """

    module: Any
    tokenizer: Any


def load_resident(
    engine: MergeEngine, recipe: Recipe, *, device: str | torch.device = "cpu"
) -> Resident:
    """Build the transformers module of a recipe and merge the recipe into it.

    The module is built from the recipe's output configuration without initial weights, so the
    models' files are read once, by the merge. Code shipped with a model is never run.

    Args:
        engine: that merges.
        recipe: what to merge; other recipes of the same configuration may follow by
            `MergeEngine.apply`.
        device: where the module lives.

    Raises:
        RecipeError, CheckpointError, PluginError, NonFiniteMerge: see `MergeEngine.apply`.
    """
    plan = engine.check(recipe)
    module = build_module(dict(plan.config), device)
    _take_generation_config(plan, module)
    engine.apply(recipe, module)
    return Resident(module, output_tokenizer(plan.tokenizer))


def build_module(config: dict[str, Any], device: str | torch.device) -> nn.Module:
    """Build a module from config.json: right buffers and dtype, weights not yet set.

    Raises:
        CheckpointError: transformers does not know the architecture.
    """
    import transformers  # noqa: PLC0415 -- seconds to import
    from transformers.initialization import no_init_weights  # noqa: PLC0415

    kind = config.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        raise CheckpointError(
            f"model_type {kind!r} is unknown to transformers {transformers.__version__}; models "
            "that bring their own code are not supported"
        )
    settings = transformers.CONFIG_MAPPING[kind].from_dict(config)
    architecture = next(iter(config.get("architectures") or ()), None)
    dtype = getattr(torch, config.get("dtype", "float32"))
    with no_init_weights(), torch.device(device):
        if architecture is None:
            module = transformers.AutoModelForCausalLM.from_config(settings, dtype=dtype)
        else:
            cls = getattr(transformers, architecture, None)
            if cls is None:
                raise CheckpointError(
                    f"architecture '{architecture}' is unknown to transformers "
                    f"{transformers.__version__}; models that bring their own code are not "
                    "supported"
                )
            module = cls._from_config(settings, dtype=dtype)
    module.tie_weights()  # part of the initialisation that was skipped
    module.requires_grad_(False)
    result: nn.Module = module.eval()
    return result


def _take_generation_config(plan: Plan, module: Any) -> None:
    """Let a module end its answers, and bias them, as the written checkpoint does."""
    import transformers  # noqa: PLC0415 -- seconds to import

    folder = generation_config_owner(plan).folder
    if (folder / "generation_config.json").is_file():
        module.generation_config = transformers.GenerationConfig.from_pretrained(folder)


def output_tokenizer(tokenizer: OutputTokenizer) -> Any:
    """Load the tokenizer of a merged model; None where there is none."""
    if not tokenizer.replaced:
        return load_tokenizer(tokenizer.folder)
    with tempfile.TemporaryDirectory(prefix="evomerge-tokenizer-") as folder:
        tokenizer.write(Path(folder))
        return load_tokenizer(Path(folder))
