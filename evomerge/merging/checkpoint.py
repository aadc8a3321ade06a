"""Model files on disk, opened lazily.

`open_checkpoint` resolves a reference (local folder or hub id, with or without a LoRA adapter) to
a `Checkpoint`: configuration, names, shapes and dtypes at once, tensors only when asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from torch import Tensor

from evomerge.errors import CheckpointError, nearest
from evomerge.merging.confinement import require_own
from evomerge.merging.safetensors_file import DTYPES, SafetensorsFile
from evomerge.recipe.layout import Layout, ParameterCounts
from evomerge.recipe.model import ModelRef

ADAPTER_CONFIG = "adapter_config.json"
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_PICKLES = ("pytorch_model*.bin", "model*.pt", "*.pth")
_WHAT_LOADS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
_CODES = {dtype: code for code, dtype in DTYPES.items()}


class Checkpoint(Protocol):
    """Something tensors can be read from, by name: files, files plus adapter, a nested merge."""

    @property
    def label(self) -> str:
        """How messages name it."""
        ...

    @property
    def constant(self) -> bool:
        """Whether it outlives a merge: files do, the result of a nested recipe does not."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """The content of config.json."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor name, sorted."""
        ...

    @property
    def layout(self) -> Layout:
        """The layer structure of `names`."""
        ...

    @property
    def folder(self) -> Path:
        """The folder with tokenizer and generation files."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the tensor of a name without reading it."""
        ...

    def dtype(self, name: str) -> torch.dtype:
        """Return the stored dtype of the tensor of a name without reading it."""
        ...

    def tensor(self, name: str) -> Tensor:
        """Return a tensor by its name, to be treated as read-only."""
        ...

    def digest(self) -> str:
        """Return the sha256 that identifies the content."""
        ...


class FileCheckpoint:
    """A model folder: config.json and safetensors files (or, if allowed, pickles).

    Args:
        folder: a local folder.
        label: how messages name it.
        allow_pickle: read .bin, .pt and .pth files with torch's weights-only unpickler.

    Raises:
        CheckpointError: the folder, its configuration or its weights are missing or damaged.
    """

    def __init__(self, folder: Path, label: str, *, allow_pickle: bool = False) -> None:
        self.folder = folder
        self.label = label
        self.constant = True
        if not folder.is_dir():
            raise CheckpointError(f"model '{label}': folder {folder} does not exist")
        self.config: Mapping[str, Any] = read_json(folder / "config.json", f"model '{label}'")
        if "quantization_config" in self.config:
            raise CheckpointError(
                f"model '{label}' is quantised ({folder / 'config.json'}); merging needs plain "
                "weights: dequantise and save it first"
            )
        self._files: dict[str, SafetensorsFile] = {}
        self._loaded: dict[str, Tensor] = {}
        self._open(allow_pickle)
        self.names = tuple(sorted({*self._files, *self._loaded}))
        self.layout = Layout.of(self.names, str(self.config.get("model_type", "")))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the tensor of a name without reading it."""
        if name in self._files:
            return self._files[name].entries[name].shape
        return tuple(self._pickled(name).shape)

    def dtype(self, name: str) -> torch.dtype:
        """Return the stored dtype of the tensor of a name without reading it."""
        if name in self._files:
            return self._files[name].entries[name].dtype
        return self._pickled(name).dtype

    def tensor(self, name: str) -> Tensor:
        """Return a tensor as a view of the mapped file: read-only by agreement."""
        if name in self._files:
            return self._files[name].tensor(name)
        return self._pickled(name)

    def digest(self) -> str:
        r"""Return the sha256 of the weights, whatever the folder, the shards or the file format.

        It is taken over the tensors in order of their names: the line
        ``["name","BF16",[rows,columns]]\n`` and then the elements, little-endian, row by row.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for name in self.names:
            update_digest(digest, name, self.tensor(name))
        return digest.hexdigest()

    def _pickled(self, name: str) -> Tensor:
        if name not in self._loaded:
            raise CheckpointError(
                f"model '{self.label}' has no tensor '{name}'; {nearest(name, self.names)}"
            )
        return self._loaded[name]

    def _open(self, allow_pickle: bool) -> None:
        index = self.folder / _INDEX
        if index.is_file():
            self._open_shards(index)
        elif (self.folder / _SINGLE).is_file():
            file = SafetensorsFile(self.folder / _SINGLE)
            self._files = dict.fromkeys(file.entries, file)
        else:
            self._open_pickles(allow_pickle)

    def _open_shards(self, index: Path) -> None:
        weight_map = read_json(index, f"model '{self.label}'").get("weight_map")
        if not isinstance(weight_map, dict):
            raise CheckpointError(f"{index}: 'weight_map' is missing; download the model again")
        files: dict[str, SafetensorsFile] = {}
        for name, shard in weight_map.items():
            if not isinstance(shard, str) or Path(shard).name != shard:
                raise CheckpointError(
                    f"{index}: tensor '{name}' points outside the folder ({shard!r}); refused"
                )
            if shard not in files:
                files[shard] = SafetensorsFile(self.folder / shard)
            if name not in files[shard].entries:
                raise CheckpointError(f"{index}: tensor '{name}' is not in {shard}")
            self._files[name] = files[shard]

    def _open_pickles(self, allow_pickle: bool) -> None:
        pickles = sorted({path for pattern in _PICKLES for path in self.folder.glob(pattern)})
        if not pickles:
            raise CheckpointError(
                f"model '{self.label}': no weights in {self.folder}; expected {_SINGLE} or {_INDEX}"
            )
        if not allow_pickle:
            raise CheckpointError(
                f"model '{self.label}': {pickles[0].name} is a pickle, which can run code; convert "
                "it to safetensors or set allow_pickle"
            )
        for path in pickles:
            try:
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except UnpicklingError as error:
                raise CheckpointError(
                    f"{path}: refused by the weights-only unpickler: {str(error).splitlines()[0]}"
                ) from error
            except (RuntimeError, OSError, EOFError, ValueError) as error:
                raise CheckpointError(f"{path}: damaged: {str(error).splitlines()[0]}") from error
            if not isinstance(content, dict):
                raise CheckpointError(f"{path}: holds no state dict; save the model's state_dict()")
            tensors = {name: value for name, value in content.items() if torch.is_tensor(value)}
            self._loaded.update(tensors)


def open_checkpoint(
    ref: ModelRef, *, allow_pickle: bool = False, base: Checkpoint | None = None
) -> Checkpoint:
    """Open what a reference names; no tensor is read.

    Args:
        ref: a local folder or a hub id, optionally with a LoRA adapter.
        allow_pickle: see `FileCheckpoint`.
        base: the model an adapter folder named as `ref.path` sits on.

    Raises:
        CheckpointError: files are missing, damaged or unsafe, or a hub id is not cached and the
            hub cannot be reached.
    """
    from evomerge.merging.adapter import AdaptedCheckpoint  # noqa: PLC0415 -- cycle

    folder = resolve_folder(ref.path, ref.revision)
    if is_adapter(folder):
        if base is None:
            raise CheckpointError(
                f"'{ref}' is an adapter; give the recipe a base_model or write base+adapter"
            )
        model: Checkpoint = AdaptedCheckpoint(base, folder, str(ref))
    else:
        model = FileCheckpoint(folder, str(ref), allow_pickle=allow_pickle)
    if ref.adapter is not None:
        adapter = resolve_folder(ref.adapter, ref.adapter_revision)
        model = AdaptedCheckpoint(model, adapter, str(ref))
    return model


def is_adapter(folder: Path) -> bool:
    """Tell whether a folder holds an adapter and no model."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file()


def is_hub_id(path: str) -> bool:
    """Tell whether a model's path names a repository of the hub: nothing on disk is called so."""
    looks_local = path.startswith((".", "/", "~")) or path.count("/") > 1
    return not looks_local and not Path(path).expanduser().exists()


def resolve_folder(path: str, revision: str | None, *, code: bool = False) -> Path:
    """Return the local folder of a path or hub id, downloading from the hub if need be.

    Args:
        path: a folder or a hub id.
        revision: of a hub id.
        code: its Python files too, which are else left where they are.

    Raises:
        CheckpointError: there is no such folder, and the hub did not give it.
    """
    if not is_hub_id(path):
        return Path(path).expanduser()
    from huggingface_hub import snapshot_download  # noqa: PLC0415 -- slow import, rarely needed
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    try:
        return Path(
            snapshot_download(
                path,
                revision=revision,
                allow_patterns=[*_WHAT_LOADS, "*.py"] if code else list(_WHAT_LOADS),
                ignore_patterns=["original/*", "consolidated*"],
            )
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"model '{path}': no such folder, and the hub did not give it: {reason}"
        ) from error


def read_json(path: Path, owner: str) -> dict[str, Any]:
    """Read a JSON object that belongs to a model.

    Raises:
        CheckpointError: missing, malformed, or a link to another folder's file.
    """
    require_own(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{owner}: {path} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{owner}: {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{owner}: {path} holds no JSON object")
    return content


def parameter_counts(checkpoint: Checkpoint) -> ParameterCounts:
    """Count what a checkpoint stores, layer by layer; only headers are read."""
    return ParameterCounts.of(checkpoint.layout, checkpoint.shape)


def update_digest(digest: Any, name: str, tensor: Tensor) -> None:
    """Add one tensor to a running digest, see `FileCheckpoint.digest`."""
    line = json.dumps([name, _CODES[tensor.dtype], list(tensor.shape)], separators=(",", ":"))
    digest.update(line.encode() + b"\n")
    flat = tensor.detach().cpu().contiguous().view(-1)
    if flat.numel():
        digest.update(flat.view(torch.uint8).numpy().data)
