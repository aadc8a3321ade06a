"""A model folder, written so that it exists whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from evomerge.errors import UserError
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.compute import require_finite
from evomerge.merging.confinement import require_own
from evomerge.merging.plan import Plan, TensorMerge
from evomerge.merging.safetensors_file import SafetensorsWriter

_SIDE_FILES = ("generation_config.json", "preprocessor_config.json", "processor_config.json")


def write_folder(
    plan: Plan,
    directory: Path,
    compute: Callable[[TensorMerge], Tensor],
    *,
    shard_bytes: int,
    extra_files: Mapping[str, str | bytes],
) -> None:
    """Write a merged model beside its destination, then rename it into place.

    Whatever stops the writing (an error, a kill, a power cut) leaves at most a hidden sibling
    named '.<name>.partial-<random>'. One tensor is in memory at a time.

    Args:
        plan: the compiled recipe.
        directory: must not exist.
        compute: merges one tensor.
        shard_bytes: upper size of one weights file; a larger tensor gets its own.
        extra_files: file name to content, written last.

    Raises:
        UserError: the destination exists, cannot be written, or the disk is full.
        NonFiniteMerge: a tensor holds inf or NaN.
    """
    if directory.exists():
        raise UserError(f"{directory} exists already; name a new folder or remove it first")
    for name in extra_files:
        if Path(name).name != name:
            raise UserError(f"extra file '{name}' must be a plain file name")
    directory = directory.absolute()
    partial = directory.parent / f".{directory.name}.partial-{uuid.uuid4().hex[:8]}"
    try:
        partial.mkdir(parents=True)
        _write_weights(plan, partial, compute, shard_bytes)
        _copy_files(plan, partial)
        for name, content in extra_files.items():
            _write(partial / name, content.encode() if isinstance(content, str) else content)
        config = json.dumps(plan.config, indent=2, ensure_ascii=False)
        _write(partial / "config.json", f"{config}\n".encode())
        _sync_folder(partial)
        if directory.exists():
            raise UserError(f"{directory} was created meanwhile; name a new folder")
        partial.rename(directory)
        _sync_folder(directory.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{directory}: the disk is full; the model needs about {_size(plan):,} bytes"
            ) from error
        raise UserError(f"{directory}: cannot be written: {error.strerror or error}") from error
    finally:
        _discard(partial)


def _write_weights(
    plan: Plan, folder: Path, compute: Callable[[TensorMerge], Tensor], shard_bytes: int
) -> None:
    shards = list(_shards(plan.tensors.values(), shard_bytes))
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = "model.safetensors"
        if len(shards) > 1:
            name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        specs = [(merge.name, merge.out, merge.shape) for merge in shard]
        with SafetensorsWriter(folder / name, specs) as writer:
            for tensor_name, _, _ in writer.layout:
                tensor = compute(plan.tensors[tensor_name])
                require_finite(tensor_name, tensor)
                writer.write(tensor_name, tensor)
                weight_map[tensor_name] = name
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": _size(plan)},
            "weight_map": dict(sorted(weight_map.items())),
        }
        _write(folder / "model.safetensors.index.json", json.dumps(index, indent=2).encode())


def _shards(merges: Iterable[TensorMerge], limit: int) -> Iterable[list[TensorMerge]]:
    shard: list[TensorMerge] = []
    used = 0
    for merge in merges:
        size = torch.Size(merge.shape).numel() * merge.out.itemsize
        if shard and used + size > limit:
            yield shard
            shard, used = [], 0
        shard.append(merge)
        used += size
    if shard:
        yield shard


def _size(plan: Plan) -> int:
    return sum(
        torch.Size(merge.shape).numel() * merge.out.itemsize for merge in plan.tensors.values()
    )


def _copy_files(plan: Plan, folder: Path) -> None:
    owner = generation_config_owner(plan)
    for name in _SIDE_FILES:
        source = (owner if name == "generation_config.json" else plan.reference).folder / name
        require_own(source)
        if source.is_file():
            _write(folder / name, source.read_bytes())
    for name, content in plan.tokenizer.files().items():
        _write(folder / name, content)


def generation_config_owner(plan: Plan) -> Checkpoint:
    """Return the checkpoint whose generation_config.json goes with the merged model."""
    return plan.tokenizer.owner or plan.reference


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(partial: Path) -> None:
    with suppress(OSError):
        shutil.rmtree(partial)
