"""A merged model in memory, ready to be scored and merged into again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evomerge.errors import CheckpointError
from evomerge.merging.confinement import require_own
from evomerge.merging.engine import MergeEngine
from evomerge.merging.folder import generation_config_owner
from evomerge.merging.own_code import names_own_code, own_classes
from evomerge.merging.plan import Plan
from evomerge.merging.spread import Placement, spread
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
    engine: MergeEngine,
    recipe: Recipe,
    *,
    device: str | torch.device = "cpu",
    placement: Placement | None = None,
) -> Resident:
    """Build the transformers module of a recipe and merge the recipe into it.

    The module is built from the recipe's output configuration without initial weights, so the
    models' files are read once, by the merge. Code shipped with a model is run only where the
    engine trusts it.

    Args:
        engine: that merges.
        recipe: what to merge; other recipes of the same configuration may follow by
            `MergeEngine.apply`.
        device: where the module lives.
        placement: where it lives instead, if one device is not enough; see `spread`.

    Raises:
        RecipeError, CheckpointError, PluginError, NonFiniteMerge: see `MergeEngine.apply`.
        UserError: the model does not fit where it may be placed.
    """
    plan = engine.check(recipe)
    config = dict(plan.config)
    if names_own_code(plan.reference.config):  # which no written model does
        config["auto_map"] = plan.reference.config["auto_map"]
    code = engine.trusted_code(plan.reference.folder)
    if placement is None or not placement.is_spread:
        module = build_module(config, device, code)
    else:
        module = spread(build_module(config, None, code), placement)
    _take_generation_config(plan, module)
    engine.apply(recipe, module)
    run_code = engine.trusted_code(plan.tokenizer.folder) is not None
    return Resident(module, output_tokenizer(plan.tokenizer, run_code=run_code))


def build_module(
    config: dict[str, Any], device: str | torch.device | None, code: Path | None = None
) -> nn.Module:
    """Build a module from config.json: right buffers and dtype, weights not yet set.

    Args:
        config: its content.
        device: where it is built; None leaves the weights on the meta device, buffers being real.
        code: a folder with the model's own code, which is trusted; it is taken where the
            configuration names classes of it.

    Raises:
        CheckpointError: transformers does not know the architecture.
    """
    dtype = getattr(torch, config.get("dtype", "float32"))
    if code is not None and names_own_code(config):
        of_config, of_model = own_classes(config, code)
        with _empty(device):
            return _ready(of_model._from_config(of_config.from_dict(config), dtype=dtype))
    import transformers  # noqa: PLC0415 -- seconds to import

    kind = config.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        raise CheckpointError(_unknown(f"model_type {kind!r}", config))
    settings = transformers.CONFIG_MAPPING[kind].from_dict(config)
    architecture = next(iter(config.get("architectures") or ()), None)
    with _empty(device):
        if architecture is None:
            module = transformers.AutoModelForCausalLM.from_config(settings, dtype=dtype)
        else:
            cls = getattr(transformers, architecture, None)
            if cls is None:
                raise CheckpointError(_unknown(f"architecture '{architecture}'", config))
            module = cls._from_config(settings, dtype=dtype)
    return _ready(module)


@contextmanager
def _empty(device: str | torch.device | None) -> Iterator[None]:
    """While entered, modules are built on a device and get no first weights."""
    from transformers.initialization import no_init_weights  # noqa: PLC0415 -- seconds to import

    if device is None:
        from accelerate import init_empty_weights  # noqa: PLC0415 -- an extra

        built: AbstractContextManager[Any] = init_empty_weights(include_buffers=False)
    else:
        built = torch.device(device)
    with no_init_weights(), built:
        yield


def _ready(module: Any) -> nn.Module:
    module.tie_weights()  # part of the initialisation that was skipped
    module.requires_grad_(False)
    result: nn.Module = module.eval()
    return result


def _unknown(what: str, config: Mapping[str, Any]) -> str:
    import transformers  # noqa: PLC0415 -- seconds to import

    cure = "another version may know it"
    if names_own_code(config):
        cure = (
            "the model brings its own code: read it, and name the model in "
            "models.trust_remote_code of the study to let it run"
        )
    return f"{what} is unknown to transformers {transformers.__version__}; {cure}"


def _take_generation_config(plan: Plan, module: Any) -> None:
    """Let a module end its answers, and bias them, as the written checkpoint does."""
    import transformers  # noqa: PLC0415 -- seconds to import

    folder = generation_config_owner(plan).folder
    require_own(folder / "generation_config.json")
    if (folder / "generation_config.json").is_file():
        module.generation_config = transformers.GenerationConfig.from_pretrained(folder)


def output_tokenizer(tokenizer: OutputTokenizer, *, run_code: bool = False) -> Any:
    """Load the tokenizer of a merged model; None where there is none."""
    if not tokenizer.replaced:
        return load_tokenizer(tokenizer.folder, run_code=run_code)
    with tempfile.TemporaryDirectory(prefix="evomerge-tokenizer-") as folder:
        tokenizer.write(Path(folder))
        return load_tokenizer(Path(folder))
