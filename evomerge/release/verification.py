"""Is what was written the model that was evaluated? Read back from disk and compared.

The evaluated model is merged again in memory, as a worker does for hold-out items, on the CPU and
in the dtype it was scored in. What was written is then opened by fresh objects of transformers (or
PEFT). A checkpoint must have the same bits in every tensor and in the logits of every sample, and a
tokenizer that gives the same tokens. Where floating-point numbers are not added up in the same
order (a layer path run on its donors, an adapter beside its base) the relative difference of the
logits is measured instead, and must stay below a stated bound.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.errors import CheckpointError
from evomerge.merging import MergeEngine, PathExecutor, load_resident
from evomerge.merging.adapter import AdaptedCheckpoint
from evomerge.merging.checkpoint import FileCheckpoint, resolve_folder
from evomerge.merging.tokenizer import load_tokenizer
from evomerge.recipe import ModelRef, Recipe, Source
from evomerge.release.comparison import (
    Difference,
    compare_adapted,
    compare_bits,
    compare_tensors,
    compare_tokenizers,
    difference,
    failure,
)
from evomerge.release.samples import Question, Samples, answers, ask
from evomerge.release.task import task_of

ADAPTER_BOUND = 1e-4
"""Relative difference of the logits allowed between base with adapter and merge, in float32."""

FOLD_BOUND = {torch.float64: 0.01, torch.float32: 0.01, torch.bfloat16: 0.1, torch.float16: 0.1}
"""Relative difference of the logits allowed between a layer path and its folded weights.

Folding is exact algebra but for the eps of norms, which see another size of the hidden state, and
for rounding, which in 16 bits is felt."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found to be the same.

    Attributes:
        tensors: how many were compared, bit for bit.
        asked: how many samples the logits were compared for, bit for bit.
        origin: what the samples are.
        dtype: in which it was compared.
        loader: the class that loaded it.
        differences: what was compared up to rounding.
    """

    tensors: int
    asked: int
    origin: str
    dtype: str
    loader: str
    differences: tuple[Difference, ...] = ()

    @property
    def sentence(self) -> str:
        """What was found, for readers."""
        logits = (
            f"the logits of {self.asked} samples ({self.origin})"
            if self.asked
            else "no logits (no sample inputs are known for this kind of model)"
        )
        text = (
            f"{self.tensors} tensors and {logits} equal the evaluated model bit for bit, reloaded "
            f"with {self.loader} in {self.dtype} on the CPU"
        )
        return "; ".join([text, *map(str, self.differences)])


def verify_checkpoint(
    engine: MergeEngine, recipe: Recipe, folder: Path, samples: Samples
) -> Verified:
    """Compare a written checkpoint with the evaluated model.

    One of the two is in memory at a time; tensors are compared while they are read.

    Raises:
        VerificationError: they differ, or the folder cannot be loaded; the message says where.
    """
    evaluated = load_resident(engine, recipe)
    asked, expected = ask(evaluated.module, evaluated.tokenizer, samples)
    try:
        n_tensors = compare_tensors(evaluated.module, FileCheckpoint(folder, str(folder)))
        compare_tokenizers(evaluated.tokenizer, load_tokenizer(folder), samples.prompts)
    except CheckpointError as error:
        raise failure(str(error)) from error
    dtype = str(evaluated.module.dtype).removeprefix("torch.")
    del evaluated
    gc.collect()
    task = task_of(engine.config(recipe))
    loaded = reload(task.auto_class, folder)
    for question, logits, got in zip(asked, expected, answers(loaded, asked), strict=True):
        compare_bits(f"the logits of {question.what}", got, logits)
    del loaded
    gc.collect()
    differences = () if recipe.path is None else (_folding(engine, recipe, asked, expected),)
    return Verified(n_tensors, len(asked), samples.origin, dtype, task.auto_class, differences)


def verify_adapter(
    engine: MergeEngine,
    recipe: Recipe,
    base: ModelRef,
    folder: Path,
    samples: Samples,
    *,
    is_exact: bool,
) -> str:
    """Compare a written adapter on its base with the evaluated model, both in float32.

    PEFT loads it where it is installed; otherwise it is added by the formula, as a donor would be.

    Args:
        engine: merges the evaluated model.
        recipe: of the evaluated model.
        base: what the adapter sits on.
        folder: what was written.
        samples: what is asked.
        is_exact: whether it must be the evaluated model; otherwise the difference is only told.

    Returns:
        What was found, for readers.

    Raises:
        VerificationError: they differ by more than rounding, or the folder cannot be loaded.
    """
    wide = recipe.model_copy(update={"out_dtype": "float32"})
    evaluated = load_resident(engine, wide)
    asked, expected = ask(evaluated.module, evaluated.tokenizer, samples)
    try:
        written = AdaptedCheckpoint(engine.open(base), folder, str(folder))
        if is_exact:
            compare_adapted(evaluated.module, written)
        if engine.check(wide).tokenizer.files():
            compare_tokenizers(evaluated.tokenizer, load_tokenizer(folder), samples.prompts)
    except CheckpointError as error:
        raise failure(str(error)) from error
    del evaluated
    gc.collect()
    by, module = _adapted(engine, wide, base, folder)
    what = f"base and adapter together, loaded by {by} in float32, against the evaluated model"
    bound = ADAPTER_BOUND if is_exact else None
    return str(difference(what, answers(module, asked), expected, bound))


def reload(auto_class: str, folder: Path, dtype: torch.dtype | str = "auto") -> Any:
    """Load a checkpoint by a class of transformers; everything in it must have found its place.

    Raises:
        VerificationError: it cannot be loaded, or tensors are missing, left over or misshapen.
    """
    import transformers  # noqa: PLC0415 -- seconds to import

    try:
        with _without_progress_bar():
            module, report = getattr(transformers, auto_class).from_pretrained(
                str(folder),
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise failure(f"transformers.{auto_class} cannot load it: {line}") from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(kind):
            raise failure(
                f"transformers.{auto_class} finds {kind.replace('_', ' ')}: "
                f"{', '.join(map(str, sorted(report[kind])[:3]))}"
            )
    return module.requires_grad_(False).eval()


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    from transformers.utils import logging  # noqa: PLC0415 -- seconds to import

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _adapted(engine: MergeEngine, recipe: Recipe, base: ModelRef, folder: Path) -> tuple[str, Any]:
    """Load an adapter on its base; returns by what and the module."""
    origin = resolve_folder(base.path, base.revision)
    if find_spec("peft") is None or not any(origin.glob("*.safetensors")):
        ref = base.model_copy(update={"adapter": str(folder)})
        alone = Recipe(merge_method="passthrough", models=(Source(model=ref),), out_dtype="float32")
        return "evomerge, by LoRA's formula,", load_resident(engine, alone).module
    from peft import PeftModel  # noqa: PLC0415 -- optional, and slow to import

    module = reload(task_of(engine.config(recipe)).auto_class, origin, torch.float32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT's own, of what it calls in transformers
            return "peft", PeftModel.from_pretrained(module, str(folder)).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise failure(f"PEFT cannot load it: {line}") from error


def _folding(
    engine: MergeEngine, recipe: Recipe, asked: Sequence[Question], expected: Sequence[Tensor]
) -> Difference:
    """Compare folded weights with the path that the search ran on its donors."""
    path = PathExecutor(engine).load(recipe).module
    bound = FOLD_BOUND[path.dtype]
    return difference("the path run on its donors", answers(path, asked), expected, bound)
