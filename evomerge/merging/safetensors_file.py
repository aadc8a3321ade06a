"""One safetensors file: its header read and checked, its tensors mapped, and a streaming writer.

Tensors are views of a private memory map, so opening costs nothing, processes share the pages of
the file, and only what a merge touches is read. The writer knows every shape before the first
tensor exists: it writes the header, then each tensor as it is merged.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from evomerge.errors import CheckpointError

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_HEADER_LIMIT = 100 << 20  # the format's own limit


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies: dtype, shape and its byte range after the header."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


class SafetensorsFile:
    """A safetensors file opened for reading.

    Raises:
        CheckpointError: the file is missing, truncated or not safetensors.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < 8:
                    raise self._damaged(f"it has {size} bytes")
                length = int.from_bytes(file.read(8), "little")
                if length > min(_HEADER_LIMIT, size - 8):
                    raise self._damaged(f"its header claims {length} bytes of {size}")
                header = file.read(length)
                # Copy-on-write: torch wants writable memory, the file must never change.
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
        self._data = 8 + length
        self._views: dict[str, Tensor] = {}
        self.entries = self._parse(header, size - self._data)

    def tensor(self, name: str) -> Tensor:
        """Return a tensor as a view of the file; nothing is copied."""
        if name not in self._views:
            self._views[name] = self._view(name)
        return self._views[name]

    def _view(self, name: str) -> Tensor:
        entry = self.entries[name]
        count = (entry.end - entry.start) // entry.dtype.itemsize
        if not count:
            return torch.empty(entry.shape, dtype=entry.dtype)
        offset = self._data + entry.start
        flat = torch.frombuffer(self._map, dtype=entry.dtype, count=count, offset=offset)
        return flat.view(entry.shape)

    def raw(self, name: str) -> memoryview:
        """Return the bytes of a tensor, little-endian, as they lie in the file."""
        entry = self.entries[name]
        return memoryview(self._map)[self._data + entry.start : self._data + entry.end]

    def _parse(self, header: bytes, available: int) -> dict[str, Entry]:
        try:
            fields = json.loads(header)
            fields.pop("__metadata__", None)
            entries = {name: self._entry(name, field) for name, field in fields.items()}
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise self._damaged(f"its header cannot be read ({error})") from error
        end = max((entry.end for entry in entries.values()), default=0)
        if end != available:
            raise self._damaged(f"its tensors need {end} bytes and {available} are there")
        return entries

    def _entry(self, name: str, field: Mapping[str, object]) -> Entry:
        code = str(field["dtype"])
        if code not in DTYPES:
            raise CheckpointError(
                f"{self.path}: tensor '{name}' has dtype {code}; merging needs one of "
                f"{', '.join(DTYPES)} (dequantise the model first)"
            )
        shape, offsets = field["shape"], field["data_offsets"]
        if not isinstance(shape, list) or not isinstance(offsets, list):
            raise TypeError(f"shape or offsets of '{name}'")
        start, end = (int(offset) for offset in offsets)
        n = 1
        for dim in shape:
            n *= int(dim)
        if (
            start < 0
            or any(int(dim) < 0 for dim in shape)
            or end - start != n * DTYPES[code].itemsize
        ):
            raise ValueError(f"size of '{name}'")
        return Entry(DTYPES[code], tuple(int(dim) for dim in shape), start, end)

    def _damaged(self, what: str) -> CheckpointError:
        return CheckpointError(
            f"{self.path}: truncated or not a safetensors file: {what}; download or save it again"
        )


class SafetensorsWriter:
    """Writes one safetensors file, tensor by tensor, in the order of `layout`.

    Args:
        path: must not exist.
        specs: (name, dtype, shape) of every tensor of the file.
    """

    def __init__(
        self, path: Path, specs: Iterable[tuple[str, torch.dtype, tuple[int, ...]]]
    ) -> None:
        # Wide dtypes first, so that every tensor is aligned to its own item size.
        self.layout = sorted(specs, key=lambda spec: (-spec[1].itemsize, spec[0]))
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for name, dtype, shape in self.layout:
            end = offset + torch.Size(shape).numel() * dtype.itemsize
            header[name] = {
                "dtype": _NAMES[dtype],
                "shape": list(shape),
                "data_offsets": [offset, end],
            }
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._file = path.open("xb")
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._pending = list(reversed(self.layout))

    def write(self, name: str, tensor: Tensor) -> None:
        """Append the next tensor of the layout."""
        expected, dtype, shape = self._pending.pop()
        if (name, tensor.dtype, tuple(tensor.shape)) != (expected, dtype, shape):
            raise ValueError(f"'{name}' {tensor.dtype} written where '{expected}' {dtype} belongs")
        flat = tensor.detach().cpu().contiguous().view(-1)
        if flat.numel():
            self._file.write(flat.view(torch.uint8).numpy().data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                if self._pending:
                    raise ValueError(f"'{self._pending[-1][0]}' was never written")
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()
